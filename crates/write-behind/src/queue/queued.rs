//! An upload that has its place in the queue, and the callers that wait for it.

use blobaccess::{Blob, Kind, PutOutcome, Result};
use blobaccess_accounting::Ticket;
use tokio::sync::oneshot;

use super::contents::Contents;
use super::entries::Room;
use super::job::Job;

/// A caller that waits for the outcome of an upload.
pub(super) type Waiter = oneshot::Sender<Result<PutOutcome>>;

/// An upload that has its place in the queue.
pub(super) struct Queued<K: Kind> {
    pub(super) job: Job,
    pub(super) contents: Contents<K>,
    /// The ticket; `None` once the first byte is about to be sent.
    pub(super) ticket: Option<Ticket>,
    pub(super) room: Room,
    /// The sequence number in the queue that this one follows, below which everything must have ended first.
    pub(super) barrier: u64,
    /// The sequence number of this upload, by the order of arrival.
    pub(super) sequence: u64,
    pub(super) waiters: Vec<Waiter>,
    /// The callers that put values which this upload replaced while they were waiting.
    pub(super) superseded: Vec<Waiter>,
}

impl<K: Kind> Queued<K> {
    /// Makes an upload that no caller waits for yet and that follows nothing.
    pub(super) const fn new(job: Job, contents: Contents<K>, room: Room, ticket: Ticket) -> Self {
        Self {
            job,
            contents,
            ticket: Some(ticket),
            room,
            barrier: 0,
            sequence: 0,
            waiters: Vec::new(),
            superseded: Vec::new(),
        }
    }

    /// Sets the barrier that must be passed first.
    pub(super) const fn with_barrier(mut self, barrier: u64) -> Self {
        self.barrier = barrier;
        self
    }

    /// Adds `waiter`, if there is one.
    pub(super) fn with_waiter(mut self, waiter: Option<Waiter>) -> Self {
        self.waiters.extend(waiter);
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

    /// Answers all callers that wait. Only the first of them can have created anything.
    pub(super) fn answer(&mut self, result: &Result<PutOutcome>) {
        let mut result = result.clone();
        for waiter in self.waiters.drain(..) {
            // A caller that has gone away needs no answer.
            drop(waiter.send(result.clone()));
            if let Ok(PutOutcome::Created { stored_bytes }) = result {
                result = Ok(PutOutcome::AlreadyExists { stored_bytes });
            }
        }
        let result = result.map(|_| PutOutcome::Unclassified { stored_bytes: None });
        for waiter in self.superseded.drain(..) {
            drop(waiter.send(result.clone()));
        }
    }
}
