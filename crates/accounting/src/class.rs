//! The classes of things that are counted: the rows of an account.

use crate::{DropReason, ErrorReason, Outcome};

/// A class of things that are counted apart within an account: uploads begun, outcomes by reason, and deletions.
///
/// The numbers are those of files and are never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Class {
    /// An upload that has begun. Each has, or will have, exactly one outcome.
    Started = 0,
    /// [`Outcome::Created`].
    Created = 1,
    /// [`Outcome::AlreadyExists`].
    AlreadyExists = 2,
    /// [`Outcome::Replaced`].
    Replaced = 3,
    /// [`Outcome::Unclassified`].
    Unclassified = 4,
    /// [`ErrorReason::Rejected`].
    Rejected = 5,
    /// [`ErrorReason::Ambiguous`].
    Ambiguous = 6,
    /// [`ErrorReason::Cancelled`].
    Cancelled = 7,
    /// [`ErrorReason::Panicked`].
    Panicked = 8,
    /// [`ErrorReason::Deadline`].
    Deadline = 9,
    /// [`DropReason::QueueFull`].
    QueueFull = 10,
    /// [`DropReason::SourceUnavailable`].
    SourceUnavailable = 11,
    /// [`DropReason::Shutdown`].
    Shutdown = 12,
    /// [`DropReason::Disabled`].
    Disabled = 13,
    /// A blob that a store evicted by itself, to make room or because it failed verification.
    DeletedByRotation = 14,
    /// A blob that was deleted on request.
    DeletedOnRequest = 15,
    /// A blob that was deleted to keep a bucket within its limits, or by a rule of the bucket.
    DeletedByCollection = 16,
}

impl Class {
    /// Every class, in the order of the numbers.
    pub const ALL: [Self; 17] = [
        Self::Started,
        Self::Created,
        Self::AlreadyExists,
        Self::Replaced,
        Self::Unclassified,
        Self::Rejected,
        Self::Ambiguous,
        Self::Cancelled,
        Self::Panicked,
        Self::Deadline,
        Self::QueueFull,
        Self::SourceUnavailable,
        Self::Shutdown,
        Self::Disabled,
        Self::DeletedByRotation,
        Self::DeletedOnRequest,
        Self::DeletedByCollection,
    ];

    /// The outcomes: the classes in which uploads end. Their numbers are consecutive.
    pub const OUTCOMES: &[Self] = {
        let (_, from_first) = Self::ALL.split_at(1);
        let (outcomes, _deletions) = from_first.split_at(13);
        outcomes
    };

    /// Returns the number of this class.
    #[must_use]
    #[expect(clippy::as_conversions, reason = "the discriminants are the numbers")]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Returns the class with this number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// Returns the status: `created`, `already_exists`, `error` or `dropped`, which consumers know, and also `started`,
    /// `replaced`, `unclassified` and `deleted`.
    #[must_use]
    pub const fn status(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Created => "created",
            Self::AlreadyExists => "already_exists",
            Self::Replaced => "replaced",
            Self::Unclassified => "unclassified",
            Self::Rejected | Self::Ambiguous | Self::Cancelled | Self::Panicked | Self::Deadline => "error",
            Self::QueueFull | Self::SourceUnavailable | Self::Shutdown | Self::Disabled => "dropped",
            Self::DeletedByRotation | Self::DeletedOnRequest | Self::DeletedByCollection => "deleted",
        }
    }

    /// Returns the reason of the status; empty where a status has no reasons.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Started | Self::Created | Self::AlreadyExists | Self::Replaced | Self::Unclassified => "",
            Self::Rejected => "rejected",
            Self::Ambiguous => "ambiguous",
            Self::Cancelled => "cancelled",
            Self::Panicked => "panicked",
            Self::Deadline => "deadline",
            Self::QueueFull => "queue_full",
            Self::SourceUnavailable => "source_unavailable",
            Self::Shutdown => "shutdown",
            Self::Disabled => "disabled",
            Self::DeletedByRotation => "rotation",
            Self::DeletedOnRequest => "request",
            Self::DeletedByCollection => "collection",
        }
    }

    /// Returns whether uploads of this class left their blob in the store, or found it there, or deleted one.
    #[must_use]
    pub(crate) const fn concerns_the_store(self) -> bool {
        match self {
            Self::Created
            | Self::AlreadyExists
            | Self::Replaced
            | Self::Unclassified
            | Self::DeletedByRotation
            | Self::DeletedOnRequest
            | Self::DeletedByCollection => true,
            Self::Started
            | Self::Rejected
            | Self::Ambiguous
            | Self::Cancelled
            | Self::Panicked
            | Self::Deadline
            | Self::QueueFull
            | Self::SourceUnavailable
            | Self::Shutdown
            | Self::Disabled => false,
        }
    }

    /// Returns the class in which `outcome` is counted.
    #[must_use]
    pub const fn from_outcome(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Created { .. } => Self::Created,
            Outcome::AlreadyExists { .. } => Self::AlreadyExists,
            Outcome::Replaced { .. } => Self::Replaced,
            Outcome::Unclassified { .. } => Self::Unclassified,
            Outcome::Error(reason) => match reason {
                ErrorReason::Rejected => Self::Rejected,
                ErrorReason::Ambiguous => Self::Ambiguous,
                ErrorReason::Cancelled => Self::Cancelled,
                ErrorReason::Panicked => Self::Panicked,
                ErrorReason::Deadline => Self::Deadline,
            },
            Outcome::Dropped { reason, .. } => match reason {
                DropReason::QueueFull => Self::QueueFull,
                DropReason::SourceUnavailable => Self::SourceUnavailable,
                DropReason::Shutdown => Self::Shutdown,
                DropReason::Disabled => Self::Disabled,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_found_by_its_code_and_has_a_name_of_its_own() {
        let mut names = std::collections::HashSet::new();
        for class in Class::ALL {
            assert_eq!(Class::from_code(class.code()), Some(class));
            assert!(names.insert((class.status(), class.reason())), "{class:?}");
        }
        assert_eq!(Class::from_code(17), None);
    }

    #[test]
    fn the_outcomes_are_all_that_is_neither_a_beginning_nor_a_deletion() {
        let (first, last) = (Class::OUTCOMES.first().copied(), Class::OUTCOMES.last().copied());
        assert_eq!((first, last), (Some(Class::Created), Some(Class::Disabled)));
        for class in Class::ALL {
            let other = ["started", "deleted"].contains(&class.status());
            assert_eq!(Class::OUTCOMES.contains(&class), !other, "{class:?}");
        }
    }

    #[test]
    fn the_statuses_of_outcomes_are_those_that_consumers_know() {
        let counted_apart = ["replaced", "unclassified"];
        for class in Class::OUTCOMES.iter().copied() {
            let known = ["created", "already_exists", "error", "dropped"].contains(&class.status());
            assert!(known || counted_apart.contains(&class.status()), "{class:?}");
        }
    }
}
