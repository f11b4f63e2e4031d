//! A put that joined an equal upload: it stores nothing, and ends when that upload ends.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use blobaccess::{Error, PutOutcome, Result};
use blobaccess_accounting::{DropReason, ErrorReason, Outcome, Ticket};

use super::queued::Waiter;

/// A put that waits for the end of an upload: the one that began it, or one that joined it.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) waiter: Option<Waiter>,
    /// The ticket of a put that joined. That of the upload itself is elsewhere.
    pub(super) ticket: Option<JoinedTicket>,
}

impl Joined {
    /// Makes the put that began the upload, and waits for it.
    pub(super) const fn first(waiter: Waiter) -> Self {
        Self { waiter: Some(waiter), ticket: None }
    }
}

/// The ticket of a put that joined an upload. The upload may end before the ticket begins, as no ticket begins while the
/// entries of the queue are locked.
#[derive(Clone, Debug, Default)]
pub(super) struct JoinedTicket(Arc<Mutex<State>>);

#[derive(Debug, Default)]
enum State {
    #[default]
    NotBegun,
    Begun(Box<Ticket>),
    Ended(Outcome),
}

impl JoinedTicket {
    /// Begins the put, whose upload may have ended.
    pub(super) fn begin(&self, ticket: Ticket) {
        let ended = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match *state {
                State::Ended(outcome) => Some((ticket, outcome)),
                State::NotBegun | State::Begun(_) => {
                    *state = State::Begun(Box::new(ticket));
                    None
                }
            }
        };
        if let Some((ticket, outcome)) = ended {
            ticket.finish(outcome);
        }
    }

    /// Ends the put, as its upload has ended.
    pub(super) fn end(&self, outcome: Outcome) {
        let state = mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), State::Ended(outcome));
        if let State::Begun(ticket) = state {
            ticket.finish(outcome);
        }
    }
}

/// The end of an upload, as far as the puts that joined it are concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct JoinedEnd(Outcome);

impl JoinedEnd {
    /// Returns the outcome of puts that joined an upload with this result. Whatever is stored is not stored by them.
    pub(super) fn of(result: &Result<PutOutcome>) -> Self {
        Self(match result {
            Ok(
                PutOutcome::Created { stored_bytes }
                | PutOutcome::AlreadyExists { stored_bytes }
                | PutOutcome::Replaced { stored_bytes, .. },
            ) => Outcome::AlreadyExists { stored_bytes: *stored_bytes },
            Ok(PutOutcome::Unclassified { stored_bytes }) => Outcome::Unclassified { stored_bytes: *stored_bytes },
            Err(error) => Outcome::Error(ErrorReason::from_error(error)),
        })
    }

    /// Returns the outcome of puts that joined an upload that was given up, after attempts that ended with `last_error`, if
    /// there were any.
    pub(super) fn of_lost(reason: DropReason, stored_bytes: Option<u64>, last_error: Option<&Error>) -> Self {
        Self(match last_error {
            Some(error) => Outcome::Error(ErrorReason::from_error(error)),
            None => Outcome::Dropped { reason, stored_bytes },
        })
    }

    pub(super) const fn outcome(self) -> Outcome {
        self.0
    }
}
