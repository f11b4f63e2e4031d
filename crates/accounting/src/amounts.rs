//! How much: objects and bytes, in columns that are never mixed.

use crate::Outcome;

/// Objects and bytes that were counted. Every column only ever grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Amounts {
    /// Uploads, or blobs that were deleted.
    pub objects: u64,
    /// What they take in the store, in bytes, as far as that is known.
    pub stored_bytes: u64,
    /// Their size as their digests have it, in bytes.
    pub logical_bytes: u64,
    /// The part of [`logical_bytes`](Self::logical_bytes) of those of which it is not known what they take.
    pub unsized_bytes: u64,
    /// What the values that they replaced took in the store, in bytes.
    pub old_bytes: u64,
}

impl Amounts {
    /// The columns, in the order of files.
    #[must_use]
    pub const fn columns(&self) -> [u64; 5] {
        [self.objects, self.stored_bytes, self.logical_bytes, self.unsized_bytes, self.old_bytes]
    }

    /// Those with these columns.
    #[must_use]
    pub const fn of_columns([objects, stored_bytes, logical_bytes, unsized_bytes, old_bytes]: [u64; 5]) -> Self {
        Self { objects, stored_bytes, logical_bytes, unsized_bytes, old_bytes }
    }

    /// One upload of a blob of `logical_bytes` that was begun.
    #[must_use]
    pub const fn started(logical_bytes: u64) -> Self {
        Self { objects: 1, stored_bytes: 0, logical_bytes, unsized_bytes: 0, old_bytes: 0 }
    }

    /// One upload of a blob of `logical_bytes` that ended so.
    #[must_use]
    pub const fn ended(outcome: Outcome, logical_bytes: u64) -> Self {
        let (stored, old_bytes) = match outcome {
            Outcome::Created { stored_bytes } | Outcome::AlreadyExists { stored_bytes } => (Some(stored_bytes), 0),
            Outcome::Replaced { stored_bytes, old_bytes } => (Some(stored_bytes), old_bytes),
            Outcome::Unclassified { stored_bytes } | Outcome::Dropped { stored_bytes, .. } => (stored_bytes, 0),
            Outcome::Error(_) => (None, 0),
        };
        let (stored_bytes, unsized_bytes) = match stored {
            Some(stored_bytes) => (stored_bytes, 0),
            None => (0, logical_bytes),
        };
        Self { objects: 1, stored_bytes, logical_bytes, unsized_bytes, old_bytes }
    }

    /// Blobs that were deleted, which took `stored_bytes`.
    #[must_use]
    pub const fn deleted(objects: u64, stored_bytes: u64) -> Self {
        Self { objects, stored_bytes, logical_bytes: 0, unsized_bytes: 0, old_bytes: 0 }
    }

    fn with(self, other: Self, change: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            objects: change(self.objects, other.objects),
            stored_bytes: change(self.stored_bytes, other.stored_bytes),
            logical_bytes: change(self.logical_bytes, other.logical_bytes),
            unsized_bytes: change(self.unsized_bytes, other.unsized_bytes),
            old_bytes: change(self.old_bytes, other.old_bytes),
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.with(other, u64::saturating_add)
    }

    /// The higher of both, column by column: what is known after either of two cumulative reports, in any order.
    #[must_use]
    pub fn highest(self, other: Self) -> Self {
        self.with(other, u64::max)
    }

    /// What these have beyond `other`, column by column.
    #[must_use]
    pub fn beyond(self, other: Self) -> Self {
        self.with(other, u64::saturating_sub)
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DropReason, ErrorReason};

    #[test]
    fn stored_and_logical_bytes_are_never_mixed() {
        let created = Amounts::ended(Outcome::Created { stored_bytes: 3 }, 10);
        assert_eq!(created.columns(), [1, 3, 10, 0, 0]);
        let dropped = Outcome::Dropped { reason: DropReason::QueueFull, stored_bytes: None };
        assert_eq!(Amounts::ended(dropped, 10).columns(), [1, 0, 10, 10, 0]);
        let dropped = Outcome::Dropped { reason: DropReason::QueueFull, stored_bytes: Some(4) };
        assert_eq!(Amounts::ended(dropped, 10).columns(), [1, 4, 10, 0, 0]);
        assert_eq!(Amounts::ended(Outcome::Error(ErrorReason::Rejected), 10).columns(), [1, 0, 10, 10, 0]);
        let replaced = Outcome::Replaced { stored_bytes: 3, old_bytes: 8 };
        assert_eq!(Amounts::ended(replaced, 10).columns(), [1, 3, 10, 0, 8]);
    }
}
