//! The objects of a contest: digests, with contents that are slices of one source.

use blobaccess::{Digest, DigestFunction, InstanceName};
use bytes::Bytes;

use crate::limits::hash_all;
use blobaccess_testkit::Numbers;

/// Objects that share the memory of their source, because contents that were just received lie in the processor's
/// caches.
#[derive(Clone, Debug)]
pub struct Objects {
    items: Vec<(Digest, Bytes)>,
}

/// The source of all contents.
const SOURCE_BYTES: usize = 1 << 20;

impl Objects {
    /// Makes objects of these sizes under random hashes, for stores that do not verify.
    #[must_use]
    pub fn unverified(seed: u64, sizes: &[u64]) -> Self {
        let mut numbers = Numbers::new(seed);
        Self::cut(seed, sizes, |bytes| {
            let mut hash = [0; 32];
            for word in hash.as_chunks_mut::<8>().0 {
                *word = numbers.draw().to_le_bytes();
            }
            let size = u64::try_from(bytes.len()).unwrap_or_default();
            Digest::from_hash(InstanceName::empty(), DigestFunction::Sha256, &hash, size).ok()
        })
    }

    /// Makes objects of these sizes under their digests.
    #[must_use]
    pub fn verified(seed: u64, sizes: &[u64], function: DigestFunction) -> Self {
        Self::cut(seed, sizes, |bytes| Some(hash_all(function, bytes)))
    }

    fn cut(seed: u64, sizes: &[u64], mut digest: impl FnMut(&[u8]) -> Option<Digest>) -> Self {
        let largest = sizes.iter().copied().max().and_then(|size| usize::try_from(size).ok()).unwrap_or_default();
        let source = crate::contents(seed, SOURCE_BYTES + largest);
        let items = sizes.iter().enumerate().filter_map(|(number, size)| {
            // Different places, so that objects of equal size have different contents.
            let at = number * 8 % SOURCE_BYTES;
            let bytes = source.slice(at..at + usize::try_from(*size).ok()?);
            Some((digest(&bytes)?, bytes))
        });
        Self { items: items.collect() }
    }

    /// Returns the digests with their contents.
    #[must_use]
    pub fn items(&self) -> &[(Digest, Bytes)] {
        &self.items
    }

    /// Returns the digests, in an order that looks random.
    #[must_use]
    pub fn shuffled_digests(&self, seed: u64) -> Vec<Digest> {
        let mut digests: Vec<Digest> = self.items.iter().map(|(digest, _)| digest.clone()).collect();
        Numbers::new(seed).shuffle(&mut digests);
        digests
    }

    /// Returns the total size of the contents, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.items.iter().map(|(digest, _)| digest.size_bytes()).sum()
    }
}
