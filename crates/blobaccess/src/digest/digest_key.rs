//! A digest as the key of a cache in memory.

use std::borrow::Borrow;

use super::{Digest, InstanceName, KeyFormat};

/// A digest without the parts that the key format leaves out, so that equal keys mean one blob.
///
/// [`Digest::cache_key`] makes one. Keys of different formats must not be used in one map: in the empty instance name
/// they are equal.
///
/// # Memory
///
/// That of a [`Digest`]: 96 bytes, and a clone shares the instance name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DigestKey(Digest);

impl DigestKey {
    pub(super) fn new(digest: &Digest, format: KeyFormat) -> Self {
        Self(match format {
            KeyFormat::WithInstanceName => digest.clone(),
            KeyFormat::WithoutInstanceName => digest.with_instance_name(InstanceName::empty()),
        })
    }
}

/// Allows look-ups without making a key first, if the digest already is as the key format has it: see
/// [`Digest::is_own_cache_key`].
impl Borrow<Digest> for DigestKey {
    fn borrow(&self) -> &Digest {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DigestFunction;

    #[test]
    fn instance_names_tell_keys_apart_only_where_they_tell_blobs_apart() {
        let [a, b] = ["a", "b"].map(|name| {
            let name = InstanceName::new(name).unwrap();
            Digest::of(name, DigestFunction::Sha256, b"Hello")
        });
        assert_ne!(a.cache_key(KeyFormat::WithInstanceName), b.cache_key(KeyFormat::WithInstanceName));
        assert!(a.is_own_cache_key(KeyFormat::WithInstanceName));
        assert!(!a.is_own_cache_key(KeyFormat::WithoutInstanceName));
        assert_eq!(a.cache_key(KeyFormat::WithoutInstanceName), b.cache_key(KeyFormat::WithoutInstanceName));
    }
}
