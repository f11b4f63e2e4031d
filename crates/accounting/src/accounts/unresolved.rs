//! Uploads whose answer was lost, in this life and in earlier ones: the store is asked what became of them.

use std::collections::VecDeque;
use std::sync::{MutexGuard, PoisonError};
use std::time::Instant;

use blobaccess::{Digest, Result, StorageType, UploadResolution, UploadToken};

use super::{Accounts, Upload};
use crate::journal::Dead;
use crate::resolving::outcome_of;
use crate::{ErrorReason, Outcome};

/// An upload whose answer was lost: the store is yet to be asked.
#[derive(Debug)]
pub(super) struct Unresolved {
    upload: Upload,
    storage_type: StorageType,
    digest: Digest,
    token: UploadToken,
    /// Why it failed, if nothing is stored.
    absent: ErrorReason,
    /// From when on absence is believed: what was sent before may still be on its way until then.
    settled_at: Instant,
}

impl Accounts {
    /// Whether the store can be asked what became of an upload.
    fn can_ask(&self, storage_type: StorageType) -> bool {
        self.resolvers.of(storage_type).is_some()
    }

    /// Takes note of an upload whose answer was lost, to ask the store about it later; if nobody can be asked, it has
    /// ended.
    pub(crate) fn lost(
        &self,
        upload: Upload,
        storage_type: StorageType,
        digest: Digest,
        token: UploadToken,
        absent: ErrorReason,
    ) {
        let settled_at = self.clock.monotonic() + self.settle_after;
        let unresolved = Unresolved { upload, storage_type, digest, token, absent, settled_at };
        let refused = {
            let mut waiting = self.unresolved();
            if self.can_ask(storage_type) && waiting.len() < self.max_unresolved {
                waiting.push_back(unresolved);
                None
            } else {
                Some(unresolved)
            }
        };
        if let Some(unresolved) = refused {
            // A panic is told as one, where nobody can tell what became of the upload.
            let reason = match absent {
                ErrorReason::Panicked => ErrorReason::Panicked,
                ErrorReason::Rejected | ErrorReason::Ambiguous | ErrorReason::Cancelled | ErrorReason::Deadline => {
                    ErrorReason::Ambiguous
                }
            };
            self.end(&unresolved.upload, Outcome::Error(reason));
        }
    }

    /// Asks the store about every upload whose answer was lost. Those that it cannot tell of now stay.
    ///
    /// # Cancel safety
    ///
    /// What has been asked about when this is dropped has its outcome, and the rest is asked about the next time.
    pub async fn resolve(&self) {
        let waiting = self.unresolved().len();
        for _ in 0..waiting {
            // It stays in the list while the store is asked, so that nothing is lost if this is dropped.
            let Some((storage_type, digest, token)) =
                self.unresolved().front().map(|front| (front.storage_type, front.digest.clone(), front.token))
            else {
                return;
            };
            let answer = self.resolvers.ask(storage_type, &digest, &token).await;
            let now = self.clock.monotonic();
            let mut unresolved = self.unresolved();
            // Another caller may have been quicker.
            if unresolved.front().is_none_or(|front| front.token != token || front.digest != digest) {
                continue;
            }
            let Some(front) = unresolved.pop_front() else { return };
            match answer {
                Ok(resolution) if resolution != UploadResolution::Absent || front.settled_at <= now => {
                    drop(unresolved);
                    self.end(&front.upload, outcome_of(resolution, storage_type, front.absent));
                }
                Ok(_) | Err(_) => unresolved.push_back(front),
            }
        }
    }

    /// Ends every upload whose answer was lost as an ambiguous error: for when nobody will ask any more.
    pub fn give_up_unresolved(&self) {
        let unresolved = std::mem::take(&mut *self.unresolved());
        for unresolved in unresolved {
            self.end(&unresolved.upload, Outcome::Error(ErrorReason::Ambiguous));
        }
    }

    pub(super) fn unresolved(&self) -> MutexGuard<'_, VecDeque<Unresolved>> {
        // Nothing that panics is called while the list is half changed.
        self.unresolved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the store about the open uploads of an earlier life; `settled` if absence is to be believed.
    pub(crate) async fn resolve_dead(&self, dead: &mut Dead, settled: bool) -> Result<()> {
        let open: Vec<_> = dead.state.intents().iter().map(|(number, intent)| (*number, intent.clone())).collect();
        for (number, intent) in open {
            let storage_type = intent.account.storage_type();
            match self.resolvers.ask(storage_type, &intent.digest, &intent.token).await {
                Ok(UploadResolution::Absent) if !settled => {}
                Ok(resolution) => dead.end(number, outcome_of(resolution, storage_type, ErrorReason::Cancelled))?,
                // It is asked again before the next report.
                Err(error) => tracing::debug!(%error, digest = %intent.digest, "cannot ask about an earlier upload"),
            }
        }
        Ok(())
    }
}
