//! The slicing of a blob into the blobs within it.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{Blob, BlobAccess, Context, Digest, Error, Result};

/// Knows how to find the parts of a composite blob: the directories of a tree, the files of an archive.
///
/// It may be called any number of times, for one parent or for several.
#[async_trait]
pub trait Slicer: Debug + Send + Sync + 'static {
    /// Finds `child` in `parent`, which it reads.
    ///
    /// # Errors
    ///
    /// `NotFound` if `parent` has no such part, best made by [`Error::part_not_found`](crate::Error::part_not_found).
    /// The error of reading `parent`.
    async fn slice(&self, parent: Blob, child: &Digest) -> Result<Sliced>;
}

/// The result of a slicer.
#[derive(Debug)]
#[non_exhaustive]
pub struct Sliced {
    /// The contents of the part that was asked for.
    pub child: Blob,
    /// Every part that the slicer came across, so that a store can answer for them without slicing again.
    pub slices: Vec<Slice>,
}

impl Sliced {
    /// Makes a result of the requested part, without any other.
    #[must_use]
    pub fn new(child: Blob) -> Self {
        Self { child, slices: Vec::new() }
    }

    /// Adds the places of these parts.
    #[must_use]
    pub fn with_slices(mut self, slices: Vec<Slice>) -> Self {
        self.slices = slices;
        self
    }
}

/// Where a part lies within its composite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The part.
    pub digest: Digest,
    /// Where it begins, in bytes from the beginning of the composite.
    pub offset: u64,
    /// How long it is, in bytes.
    pub size_bytes: u64,
}

/// Answers [`BlobAccess::get_from_composite`] for a store that does not remember parts: reads `parent` whole and
/// slices it.
///
/// # Errors
///
/// The error of reading `parent` from `store`, or of slicing it. A `NotFound` of the slicer is
/// [marked](crate::Error::is_part_missing) as that of the part.
pub async fn get_and_slice<B: BlobAccess + ?Sized>(
    store: &B,
    ctx: &Context,
    parent: &Digest,
    child: &Digest,
    slicer: Arc<dyn Slicer>,
) -> Result<Blob> {
    let parent = store.get(ctx, parent).await?;
    let found = slicer.slice(parent, child).await.map_err(Error::with_part_missing)?;
    Ok(found.child)
}
