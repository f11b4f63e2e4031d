//! The tail of an object: the token that it was put with, and its digest where the key does not tell it.
//!
//! `docs/format.md`, section 4.

use blobaccess::{Digest, DigestFunction, Error, InstanceName, Result, StorageType, UploadToken};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::key_location_map::Record;
use crate::machine::casts;
use crate::object::checksums;

/// The size of the head of a tail, in bytes: its checksum, its length, flags, the length of the hash.
pub(crate) const HEAD_BYTES: u64 = 12;
const SUM_BYTES: usize = 8;

const TOKEN: u8 = 1;
const DIGEST: u8 = 2;

/// The size of the longest tail of messages, whose instance names are kept, in bytes.
const MAX_OF_MESSAGES: u64 = 4096;
/// The size of the longest tail of contents, in bytes: a token, a hash of 64 bytes and the size.
const MAX_OF_CONTENTS: u64 = HEAD_BYTES + 16 + 8 + 64;

/// Returns the size of the longest tail that objects of this kind have, in bytes.
pub(crate) const fn max_bytes(storage_type: StorageType) -> u64 {
    if storage_type.is_mutable() { MAX_OF_MESSAGES } else { MAX_OF_CONTENTS }
}

/// Returns the usual size of a tail, in bytes: with a token, and where instance names are kept, one of up to 60 bytes.
pub(crate) const fn usual_bytes(storage_type: StorageType) -> u64 {
    HEAD_BYTES + if storage_type.is_mutable() { 16 + 8 + 32 + 60 } else { 16 }
}

/// Encodes the tail of an object, without its checksum, which depends on the record. It is empty if the object needs
/// none.
///
/// # Errors
///
/// `InvalidArgument` if the instance name is too long to be kept.
pub(crate) fn encode(storage_type: StorageType, digest: &Digest, token: Option<&UploadToken>) -> Result<Vec<u8>> {
    let hash = digest.hash_bytes();
    let has_digest = storage_type.is_mutable() || hash.len() > 32;
    if token.is_none() && !has_digest {
        return Ok(Vec::new());
    }
    let name = if storage_type.is_mutable() { digest.instance_name().as_str() } else { "" };
    let mut body = Vec::with_capacity(4 + 16 + 8 + hash.len() + name.len());
    let flags = if token.is_some() { TOKEN } else { 0 } | if has_digest { DIGEST } else { 0 };
    body.extend_from_slice(&[0, 0, flags, if has_digest { u8::try_from(hash.len()).unwrap_or_default() } else { 0 }]);
    if let Some(token) = token {
        body.extend_from_slice(token.as_bytes());
    }
    if has_digest {
        body.extend_from_slice(&digest.size_bytes().to_le_bytes());
        body.extend_from_slice(hash);
        body.extend_from_slice(name.as_bytes());
    }
    let length = SUM_BYTES + body.len();
    if casts::on_device(length) > max_bytes(storage_type) {
        return Err(Error::invalid_argument(format!(
            "instance name is {} bytes; the maximum is {}",
            name.len(),
            (MAX_OF_MESSAGES - HEAD_BYTES - 16 - 8 - 64)
        )));
    }
    if let Some(place) = body.first_chunk_mut() {
        *place = u16::try_from(length).unwrap_or_default().to_le_bytes();
    }
    Ok(body)
}

/// Returns the checksum that stands before the rest of the tail of the object that `record` names.
pub(crate) fn sum(record: &Record, body: &[u8]) -> [u8; SUM_BYTES] {
    xxh3_64_with_seed(body, checksums::seed(record)).to_le_bytes()
}

/// Returns how much of a block a tail takes that has `body` after its checksum, in bytes.
pub(crate) fn size_bytes(body: &[u8]) -> u64 {
    if body.is_empty() { 0 } else { casts::on_device(SUM_BYTES + body.len()) }
}

/// Returns the length of the tail that begins with `head`, in bytes.
pub(crate) fn length(head: &[u8]) -> Option<u64> {
    let length = head.get(SUM_BYTES..)?.first_chunk().map(|length| u64::from(u16::from_le_bytes(*length)))?;
    (length >= HEAD_BYTES).then_some(length)
}

