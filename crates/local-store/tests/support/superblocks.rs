//! Superblocks as they lie on a device.

/// The size of the slot of a superblock, as `docs/format.md` has it for eight blocks and eight accounts.
pub(crate) const SLOT: usize = (160 + 48 * 8 + 24 * 1024 + 96 * 8 + 8_usize).next_multiple_of(4096);

/// Damages the younger of two superblocks.
pub(crate) fn rot_younger_superblock(image: &mut [u8], begin: usize) {
    let sequence =
        |slot: usize| u64::from_le_bytes(*image[begin + slot * SLOT + 32..].first_chunk().unwrap_or(&[0; 8]));
    let younger = usize::from(sequence(0) <= sequence(1));
    image[begin + younger * SLOT + 200] ^= 1;
}
