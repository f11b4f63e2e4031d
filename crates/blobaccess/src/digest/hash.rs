//! What a digest function makes of contents: up to 64 bytes, kept in place.

use std::fmt::{self, Display, Formatter};
use std::hash::Hasher as StdHasher;

/// As many bytes as SHA-512 has.
const MAX_SIZE_BYTES: usize = 64;

/// The hash of contents: 0 to 64 bytes.
///
/// It prints in lower-case hexadecimal, and `{:.8}` as the first eight characters of that. It is ordered as its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hash {
    /// Zeros after the hash, so that comparing all of it compares the hash.
    bytes: [u8; MAX_SIZE_BYTES],
    size_bytes: u8,
}

impl Hash {
    /// The hash that consists of these bytes; `None` if they are more than 64.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut hash = Self { bytes: [0; MAX_SIZE_BYTES], size_bytes: u8::try_from(bytes.len()).ok()? };
        hash.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(hash)
    }

    /// The same, of as many as a function yields.
    pub(super) fn from_array<const N: usize>(array: [u8; N]) -> Self {
        const { assert!(N <= MAX_SIZE_BYTES) };
        let mut hash = Self { bytes: [0; MAX_SIZE_BYTES], size_bytes: 0 };
        for (byte, value) in hash.bytes.iter_mut().zip(array) {
            *byte = value;
            hash.size_bytes += 1;
        }
        hash
    }

    /// The hash that is written so: up to 128 characters, an even number of them, each of `0-9a-f`; otherwise `None`.
    #[must_use]
    pub fn from_hex(hex: &str) -> Option<Self> {
        let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
        if pairs.len() > MAX_SIZE_BYTES || !rest.is_empty() {
            return None;
        }
        let mut hash = Self { bytes: [0; MAX_SIZE_BYTES], size_bytes: u8::try_from(pairs.len()).ok()? };
        let mut seen = 0;
        for (byte, [high, low]) in hash.bytes.iter_mut().zip(pairs) {
            let (high, low) = (value(*high), value(*low));
            *byte = high << 4 | low;
            seen |= high | low;
        }
        (seen < 16).then_some(hash)
    }

    /// The bytes themselves.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.size_bytes)).unwrap_or(&self.bytes)
    }

    /// The first eight bytes, most significant first.
    pub(super) fn prefix(&self) -> u64 {
        self.bytes.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }
}

/// The value of a hexadecimal digit, 255 for any other character.
///
/// Without branches, so that the compiler makes vector instructions of the loop around it.
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

/// The hexadecimal digit of a value below 16.
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
