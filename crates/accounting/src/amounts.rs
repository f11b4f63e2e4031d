//! Amounts: objects and bytes, in columns that are never mixed.

use blobaccess::StoredSize;

use crate::Outcome;

/// Objects and bytes that were counted. Every column only ever grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Amounts {
    /// The number of uploads, or of deleted blobs.
    pub objects: u64,
    /// The bytes that they take in the store, or would have taken. Of uploads that failed or were given up, and whose size is
    /// not known exactly, these are the most that they would have taken, if the store can tell.
    pub stored_bytes: u64,
    /// The sum of the sizes in their digests, in bytes.
    pub logical_bytes: u64,
    /// The part of [`logical_bytes`](Self::logical_bytes) whose stored size is not known exactly. If it is 0,
    /// [`stored_bytes`](Self::stored_bytes) is exact.
    pub unsized_bytes: u64,
    /// The bytes that the replaced values took in the store.
    pub old_bytes: u64,
}

impl Amounts {
    /// Returns the columns, in the order of files.
    #[must_use]
    pub const fn columns(&self) -> [u64; 5] {
        [self.objects, self.stored_bytes, self.logical_bytes, self.unsized_bytes, self.old_bytes]
    }

    /// Makes amounts of columns, in the order of files.
    #[must_use]
    pub const fn from_columns([objects, stored_bytes, logical_bytes, unsized_bytes, old_bytes]: [u64; 5]) -> Self {
        Self { objects, stored_bytes, logical_bytes, unsized_bytes, old_bytes }
    }

    /// Returns the amounts of one upload of a blob of `logical_bytes` that has begun.
    #[must_use]
    pub const fn started(logical_bytes: u64) -> Self {
        Self { objects: 1, stored_bytes: 0, logical_bytes, unsized_bytes: 0, old_bytes: 0 }
    }

    /// Returns the amounts of one upload of a blob of `logical_bytes` that ended with `outcome`, to a store that does not
    /// know the sizes of blobs before they are put.
    #[must_use]
    pub const fn ended(outcome: Outcome, logical_bytes: u64) -> Self {
        Self::ended_with(outcome, logical_bytes, StoredSize::Unknown)
    }

    /// Returns the amounts of one upload of a blob of `logical_bytes` that ended with `outcome`. If the outcome has no stored
    /// size, that is `size`, which the store knew before.
    #[must_use]
    pub const fn ended_with(outcome: Outcome, logical_bytes: u64, size: StoredSize) -> Self {
        let (stored, old_bytes) = match outcome {
            Outcome::Created { stored_bytes } | Outcome::AlreadyExists { stored_bytes } => (Some(stored_bytes), 0),
            Outcome::Replaced { stored_bytes, old_bytes } => (Some(stored_bytes), old_bytes),
            Outcome::Unclassified { stored_bytes } | Outcome::Dropped { stored_bytes, .. } => (stored_bytes, 0),
            Outcome::Error(_) => (None, 0),
        };
        let (stored_bytes, unsized_bytes) = match stored {
            Some(stored_bytes) => (stored_bytes, 0),
            None => match size {
                StoredSize::Exact(stored_bytes) => (stored_bytes, 0),
                StoredSize::AtMost(stored_bytes) => (stored_bytes, logical_bytes),
                StoredSize::Unknown => (0, logical_bytes),
            },
        };
        Self { objects: 1, stored_bytes, logical_bytes, unsized_bytes, old_bytes }
    }

    /// Returns the amounts of deleted blobs, which took `stored_bytes`.
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

    /// Adds `other`, column by column.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.with(other, u64::saturating_add)
    }

    /// Returns the higher of both, column by column: the state after two cumulative reports, in any order.
    #[must_use]
    pub fn highest(self, other: Self) -> Self {
        self.with(other, u64::max)
    }

    /// Subtracts `other`, column by column; no column falls below 0.
    #[must_use]
    pub fn beyond(self, other: Self) -> Self {
        self.with(other, u64::saturating_sub)
    }

    /// Returns whether nothing was counted.
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
        let rejected = Outcome::Error(ErrorReason::Rejected);
        assert_eq!(Amounts::ended_with(rejected, 10, StoredSize::Exact(12)).columns(), [1, 12, 10, 0, 0]);
        assert_eq!(Amounts::ended_with(rejected, 10, StoredSize::AtMost(12)).columns(), [1, 12, 10, 10, 0]);
        let created = Outcome::Created { stored_bytes: 3 };
        assert_eq!(Amounts::ended_with(created, 10, StoredSize::AtMost(12)).columns(), [1, 3, 10, 0, 0]);
        let replaced = Outcome::Replaced { stored_bytes: 3, old_bytes: 8 };
        assert_eq!(Amounts::ended(replaced, 10).columns(), [1, 3, 10, 0, 8]);
    }
}
