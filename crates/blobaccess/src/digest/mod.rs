//! The name of a blob: the hash of its contents and its size.

mod compact;
mod digest_key;
mod function;
mod hash;
mod hasher;
mod instance_name;
mod instance_name_patcher;
mod instance_name_trie;
mod key_format;
mod quoted;
mod resource_name;
mod set;
mod sha256_tree;

use std::fmt::{self, Display, Formatter};

pub use self::digest_key::DigestKey;
pub use self::function::DigestFunction;
pub use self::hash::Hash;
pub use self::hasher::Hasher;
pub use self::instance_name::InstanceName;
pub use self::instance_name_patcher::InstanceNamePatcher;
pub use self::instance_name_trie::InstanceNameTrie;
pub use self::key_format::KeyFormat;
pub use self::resource_name::{ReadResource, WriteResource};
pub use self::set::DigestSet;

use crate::{Error, Result};

/// The name of a blob: an instance name, a digest function, the hash of the contents and their size.
///
/// A digest prints as its full key, `1-185f8db3…-5-instance/name`: the number of the function, the hash in hexadecimal,
/// the size in bytes and the instance name.
///
/// Digests are ordered by function (as in [`DigestFunction::ALL`]), then by hash, by size, and by instance name. So
/// digests that differ only in the instance name are adjacent.
///
/// # Memory
///
/// 96 bytes. Only the instance name is kept elsewhere, and clones share it; the empty one takes no memory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest {
    // The fields are compared in this order.
    function: DigestFunction,
    /// The hash, as long as those of the function.
    hash: Hash,
    /// The size, up to `i64::MAX`.
    size_bytes: u64,
    instance_name: InstanceName,
}

impl Digest {
    /// Parses the digest of a request: the hash in lower-case hexadecimal, the size in bytes.
    ///
    /// Nothing is allocated.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the hash is not as long as those of the function, if it has a character other than
    /// `0-9a-f`, or if the size is negative; the first of these that applies.
    pub fn parse(instance_name: InstanceName, function: DigestFunction, hash: &str, size_bytes: i64) -> Result<Self> {
        if hash.len() != 2 * function.hash_size_bytes() {
            return Err(wrong_length(function, hash));
        }
        let mut digest = Self { function, hash: Hash::NONE, size_bytes: 0, instance_name };
        if !digest.hash.read_hex(hash) {
            return Err(not_hexadecimal(hash));
        }
        digest.size_bytes = u64::try_from(size_bytes).map_err(|_| invalid_size(size_bytes))?;
        Ok(digest)
    }

    /// Makes the digest with these bytes as its hash.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the hash is not as long as those of the function, or if the size exceeds [`i64::MAX`].
    pub fn from_hash(
        instance_name: InstanceName,
        function: DigestFunction,
        hash: &[u8],
        size_bytes: u64,
    ) -> Result<Self> {
        if hash.len() != function.hash_size_bytes() {
            return Err(wrong_size(function, hash));
        }
        if i64::try_from(size_bytes).is_err() {
            return Err(invalid_size(size_bytes));
        }
        let mut digest = Self { function, hash: Hash::NONE, size_bytes, instance_name };
        digest.hash.read_bytes(hash);
        Ok(digest)
    }

    /// Computes the digest of `contents`.
    #[must_use]
    pub fn of(instance_name: InstanceName, function: DigestFunction, contents: &[u8]) -> Self {
        let size_bytes = size_bytes_of(contents);
        let mut hasher = function.hasher(size_bytes);
        hasher.update(contents);
        Self { function, hash: hasher.finish(), size_bytes, instance_name }
    }

    /// Returns the instance name that the blob belongs to.
    #[must_use]
    pub const fn instance_name(&self) -> &InstanceName {
        &self.instance_name
    }

    /// Returns the digest function.
    #[must_use]
    pub const fn function(&self) -> DigestFunction {
        self.function
    }

    /// Returns the hash of the contents. It prints in hexadecimal.
    #[must_use]
    pub const fn hash(&self) -> &Hash {
        &self.hash
    }

    /// Returns the bytes of the hash, as many as [`DigestFunction::hash_size_bytes`] says.
    #[must_use]
    pub fn hash_bytes(&self) -> &[u8] {
        self.hash.as_bytes()
    }

