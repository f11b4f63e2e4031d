//! The memory of a block that none of its chunks has claimed yet.

use std::sync::PoisonError;

use super::memory::Place;
use super::pool::ChunkPool;
use crate::machine::concurrency::locks::{Mutex, MutexGuard};

/// The memory of a block that none of its chunks has claimed yet: of each span, the places of its chunks.
#[derive(Debug, Default)]
pub(super) struct Spans(Mutex<Vec<Span>>);

/// The rest of a span in one use of the block.
#[derive(Debug, Default)]
struct Span {
    generation: u32,
    places: Vec<Option<Place>>,
}

impl Spans {
    fn all(&self) -> MutexGuard<'_, Vec<Span>> {
        // It is changed by assignments alone: nothing panics midway.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the memory of a chunk, which has none in this use of the block.
    pub(super) fn claim(&self, pool: &ChunkPool, generation: u32, chunk: usize) -> Option<Place> {
        let (span, within) = (chunk / pool.chunks_per_span(), chunk % pool.chunks_per_span());
        let mut all = self.all();
        if all.len() <= span {
            all.resize_with(span + 1, Span::default);
        }
        let span = all.get_mut(span)?;
        if span.generation != generation {
            *span = Span { generation, places: pool.take().into_iter().map(Some).collect() };
        }
        let place = span.places.get_mut(within).and_then(Option::take);
        if place.is_some() {
            pool.took();
        }
        place
    }

    /// Lets a chunk have fresh memory, in the same use of the block, where it has an allocation of its own.
    pub(super) fn release(&self, pool: &ChunkPool, chunk: usize) {
        if pool.chunks_per_span() == 1
            && let Some(span) = self.all().get_mut(chunk)
            && !std::mem::take(span).places.is_empty()
        {
            pool.gave_up_span();
        }
    }

    /// Ends the present use of the block. What its chunks gave up before, or nobody claimed, may have readers still.
    pub(super) fn clear(&self, pool: &ChunkPool) {
        for span in self.all().drain(..) {
            if !span.places.is_empty() {
                pool.gave_up_span();
            }
        }
    }
}
