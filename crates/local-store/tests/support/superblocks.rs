//! Superblocks as they lie on a device.

/// Damages the younger of two superblocks, as `docs/format.md` has them for eight blocks.
pub(crate) fn rot_younger_superblock(image: &mut [u8], begin: usize) {
    const SLOT: usize = (160 + 48 * 8 + 24 * 1024 + 96 * 8 + 8_usize).next_multiple_of(4096);
    let sequence =
        |slot: usize| u64::from_le_bytes(*image[begin + slot * SLOT + 32..].first_chunk().unwrap_or(&[0; 8]));
    let younger = usize::from(sequence(0) <= sequence(1));
    image[begin + younger * SLOT + 200] ^= 1;
}
