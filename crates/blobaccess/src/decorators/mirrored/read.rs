//! Reads of a mirror: from the halves in turn, and on from the other.

use std::sync::atomic::Ordering;

use super::{Half, Mirrored};
use crate::decorators::pair::{GoOn, Repairs, read_and_copy};
use crate::replication::Replicator;
use crate::{Blob, Context, ErrorHandler, Kind, ReadRequest, Result};

/// One direction of a mirror.
struct Direction<'a, K: Kind> {
    source: &'a Half<K>,
    sink: &'a Half<K>,
    replicator: &'a dyn Replicator<Kind = K>,
    repairs: &'a Repairs,
}

impl<K: Kind> Mirrored<K> {
    pub(super) async fn read(&self, ctx: &Context, request: ReadRequest) -> Result<Blob> {
        if K::STORAGE_TYPE.is_mutable() {
            for direction in [self.a_to_b(), self.b_to_a()] {
                let Direction { source, sink, repairs, .. } = direction;
                if repairs.is_outdated(request.digest())
                    && let Some(result) = repairs.read_newer(ctx, &request, source, sink).await
                {
                    return result;
                }
            }
        }
        let Direction { source: other, sink: first, replicator, .. } = self.next_direction();
        match first.read(ctx, &request).await {
            Err(error) if error.is_blob_missing() => read_and_copy(replicator, other, ctx, &request).await,
            Err(error) => GoOn::new(first, other, ctx, &request).on_error(error).await,
            Ok(blob) => Ok(GoOn::attach(blob, first, other, ctx, &request)),
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
