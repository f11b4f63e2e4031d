//! How many blocks become new and current, until a store has all of them.

/// When the groups of a store grow.
///
/// Its blocks are filled in the order in which they go. Buildbarn takes all the blocks of an empty store at once, and
/// spreads what comes first over them; then what was put last may lie in the block that goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Growth {
    /// Current blocks, in the end.
    pub(crate) current: usize,
    /// New blocks: of messages one, so that a newer value is never in an older block than an older one.
    pub(crate) new: usize,
}

impl Growth {
    pub(crate) const fn grows_new(self, new: usize) -> bool {
        new < self.new
    }

    pub(crate) const fn grows_current(self, current: usize) -> bool {
        current < self.current
    }
}
