//! How an upload ended: exactly one of these, whatever happened.

use blobaccess::{Error, ErrorKind, PutCertainty, PutOutcome};

/// How an upload ended.
///
/// The statuses on the wire are four, `created`, `already_exists`, `error` and `dropped`, of which the last two have
/// a reason. `replaced` and `unclassified` are counted apart from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// This upload added the blob.
    Created {
        /// What it takes in the store, in bytes.
        stored_bytes: u64,
    },
    /// An equal blob was there.
    AlreadyExists {
        /// What that takes in the store, in bytes.
        stored_bytes: u64,
    },
    /// An entry of a mutable kind got a new value.
    Replaced {
        /// What the new value takes, in bytes.
        stored_bytes: u64,
        /// What the value before took, in bytes.
        old_bytes: u64,
    },
    /// It is stored, but nobody can tell whether by this upload.
    Unclassified {
        /// What it takes in the store, in bytes, if that is known.
        stored_bytes: Option<u64>,
    },
    /// It failed after it had been begun.
    Error(ErrorReason),
    /// It was given up before its first byte was sent.
    Dropped {
        /// Why.
        reason: DropReason,
        /// What it would have taken in the store, in bytes, if that is known.
        stored_bytes: Option<u64>,
    },
}

/// Why an upload failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorReason {
    /// The store, a limit or a right refused it: nothing is stored.
    Rejected,
    /// It may be stored or not, and nobody can tell.
    Ambiguous,
    /// Whoever waited for it gave up, and nothing is stored.
    Cancelled,
    /// A panic ended it.
    Panicked,
    /// Its time ran out, and nothing is stored.
    Deadline,
}

/// Why an upload was given up before its first byte was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// The queue had no room.
    QueueFull,
    /// What was to be uploaded, or what it refers to, could not be had any more. Of an entry of a mutable kind, too: a
    /// newer value took its place in the queue.
    SourceUnavailable,
    /// The program stopped first.
    Shutdown,
    /// Uploads are switched off.
    Disabled,
}

impl From<PutOutcome> for Outcome {
    fn from(outcome: PutOutcome) -> Self {
        match outcome {
            PutOutcome::Created { stored_bytes } => Self::Created { stored_bytes },
            PutOutcome::AlreadyExists { stored_bytes } => Self::AlreadyExists { stored_bytes },
            PutOutcome::Replaced { stored_bytes, old_bytes } => Self::Replaced { stored_bytes, old_bytes },
            PutOutcome::Unclassified { stored_bytes } => Self::Unclassified { stored_bytes },
        }
    }
}

impl ErrorReason {
    /// Why a put failed of which it is certain that it stored nothing.
    #[must_use]
    pub fn of_refused(error: &Error) -> Self {
        if error.kind() == ErrorKind::DeadlineExceeded {
            Self::Deadline
        } else if error.kind() == ErrorKind::Cancelled {
            Self::Cancelled
        } else {
            Self::Rejected
        }
    }

    /// Why a put failed, where nobody is asked what became of it.
    #[must_use]
    pub fn of(error: &Error) -> Self {
        match error.put_certainty() {
            PutCertainty::NotStored => Self::of_refused(error),
            PutCertainty::MaybeStored => Self::Ambiguous,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_ambiguous_unless_the_store_is_certain() {
        assert_eq!(ErrorReason::of(&Error::unavailable("lost")), ErrorReason::Ambiguous);
        assert_eq!(ErrorReason::of(&Error::invalid_argument("bad")), ErrorReason::Rejected);
        let late = Error::deadline_exceeded("late");
        assert_eq!(ErrorReason::of(&late), ErrorReason::Ambiguous);
        assert_eq!(ErrorReason::of(&late.not_stored()), ErrorReason::Deadline);
        let gone = Error::cancelled("gone").not_stored();
        assert_eq!(ErrorReason::of(&gone), ErrorReason::Cancelled);
    }
}
