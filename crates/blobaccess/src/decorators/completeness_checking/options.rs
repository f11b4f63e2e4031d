//! The limits of a completeness check, and how long its outcome is remembered.

use std::time::Duration;

use crate::RECOMMENDED_FIND_MISSING_DIGESTS;

/// The limits of [`CompletenessChecking`](super::CompletenessChecking), and how long complete trees are remembered.
///
/// The clock is not a setting: see [`CompletenessChecking::with_clock`](super::CompletenessChecking::with_clock).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletenessOptions {
    pub(super) batch_size: usize,
    pub(super) max_message_size_bytes: u64,
    pub(super) max_total_tree_size_bytes: u64,
    pub(super) trees_at_once: usize,
    pub(super) remembered_trees: usize,
    pub(super) remembered_for: Duration,
}

impl Default for CompletenessOptions {
    fn default() -> Self {
        Self {
            batch_size: RECOMMENDED_FIND_MISSING_DIGESTS,
            max_message_size_bytes: 16 << 20,
            max_total_tree_size_bytes: 64 << 20,
            trees_at_once: 8,
            remembered_trees: 10_000,
            remembered_for: Duration::from_mins(1),
        }
    }
}

impl CompletenessOptions {
    /// Makes options with the defaults below, which suit most stores.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the maximum number of digests in one call of [`find_missing`](crate::BlobAccess::find_missing): at
    /// least 1, by default [`RECOMMENDED_FIND_MISSING_DIGESTS`].
    ///
    /// With few, a check needs more round trips. With many, a call may exceed the largest message of a remote store.
    #[must_use]
    pub fn with_batch_size(mut self, digests: usize) -> Self {
        self.batch_size = digests.max(1);
        self
    }

    /// Sets the size of the largest message that is held in memory, in bytes, by default 16 MiB. A message is an action
    /// result, or one directory of a tree.
    ///
    /// If it is too small, results with many outputs are refused with `InvalidArgument` when they are put, and results
    /// whose trees have a large directory are always `NotFound`. A file in a directory takes some 100 bytes, so the default is enough for 160,000 of them.
    #[must_use]
    pub fn with_max_message_size_bytes(mut self, bytes: u64) -> Self {
        self.max_message_size_bytes = bytes;
        self
    }

    /// Sets the size that all trees of one action result may have together, in bytes, by default 64 MiB. A tree that is
    /// named twice counts once; one that is remembered as complete counts too. Directories that are blobs of their own, for
    /// want of a tree, count like one.
    ///
    /// If it is too small, results with large output directories are always `NotFound`, and their actions run again and
    /// again. If it is too large, one request can make the store read that much, and the check keep it in memory.
    #[must_use]
    pub fn with_max_total_tree_size_bytes(mut self, bytes: u64) -> Self {
        self.max_total_tree_size_bytes = bytes;
        self
    }

    /// Sets the number of trees that one check reads concurrently: at least 1, by default 8.
    ///
    /// With few, a check waits for one round trip after another. Each tree takes memory for one directory of up to the
    /// largest size permitted.
    #[must_use]
    pub fn with_trees_at_once(mut self, trees: usize) -> Self {
        self.trees_at_once = trees.max(1);
        self
    }

    /// Sets the number of complete trees that are remembered, and for how long: by default 10,000, for one minute. With
    /// either at zero, none are remembered.
    ///
    /// With few trees or a short time, trees that many results share are read again. With a long time, a result may be
    /// returned although files in its trees are gone: see *Weakens* at
    /// [`CompletenessChecking`](super::CompletenessChecking). [`CompletenessSnapshot`](super::CompletenessSnapshot)
    /// tells how many were read and how many were known.
    #[must_use]
    pub fn with_remembered_trees(mut self, trees: usize, duration: Duration) -> Self {
        self.remembered_trees = trees;
        self.remembered_for = duration;
        self
    }
}
