//! Protobuf bytes that are read from the front.

use super::wire_type::WireType;

/// The bytes of a message that are still to be read. `None` means that they are malformed.
pub(super) struct WireInput<'b> {
    rest: &'b [u8],
}

impl<'b> WireInput<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Reads the number of a field and the number of its wire type.
    pub(super) fn tag(&mut self) -> Option<(u32, u64)> {
        let tag = u32::try_from(self.varint()?).ok()?;
        Some((tag >> 3, u64::from(tag & 7))).filter(|(number, _)| *number != 0)
    }

    pub(super) fn varint(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.fixed()?;
            // There is one bit left for the tenth byte.
            if shift == 63 && byte > 1 {
                return None;
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    pub(super) fn fixed<const LENGTH: usize>(&mut self) -> Option<[u8; LENGTH]> {
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*bytes)
    }

    /// Reads a length and so many bytes.
    pub(super) fn content(&mut self) -> Option<&'b [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        let (content, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(content)
    }

    /// Skips a value.
    pub(super) fn skip(&mut self, wire_type: WireType) -> Option<()> {
        match wire_type {
            WireType::Varint => self.varint().map(drop),
            WireType::Fixed64 => self.fixed::<8>().map(drop),
            WireType::Length => self.content().map(drop),
            WireType::Fixed32 => self.fixed::<4>().map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_varint_has_at_most_64_bits() {
        let largest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(WireInput::new(&largest).varint(), Some(u64::MAX));
        assert_eq!(WireInput::new(&[0x80, 0x00]).varint(), Some(0));
        for malformed in [&[][..], &[0x80], &[0xff; 9], &[0xff; 10], &[0x80; 11]] {
            assert_eq!(WireInput::new(malformed).varint(), None, "{malformed:x?}");
        }
    }

    #[test]
    fn a_tag_has_a_number() {
        assert_eq!(WireInput::new(&[0x0a]).tag(), Some((1, 2)));
        assert_eq!(WireInput::new(&[0xfa, 0xff, 0xff, 0xff, 0x0f]).tag(), Some(((1 << 29) - 1, 2)));
        for malformed in [&[0x02][..], &[0xfa, 0xff, 0xff, 0xff, 0x1f]] {
            assert_eq!(WireInput::new(malformed).tag(), None, "{malformed:x?}");
        }
    }

    #[test]
    fn content_ends_before_the_bytes_do() {
        assert_eq!(WireInput::new(&[2, 1, 2, 3]).content(), Some(&[1, 2][..]));
        for malformed in [&[2, 1][..], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 1]] {
            assert_eq!(WireInput::new(malformed).content(), None);
        }
    }
}
