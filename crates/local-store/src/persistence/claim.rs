//! The claim at the head of a device: that a store took it when it was blank, or by request.

use xxhash_rust::xxh3::xxh3_64;

use crate::device::SECTOR_BYTES;
use crate::machine::casts;

const MAGIC: [u8; 8] = *b"BLOBOWN1";
const VERSION: u32 = 1;
const COVERED_BYTES: usize = 16;

/// The offset of a claim on the device of the state, whatever the sizes of the store. It lies in the first slot for
/// superblocks, behind all but the largest ones, which need it no more.
pub(crate) const OFFSET: u64 = 5 * SECTOR_BYTES;

/// Returns the sector of a claim.
pub(crate) fn encode() -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.resize(COVERED_BYTES, 0);
    let checksum = xxh3_64(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes.resize(casts::in_memory(SECTOR_BYTES), 0);
    bytes
}

/// Returns whether a sector is a claim.
pub(crate) fn is_claim(sector: &[u8]) -> bool {
    sector.starts_with(encode().get(..COVERED_BYTES + 8).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_known_and_nothing_else_is() {
        assert!(is_claim(&encode()));
        assert!(!is_claim(&[0; 4096]));
        for byte in 0..24 {
            let mut damaged = encode();
            damaged[byte] ^= 1;
            assert!(!is_claim(&damaged));
        }
    }
}
