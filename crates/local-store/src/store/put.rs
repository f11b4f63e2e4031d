//! Puts: small blobs are collected and verified before space is taken, large ones stream into space of their own.

use std::sync::Arc;

use blobaccess::{Blob, Context, Digest, Error, ErrorKind, Kind, PutOutcome, Result, blocking};
use bytes::Bytes;
use futures::TryStreamExt;

use super::LocalStore;
use super::equal_puts::{PutPart, Taken};
use crate::engine::{Contents, Engine, Mode, Owner, Presence, Put, Read};
use crate::key::Key;
use crate::key_location_map::Record;
use crate::machine::casts;
use crate::object::checksums::PIECE_BYTES;

impl<K: Kind> LocalStore<K> {
    /// Refuses a put that is larger than a block.
    pub(super) fn begin_put(&self, digest: &Digest, size_bytes: u64) -> Result<()> {
        if let Some(watch) = &self.sync_watch {
            watch.note_work(&*self.engine.surroundings.clock);
        }
        let max = self.engine.sizes.max_blob_size_bytes();
        if size_bytes > max {
            return Err(Error::invalid_argument(format!(
                "blob {digest} is {size_bytes} bytes; the maximum is {max}, as a blob must fit into a block: more \
                 capacity, or fewer blocks (`Options::with_blocks`), make it larger"
            )));
        }
        Ok(())
    }

    /// Returns the result of a put whose blob is stored already, so that it need not be read; `None` if it is not
    /// stored.
    async fn find_stored(&self, ctx: &Context, digest: &Digest, key: &Key) -> Result<Option<PutOutcome>> {
        if !self.sees(digest)? {
            return Ok(None);
        }
        loop {
            match self.engine.find(key) {
                Presence::Absent => return Ok(None),
                Presence::Present(record) => {
                    // Again: the name's contents may be gone, and these be what another put stored since.
                    if !self.sees(digest)? {
                        return Ok(None);
                    }
                    self.settle(self.engine.publications()).await?;
                    let stored_bytes = record.location.size_bytes;
                    return Ok(Some(PutOutcome::AlreadyExists { stored_bytes }));
                }
                Presence::Leaving => {
                    self.rescue(ctx, digest).await?;
                }
            }
        }
    }

    pub(crate) async fn put_contents(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let size = digest.size_bytes();
        self.begin_put(digest, size.max(blob.size_bytes()))?;
        let owner = self.engine.owner(ctx, digest).map_err(Error::not_stored)?;
        let key = self.engine.keys.key(digest);
        if let Some(outcome) = self.find_stored(ctx, digest, &key).await.map_err(Error::not_stored)? {
            return Ok(outcome);
        }
        let name = self.key_of_name(digest).map_err(Error::not_stored)?;
        self.engine.check_device().map_err(Error::not_stored)?;
        let blob = blob.with_expected_digest(digest);
        if self.engine.is_large(size) && size > PIECE_BYTES {
            return self.put_stream(ctx, digest, (&key, name.as_ref()), owner, blob).await;
        }
        let (bytes, _room) = self.collect(ctx, blob, size).await.map_err(Error::not_stored)?;
        let contents = Contents { bytes, owner };
        loop {
            self.write_behind().await.map_err(Error::not_stored)?;
            let put = self.engine.put_contents(&key, &contents, name.as_ref()).map_err(Error::not_stored)?;
            if let Some(outcome) = self.finish_put(ctx, digest, put).await? {
                return Ok(outcome);
            }
        }
    }

    /// Writes contents as they arrive. What is kept of them in memory is the piece at hand.
    async fn put_stream(
        &self,
        ctx: &Context,
        digest: &Digest,
        (key, name): (&Key, Option<&Key>),
        owner: Owner,
        blob: Blob,
    ) -> Result<PutOutcome> {
        if name.is_some() && self.engine.peek(key).is_some() {
            // Contents that are stored and not visible are read to be verified, and nothing more.
            blob.verify().await.map_err(Error::not_stored)?;
            return self.known(ctx, digest, (key, name)).await;
        }
        let mut part = Some(self.equal_puts.join(&self.under_way, *key, digest.size_bytes(), owner));
        let mut stream = blob.into_stream(..)?;
        loop {
            let piece = match &part {
                Some(part) => part.unless_given_way(stream.try_next()).await,
                None => stream.try_next().await,
            };
            let Some(mut piece) = piece.map_err(Error::not_stored)? else { break };
            while !piece.is_empty() {
                let at_once = piece.split_to(piece.len().min(casts::in_memory(PIECE_BYTES)));
                self.take_piece(ctx, key, &mut part, at_once).await.map_err(Error::not_stored)?;
                let busy = part.as_ref().map(PutPart::begin_work);
                self.write_behind().await.map_err(Error::not_stored)?;
                drop(busy);
                // Others get a turn at the executor, also where all pieces are at hand.
                tokio::task::yield_now().await;
            }
        }
        match part.and_then(|part| part.publish(name)) {
            Some(put) => self.finish(ctx, digest, (key, name), put.map_err(Error::not_stored)?).await,
            None => self.known(ctx, digest, (key, name)).await,
        }
    }

