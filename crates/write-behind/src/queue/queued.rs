//! An upload that has its place in the queue, and the callers that wait for it.

use std::time::Instant;

use blobaccess::{Blob, Error, ErrorKind, Kind, PutCertainty, PutOutcome, Result};
use blobaccess_accounting::{DropReason, Ticket};
use tokio::sync::oneshot;

use super::contents::Contents;
use super::entries::Room;
use super::job::Job;
use super::joined::{Joined, JoinedEnd};

/// A caller that waits for the outcome of an upload.
pub(super) type Waiter = oneshot::Sender<Result<PutOutcome>>;

/// An upload that has its place in the queue.
pub(super) struct Queued<K: Kind> {
    pub(super) job: Job,
    pub(super) contents: Contents<K>,
    /// The ticket; `None` once the first byte is about to be sent.
    pub(super) ticket: Option<Ticket>,
    pub(super) room: Room,
    /// The sequence number of this upload, by the order of arrival.
    pub(super) sequence: u64,
    /// The attempts that failed, and will be followed by another.
    pub(super) failures: u32,
    pub(super) first_failure: Option<Instant>,
    /// The error of the last attempt. It says that the blob may be stored if any attempt may have stored it.
    pub(super) last_error: Option<Error>,
    /// The put that began this upload, if it waits for it, and those that joined it.
    pub(super) waiters: Vec<Joined>,
    /// The callers that put values which this upload replaced while they were waiting.
    pub(super) superseded: Vec<Joined>,
}

impl<K: Kind> Queued<K> {
    /// Makes an upload that no caller waits for yet and that follows nothing.
    pub(super) const fn new(job: Job, contents: Contents<K>, room: Room, ticket: Ticket) -> Self {
        Self {
            job,
            contents,
            ticket: Some(ticket),
            room,
            sequence: 0,
            failures: 0,
            first_failure: None,
            last_error: None,
            waiters: Vec::new(),
            superseded: Vec::new(),
        }
    }

    /// Returns `error` as the error of all attempts so far: if one of them may have stored the blob, it may be stored.
    pub(super) fn joined_error(&self, error: Error) -> Error {
        let maybe = self.last_error.as_ref().is_some_and(|last| last.put_certainty() == PutCertainty::MaybeStored);
        if maybe { error.with_put_certainty(PutCertainty::MaybeStored) } else { error }
    }

    /// Returns whether an attempt may have stored the blob.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.last_error.as_ref().is_some_and(|last| last.put_certainty() == PutCertainty::MaybeStored)
    }

    /// Returns whether the last attempt was refused, rather than lost to an outage: the same attempt will not pass.
    pub(super) fn was_refused(&self) -> bool {
        let passes = |error: &Error| {
            let kind = error.kind();
            error.is_retryable() || matches!(kind, ErrorKind::DeadlineExceeded | ErrorKind::Unknown)
        };
        self.last_error.as_ref().is_some_and(|error| !passes(error))
    }

    /// Ends the ticket of an upload that is given up between two attempts, or before the first one.
    pub(super) fn give_up_ticket(&mut self, reason: DropReason) {
        let Some(ticket) = self.ticket.take() else { return };
        match &self.last_error {
            Some(error) => ticket.fail(error),
            None => ticket.drop_as(reason, self.job.stored_bytes),
        }
    }

    /// Returns the end of this upload for those that joined it, if it is given up.
    pub(super) fn lost_end(&self, reason: DropReason) -> JoinedEnd {
        JoinedEnd::of_lost(reason, self.job.stored_bytes, self.last_error.as_ref())
    }

    /// Adds `waiter`, if there is one.
    pub(super) fn with_waiter(mut self, waiter: Option<Waiter>) -> Self {
        self.waiters.extend(waiter.map(Joined::first));
        self
    }

    pub(super) async fn blob(&self) -> Result<Blob> {
        self.contents.blob(&self.job.ctx, &self.job.digest).await
    }

    /// Replaces `older`: the callers that wait for it are answered when this upload ends.
    pub(super) fn supersede(&mut self, older: &mut Self) {
        self.superseded.append(&mut older.superseded);
        self.superseded.append(&mut older.waiters);
    }

    /// Answers all callers that wait, and ends the puts that joined. Only the first caller can have created anything.
    pub(super) fn answer(&mut self, result: &Result<PutOutcome>, end: JoinedEnd) {
        let mut result = result.clone();
        for joined in self.waiters.drain(..) {
            if let Some(ticket) = joined.ticket {
                ticket.end(end.outcome());
            }
            let Some(waiter) = joined.waiter else { continue };
            // A caller that has gone away needs no answer.
            drop(waiter.send(result.clone()));
            if let Ok(PutOutcome::Created { stored_bytes }) = result {
                result = Ok(PutOutcome::AlreadyExists { stored_bytes });
            }
        }
        let result = result.map(|_| PutOutcome::Unclassified { stored_bytes: None });
        for waiter in self.superseded.drain(..).filter_map(|joined| joined.waiter) {
            drop(waiter.send(result.clone()));
        }
    }
}
