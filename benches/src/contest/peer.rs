//! A store as the contest uses it.

use blobaccess::Digest;
use bytes::Bytes;

/// A store of the comparison. Keys are hashes. Each store keeps its own copy of the contents.
///
/// A call that fails panics, because a measurement of failures is worthless.
pub trait Peer: Send + Sync {
    /// Stores a copy of `contents`.
    fn put(&self, digest: &Digest, contents: &Bytes);

    /// Passes the contents to `read`, without a copy if the store can, and returns whether they are stored.
    fn get(&self, digest: &Digest, read: &mut dyn FnMut(&[u8])) -> bool;

    /// Returns how many of `digests` are missing.
    fn find_missing(&self, digests: &[Digest]) -> usize;

    /// Makes all puts durable, for stores on a disk.
    fn sync(&self) {}
}

/// Returns the first 32 bytes of a hash, which most peers take as a key.
#[must_use]
pub fn key(digest: &Digest) -> [u8; 32] {
    digest.hash_bytes().first_chunk().copied().unwrap_or_default()
}
