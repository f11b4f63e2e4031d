//! Digests in a few bytes, for places where many of them are stored.
//!
//! The number of the function in one byte, then the bytes of the hash, then the size as a zig-zag varint: twice the
//! size, seven bits in each byte, lowest first, with the eighth bit set if another byte follows. The instance name is
//! left out.

use super::{Digest, DigestFunction, InstanceName};
use crate::{Error, Result};

/// The bit set in all bytes of a varint but the last.
const CONTINUED: u8 = 0x80;

impl Digest {
    /// Appends the compact form: 18 to 75 bytes, without the instance name.
    pub fn to_compact(&self, out: &mut Vec<u8>) {
        // All numbers are below 256.
        out.push(u8::try_from(self.function.number()).unwrap_or_default());
        out.extend_from_slice(self.hash_bytes());
        let mut zig_zag = self.size_bytes << 1;
        loop {
            let [low, ..] = zig_zag.to_le_bytes();
            zig_zag >>= 7;
            if zig_zag == 0 {
                out.push(low);
                return;
            }
            out.push(low | CONTINUED);
        }
    }

    /// Reads the digest at the front of `input`, and advances `input` past it. On an error, `input` stays as it was.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the function is not supported, the size is negative or does not fit 64 bits, or the input
    /// ends too early.
    pub fn from_compact(instance_name: InstanceName, input: &mut &[u8]) -> Result<Self> {
        let (number, rest) = input.split_first().ok_or_else(cut_short)?;
        let function = DigestFunction::resolve(i32::from(*number), 0)?;
        let (hash, mut rest) = rest.split_at_checked(function.hash_size_bytes()).ok_or_else(cut_short)?;
        let zig_zag = read_varint(&mut rest)?;
        if zig_zag & 1 == 1 {
            // Of the sizes below zero, -1 is written as 1.
            return Err(super::invalid_size(-1 - i128::from(zig_zag >> 1)));
        }
        let digest = Self::from_hash(instance_name, function, hash, zig_zag >> 1)?;
        *input = rest;
        Ok(digest)
    }
}

fn read_varint(input: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = input.split_first().ok_or_else(cut_short)?;
        *input = rest;
        let bits = u64::from(byte & !CONTINUED);
        if bits << shift >> shift != bits {
            break;
        }
        value |= bits << shift;
        if byte & CONTINUED == 0 {
            return Ok(value);
        }
    }
    Err(Error::invalid_argument("digest size does not fit 64 bits"))
}

fn cut_short() -> Error {
    Error::invalid_argument("compact digest is cut short")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ErrorKind;
    use crate::digest::tests::any_digest;

    fn compact(digest: &Digest) -> Vec<u8> {
        let mut out = Vec::new();
        digest.to_compact(&mut out);
        out
    }

    fn refused(mut input: &[u8]) -> String {
        let before = input;
        let error = Digest::from_compact(InstanceName::empty(), &mut input).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert_eq!(input, before);
        error.to_string()
    }

    /// Makes a compact form with a hash of zeros and these bytes for the size.
    fn with_size(size: &[u8]) -> Vec<u8> {
        [&[3][..], &[0; 16], size].concat()
    }

    #[test]
    fn the_compact_form_has_the_function_the_hash_and_a_signed_size() {
        for (function, number) in [
            (DigestFunction::Blake3, 9),
            (DigestFunction::GitSha1, 10),
            (DigestFunction::Sha256, 1),
            (DigestFunction::Sha256Tree, 8),
        ] {
            let name = InstanceName::new("hello/world").unwrap();
            let hash = vec![0xab; function.hash_size_bytes()];
            let digest = Digest::from_hash(name.clone(), function, &hash, 124_982_395).unwrap();
            let bytes = compact(&digest);
            assert_eq!(bytes, [&[number][..], &hash, &[0xf6, 0xd1, 0x98, 0x77]].concat());
            assert_eq!(Digest::from_compact(name, &mut &*bytes).unwrap(), digest);
        }
    }

    #[test]
    fn the_compact_form_has_18_to_75_bytes() {
        let largest = i64::MAX.unsigned_abs();
        let smallest = Digest::from_hash(InstanceName::empty(), DigestFunction::Md5, &[0; 16], 0).unwrap();
        let longest = Digest::from_hash(InstanceName::empty(), DigestFunction::Sha512, &[0; 64], largest).unwrap();
        assert_eq!(compact(&smallest).len(), 18);
        assert_eq!(compact(&longest).len(), 75);
    }

    #[test]
    fn what_is_not_a_digest_is_refused_and_not_consumed() {
        assert_eq!(refused(&[]), "compact digest is cut short");
        assert_eq!(refused(&[0; 40]), "no digest function was named");
        assert_eq!(refused(&[4; 40]), "unknown digest function: number 4");
        assert_eq!(refused(&[3; 16]), "compact digest is cut short");
        assert_eq!(refused(&with_size(&[])), "compact digest is cut short");
        assert_eq!(refused(&with_size(&[0xff, 0x80])), "compact digest is cut short");
        assert_eq!(refused(&with_size(&[1])), "invalid digest size: -1 bytes");
        let all_ones = [[0xff; 9].as_slice(), &[1]].concat();
        assert_eq!(refused(&with_size(&all_ones)), "invalid digest size: -9223372036854775808 bytes");
        for too_large in [[[0xff; 9].as_slice(), &[2]].concat(), vec![0x80; 11]] {
            assert_eq!(refused(&with_size(&too_large)), "digest size does not fit 64 bits");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(digests in prop::collection::vec(any_digest(), 0..5)) {
            let mut bytes = Vec::new();
            for digest in &digests {
                digest.to_compact(&mut bytes);
            }
            let mut rest = &*bytes;
            for digest in &digests {
                let name = digest.instance_name().clone();
                prop_assert_eq!(&Digest::from_compact(name, &mut rest).unwrap(), digest);
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn no_bytes_panic(number in 0_u8..12, bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0xff)], 0..90)) {
            let input = [&[number], &*bytes].concat();
            if let Ok(digest) = Digest::from_compact(InstanceName::empty(), &mut &*input) {
                let written = compact(&digest);
                prop_assert_eq!(Digest::from_compact(InstanceName::empty(), &mut &*written).unwrap(), digest);
            }
        }
    }
}
