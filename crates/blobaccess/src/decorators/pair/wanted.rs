//! The request of a caller, borrowed from its call.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::{Blob, BlobAccess, Context, Digest, ReadRequest, Result, Slicer};

/// A [`ReadRequest`] that borrows from the call that it stands for.
///
/// Most reads end at the first store. They need no copy of the digest, which takes longer to make than the store takes to
/// find a blob in memory.
#[derive(Clone, Copy)]
pub(in crate::decorators) enum Wanted<'a> {
    Blob(&'a Digest),
    Part { parent: &'a Digest, child: &'a Digest, slicer: &'a Arc<dyn Slicer> },
}

impl<'a> Wanted<'a> {
    /// Returns the digest of the blob that a store must have: the one requested, or the composite of the part.
    pub(in crate::decorators) const fn digest(self) -> &'a Digest {
        match self {
            Self::Blob(digest) | Self::Part { parent: digest, .. } => digest,
        }
    }

    /// Returns the request, for what outlives the call or goes to a replicator.
    pub(in crate::decorators) fn to_request(self) -> ReadRequest {
        match self {
            Self::Blob(digest) => ReadRequest::blob(digest),
            Self::Part { parent, child, slicer } => ReadRequest::part(parent, child, Arc::clone(slicer)),
        }
    }

    /// Reads from `store`, by the method for this request. The future is that of the store.
    ///
    /// # Errors
    ///
    /// The error of the store.
    pub(in crate::decorators) fn read_from<B>(self, store: &'a B, ctx: &'a Context) -> BoxFuture<'a, Result<Blob>>
    where
        B: BlobAccess + ?Sized,
    {
        match self {
            Self::Blob(digest) => store.get(ctx, digest),
            Self::Part { parent, child, slicer } => store.get_from_composite(ctx, parent, child, Arc::clone(slicer)),
        }
    }
}

impl<'a> From<&'a ReadRequest> for Wanted<'a> {
    fn from(request: &'a ReadRequest) -> Self {
        let parent = request.digest();
        request.as_part().map_or(Self::Blob(parent), |(child, slicer)| Self::Part { parent, child, slicer })
    }
}
