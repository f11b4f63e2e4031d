//! Synchronous calls, for programs that link the store directly; without allocations where none are needed.

use std::sync::Arc;

use blobaccess::{Context, Digest, Kind, PutOutcome, Result};
use bytes::Bytes;

use super::visibility::MasksByName;
use super::{DIGESTS_PER_TURN, LocalStore};
use crate::engine::Excerpt;
use crate::engine::{Contents, Mode, Presence, Put, Read};
use crate::machine::casts;
use crate::options::SyncPolicy;

/// The number of digests that are looked up before blobs are copied that are about to be evicted.
const DIGESTS_AT_ONCE: usize = 1024;

impl<K: Kind> LocalStore<K> {
    /// Tells `absent` the positions of the `digests` that are not stored, in order. Counts as use of the others.
    ///
    /// It blocks only where a blob is about to be evicted, and is copied for that.
    ///
    /// # Errors
    ///
    /// `Unavailable` if such a blob cannot be copied.
    pub fn find_missing_blocking(&self, digests: &[Digest], mut absent: impl FnMut(usize)) -> Result<()> {
        if let Some(names) = &self.engine.names {
            return self.find_unseen_blocking(&mut MasksByName::new(names), digests, absent);
        }
        let mut leaving = Vec::new();
        for (number, batch) in digests.chunks(DIGESTS_AT_ONCE).enumerate() {
            let first = number * DIGESTS_AT_ONCE;
            let mut missing = |position: usize| absent(first + position);
            self.engine.find_all(batch, &mut missing, |position| leaving.push(position));
            for position in leaving.drain(..) {
                let Some(digest) = batch.get(position) else { continue };
                if self.engine.rescue(&self.engine.keys.key(digest))? == Presence::Absent {
                    missing(position);
                }
            }
        }
        Ok(())
    }

    /// Finds missing blobs where instance names count.
    fn find_unseen_blocking(
        &self,
        masks: &mut MasksByName<'_>,
        digests: &[Digest],
        mut absent: impl FnMut(usize),
    ) -> Result<()> {
        for (number, batch) in digests.chunks(DIGESTS_PER_TURN).enumerate() {
            let look = self.engine.names_seen.look();
            let mut found = masks.seen(&self.engine, batch)?;
            for (digest, is_found) in batch.iter().zip(&mut found) {
                *is_found = *is_found && self.engine.rescue(&self.engine.keys.key(digest))? != Presence::Absent;
            }
            if look.is_outdated() {
                let seen = masks.seen(&self.engine, batch)?;
                found.iter_mut().zip(seen).for_each(|(is_found, is_seen)| *is_found &= is_seen);
            }
            for (position, _) in found.iter().enumerate().filter(|(_, is_found)| !**is_found) {
                absent(number * DIGESTS_PER_TURN + position);
            }
        }
        Ok(())
    }

    /// Returns the contents of a blob, if it is stored: without a copy, where memory has them in one piece.
    ///
    /// The returned bytes of a store in memory keep a piece of up to 256 MiB, so hold them no longer than needed. The
    /// store takes other memory meanwhile. Once such pieces reach a sixteenth of its capacity, it copies what is read.
    ///
    /// It blocks where the contents must be read from a disk.
    ///
    /// # Errors
    ///
    /// As [`BlobAccess::get`](blobaccess::BlobAccess::get), but for absence.
    pub fn get_blocking(&self, digest: &Digest) -> Result<Option<Bytes>> {
        Ok(self.lend(digest)?.map(|contents| self.engine.hand_out(contents)))
    }

