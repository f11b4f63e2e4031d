//! Reads that go on from another store.

use async_trait::async_trait;

use super::{Member, Wanted};
use crate::replication::{Replicator, replicate_or_read};
use crate::{Blob, BlobAccess, Context, Error, ErrorHandler, ReadRequest, Result};

/// A handler that goes on from another store when the first is at fault. It does so once.
pub(in crate::decorators) struct GoOn<A: ?Sized, B: ?Sized> {
    /// The store that is read from.
    pub(in crate::decorators) first: Member<A>,
    pub(in crate::decorators) other: Member<B>,
    /// Whether the other store is read from.
    pub(in crate::decorators) has_gone_on: bool,
    pub(in crate::decorators) ctx: Context,
    pub(in crate::decorators) request: ReadRequest,
}

impl<A, B> GoOn<A, B>
where
    A: BlobAccess + ?Sized,
    B: BlobAccess + ?Sized,
{
    /// Makes a handler for a blob that is read from `first`.
    pub(in crate::decorators) fn new(
        first: &Member<A>,
        other: &Member<B>,
        ctx: &Context,
        request: ReadRequest,
    ) -> Self {
        let (first, other) = (first.clone(), other.clone());
        Self { first, other, has_gone_on: false, ctx: ctx.clone(), request }
    }
}

#[async_trait]
impl<A, B> ErrorHandler for GoOn<A, B>
where
    A: BlobAccess + ?Sized,
    B: BlobAccess + ?Sized,
{
    async fn on_error(&mut self, error: Error) -> Result<Blob> {
        if self.has_gone_on {
            if error.is_infrastructure() {
                self.other.rest.begin_after(&self.ctx);
            }
            return Err(error.at(self.other.name));
        }
        if error.is_infrastructure() {
            self.first.rest.begin_after(&self.ctx);
        }
        let at_fault = error.is_store_fault();
        let error = self.first.at(error);
        if !at_fault {
            return Err(error);
        }
        self.has_gone_on = true;
        tracing::debug!(%error, other = self.other.name, "going on from the other store");
        match self.other.read(&self.ctx, Wanted::from(&self.request)).await {
            // Whether the store at fault has the blob is not known, so it cannot be called absent.
            Err(absent) if absent.is_blob_missing() => Err(error),
            result => result.map_err(|error| self.other.at(error)),
        }
    }
}

/// Reads through `replicator`, which copies from `source`; if that fails, from `source` without a copy.
///
/// # Errors
///
/// Those of the source, with its place; absence without.
pub(in crate::decorators) async fn read_and_copy<R, B>(
    replicator: &R,
    source: &Member<B>,
    ctx: &Context,
    request: &ReadRequest,
) -> Result<Blob>
where
    R: Replicator<Kind = B::Kind> + ?Sized,
    B: BlobAccess + ?Sized,
{
    let read = replicate_or_read(replicator, ctx, request, || source.read(ctx, request.into())).await;
    read.map_err(|error| source.at(error))
}
