//! Reads a large object piece by piece, wherever it lies by then.

use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{Digest, Error, RandomAccess, Result, blocking};
use bytes::Bytes;

use crate::engine::{Engine, Mode, Read, Trailer};
use crate::key::Key;
use crate::machine::casts;
use crate::object::checksums::PIECE_BYTES;

/// A reader of a large object, piece by piece. It holds nothing between two pieces, so a slow reader holds up nobody.
/// Each piece counts as use.
#[derive(Debug)]
pub(crate) struct ObjectReader {
    engine: Arc<Engine>,
    digest: Digest,
    key: Key,
    trailer: Arc<Trailer>,
}

impl ObjectReader {
    pub(crate) fn new(engine: Arc<Engine>, digest: Digest, key: Key) -> Self {
        Self { engine, digest, key, trailer: Arc::default() }
    }
}

#[async_trait]
impl RandomAccess for ObjectReader {
    async fn read_at(&self, offset: u64, length: usize) -> Result<Bytes> {
        loop {
            let Some(record) = self.engine.look_up_to_read(&self.key) else {
                let message = format!("blob {} was evicted while it was read", self.digest);
                return Err(Error::unavailable(message));
            };
            // No further than a piece goes, so that one is not read twice.
            let end_of_piece = (offset / PIECE_BYTES + 1) * PIECE_BYTES;
            let end = record.location.size_bytes.min(end_of_piece).min(offset.saturating_add(casts::on_device(length)));
            let range = offset.min(end)..end;
            let read = match self.engine.read_by(&self.trailer, &record, range.clone(), Mode::AtOnce) {
                Ok(Read::NotAtOnce) => {
                    let (engine, trailer) = (Arc::clone(&self.engine), Arc::clone(&self.trailer));
                    blocking(move || engine.read_by(&trailer, &record, range, Mode::Waiting)).await
                }
                known => known,
            };
            if let Read::Bytes(bytes) = read.map_err(|error| error.at(self.digest.to_string()))? {
                return Ok(bytes);
            }
        }
    }
}
