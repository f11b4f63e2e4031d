//! A digest as a key of fixed size.

use blobaccess::{Digest, StorageType};

/// The key that a record is found by: 32 bytes, and for contents the size and the function as well.
///
/// `docs/format.md`, section 5, says how it is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) words: [u64; 4],
    /// The size and the function of the digest, packed as in a record; 0 where the words alone are compared.
    pub(crate) check: u64,
}

/// The bits of the size, the lower 48, and of the function, the next 8.
pub(crate) const CHECK_MASK: u64 = (1 << 56) - 1;

/// Makes keys for the digests of one store.
#[derive(Clone, Debug)]
pub(crate) enum Keys {
    /// Contents: the hash itself tells them apart.
    Contents,
    /// Messages: a keyed hash of everything, so that nobody can choose keys that collide. The digest is not that of the
    /// contents, and the instance name counts.
    Messages {
        /// A secret that only the store knows.
        secret: [u8; 32],
    },
}

impl Keys {
    pub(crate) fn new(storage_type: StorageType, secret: [u8; 32]) -> Self {
        if storage_type.is_mutable() { Self::Messages { secret } } else { Self::Contents }
    }

    /// Returns the mask of the bits of a record's size and function that must be those of the key.
    pub(crate) fn check_mask(&self) -> u64 {
        match self {
            Self::Contents => CHECK_MASK,
            Self::Messages { .. } => 0,
        }
    }

    /// Returns whether a key is the hash itself, which takes no work.
    #[inline]
    pub(crate) fn is_hash(&self) -> bool {
        matches!(self, Self::Contents)
    }

    #[inline]
    pub(crate) fn key(&self, digest: &Digest) -> Key {
        match self {
            Self::Contents => key_of_contents(digest),
            Self::Messages { secret } => key_of_message(secret, digest),
        }
    }
}

/// Returns the key of contents: the hash itself.
#[inline]
pub(crate) fn key_of_contents(digest: &Digest) -> Key {
    // Most hashes have 32 bytes: that is one copy of a known length.
    let words = match digest.hash_bytes().first_chunk() {
        Some(bytes) => words(bytes),
        None => words_of_hash(digest.hash_bytes()),
    };
    Key { words, check: pack(digest.size_bytes(), function(digest)) }
}

/// Returns `keys` by their positions, as look-ups of many ask for them.
pub(crate) fn by_position(keys: &[Key]) -> impl Fn(usize) -> Key {
    |position| keys.get(position).copied().unwrap_or_default()
}

/// Makes the key of a message. Apart, so that keys of contents are made in place.
#[inline(never)]
fn key_of_message(secret: &[u8; 32], digest: &Digest) -> Key {
    let mut hasher = blake3::Hasher::new_keyed(secret);
    hasher.update(&digest.function().number().to_le_bytes());
    hasher.update(&digest.size_bytes().to_le_bytes());
    hasher.update(&[u8::try_from(digest.hash_bytes().len()).unwrap_or(u8::MAX)]);
    hasher.update(digest.hash_bytes());
    hasher.update(digest.instance_name().as_str().as_bytes());
    Key { words: words(hasher.finalize().as_bytes()), check: 0 }
}

/// Returns a short hash with zeros behind it.
#[inline(never)]
fn padded(hash: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (byte, hashed) in bytes.iter_mut().zip(hash) {
        *byte = *hashed;
    }
    bytes
}

/// Returns the words of a key that is this hash.
pub(crate) fn words_of_hash(hash: &[u8]) -> [u64; 4] {
    words(&padded(hash))
}

/// Returns the function of a digest, by its number in the protocol.
#[inline]
pub(crate) fn function(digest: &Digest) -> u8 {
    u8::try_from(digest.function().number()).unwrap_or_default()
}

/// Packs size and function as a record has them.
#[inline]
pub(crate) const fn pack(size_bytes: u64, function: u8) -> u64 {
    #[expect(clippy::as_conversions, reason = "`u64::from` is not const")]
    let function = function as u64;
    size_bytes & ((1 << 48) - 1) | function << 48
}

#[inline]
pub(crate) fn words(bytes: &[u8; 32]) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

pub(crate) fn bytes(words: &[u64; 4]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (bytes, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *bytes = word.to_le_bytes();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use blobaccess::{DigestFunction, InstanceName};

    use super::*;

    fn digest(name: &str, function: DigestFunction, contents: &[u8]) -> Digest {
        Digest::of(InstanceName::new(name).unwrap(), function, contents)
    }

    #[test]
    fn contents_are_told_apart_by_function_and_size_as_well_as_by_hash() {
        let keys = Keys::new(StorageType::Cas, [0; 32]);
        let name = InstanceName::empty;
        let a = Digest::from_hash(name(), DigestFunction::Sha256, &[1; 32], 5).unwrap();
        let b = Digest::from_hash(name(), DigestFunction::Blake3, &[1; 32], 5).unwrap();
        let c = Digest::from_hash(name(), DigestFunction::Sha256, &[1; 32], 6).unwrap();
        assert_ne!(keys.key(&a), keys.key(&b));
        assert_ne!(keys.key(&a), keys.key(&c));
        assert_eq!(keys.key(&a).words, keys.key(&c).words);
        assert_eq!(bytes(&keys.key(&a).words), [1; 32]);
    }

    #[test]
    fn instance_names_tell_messages_apart_and_contents_not() {
        let (a, b) = (digest("a", DigestFunction::Sha256, b"x"), digest("b", DigestFunction::Sha256, b"x"));
        let contents = Keys::new(StorageType::Cas, [0; 32]);
        let messages = Keys::new(StorageType::Ac, [0; 32]);
        assert_eq!(contents.key(&a), contents.key(&b));
        assert_ne!(messages.key(&a), messages.key(&b));
        assert_ne!(messages.key(&a), Keys::new(StorageType::Ac, [1; 32]).key(&a));
    }

    #[test]
    fn hashes_of_all_lengths_make_keys() {
        let keys = Keys::new(StorageType::Cas, [0; 32]);
        let all: Vec<_> = DigestFunction::ALL.map(|function| keys.key(&digest("", function, b"x"))).into();
        for (position, key) in all.iter().enumerate() {
            assert!(!all[..position].contains(key));
        }
    }
}
