//! The result of a digest function: up to 64 bytes, kept in place.

use std::fmt::{self, Display, Formatter};
use std::hash::Hasher as StdHasher;

/// The number of bytes of a SHA-512.
const MAX_SIZE_BYTES: usize = 64;

/// The hash of contents: 0 to 64 bytes.
///
/// It prints in lower-case hexadecimal, and `{:.8}` as the first eight characters of that. It is ordered as its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hash {
    /// The bytes, followed by zeros, so that comparing all of it compares the hash.
    bytes: [u8; MAX_SIZE_BYTES],
    size_bytes: u8,
}

impl Hash {
    /// The hash of no bytes.
    pub(super) const NONE: Self = Self { bytes: [0; MAX_SIZE_BYTES], size_bytes: 0 };

    /// Makes the hash that consists of these bytes; `None` if there are more than 64.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut hash = Self::NONE;
        hash.read_bytes(bytes).then_some(hash)
    }

    /// Makes the hash of these bytes, as many as a function yields.
    pub(super) fn from_array<const N: usize>(array: [u8; N]) -> Self {
        const { assert!(N <= MAX_SIZE_BYTES) };
        let mut hash = Self::NONE;
        hash.read_bytes(&array);
        hash
    }

    /// Parses a hash: up to 128 characters, an even number of them, each of `0-9a-f`; otherwise `None`.
    #[must_use]
    pub fn from_hex(hex: &str) -> Option<Self> {
        let mut hash = Self::NONE;
        hash.read_hex(hex).then_some(hash)
    }

    // These two functions fill a hash where it lies, within a digest: moving the hash would cost more. The hash must
    // have been `NONE`, and is invalid if they return `false`.

    pub(super) fn read_bytes(&mut self, bytes: &[u8]) -> bool {
        let (Some(place), Ok(size_bytes)) = (self.bytes.get_mut(..bytes.len()), u8::try_from(bytes.len())) else {
            return false;
        };
        place.copy_from_slice(bytes);
        self.size_bytes = size_bytes;
        true
    }

    pub(super) fn read_hex(&mut self, hex: &str) -> bool {
        let (pairs, odd) = hex.as_bytes().as_chunks::<2>();
        let (Some(place), Ok(size_bytes)) = (self.bytes.get_mut(..pairs.len()), u8::try_from(pairs.len())) else {
            return false;
        };
        self.size_bytes = size_bytes;
        let mut seen = 0;
        // With a known length, the loop becomes straight vector instructions. All functions but two have a multiple of
        // eight bytes.
        let (blocks, rest) = pairs.as_chunks::<8>();
        let (places, rest_of_place) = place.as_chunks_mut::<8>();
        for (place, block) in places.iter_mut().zip(blocks) {
            for (byte, pair) in place.iter_mut().zip(block) {
                *byte = decode(*pair, &mut seen);
            }
        }
        for (byte, pair) in rest_of_place.iter_mut().zip(rest) {
            *byte = decode(*pair, &mut seen);
        }
        odd.is_empty() && seen < 16
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.size_bytes)).unwrap_or(&self.bytes)
    }

    /// Appends the hash in lower-case hexadecimal: two characters for each byte.
    pub fn to_hex(&self, out: &mut Vec<u8>) {
        let mut pairs = [[0; 2]; MAX_SIZE_BYTES];
        // All bytes are converted, since a loop of known length is faster than one of half as many steps.
        for (pair, byte) in pairs.iter_mut().zip(self.bytes) {
            *pair = [digit(byte >> 4), digit(byte & 15)];
        }
        let hex = pairs.as_flattened();
        out.extend_from_slice(hex.get(..2 * self.as_bytes().len()).unwrap_or(hex));
    }

    /// Returns the first eight bytes as a number, most significant first.
    pub(crate) fn prefix(&self) -> u64 {
        self.bytes.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }
}

/// Returns the byte of a pair of digits. The bits of both their values are added to `seen`.
const fn decode([high, low]: [u8; 2], seen: &mut u8) -> u8 {
    let (high, low) = (value(high), value(low));
    *seen |= high | low;
    high << 4 | low
}

/// Returns the value of a hexadecimal digit, and 255 for any other character.
const fn value(character: u8) -> u8 {
    let digit = character.wrapping_sub(b'0');
    let letter = character.wrapping_sub(b'a');
    if digit < 10 {
        digit
    } else if letter < 6 {
        letter + 10
    } else {
        u8::MAX
    }
}

/// Returns the hexadecimal digit of a value below 16.
const fn digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' - 10 + value }
}

impl std::hash::Hash for Hash {
    fn hash<H: StdHasher>(&self, state: &mut H) {
        state.write(self.as_bytes());
    }
}

impl Display for Hash {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut hex = [0; 2 * MAX_SIZE_BYTES];
        for (pair, byte) in hex.as_chunks_mut().0.iter_mut().zip(self.as_bytes()) {
            *pair = [digit(byte >> 4), digit(byte & 15)];
        }
        let hex = hex.get(..2 * self.as_bytes().len()).unwrap_or(&hex);
        f.pad(str::from_utf8(hex).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_character_but_lower_case_hexadecimal_is_refused() {
        for character in (0..=0x7f_u8).map(char::from).chain(['ä', '０']) {
            let good = matches!(character, '0'..='9' | 'a'..='f');
            for hex in [format!("{character}1"), format!("1{character}"), format!("00{character}{character}ff00")] {
                let hash = Hash::from_hex(&hex);
                assert_eq!(hash.is_some(), good, "{hex}");
                assert!(hash.is_none_or(|hash| hash.to_string() == hex));
            }
        }
    }

    #[test]
    fn a_hash_has_up_to_64_bytes() {
        assert_eq!(Hash::from_hex("").unwrap().as_bytes(), b"");
        assert_eq!(Hash::from_hex("abc"), None);
        assert_eq!(Hash::from_hex(&"ab".repeat(64)), Hash::from_bytes(&[0xab; 64]));
        assert_eq!(Hash::from_hex(&"ab".repeat(65)), None);
        assert_eq!(Hash::from_bytes(&[0xab; 65]), None);
        assert_eq!(Hash::from_bytes(&[0xab; 256 + 8]), None);
    }

    #[test]
    fn a_hash_prints_as_many_characters_as_asked_for() {
        let hash = Hash::from_hex("00ff10aa").unwrap();
        assert_eq!(format!("{hash:.4}"), "00ff");
        assert_eq!(format!("{hash:?}"), "Hash(00ff10aa)");
    }

    proptest! {
        #[test]
        fn what_is_printed_is_parsed(bytes in prop::collection::vec(any::<u8>(), 0..=64)) {
            let hash = Hash::from_bytes(&bytes).unwrap();
            prop_assert_eq!(hash.as_bytes(), &*bytes);
            prop_assert_eq!(Hash::from_hex(&hash.to_string()), Some(hash));
        }

        #[test]
        fn order_is_that_of_the_bytes(
            a in prop::collection::vec(0_u8..3, 0..=4),
            b in prop::collection::vec(0_u8..3, 0..=4),
        ) {
            let order = Hash::from_bytes(&a).unwrap().cmp(&Hash::from_bytes(&b).unwrap());
            prop_assert_eq!(order, a.cmp(&b));
        }
    }
}