/// Verifies a tail and returns it without its checksum; `None` if it is not the tail of the object that `record` names.
pub(crate) fn verified<'a>(record: &Record, tail: &'a [u8]) -> Option<&'a [u8]> {
    let (stored, body) = tail.split_first_chunk()?;
    (sum(record, body) == *stored).then_some(body)
}

/// The decoded tail of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    pub(crate) token: Option<UploadToken>,
    pub(crate) digest: Option<Digest>,
}

impl Tail {
    /// Decodes a tail without its checksum; `None` if it makes no sense.
    pub(crate) fn read(body: &[u8], function: u8) -> Option<Self> {
        let ([_, _, flags, hash_bytes], mut rest) = body.split_first_chunk()?;
        let mut token = None;
        if flags & TOKEN != 0 {
            let (bytes, behind) = rest.split_first_chunk()?;
            token = Some(UploadToken::from_bytes(*bytes));
            rest = behind;
        }
        let mut digest = None;
        if flags & DIGEST != 0 {
            let (size, behind) = rest.split_first_chunk()?;
            let (hash, name) = behind.split_at_checked(usize::from(*hash_bytes))?;
            let name = InstanceName::from_stored(std::str::from_utf8(name).ok()?).ok()?;
            let function = DigestFunction::from_number(i32::from(function))?;
            digest = Some(Digest::from_hash(name, function, hash, u64::from_le_bytes(*size)).ok()?);
        }
        Some(Self { token, digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::location::Location;

    fn record() -> Record {
        Record {
            key_words: [1, 2, 3, 4],
            location: Location { block: 0, generation: 1, offset: 0, size_bytes: 5 },
            function: 1,
            is_part: false,
            has_tail: true,
            account_name: 1,
            sequence: 9,
            entry: 0,
        }
    }

    #[test]
    fn contents_have_a_tail_only_for_a_token_or_a_long_hash() {
        let token = UploadToken::from_bytes([7; 16]);
        for function in DigestFunction::ALL {
            let digest = Digest::of(InstanceName::new("a/b").unwrap(), function, b"x");
            let none = encode(StorageType::Cas, &digest, None).unwrap();
            assert_eq!(none.is_empty(), function.hash_size_bytes() <= 32);
            let body = encode(StorageType::Cas, &digest, Some(&token)).unwrap();
            assert!(size_bytes(&body) <= max_bytes(StorageType::Cas));
            let number = u8::try_from(function.number()).unwrap();
            let tail = Tail::read(&body, number).unwrap();
            assert_eq!(tail.token, Some(token));
            let expected = digest.with_instance_name(InstanceName::empty());
            assert_eq!(tail.digest, (function.hash_size_bytes() > 32).then_some(expected));
            let message = Tail::read(&encode(StorageType::Ac, &digest, None).unwrap(), number).unwrap();
            assert_eq!(message, Tail { token: None, digest: Some(digest) });
        }
    }

    #[test]
    fn a_tail_proves_right_for_its_own_record_only() {
        let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"x");
        let body = encode(StorageType::Ac, &digest, None).unwrap();
        let mut bytes = sum(&record(), &body).to_vec();
        bytes.extend_from_slice(&body);
        assert_eq!(length(&bytes[..12]), Some(size_bytes(&body)));
        assert_eq!(verified(&record(), &bytes), Some(&*body));
        assert_eq!(verified(&Record { sequence: 10, ..record() }, &bytes), None);
        bytes[20] ^= 1;
        assert_eq!(verified(&record(), &bytes), None);
    }

    #[test]
    fn a_name_too_long_to_be_kept_is_refused() {
        // Only prefixes that are put before names make them longer than the longest that is parsed.
        let name = |length: usize| {
            let part = |length| InstanceName::new(&"x".repeat(length)).unwrap();
            let patcher = blobaccess::InstanceNamePatcher::new(InstanceName::empty(), part(999));
            (0..3).fold(part(length - 3 * 1_000), |name, _| patcher.patch(&name).unwrap())
        };
        let encoded = |length| {
            let digest = Digest::of(name(length), DigestFunction::Sha512, b"x");
            encode(StorageType::Ac, &digest, Some(&UploadToken::from_bytes([1; 16])))
        };
        assert!(encoded(3_996).is_ok());
        assert!(encoded(3_997).unwrap_err().to_string().contains("3997 bytes; the maximum is 3996"));
    }
}
