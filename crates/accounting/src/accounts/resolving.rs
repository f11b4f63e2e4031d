//! Uploads whose answer was lost, in this life and in earlier ones: the store is asked for their outcome, by token.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use blobaccess::{Context, Digest, ResolveUpload, Result, StorageType, StoredSize, UploadResolution, UploadToken};
use futures::stream::{self, StreamExt};

use super::{Accounts, Upload};
use crate::journal::Dead;
use crate::{Account, ErrorReason, Outcome};

/// The number of uploads that a store is asked about at a time.
const ASKED_AT_ONCE: usize = 32;

/// The stores that can be asked about uploads, by kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resolvers {
    by_code: [Option<Arc<dyn ResolveUpload>>; 5],
}

impl Resolvers {
    pub(crate) fn set(&mut self, storage_type: StorageType, resolver: Arc<dyn ResolveUpload>) {
        let code = usize::from(Account::storage_code(storage_type));
        if let Some(place) = self.by_code.get_mut(code) {
            *place = Some(resolver);
        }
    }

    fn resolver(&self, storage_type: StorageType) -> Option<&Arc<dyn ResolveUpload>> {
        self.by_code.get(usize::from(Account::storage_code(storage_type)))?.as_ref()
    }

    /// Returns whether values of this kind may be replaced in the store.
    pub(crate) fn may_replace(&self, storage_type: StorageType) -> bool {
        storage_type.is_mutable() && !self.resolver(storage_type).is_some_and(|store| store.keeps_first_values())
    }

    /// Returns the bytes that a blob of `logical_bytes` would take in the store, as far as that is known.
    #[inline]
    pub(crate) fn stored_size(&self, storage_type: StorageType, logical_bytes: u64) -> StoredSize {
        self.resolver(storage_type).map_or(StoredSize::Unknown, |store| store.stored_size(logical_bytes))
    }

    /// Returns the fate of an upload: `Unknown` if there is no store to ask.
    pub(crate) async fn ask(
        &self,
        ctx: &Context,
        storage_type: StorageType,
        digest: &Digest,
        token: &UploadToken,
    ) -> Result<UploadResolution> {
        match self.resolver(storage_type) {
            None => Ok(UploadResolution::Unknown),
            Some(resolver) => resolver.resolve_upload(ctx, digest, token).await,
        }
    }
}

/// Returns the outcome of an upload for which the store gave `resolution`; `absent` is the reason of the failure if nothing
/// is stored.
///
/// Values that are never replaced are told by their token. Else our entry may have replaced another, and another's entry may
/// have replaced ours (`may_replace`): neither is guessed.
pub(crate) const fn outcome_of(resolution: UploadResolution, may_replace: bool, absent: ErrorReason) -> Outcome {
    match (resolution, may_replace) {
        (UploadResolution::Mine { stored_bytes }, false) => Outcome::Created { stored_bytes },
        (UploadResolution::Mine { stored_bytes }, true) => Outcome::Unclassified { stored_bytes: Some(stored_bytes) },
        (UploadResolution::Anothers { stored_bytes }, false) => Outcome::AlreadyExists { stored_bytes },
        (UploadResolution::Absent, _) => Outcome::Error(absent),
        (UploadResolution::Anothers { .. }, true) | (UploadResolution::Unknown, _) => {
            Outcome::Error(ErrorReason::Ambiguous)
        }
    }
}

/// An upload whose answer was lost, and about which the store is still to be asked.
#[derive(Debug)]
pub(super) struct Unresolved {
    upload: Upload,
    storage_type: StorageType,
    digest: Digest,
    token: UploadToken,
    /// The reason of the failure, if nothing is stored.
    absent: ErrorReason,
    /// The time from which absence is believed: until then, the request may still reach the store. `None` is beyond every
    /// time of the clock.
    settled_at: Option<Instant>,
}

impl Accounts {
    /// Remembers an upload whose answer was lost, to ask the store about it later. If the store cannot be asked, the
    /// upload ends here.
    pub(crate) fn lost(
        &self,
        upload: Upload,
        storage_type: StorageType,
        digest: Digest,
        token: UploadToken,
        absent: ErrorReason,
    ) {
        let settled_at = self.clock.monotonic().checked_add(self.settle_after);
        let unresolved = Unresolved { upload, storage_type, digest, token, absent, settled_at };
        let refused = {
            let mut waiting = self.unresolved();
            if self.resolvers.resolver(storage_type).is_some() && waiting.len() < self.max_unresolved {
                waiting.insert(unresolved.upload.number, unresolved);
                None
            } else {
                Some(unresolved)
            }
        };
        if let Some(unresolved) = refused {
            // Where the fate of the upload stays unknown, a panic is still counted as a panic.
            let reason = match absent {
                ErrorReason::Panicked => ErrorReason::Panicked,
                ErrorReason::Rejected | ErrorReason::Ambiguous | ErrorReason::Cancelled | ErrorReason::Deadline => {
                    ErrorReason::Ambiguous
                }
            };
            self.end(&unresolved.upload, Outcome::Error(reason));
        }
    }

    /// Asks the store about every upload whose answer was lost, several at a time. Uploads about which the store cannot tell
    /// yet stay.
    ///
    /// # Cancel safety
    ///
    /// Uploads that were asked about before the future is dropped have their outcome. The others are asked about next time.
    pub async fn resolve(&self) {
        self.resolve_until(None).await;
    }

