//! A ticket: one upload, which ends in exactly one outcome.

use std::borrow::Borrow;
use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use blobaccess::{Context, Digest, Error, PutCertainty, StorageType, UploadToken};

use super::{Accounts, Upload};
use crate::{DropReason, ErrorReason, Outcome};

/// One upload that has begun, and ends in exactly one outcome.
///
/// The outcome consumes the ticket. A ticket that is dropped without an outcome gets one anyway. Before the first byte was
/// sent, the upload ends as dropped, with `shutdown` as the reason unless [another](Self::dropped_as) was set. After that,
/// the blob may be stored: the store is asked about it, and if it cannot be asked, the upload ends as an ambiguous error.
///
/// Cancellation, a panic and the end of a runtime drop the ticket, so each of them has an outcome. The death of the process
/// does not; the journal covers that.
pub struct Ticket(TicketState<Arc<Accounts>, Digest>);

/// A ticket of a caller that awaits the upload. It borrows accounts and digest, which spares four reference counts.
pub(crate) type BorrowedTicket<'a> = TicketState<&'a Accounts, &'a Digest>;

/// The state of a ticket, with owned or borrowed accounts and digest.
pub(crate) struct TicketState<A: Borrow<Accounts>, D: Borrow<Digest>> {
    accounts: A,
    digest: D,
    /// The upload; `None` once it has ended.
    upload: Option<Upload>,
    storage_type: StorageType,
    token: UploadToken,
    /// The token that a peer named. It decides the answer to the peer only.
    peer: Option<UploadToken>,
    sent: bool,
    dropped_as: DropReason,
}

impl Ticket {
    pub(crate) const fn new(held: TicketState<Arc<Accounts>, Digest>) -> Self {
        Self(held)
    }

    /// Returns the token to store with the blob. It is that of this ticket only, whatever token the context had: a peer may
    /// name the same one twice.
    #[must_use]
    pub const fn token(&self) -> UploadToken {
        self.0.token
    }

    /// Sets the reason that is counted if the ticket is dropped before the first byte is sent.
    #[must_use]
    pub const fn dropped_as(mut self, reason: DropReason) -> Self {
        self.0.dropped_as = reason;
        self
    }

    /// Notes that the first byte is about to be sent, and returns `ctx` with the token, for the call that sends it.
    #[must_use]
    pub fn send(&mut self, ctx: &Context) -> Context {
        self.0.send(ctx)
    }

    /// Ends the upload with `outcome`.
    pub fn finish(mut self, outcome: Outcome) {
        self.0.finish(outcome);
    }

    /// Ends the upload with an error. If the blob may be stored anyway, the store is asked about it later, if it can be.
    pub fn fail(mut self, error: &Error) {
        self.0.fail(error);
    }

    /// Ends the upload as given up before its first byte. `stored_bytes` is the size that the blob would have taken in the
    /// store, if known; otherwise the store of the accounts is asked for it.
    pub fn drop_as(self, reason: DropReason, stored_bytes: Option<u64>) {
        self.finish(Outcome::Dropped { reason, stored_bytes });
    }
}

impl<A: Borrow<Accounts>, D: Borrow<Digest>> TicketState<A, D> {
    #[inline]
    pub(crate) const fn new(
        accounts: A,
        digest: D,
        storage_type: StorageType,
        upload: Upload,
        token: UploadToken,
    ) -> Self {
        let dropped_as = DropReason::Shutdown;
        Self { accounts, digest, upload: Some(upload), storage_type, token, peer: None, sent: false, dropped_as }
    }

    #[inline]
    pub(crate) fn send(&mut self, ctx: &Context) -> Context {
        if let (Some(journal), Some(upload), false) = (&self.accounts.borrow().journal, &self.upload, self.sent) {
            journal.sent(upload.number);
        }
        self.sent = true;
        self.peer = ctx.upload_token().copied();
        let counted = ctx.clone().with_upload_token(self.token);
        // The store keeps the account that is counted, which is `__other__` if there was no room.
        let upload = self.upload.as_ref();
        match upload.and_then(|upload| self.accounts.borrow().table.account(&upload.slot)) {
            Some(account) => counted.with_counted_account(account.account_name().clone()),
            None => counted,
        }
    }

    /// Ends the upload in place, as moving the state costs as much as counting.
    #[inline]
    pub(crate) fn finish(&mut self, outcome: Outcome) {
        if let Some(upload) = self.upload.take() {
            let accounts = self.accounts.borrow();
            // What sent nothing has stored nothing, such as a put that joined another.
            if self.sent {
                accounts.note_upload(&upload, self.digest.borrow(), self.token, outcome);
            }
            accounts.end(&upload, outcome);
        }
    }

    pub(crate) fn fail(&mut self, error: &Error) {
        let Some(upload) = self.upload.take() else { return };
        let reason = ErrorReason::from_refusal(error);
        match error.put_certainty() {
            PutCertainty::NotStored => self.accounts.borrow().end(&upload, Outcome::Error(reason)),
            PutCertainty::MaybeStored => self.lost(upload, reason),
        }
    }

    fn lost(&self, upload: Upload, absent: ErrorReason) {
        let digest = self.digest.borrow().clone();
        if let Some(peer) = self.peer {
            self.accounts.borrow().peers.note_lost(peer, &digest, self.token);
        }
        self.accounts.borrow().lost(upload, self.storage_type, digest, self.token, absent);
    }
}

impl<A: Borrow<Accounts>, D: Borrow<Digest>> Drop for TicketState<A, D> {
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
