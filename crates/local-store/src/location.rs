//! Where a blob lies: in which use of which block, and where in it.

/// Where a blob lies.
///
/// The generation tells one use of a block from the next: a location whose block is of another generation names
/// nothing. Generations grow, so of two locations the one with the lower generation is the older.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Location {
    /// Below 65,535.
    pub(crate) block: u16,
    pub(crate) generation: u32,
    /// In bytes from the beginning of the block's data; below 2^40.
    pub(crate) offset: u64,
    /// Of the contents, without their trailer; below 2^48.
    pub(crate) size_bytes: u64,
}

/// The largest block: offsets have 40 bits.
pub(crate) const MAX_BLOCK_BYTES: u64 = 1 << 40;

/// The most blocks: a tag has 16 bits for one of them or none.
pub(crate) const MAX_BLOCKS: u32 = 65_535;
