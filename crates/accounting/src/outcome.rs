//! The outcome of an upload: exactly one, whatever happened.

use blobaccess::{Error, ErrorKind, PutCertainty, PutOutcome};

/// The outcome of an upload.
///
/// Consumers know four statuses, `created`, `already_exists`, `error` and `dropped`; the last two have a reason.
/// `replaced` and `unclassified` are counted apart from these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// This upload added the blob.
    Created {
        /// The bytes that the blob takes in the store.
        stored_bytes: u64,
    },
    /// An equal blob was already stored.
    AlreadyExists {
        /// The bytes that the stored blob takes.
        stored_bytes: u64,
    },
    /// An entry of a mutable kind got a new value.
    Replaced {
        /// The bytes that the new value takes.
        stored_bytes: u64,
        /// The bytes that the old value took.
        old_bytes: u64,
    },
    /// The blob is stored, but possibly not by this upload.
    Unclassified {
        /// The bytes that the blob takes in the store, if known.
        stored_bytes: Option<u64>,
    },
    /// The upload failed after it had begun.
    Error(ErrorReason),
    /// The upload was given up before its first byte was sent.
    Dropped {
        /// The reason.
        reason: DropReason,
        /// The bytes that the blob would have taken in the store, if known.
        stored_bytes: Option<u64>,
    },
}

/// The reason why an upload failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorReason {
    /// A refusal by the store, a limit or a missing right: nothing is stored.
    Rejected,
    /// An unknown end: the blob may be stored or not.
    Ambiguous,
    /// A caller that gave up: nothing is stored.
    Cancelled,
    /// A panic.
    Panicked,
    /// A deadline that passed: nothing is stored.
    Deadline,
}

/// The reason why an upload was given up before its first byte was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// A queue without room.
    QueueFull,
    /// A blob, or contents that it needs, that could no longer be read. For a mutable kind, also a value that a newer one
    /// replaced in the queue.
    SourceUnavailable,
    /// A program that stopped first.
    Shutdown,
    /// Uploads that are switched off.
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
    /// Returns the reason of a failed put that is certain to have stored nothing.
    #[must_use]
    pub fn from_refusal(error: &Error) -> Self {
        if error.kind() == ErrorKind::DeadlineExceeded {
            Self::Deadline
        } else if error.kind() == ErrorKind::Cancelled {
            Self::Cancelled
        } else {
            Self::Rejected
        }
    }

    /// Returns the reason of a failed put if the store is not asked about it.
    #[must_use]
    pub fn from_error(error: &Error) -> Self {
        match error.put_certainty() {
            PutCertainty::NotStored => Self::from_refusal(error),
            PutCertainty::MaybeStored => Self::Ambiguous,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_ambiguous_unless_the_store_is_certain() {
        assert_eq!(ErrorReason::from_error(&Error::unavailable("lost")), ErrorReason::Ambiguous);
        assert_eq!(ErrorReason::from_error(&Error::invalid_argument("bad")), ErrorReason::Rejected);
        let late = Error::deadline_exceeded("late");
        assert_eq!(ErrorReason::from_error(&late), ErrorReason::Ambiguous);
        assert_eq!(ErrorReason::from_error(&late.not_stored()), ErrorReason::Deadline);
        let gone = Error::cancelled("gone").not_stored();
        assert_eq!(ErrorReason::from_error(&gone), ErrorReason::Cancelled);
    }
}
