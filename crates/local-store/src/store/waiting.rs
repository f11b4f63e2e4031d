//! Waits for room, space, the disk and its sync: up to the deadline, and off the executor.

use std::future::{Future, poll_fn};
use std::sync::Arc;

use blobaccess::{Blob, Context, Digest, Error, Kind, Result, blocking};
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::LocalStore;
use super::under_way::{Busy, Needs, Place};
use crate::engine::{Mode, Presence, Read};
use crate::key::Key;
use crate::key_location_map::Record;
use crate::object::checksums::PIECE_BYTES;
use crate::options::SyncPolicy;

/// The unit in which memory in flight is counted, in bytes.
pub(crate) const PERMIT_BYTES: u64 = 1024;

/// Room for a blob in memory, kept until this is dropped.
#[derive(Debug)]
pub(crate) enum Room {
    AtHand {
        _permit: OwnedSemaphorePermit,
    },
    /// All of it is in memory, so it keeps its room however long the disk takes.
    OnItsWay {
        _complete: Busy,
        _place: Place,
    },
}

impl<K: Kind> LocalStore<K> {
    /// Waits for `work`, up to the deadline of the call.
    pub(crate) async fn until_deadline<T>(&self, ctx: &Context, work: impl Future<Output = T> + Send) -> Result<T> {
        let ended = self.engine.surroundings.clock.timeout(ctx.deadline(), work).await;
        ended.map_err(|_| Error::deadline_exceeded("the store was busy until the deadline"))
    }

    /// Reads all of a blob into memory, once there is room for it.
    ///
    /// Blobs at hand have a share of the room that those on their way cannot take.
    pub(crate) async fn collect(&self, ctx: &Context, blob: Blob, size: u64) -> Result<(Bytes, Room)> {
        if blob.is_at_hand() {
            let room = Room::AtHand { _permit: self.admit(ctx, size).await? };
            return Ok((blob.into_bytes(size).await?, room));
        }
        let place = self.under_way.begin(|| ());
        let needs = Needs { memory_bytes: size, ..Needs::default() };
        self.until_deadline(ctx, place.take(needs, None, || true)).await??;
        let mut collected = std::pin::pin!(blob.into_bytes(size));
        // It is polled when a piece is there.
        let noted = poll_fn(|ctx| {
            place.note_progress();
            collected.as_mut().poll(ctx)
        });
        let bytes = place.unless_given_way(noted).await?;
        let complete = place.begin_work();
        place.check()?;
        Ok((bytes, Room::OnItsWay { _complete: complete, _place: place }))
    }

    /// Waits for room for `bytes` of a blob that is at hand.
    async fn admit(&self, ctx: &Context, bytes: u64) -> Result<OwnedSemaphorePermit> {
        let permits = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
        let permits = permits.clamp(1, self.in_flight_permits);
        let acquired = self.until_deadline(ctx, Arc::clone(&self.in_flight).acquire_many_owned(permits)).await?;
        acquired.map_err(|error| Error::internal("the store is closed").with_source(error))
    }

    /// Has queued writes written, by another thread if the caller need not wait for them.
    pub(crate) async fn write_behind(&self) -> Result<()> {
        if self.engine.is_congested() {
            let engine = Arc::clone(&self.engine);
            return self.flushing.run(|| !self.engine.is_congested(), move || engine.flush()).await;
        }
        if self.engine.claim_flush() {
            match tokio::runtime::Handle::try_current() {
                // The next put or sync returns its error: the device stays failed. It does not keep a store open that
                // has been closed meanwhile: then all is written.
                Ok(runtime) => {
                    let engine = Arc::downgrade(&self.engine);
                    drop(runtime.spawn_blocking(move || engine.upgrade().map(|engine| engine.flush())));
                }
                Err(_) => self.engine.flush()?,
            }
        }
        Ok(())
    }

    /// Waits until a block is recycled.
    pub(crate) async fn make_space(&self, ctx: &Context) -> Result<()> {
        crate::engine::count(&self.engine.counters.waits_for_space, 1);
        let recycled = self.engine.recycled_blocks();
        let engine = Arc::clone(&self.engine);
        let recycling = self.recycling.run(|| self.engine.recycled_blocks() > recycled, move || engine.recycle());
        self.until_deadline(ctx, recycling).await?
    }

    /// Waits until an object is out of a block that is about to be recycled. Returns whether it is stored.
    pub(crate) async fn rescue(&self, ctx: &Context, digest: &Digest) -> Result<bool> {
        let key = self.engine.keys.key(digest);
        let engine = Arc::clone(&self.engine);
        let presence = self.until_deadline(ctx, blocking(move || engine.rescue(&key))).await??;
        Ok(presence != Presence::Absent)
    }

    /// Waits until this number of publications is durable, if puts must be.
    pub(crate) async fn settle(&self, publications: u64) -> Result<()> {
        if self.engine.surroundings.policy != Some(SyncPolicy::OnPut) {
            return Ok(());
        }
        let engine = Arc::clone(&self.engine);
        let is_durable = || self.engine.is_durable(publications);
        self.syncing.run(is_durable, move || engine.sync_until(publications)).await?;
        self.engine.check_device()
    }

    /// Reads the contents that `record` names in one piece, which are small. `None` if they are gone.
    pub(crate) async fn read_whole(&self, key: &Key, mut record: Record) -> Result<Option<Bytes>> {
        loop {
            let all = 0..record.location.size_bytes;
            // Only pieces are read and hashed on an executor's thread.
            let known = if record.location.size_bytes > PIECE_BYTES && self.engine.hashes_reads_of(&record) {
                Read::NotAtOnce
            } else {
                self.engine.read(&record, all.clone(), Mode::AtOnce)?
            };
            let read = match known {
                Read::NotAtOnce => {
                    let engine = Arc::clone(&self.engine);
                    blocking(move || engine.read(&record, all, Mode::Waiting)).await?
                }
                read @ (Read::Bytes(_) | Read::Gone) => read,
            };
            if let Read::Bytes(bytes) = read {
                return Ok(Some(bytes));
            }
            // It was moved, or is gone: the map says which.
            let Some(now) = self.engine.look_up_to_read(key) else { return Ok(None) };
            record = now;
        }
    }
}
