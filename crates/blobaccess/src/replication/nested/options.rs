//! The limits of copies of nested objects.

use std::num::NonZeroUsize;

/// The number of objects that are read at the same time unless set. With 10 ms for a read, 16 make 1,600 directories a
/// second.
const READS_AT_ONCE: NonZeroUsize = NonZeroUsize::new(16).unwrap();

/// The number of blobs that are looked for and copied together unless set: 70 KB of digests on the wire, and progress
/// that is shown every thousand blobs.
const BATCH_SIZE: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();

/// The limits of a [`NestedReplicator`](super::NestedReplicator).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NestedOptions {
    pub(super) max_message_size_bytes: u64,
    pub(super) max_digests: usize,
    pub(super) max_depth: usize,
    pub(super) reads_at_once: NonZeroUsize,
    pub(super) batch_size: NonZeroUsize,
}

impl Default for NestedOptions {
    fn default() -> Self {
        Self {
            max_message_size_bytes: 16 << 20,
            max_digests: 10_000_000,
            max_depth: 1_000,
            reads_at_once: READS_AT_ONCE,
            batch_size: BATCH_SIZE,
        }
    }
}

impl NestedOptions {
    /// Makes options with the defaults below, which suit most stores.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the size of the largest message that is held in memory, in bytes: 16 MiB unless set. A message is an action,
    /// a directory, or one directory of a tree.
    ///
    /// If it is too small, large directories are refused with `InvalidArgument`. A file in a directory takes some 100
    /// bytes, so the default is enough for 160,000 of them.
    #[must_use]
    pub const fn with_max_message_size_bytes(mut self, bytes: u64) -> Self {
        self.max_message_size_bytes = bytes;
        self
    }

    /// Sets the number of different blobs that one call may copy: 10,000,000 unless set. Beyond that it fails with
    /// `ResourceExhausted`.
    ///
    /// Each takes about 300 bytes of memory until the call has ended, so the default bounds a call to some 3 GB.
    #[must_use]
    pub const fn with_max_digests(mut self, digests: usize) -> Self {
        self.max_digests = digests;
        self
    }

    /// Sets the number of directories that may lie within one another: 1,000 unless set. Deeper ones are refused with
    /// `InvalidArgument`.
    ///
    /// Paths on most systems end at 4,096 bytes, which is 2,048 directories with names of one letter.
    #[must_use]
    pub const fn with_max_depth(mut self, depth: usize) -> Self {
        self.max_depth = depth;
        self
    }

    /// Sets the number of objects that are read at the same time: 1 or more, 16 unless set.
    ///
    /// Too few, and each directory waits for the round trip of another. Each takes memory for a message.
    #[must_use]
    pub const fn with_reads_at_once(mut self, reads: NonZeroUsize) -> Self {
        self.reads_at_once = reads;
        self
    }

    /// Sets the number of blobs that are looked for in the sink and copied together: 1 or more, 1,000 unless set.
    ///
    /// Too few cost a round trip each. Too many make progress visible in large steps.
    #[must_use]
    pub const fn with_batch_size(mut self, digests: NonZeroUsize) -> Self {
        self.batch_size = digests;
        self
    }
}
