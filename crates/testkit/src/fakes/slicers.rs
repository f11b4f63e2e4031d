//! A slicer for composites of no format.

use async_trait::async_trait;
use blobaccess::{Blob, Digest, Provenance, Result, Sliced, Slicer};

/// A [`Slicer`] that takes the first bytes of a composite for each of its parts: as many as the part's digest says.
///
/// The part is verified when it is read, so the beginning of `hello` is found under the digest of `he` and not under
/// that of `lo`.
#[derive(Clone, Copy, Debug)]
pub struct LeadingBytes;

#[async_trait]
impl Slicer for LeadingBytes {
    async fn slice(&self, parent: Blob, child: &Digest) -> Result<Sliced> {
        let parent = parent.into_bytes(u64::MAX).await?;
        let size = usize::try_from(child.size_bytes()).unwrap_or(usize::MAX).min(parent.len());
        Ok(Sliced::new(Blob::from_untrusted_bytes(child, parent.slice(..size), Provenance::store())))
    }
}
