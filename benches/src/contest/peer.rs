//! A store, as far as the contest needs it.

use blobaccess::Digest;
use bytes::Bytes;

/// A store that others are compared with. Keys are hashes; each store keeps a copy of its own of what is put.
///
/// A call that fails panics: what is measured must work.
pub trait Peer: Send + Sync {
    /// Keeps a copy of `contents`.
    fn put(&self, digest: &Digest, contents: &Bytes);

    /// Shows the contents to `read`, and tells whether they are there. A store that can hand them out where they lie
    /// does that.
    fn get(&self, digest: &Digest, read: &mut dyn FnMut(&[u8])) -> bool;

    /// How many of `digests` are not there.
    fn find_missing(&self, digests: &[Digest]) -> usize;

    /// Makes what was put durable, for stores on a disk.
    fn sync(&self) {}
}

/// The first 32 bytes of a hash, which is what most peers take as a key.
#[must_use]
pub fn key(digest: &Digest) -> [u8; 32] {
    digest.hash_bytes().first_chunk().copied().unwrap_or_default()
}