    /// Returns what `read` returns for the contents of a blob, if it is stored. The contents are lent where memory has
    /// them in one piece; else they lie in a buffer that is used again.
    ///
    /// The call allocates only for contents that lie in several chunks of up to 1 MiB, or for more than 256 KiB from a
    /// device. Where several chunks are one piece of memory, as in a store in memory, that is a few words; elsewhere it
    /// is a buffer for the contents.
    ///
    /// It blocks where the contents must be read from a disk. `read` is called at most once, after everything was
    /// verified. No lock is held meanwhile, so `read` may call the store, and may take its time: it keeps only the
    /// memory that it reads from being used again. If it panics, only that call is lost.
    ///
    /// # Errors
    ///
    /// As [`BlobAccess::get`](blobaccess::BlobAccess::get), but for absence, which is `None`.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> blobaccess::Result<()> {
    /// use blobaccess::{Cas, Digest, DigestFunction, InstanceName};
    /// use blobaccess_local_store::{LocalStore, Options};
    ///
    /// let store = LocalStore::<Cas>::open(Options::in_memory(64 << 20)).await?;
    /// let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello");
    /// assert_eq!(store.get_with(&digest, |contents| contents.len())?, None);
    /// store.put_blocking(&digest, "hello".into())?;
    /// assert_eq!(store.get_with(&digest, |contents| contents.len())?, Some(5));
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_with<R>(&self, digest: &Digest, read: impl FnOnce(&[u8]) -> R) -> Result<Option<R>> {
        Ok(self.lend(digest)?.map(|contents| read(&contents)))
    }

    fn lend(&self, digest: &Digest) -> Result<Option<Excerpt>> {
        if !self.sees(digest)? {
            return Ok(None);
        }
        let key = self.engine.keys.key(digest);
        loop {
            let Some(record) = self.engine.look_up_to_read(&key) else { return Ok(None) };
            let all = 0..record.location.size_bytes;
            let read = self.engine.lend(&record, all, Mode::Waiting);
            if let Read::Bytes(contents) = read.map_err(|error| error.at(digest.to_string()))? {
                return Ok(Some(contents));
            }
        }
    }

    /// Stores contents that the caller vouches for: neither their hash nor their size is verified.
    ///
    /// It blocks while a block must be recycled first, or writing lags behind; under [`SyncPolicy::OnPut`], until the
    /// contents are durable.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the contents are larger than the store takes. `Unavailable` if the device has failed.
    pub fn put_blocking(&self, digest: &Digest, contents: Bytes) -> Result<PutOutcome> {
        let size = casts::on_device(contents.len());
        self.begin_put(digest, size)?;
        let key = self.engine.keys.key(digest);
        self.engine.expect(&key);
        let name = self.key_of_name(digest)?;
        let owner = self.engine.owner(&Context::background(), digest)?;
        let contents = Contents { bytes: contents, owner };
        loop {
            if self.engine.is_congested() || self.engine.claim_flush() {
                self.engine.flush()?;
            }
            let put = if K::STORAGE_TYPE.is_mutable() {
                let old = self.engine.peek(&key);
                if let Some(old) = old.filter(|old| old.location.size_bytes == size)
                    && let Ok(Read::Bytes(stored)) = self.engine.read(&old, 0..size, Mode::Waiting)
                    && stored == contents.bytes
                    && self.engine.find(&key) == Presence::Present(old)
                {
                    let outcome = PutOutcome::AlreadyExists { stored_bytes: size };
                    Put::Done { outcome, publications: self.engine.publications() }
                } else {
                    self.engine.put_message(&key, &contents, old.as_ref())?
                }
            } else {
                self.engine.put_contents(&key, &contents, name.as_ref())?
            };
            match put {
                Put::Done { outcome, publications } => {
                    if self.engine.surroundings.policy == Some(SyncPolicy::OnPut) {
                        self.engine.sync_until(publications)?;
                    }
                    return Ok(outcome);
                }
                Put::NeedsSpace => Arc::clone(&self.engine).recycle()?,
                Put::Leaving => {
                    self.engine.rescue(&key)?;
                }
                Put::Changed => {}
                Put::Refused => return Err(self.engine.refuse().at(digest.to_string())),
                Put::Crowded => self.engine.make_room_for_name(&key)?,
            }
        }
    }

    /// Recycles the blocks that exceed old, current and new together, as [`run`](Self::run) does.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the device fails.
    pub fn recycle_blocking(&self) -> Result<()> {
        self.engine.recycle()
    }

    /// Copies everything that is queued to be [refreshed](crate::Refresh::OnTouch), as [`run`](Self::run) does.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the device fails.
    pub fn refresh_blocking(&self) -> Result<()> {
        loop {
            self.engine.maintain()?;
            if self.engine.queued_refreshes() == 0 {
                return Ok(());
            }
        }
    }

    /// Syncs on this thread, as [`sync`](Self::sync) does.
    ///
    /// # Errors
    ///
    /// As [`sync`](Self::sync).
    pub fn sync_blocking(&self) -> Result<()> {
        self.engine.sync()
    }
}
