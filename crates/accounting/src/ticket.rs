//! One upload, which ends in exactly one outcome.

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use blobaccess::{Context, Digest, Error, PutCertainty, StorageType, UploadToken};

use crate::accounts::{Accounts, Upload};
use crate::{DropReason, ErrorReason, Outcome};

/// One upload that was begun, and ends in exactly one outcome.
///
/// Its outcome consumes it. A ticket that is dropped without one has one all the same: before its first byte was sent,
/// it was dropped, because of a shutdown unless [told otherwise](Self::dropped_as); after that, it may be stored, and the
/// store is asked if it can be, or else it ends as an ambiguous error.
///
/// Cancellation, a panic and the end of a runtime drop what they interrupt, so they all have an outcome. The death of
/// the process does not; that is what the journal is for.
pub struct Ticket {
    accounts: Arc<Accounts>,
    /// `None` once it has ended.
    upload: Option<Upload>,
    storage_type: StorageType,
    digest: Digest,
    token: UploadToken,
    sent: bool,
    dropped_as: DropReason,
}

impl Ticket {
    pub(crate) const fn new(
        accounts: Arc<Accounts>,
        upload: Upload,
        storage_type: StorageType,
        digest: Digest,
        token: UploadToken,
    ) -> Self {
        let dropped_as = DropReason::Shutdown;
        Self { accounts, upload: Some(upload), storage_type, digest, token, sent: false, dropped_as }
    }

    /// The token to leave with what is stored: that of the context, if it had one.
    #[must_use]
    pub const fn token(&self) -> UploadToken {
        self.token
    }

    /// Says why the upload is given up, if it is before its first byte.
    #[must_use]
    pub const fn dropped_as(mut self, reason: DropReason) -> Self {
        self.dropped_as = reason;
        self
    }

    /// Says that the first byte is about to be sent, and returns the context to send it with: `ctx`, with the token.
    #[must_use]
    pub fn send(&mut self, ctx: &Context) -> Context {
        if let (Some(journal), Some(upload), false) = (&self.accounts.journal, &self.upload, self.sent) {
            journal.sent(upload.number);
        }
        self.sent = true;
        ctx.clone().with_upload_token(self.token)
    }

    /// The upload came to this.
    pub fn finish(mut self, outcome: Outcome) {
        if let Some(upload) = self.upload.take() {
            self.accounts.end(&upload, outcome);
        }
    }

    /// The upload failed so. If it may be stored all the same, the store is asked later on, where it can be.
    pub fn fail(mut self, error: &Error) {
        let Some(upload) = self.upload.take() else { return };
        let reason = ErrorReason::of_refused(error);
        match error.put_certainty() {
            PutCertainty::NotStored => self.accounts.end(&upload, Outcome::Error(reason)),
            PutCertainty::MaybeStored => {
                self.accounts.lost(upload, self.storage_type, self.digest.clone(), self.token, reason);
            }
        }
    }

    /// The upload is given up before its first byte. `stored_bytes` is what it would have taken in the store, if that is
    /// known.
    pub fn drop_as(self, reason: DropReason, stored_bytes: Option<u64>) {
        self.finish(Outcome::Dropped { reason, stored_bytes });
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(upload) = self.upload.take() else { return };
        if !self.sent {
            let outcome = Outcome::Dropped { reason: self.dropped_as, stored_bytes: None };
            return self.accounts.end(&upload, outcome);
        }
        let absent = if std::thread::panicking() { ErrorReason::Panicked } else { ErrorReason::Cancelled };
        self.accounts.lost(upload, self.storage_type, self.digest.clone(), self.token, absent);
    }
}

impl Debug for Ticket {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("digest", &self.digest)
            .field("token", &self.token)
            .field("sent", &self.sent)
            .finish_non_exhaustive()
    }
}
