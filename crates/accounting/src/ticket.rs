//! One upload, which ends in exactly one outcome.

use std::borrow::Borrow;
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
pub struct Ticket(Held<Arc<Accounts>, Digest>);

/// The same for who waits for the upload: accounts and digest are borrowed, which spares four counts of references.
pub(crate) type BorrowedTicket<'a> = Held<&'a Accounts, &'a Digest>;

/// What a ticket holds, whoever owns the accounts and the digest.
pub(crate) struct Held<A: Borrow<Accounts>, D: Borrow<Digest>> {
    accounts: A,
    digest: D,
    /// `None` once it has ended.
    upload: Option<Upload>,
    storage_type: StorageType,
    token: UploadToken,
    sent: bool,
    dropped_as: DropReason,
}

impl Ticket {
    pub(crate) const fn new(held: Held<Arc<Accounts>, Digest>) -> Self {
        Self(held)
    }

    /// The token to leave with what is stored: that of the context, if it had one.
    #[must_use]
    pub const fn token(&self) -> UploadToken {
        self.0.token
    }

    /// Says why the upload is given up, if it is before its first byte.
    #[must_use]
    pub const fn dropped_as(mut self, reason: DropReason) -> Self {
        self.0.dropped_as = reason;
        self
    }

    /// Says that the first byte is about to be sent, and returns the context to send it with: `ctx`, with the token.
    #[must_use]
    pub fn send(&mut self, ctx: &Context) -> Context {
        self.0.send(ctx)
    }

    /// The upload came to this.
    pub fn finish(mut self, outcome: Outcome) {
        self.0.finish(outcome);
    }

    /// The upload failed so. If it may be stored all the same, the store is asked later on, where it can be.
    pub fn fail(mut self, error: &Error) {
        self.0.fail(error);
    }

    /// The upload is given up before its first byte. `stored_bytes` is what it would have taken in the store, if that is
    /// known.
    pub fn drop_as(self, reason: DropReason, stored_bytes: Option<u64>) {
        self.finish(Outcome::Dropped { reason, stored_bytes });
    }
}

impl<A: Borrow<Accounts>, D: Borrow<Digest>> Held<A, D> {
    #[inline]
    pub(crate) const fn new(
        accounts: A,
        digest: D,
        storage_type: StorageType,
        upload: Upload,
        token: UploadToken,
    ) -> Self {
        let dropped_as = DropReason::Shutdown;
        Self { accounts, digest, upload: Some(upload), storage_type, token, sent: false, dropped_as }
    }

    #[inline]
    pub(crate) fn send(&mut self, ctx: &Context) -> Context {
        if let (Some(journal), Some(upload), false) = (&self.accounts.borrow().journal, &self.upload, self.sent) {
            journal.sent(upload.number);
        }
        self.sent = true;
        ctx.clone().with_upload_token(self.token)
    }

    /// In place, since to move what is held costs as much as to count it.
    #[inline]
    pub(crate) fn finish(&mut self, outcome: Outcome) {
        if let Some(upload) = self.upload.take() {
            self.accounts.borrow().end(&upload, outcome);
        }
    }

    pub(crate) fn fail(&mut self, error: &Error) {
        let Some(upload) = self.upload.take() else { return };
        let reason = ErrorReason::of_refused(error);
        match error.put_certainty() {
            PutCertainty::NotStored => self.accounts.borrow().end(&upload, Outcome::Error(reason)),
            PutCertainty::MaybeStored => self.lost(upload, reason),
        }
    }

    fn lost(&self, upload: Upload, absent: ErrorReason) {
        let digest = self.digest.borrow().clone();
        self.accounts.borrow().lost(upload, self.storage_type, digest, self.token, absent);
    }
}

impl<A: Borrow<Accounts>, D: Borrow<Digest>> Drop for Held<A, D> {
    fn drop(&mut self) {
        let Some(upload) = self.upload.take() else { return };
        if !self.sent {
            let outcome = Outcome::Dropped { reason: self.dropped_as, stored_bytes: None };
            return self.accounts.borrow().end(&upload, outcome);
        }
        let absent = if std::thread::panicking() { ErrorReason::Panicked } else { ErrorReason::Cancelled };
        self.lost(upload, absent);
    }
}

impl Debug for Ticket {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("digest", &self.0.digest)
            .field("token", &self.0.token)
            .field("sent", &self.0.sent)
            .finish_non_exhaustive()
    }
}