    /// Returns the size of the contents, in bytes: 0 to [`i64::MAX`].
    #[must_use]
    pub const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Returns whether the contents are 0 bytes.
    #[must_use]
    pub const fn is_empty_blob(&self) -> bool {
        self.size_bytes == 0
    }

    /// Returns the same digest in another instance name.
    #[must_use]
    pub fn with_instance_name(&self, instance_name: InstanceName) -> Self {
        Self { function: self.function, hash: self.hash, size_bytes: self.size_bytes, instance_name }
    }

    /// Returns the same digest in each of [`InstanceName::parents`], from the empty name to its own.
    ///
    /// Reversed, the digests go from its own name to the empty one.
    #[must_use]
    pub fn parents(&self) -> impl DoubleEndedIterator<Item = Self> {
        self.instance_name.parents().map(|name| self.with_instance_name(name))
    }

    /// Returns the string that a store keeps the blob by: `1-185f8db3…-5-instance/name`, or without the instance name
    /// `1-185f8db3…-5`.
    #[must_use]
    pub fn key(&self, format: KeyFormat) -> String {
        match format {
            KeyFormat::WithInstanceName => self.to_string(),
            KeyFormat::WithoutInstanceName => {
                format!("{}-{}-{}", self.function.number(), self.hash, self.size_bytes)
            }
        }
    }

    /// Returns the key that a cache in memory keeps the blob by. Nothing is allocated.
    #[must_use]
    pub fn cache_key(&self, format: KeyFormat) -> DigestKey {
        DigestKey::new(self, format)
    }

    /// Returns whether [`cache_key`](Self::cache_key) leaves out nothing, so that the digest itself can be used for
    /// look-ups by that key.
    #[must_use]
    pub const fn is_own_cache_key(&self, format: KeyFormat) -> bool {
        matches!(format, KeyFormat::WithInstanceName) || self.instance_name.is_empty()
    }

    /// Returns whether `contents` have this size and this hash.
    #[must_use]
    pub fn verify(&self, contents: &[u8]) -> bool {
        self.size_bytes == size_bytes_of(contents) && {
            let mut hasher = self.function.hasher(self.size_bytes);
            hasher.update(contents);
            hasher.finish() == self.hash
        }
    }

    /// Returns a number that orders digests as far as it differs: the function, and the first 61 bits of the hash.
    fn sort_prefix(&self) -> u64 {
        u64::from(self.function.index()) << 61 | self.hash.prefix() >> 3
    }
}

fn size_bytes_of(contents: &[u8]) -> u64 {
    // No slice is larger than `isize::MAX`.
    u64::try_from(contents.len()).unwrap_or(u64::MAX)
}

#[cold]
fn wrong_length(function: DigestFunction, hash: &str) -> Error {
    let expected = 2 * function.hash_size_bytes();
    Error::invalid_argument(format!("hash has length {}, while {expected} characters were expected", hash.len()))
}

#[cold]
fn wrong_size(function: DigestFunction, hash: &[u8]) -> Error {
    let expected = function.hash_size_bytes();
    Error::invalid_argument(format!("hash has {} bytes, while {expected} bytes were expected", hash.len()))
}

#[cold]
fn not_hexadecimal(hash: &str) -> Error {
    let character = hash.chars().find(|character| !matches!(character, '0'..='9' | 'a'..='f')).unwrap_or_default();
    let code_point = u32::from(character);
    Error::invalid_argument(format!("non-hexadecimal character in digest hash: U+{code_point:04X} {character:?}"))
}

#[cold]
fn invalid_size(size_bytes: impl Display) -> Error {
    Error::invalid_argument(format!("invalid digest size: {size_bytes} bytes"))
}

/// Hashes the instance name last, and only if there is one: the hash distinguishes most digests.
impl std::hash::Hash for Digest {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
        state.write_u64(self.size_bytes);
        if !self.instance_name.is_empty() {
            self.instance_name.hash(state);
        }
    }
}

impl Display for Digest {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}-{}", self.function.number(), self.hash, self.size_bytes, self.instance_name)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

#[cfg(test)]
mod tests;
