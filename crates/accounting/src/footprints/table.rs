//! The table of footprints.

use std::fmt::Debug;

use async_trait::async_trait;
use blobaccess::Result;

use super::{FootprintMark, FootprintShard};

/// A table with a row for each namespace: its footprint, and the mark of what is in it.
///
/// # Contract
///
/// * **Compare and add.** [`add`](Self::add) changes a row exactly if its mark is still the expected one. It compares and
///   changes in one transaction, in which the row is locked.
/// * **Durable.** A change that was acknowledged outlives a crash of the table, if the table outlives crashes at all.
/// * **Exact.** A mark is read as it was written. A table that would round one refuses it.
///
/// # Cancel safety
///
/// A call that is dropped may still take effect, as a whole.
#[async_trait]
pub trait FootprintTable: Debug + Send + Sync + 'static {
    /// Returns the active rows of `shard` whose names come after `after`, in an order of the table's own that is always the
    /// same: `limit` of them, and fewer only if there are no more.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the table cannot be read now.
    async fn active(&self, shard: FootprintShard, after: Option<&str>, limit: usize) -> Result<Vec<FootprintRow>>;

    /// Adds `delta_bytes` to the footprint of `name`, and sets its mark to `next`, if its mark is `expected`. Returns whether
    /// it was.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such row; `OutOfRange` if the sum is beyond what the table can keep; `Unavailable` if the
    /// table cannot be changed now, or does not answer. Then the change may have been made.
    async fn add(
        &self,
        name: &str,
        expected: Option<&FootprintMark>,
        delta_bytes: i64,
        next: &FootprintMark,
    ) -> Result<bool>;

    /// Makes several additions, each as [`add`](Self::add), and returns the result of each in their order. A table may make them
    /// in one transaction, as long as one that cannot be made keeps no other. By default they are made one by one.
    async fn add_all(&self, additions: &[FootprintAddition]) -> Vec<Result<bool>> {
        let mut added = Vec::with_capacity(additions.len());
        for FootprintAddition { name, expected, delta_bytes, next } in additions {
            added.push(self.add(name, expected.as_ref(), *delta_bytes, next).await);
        }
        added
    }

    /// Takes over an existing footprint: sets the footprint of `name` to `footprint_bytes`, or leaves it as it is, and sets
    /// its mark, if it has none. Returns whether it had none.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    async fn import(&self, name: &str, footprint_bytes: Option<i64>, mark: &FootprintMark) -> Result<bool>;

    /// Returns whether the table keeps the [counts](FootprintMark::counted) of a mark. It is `true` by default.
    fn keeps_counts(&self) -> bool {
        true
    }
}

/// An addition to a footprint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct FootprintAddition {
    /// The namespace.
    pub name: String,
    /// The mark that the row must have.
    pub expected: Option<FootprintMark>,
    /// The bytes that are added.
    pub delta_bytes: i64,
    /// The mark that the row gets.
    pub next: FootprintMark,
}

impl FootprintAddition {
    /// Makes an addition to a row whose mark is `expected`.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        expected: Option<FootprintMark>,
        delta_bytes: i64,
        next: FootprintMark,
    ) -> Self {
        Self { name: name.into(), expected, delta_bytes, next }
    }
}

/// A row of a table of footprints.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct FootprintRow {
    /// The namespace.
    pub name: String,
    /// The bytes that it stores.
    pub footprint_bytes: i64,
    /// The mark of what is in the footprint. `None` if nothing was counted and nothing was imported.
    pub mark: Option<FootprintMark>,
}

impl FootprintRow {
    /// Makes the row of the namespace `name`.
    #[must_use]
    pub fn new(name: impl Into<String>, footprint_bytes: i64, mark: Option<FootprintMark>) -> Self {
        Self { name: name.into(), footprint_bytes, mark }
    }
}
