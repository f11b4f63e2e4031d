//! How many new blocks immutable and mutable stores keep.

/// When the groups of a store grow, until it has all its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Growth {
    /// Contents: until current and new blocks are all there, all of them are new, so that what a store is filled with
    /// at first is spread over many blocks rather than forgotten together.
    Immutable {
        /// Current blocks, in the end.
        current: usize,
        /// New blocks, in the end.
        new: usize,
    },
    /// Messages: one new block, so that a newer value is never in an older block than an older one.
    Mutable {
        /// Current blocks, in the end.
        current: usize,
    },
}

impl Growth {
    pub(crate) const fn grows_new(self, current: usize, new: usize) -> bool {
        match self {
            Self::Immutable { current: in_the_end, new: new_in_the_end } => current + new < in_the_end + new_in_the_end,
            Self::Mutable { .. } => new < 1,
        }
    }

    pub(crate) const fn grows_current(self, current: usize) -> bool {
        match self {
            Self::Immutable { .. } => false,
            Self::Mutable { current: in_the_end } => current < in_the_end,
        }
    }

    /// How many new blocks there are in the end.
    pub(crate) const fn new_blocks(self) -> usize {
        match self {
            Self::Immutable { new, .. } => new,
            Self::Mutable { .. } => 1,
        }
    }
}
