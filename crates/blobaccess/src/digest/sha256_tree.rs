//! A tree of SHA-256 over chunks of contents, hashed as they arrive.

use sha2::block_api::compress256;
use sha2::{Digest as _, Sha256};

/// The size of a chunk. Contents of up to this size are hashed by SHA-256 itself.
const CHUNK_SIZE_BYTES: usize = 1024;

/// The value that two hashes encipher: the upper halves of the initial state of SHA-384.
const INITIAL_STATE: [u32; 8] =
    [0xcbbb_9d5d, 0x629a_292a, 0x9159_015a, 0x152f_ecd8, 0x6733_2667, 0x8eb4_4a87, 0xdb0c_2e0d, 0x47b5_481d];

/// The state of SHA256TREE, as the Remote Execution API defines it.
///
/// A subtree of a power of two of chunks is complete once they have all been seen, as its parent splits at the
/// largest power of two. So there is at most one complete subtree of each size that is not part of a larger one, and
/// their sizes are the one bits of the number of chunks. (BLAKE3 keeps its state in the same way.)
#[derive(Clone, Default)]
pub(super) struct Sha256Tree {
    /// The hasher of the incomplete chunk.
    chunk: Sha256,
    /// The size of the incomplete chunk: 0 to `CHUNK_SIZE_BYTES - 1`.
    chunk_size_bytes: usize,
    complete_chunks: u64,
    /// The hashes of complete subtrees, largest first: at most one for each bit of the size.
    subtrees: Vec<[u8; 32]>,
}

impl Sha256Tree {
    pub(super) fn update(&mut self, mut piece: &[u8]) {
        while let Some((head, rest)) = piece.split_at_checked(CHUNK_SIZE_BYTES - self.chunk_size_bytes) {
            self.chunk.update(head);
            self.complete_chunk();
            piece = rest;
        }
        self.chunk.update(piece);
        self.chunk_size_bytes += piece.len();
    }

    fn complete_chunk(&mut self) {
        self.chunk_size_bytes = 0;
        self.complete_chunks += 1;
        let mut subtree = self.chunk.finalize_reset().into();
        // One level for each carry of the addition above.
        for _ in 0..self.complete_chunks.trailing_zeros() {
            let Some(left) = self.subtrees.pop() else { break };
            subtree = parent(left, subtree);
        }
        self.subtrees.push(subtree);
    }

    pub(super) fn finish(mut self) -> [u8; 32] {
        let last = if self.chunk_size_bytes == 0 { self.subtrees.pop() } else { None };
        let last = last.unwrap_or_else(|| self.chunk.finalize().into());
        self.subtrees.into_iter().rev().fold(last, |right, left| parent(left, right))
    }
}

/// Computes the bare block cipher of SHA-256 over both hashes. Compression adds the initial state to its result, so
/// this function subtracts it again.
fn parent(left: [u8; 32], right: [u8; 32]) -> [u8; 32] {
    let mut block = [0; 64];
    let (first_half, second_half) = block.split_at_mut(32);
    first_half.copy_from_slice(&left);
    second_half.copy_from_slice(&right);
    let mut state = INITIAL_STATE;
    compress256(&mut state, &[block]);
    let mut hash = [0; 32];
    for (bytes, (word, initial)) in hash.as_chunks_mut().0.iter_mut().zip(state.into_iter().zip(INITIAL_STATE)) {
        *bytes = word.wrapping_sub(initial).to_be_bytes();
    }
    hash
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::digest::Hash;

    /// Makes the contents that the published vectors are hashes of.
    fn pattern(size_bytes: usize) -> Vec<u8> {
        (0..251).cycle().take(size_bytes).collect()
    }

    fn hash(contents: &[u8]) -> [u8; 32] {
        let mut state = Sha256Tree::default();
        state.update(contents);
        state.finish()
    }

    /// Computes the hash by its definition.
    fn recursively(contents: &[u8]) -> [u8; 32] {
        if contents.len() <= CHUNK_SIZE_BYTES {
            return Sha256::digest(contents).into();
        }
        let (left, right) = contents.split_at(contents.len().next_power_of_two() / 2);
        parent(recursively(left), recursively(right))
    }

    /// Compares eight of the vectors in `sha256tree_test_vectors.txt`, which stands beside the definition of the
    /// protocol.
    #[test]
    fn hashes_are_those_of_the_published_vectors() {
        let vectors = [
            (1025, "36c0998b21839ef74300b9de47d96d1f62323dc81f2b4231e98ce70cd6ffe750"),
            (2048, "b584996386f01793751c5cf0c39561f51b7e9924b818943b3cb2f6928cea0fa9"),
            (2049, "7318d2029b0392edf4cf109edb5a086b4bdadbb7950f710a1483eb881d9e5d44"),
            (3073, "517d20c0e5835f060a1bd6388ed68574f63424bdac2a2c3a35a5c2ef859d8fe2"),
            (8192, "fcfdde6fe59178e17708c5ba647919c3b141a44c9d1970782e597e1465266932"),
            (8193, "113c6e3a2452f388b6fad13dfab66ee0bff597a0a9a517ad8d0165f7190b603e"),
            (31744, "2cdf7662636c173d4b236f6ea03bf84c65e7f6487b53b2a61c420e26cf8a98c7"),
            (102_400, "0668d69e5331840d2f1823d717b7b3f5d1fdc8a09504cddb692b87ff83d50e5f"),
        ];
        for (size_bytes, expected) in vectors {
            assert_eq!(Hash::from_array(hash(&pattern(size_bytes))).to_string(), expected, "{size_bytes} bytes");
        }
    }

    #[test]
    fn a_chunk_or_less_is_hashed_as_it_is() {
        for size_bytes in [0, 1, 1023, 1024] {
            let contents = pattern(size_bytes);
            assert_eq!(hash(&contents), <[u8; 32]>::from(Sha256::digest(&contents)));
        }
    }

    proptest! {
        #[test]
        fn streaming_and_the_definition_agree(size_bytes in 0_usize..40_000, seed: u8) {
            let contents: Vec<u8> = pattern(size_bytes).into_iter().map(|byte| byte ^ seed).collect();
            prop_assert_eq!(hash(&contents), recursively(&contents));
        }
    }
}