    /// Takes the next piece of contents, unless another put was faster: then the rest is read to be verified, and nothing
    /// more.
    async fn take_piece(
        &self,
        ctx: &Context,
        key: &Key,
        part: &mut Option<PutPart<'_>>,
        mut piece: Bytes,
    ) -> Result<()> {
        if part.is_some() && self.engine.peek(key).is_some() {
            *part = None;
        }
        while let Some(writing) = part {
            match self.until_deadline(ctx, writing.take(&self.engine, &mut piece)).await?? {
                Taken::Done => break,
                Taken::NeedsSpace => self.make_space(ctx).await?,
                Taken::Ended => *part = None,
            }
        }
        Ok(())
    }

    /// Returns the result of a put that left storing to others.
    async fn known(&self, ctx: &Context, digest: &Digest, (key, name): (&Key, Option<&Key>)) -> Result<PutOutcome> {
        match self.find_put(ctx, digest, (key, name)).await.map_err(Error::not_stored)? {
            Some(outcome) => Ok(outcome),
            None => Err(Error::unavailable(
                "the equal put that was to store the blob has failed, or the blob is gone again",
            )
            .not_stored()),
        }
    }

    async fn finish(
        &self,
        ctx: &Context,
        digest: &Digest,
        (key, name): (&Key, Option<&Key>),
        put: Put,
    ) -> Result<PutOutcome> {
        if let Some(outcome) = self.finish_put(ctx, digest, put).await? {
            self.write_behind().await?;
            return Ok(outcome);
        }
        match self.find_put(ctx, digest, (key, name)).await? {
            Some(outcome) => Ok(outcome),
            None => Err(Error::unavailable("the blob was evicted while it was put")),
        }
    }

    /// Returns the result of a put that was read and verified in full, if its contents are stored.
    async fn find_put(
        &self,
        ctx: &Context,
        digest: &Digest,
        (key, name): (&Key, Option<&Key>),
    ) -> Result<Option<PutOutcome>> {
        match name {
            Some(name) => self.share(ctx, digest, key, name).await,
            None => self.find_stored(ctx, digest, key).await,
        }
    }

    /// Waits for what a put needs and returns its outcome; `None` if the put must be tried again.
    pub(crate) async fn finish_put(&self, ctx: &Context, digest: &Digest, put: Put) -> Result<Option<PutOutcome>> {
        match put {
            Put::Done { outcome, publications } => {
                self.settle(publications).await?;
                Ok(Some(outcome))
            }
            Put::NeedsSpace => self.make_space(ctx).await.map_err(Error::not_stored).map(|()| None),
            Put::Leaving => self.rescue(ctx, digest).await.map_err(Error::not_stored).map(|_| None),
            Put::Changed => Ok(None),
            Put::Refused => Err(self.engine.refuse().at(digest.to_string())),
            Put::Crowded => {
                let (engine, key) = (Arc::clone(&self.engine), self.engine.keys.key(digest));
                blocking(move || engine.make_room_for_name(&key)).await.map_err(Error::not_stored).map(|()| None)
            }
        }
    }

    pub(crate) async fn put_message(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let size = blob.size_bytes();
        self.begin_put(digest, size)?;
        let owner = self.engine.owner(ctx, digest).map_err(Error::not_stored)?;
        let key = self.engine.keys.key(digest);
        self.engine.check_device().map_err(Error::not_stored)?;
        let (bytes, _room) = self.collect(ctx, blob, size).await.map_err(Error::not_stored)?;
        let contents = Contents { bytes, owner };
        let outcome = loop {
            self.write_behind().await.map_err(Error::not_stored)?;
            let old = self.engine.peek(&key);
            if let Some(old) = old
                && old.location.size_bytes == size
                && self.holds(&old, &contents.bytes).await?
            {
                match self.engine.find(&key) {
                    Presence::Present(record) if record == old => {
                        self.settle(self.engine.publications()).await?;
                        break PutOutcome::AlreadyExists { stored_bytes: size };
                    }
                    Presence::Leaving => {
                        self.rescue(ctx, digest).await.map_err(Error::not_stored)?;
                    }
                    Presence::Present(_) | Presence::Absent => {}
                }
                continue;
            }
            let put = if size > PIECE_BYTES {
                // It is summed up and copied in one step, which is not for an executor's thread.
                let (engine, contents) = (Arc::clone(&self.engine), contents.clone());
                blocking(move || engine.put_message(&key, &contents, old.as_ref())).await
            } else {
                self.engine.put_message(&key, &contents, old.as_ref())
            };
            let put = put.map_err(Error::not_stored)?;
            if let Some(outcome) = self.finish_put(ctx, digest, put).await? {
                break outcome;
            }
        };
        Ok(outcome)
    }

    /// Returns whether `record` names `bytes`. A record that fails verification does not, and is gone after this.
    async fn holds(&self, record: &Record, bytes: &[u8]) -> Result<bool> {
        let record = *record;
        let engine: Arc<Engine> = Arc::clone(&self.engine);
        let all = 0..record.location.size_bytes;
        let known = if all.end > PIECE_BYTES {
            Ok(Read::NotAtOnce)
        } else {
            self.engine.read(&record, all.clone(), Mode::AtOnce)
        };
        let read = match known {
            Ok(Read::NotAtOnce) => blocking(move || engine.read(&record, all, Mode::Waiting)).await,
            known => known,
        };
        match read {
            Ok(Read::Bytes(stored)) => Ok(stored == bytes),
            Ok(Read::Gone | Read::NotAtOnce) => Ok(false),
            Err(error) if error.kind() == ErrorKind::DataLoss => Ok(false),
            Err(error) => Err(error.not_stored()),
        }
    }
}
