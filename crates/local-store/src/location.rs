//! Locations of blobs: the use of a block, and the place in it.

/// The location of a blob.
///
/// The generation tells one use of a block from the next: a location whose block is of another generation names
/// nothing. Generations grow, so of two locations the one with the lower generation is the older.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Location {
    /// The number of the block; below 65,535.
    pub(crate) block: u16,
    pub(crate) generation: u32,
    /// The offset from the beginning of the block's data, in bytes; below 2^40.
    pub(crate) offset: u64,
    /// The size of the contents without their trailer, in bytes; below 2^48.
    pub(crate) size_bytes: u64,
}

/// The size of the largest block, in bytes: offsets have 40 bits.
pub(crate) const MAX_BLOCK_BYTES: u64 = 1 << 40;

/// The most blocks: a tag has 16 bits for one of them or none.
pub(crate) const MAX_BLOCKS: u32 = 65_535;
