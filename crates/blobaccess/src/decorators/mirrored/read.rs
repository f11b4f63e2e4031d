//! Reads of a mirror: from the halves in turn, and on from the other.

use std::sync::atomic::Ordering;

use super::{Half, Mirrored};
use crate::decorators::pair::{GoOn, Repairs, Wanted, read_and_copy};
use crate::replication::Replicator;
use crate::{Blob, Context, Error, ErrorHandler, Kind, ReadRequest, Result};

/// One direction of a mirror.
struct Direction<'a, K: Kind> {
    source: &'a Half<K>,
    sink: &'a Half<K>,
    replicator: &'a dyn Replicator<Kind = K>,
    repairs: &'a Repairs,
}

impl<K: Kind> Direction<'_, K> {
    /// Reads an entry that is outdated in the sink. Returns `None` if it may be read from there after all.
    async fn read_newer(&self, ctx: &Context, request: ReadRequest) -> Option<Result<Blob>> {
        self.repairs.read_newer(ctx, &request, self.source, self.sink).await
    }

    /// Reads what the sink has failed to return, for the reason `error`.
    async fn read_after(&self, ctx: &Context, request: ReadRequest, error: Error) -> Result<Blob> {
        if error.is_blob_missing() {
            return read_and_copy(self.replicator, self.source, ctx, &request).await;
        }
        GoOn::new(self.sink, self.source, ctx, request).on_error(error).await
    }
}

impl<K: Kind> Mirrored<K> {
    pub(super) async fn read(&self, ctx: &Context, wanted: Wanted<'_>) -> Result<Blob> {
        if K::STORAGE_TYPE.is_mutable() {
            for direction in [self.a_to_b(), self.b_to_a()] {
                if direction.repairs.is_outdated(wanted.digest())
                    && let Some(result) = Box::pin(direction.read_newer(ctx, wanted.to_request())).await
                {
                    return result;
                }
            }
        }
        let direction = self.next_direction();
        let Direction { source: other, sink: first, .. } = direction;
        let read = wanted.read_from(&*first.store, ctx).await;
        if first.is_final(ctx, &read) {
            return read;
        }
        match read {
            Ok(blob) => Ok(blob.with_error_handler(GoOn::new(first, other, ctx, wanted.to_request()))),
            // In a box, so that the future of a read that ends here is small.
            Err(error) => Box::pin(direction.read_after(ctx, wanted.to_request(), error)).await,
        }
    }

    fn a_to_b(&self) -> Direction<'_, K> {
        Direction { source: &self.a, sink: &self.b, replicator: &*self.a_to_b, repairs: &self.to_b }
    }

    fn b_to_a(&self) -> Direction<'_, K> {
        Direction { source: &self.b, sink: &self.a, replicator: &*self.b_to_a, repairs: &self.to_a }
    }

    /// Returns the direction towards the half that the next read begins with: each in its turn, unless it rests.
    fn next_direction(&self) -> Direction<'_, K> {
        let begins_with_b = self.begins_with_b.fetch_xor(true, Ordering::Relaxed);
        let (first, other) = if begins_with_b { (&self.b, &self.a) } else { (&self.a, &self.b) };
        let keeps_turn = first.rest.admits() || other.rest.is_resting();
        if begins_with_b == keeps_turn { self.a_to_b() } else { self.b_to_a() }
    }
}