    /// Asks the store as [`resolve`](Self::resolve) does, until `deadline`. The next call goes on with those that were not
    /// asked about.
    pub(crate) async fn resolve_until(&self, deadline: Option<Instant>) {
        let questions: Vec<_> = {
            let unresolved = self.unresolved();
            let next = self.next_asked.load(Ordering::Relaxed);
            let question =
                |(number, lost): (&u64, &Unresolved)| (*number, lost.storage_type, lost.digest.clone(), lost.token);
            unresolved.range(next..).chain(unresolved.range(..next)).map(question).collect()
        };
        let answers = stream::iter(questions).map(|(number, storage_type, digest, token)| {
            self.next_asked.store(number.saturating_add(1), Ordering::Relaxed);
            async move { (number, self.resolvers.ask(&Context::background(), storage_type, &digest, &token).await) }
        });
        let asking = answers.buffer_unordered(ASKED_AT_ONCE).for_each(|(number, answer)| {
            // The store is asked again if it could not tell.
            if let Ok(resolution) = answer {
                self.take_answer(number, resolution);
            }
            std::future::ready(())
        });
        // What is not answered in time is asked about next time.
        let _: Result<(), blobaccess::DeadlineElapsed> = self.clock.timeout(deadline, asking).await;
    }

    fn take_answer(&self, number: u64, resolution: UploadResolution) {
        let now = self.clock.monotonic();
        let ended = {
            let mut unresolved = self.unresolved();
            let is_settled = |lost: &Unresolved| lost.settled_at.is_some_and(|at| at <= now);
            // Another caller may have taken it meanwhile.
            match unresolved.get(&number) {
                Some(lost) if resolution != UploadResolution::Absent || is_settled(lost) => unresolved.remove(&number),
                Some(_) | None => None,
            }
        };
        if let Some(lost) = ended {
            let outcome = outcome_of(resolution, self.resolvers.may_replace(lost.storage_type), lost.absent);
            self.note_upload(&lost.upload, &lost.digest, lost.token, outcome);
            self.end(&lost.upload, outcome);
        }
    }

    /// Ends every upload whose answer was lost as an ambiguous error. Call it when the store will not be asked again.
    pub fn give_up_unresolved(&self) {
        let unresolved = std::mem::take(&mut *self.unresolved());
        for unresolved in unresolved.into_values() {
            self.end(&unresolved.upload, Outcome::Error(ErrorReason::Ambiguous));
        }
    }

    pub(super) fn unresolved(&self) -> MutexGuard<'_, BTreeMap<u64, Unresolved>> {
        // Nothing that panics is called while the list is half changed.
        self.unresolved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the store about the open uploads of an earlier life, until `deadline`. Absence is believed if `settled`.
    pub(crate) async fn resolve_dead(&self, dead: &Mutex<Dead>, settled: bool, deadline: Option<Instant>) {
        let questions = lock(dead).questions();
        let answers = stream::iter(questions).map(|(number, intent)| {
            lock(dead).next_asked = number.saturating_add(1);
            async move {
                let storage_type = intent.account.storage_type();
                let answer =
                    self.resolvers.ask(&Context::background(), storage_type, &intent.digest, &intent.token).await;
                (number, intent, answer)
            }
        });
        let asking = answers.buffer_unordered(ASKED_AT_ONCE).for_each(|(number, intent, answer)| {
            match answer {
                Ok(UploadResolution::Absent) if !settled => {}
                Ok(resolution) => {
                    let may_replace = self.resolvers.may_replace(intent.account.storage_type());
                    let outcome = outcome_of(resolution, may_replace, ErrorReason::Cancelled);
                    let account = &intent.account;
                    self.note_owner(account, &intent.digest, intent.token, outcome, intent.logical_bytes);
                    lock(dead).end(number, outcome);
                }
                // The store is asked again before a later report.
                Err(error) => tracing::debug!(%error, digest = %intent.digest, "cannot ask about an earlier upload"),
            }
            std::future::ready(())
        });
        let _: Result<(), blobaccess::DeadlineElapsed> = self.clock.timeout(deadline, asking).await;
    }
}

/// Locks an earlier life.
pub(crate) fn lock(dead: &Mutex<Dead>) -> MutexGuard<'_, Dead> {
    // A panic can leave a record that is not written yet, as a crash at the same place does.
    dead.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_told_by_their_token_and_entries_are_not_guessed() {
        let of = |resolution, storage_type: StorageType| {
            outcome_of(resolution, Resolvers::default().may_replace(storage_type), ErrorReason::Cancelled)
        };
        let (mine, anothers) =
            (UploadResolution::Mine { stored_bytes: 3 }, UploadResolution::Anothers { stored_bytes: 4 });
        let ambiguous = Outcome::Error(ErrorReason::Ambiguous);
        assert_eq!(of(mine, StorageType::Cas), Outcome::Created { stored_bytes: 3 });
        assert_eq!(of(anothers, StorageType::Cas), Outcome::AlreadyExists { stored_bytes: 4 });
        assert_eq!(of(mine, StorageType::Ac), Outcome::Unclassified { stored_bytes: Some(3) });
        assert_eq!(of(anothers, StorageType::Ac), ambiguous);
        for storage_type in [StorageType::Cas, StorageType::Ac] {
            assert_eq!(of(UploadResolution::Absent, storage_type), Outcome::Error(ErrorReason::Cancelled));
            assert_eq!(of(UploadResolution::Unknown, storage_type), ambiguous);
        }
    }
}
