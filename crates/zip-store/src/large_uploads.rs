//! Large uploads under way: equal ones write one copy, and none waits for another.

use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blobaccess::{PutOutcome, Result, blocking};
use bytes::Bytes;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::archive::{Archive, Reservation};
use crate::entry::Known;
use crate::records::count;

/// The number of bytes that are compared or copied together.
const CHUNK_BYTES: usize = 256 << 10;

/// The result of a put: its outcome, and the entry if it is new.
pub(crate) type Stored = (PutOutcome, Option<Arc<Known>>);

/// The large uploads under way, by the names of their entries.
///
/// Equal uploads write one copy. The one that is ahead writes its next piece, and one that is behind compares its piece
/// with what is there. One that is complete, and verified, knows that every byte is right, and stores the copy. Bytes that
/// differ prove that one of two uploads lies, and not which one: the upload that finds them goes on with a copy of its own,
/// in which later ones take part.
pub(crate) struct LargeUploads {
    archive: Arc<Archive>,
    by_name: Mutex<HashMap<String, NewestCopy>>,
    /// Cloned by each copy.
    copies: Arc<()>,
}

/// The copy that a new upload takes part in.
struct NewestCopy {
    copy: SharedCopy,
    uploads: usize,
}

type SharedCopy = Arc<AsyncMutex<UploadCopy>>;

/// Space in the archive, and how much of it is written. Its lock is held while the disk is written or read.
struct UploadCopy {
    archive: Arc<Archive>,
    reservation: Reservation,
    written_bytes: u64,
    _counted: Arc<()>,
}

/// A large upload on its way into the archive.
pub(crate) struct LargeUpload<'a> {
    uploads: &'a LargeUploads,
    name: &'a str,
    size_bytes: u64,
    copy: SharedCopy,
    /// The number of bytes so far. The copy has all of them.
    offset: u64,
    crc32: crc32fast::Hasher,
}

impl LargeUploads {
    pub(crate) fn new(archive: Arc<Archive>) -> Self {
        Self { archive, by_name: Mutex::default(), copies: Arc::default() }
    }

    /// Returns the number of copies that are being written.
    pub(crate) fn copies(&self) -> u64 {
        count(Arc::strong_count(&self.copies).saturating_sub(1))
    }

    /// Begins an upload: in the copy of equal ones, or else in a new one.
    ///
    /// # Errors
    ///
    /// As [`Archive::reserve`].
    pub(crate) fn join<'a>(&'a self, name: &'a str, size_bytes: u64) -> Result<LargeUpload<'a>> {
        let mut by_name = self.lock();
        let copy = if let Some(newest) = by_name.get_mut(name) {
            newest.uploads += 1;
            Arc::clone(&newest.copy)
        } else {
            let copy = Arc::new(AsyncMutex::new(self.begin_copy(name, size_bytes)?));
            by_name.insert(name.to_owned(), NewestCopy { copy: Arc::clone(&copy), uploads: 1 });
            copy
        };
        drop(by_name);
        Ok(LargeUpload { uploads: self, name, size_bytes, copy, offset: 0, crc32: crc32fast::Hasher::new() })
    }

    fn begin_copy(&self, name: &str, size_bytes: u64) -> Result<UploadCopy> {
        let reservation = self.archive.reserve(name, size_bytes)?;
        let (archive, counted) = (Arc::clone(&self.archive), Arc::clone(&self.copies));
        Ok(UploadCopy { archive, reservation, written_bytes: 0, _counted: counted })
    }

    /// Notes that an upload writes into `copy` no more.
    fn leave(&self, name: &str, copy: &SharedCopy) {
        let mut by_name = self.lock();
        let Some(newest) = by_name.get_mut(name).filter(|newest| Arc::ptr_eq(&newest.copy, copy)) else { return };
        newest.uploads -= 1;
        if newest.uploads == 0 {
            by_name.remove(name);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, NewestCopy>> {
        // Each change is one step; nothing panics while it is held.
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LargeUpload<'_> {
    /// Writes the next pieces, or compares them with what an equal upload wrote. Returns the outcome once an equal upload
    /// has been stored.
    ///
    /// The space goes along to the thread that writes, so that a dropped put gives it back only once nothing writes into it.
    ///
    /// # Errors
    ///
    /// If the disk fails or is full, or as [`Archive::reserve`].
    pub(crate) async fn write(&mut self, pieces: Vec<Bytes>) -> Result<Option<PutOutcome>> {
        for piece in &pieces {
            self.crc32.update(piece);
        }
        let mut copy = Arc::clone(&self.copy).lock_owned().await;
        let mut pieces = pieces;
        loop {
            if let Some(outcome) = self.uploads.archive.find_stored(self.name) {
                return Ok(Some(outcome));
            }
            let offset = self.offset;
            let taken = blocking(move || copy.take(pieces, offset).map(|(taken, rest)| (copy, taken, rest))).await?;
            let (former, taken, rest) = taken;
            self.offset += taken;
            if rest.is_empty() {
                return Ok(None);
            }
            copy = self.take_own_copy(former).await?;
            pieces = rest;
        }
    }

    /// Goes on with a copy of its own, which has what the former one has of this upload.
    async fn take_own_copy(&mut self, former: OwnedMutexGuard<UploadCopy>) -> Result<OwnedMutexGuard<UploadCopy>> {
        // Nothing that is written is written again, so that the former copy needs no lock while it is read.
        let (from, length) = (former.reservation.contents_offset(), self.offset);
        drop(former);
        let own = Arc::new(AsyncMutex::new(self.uploads.begin_copy(self.name, self.size_bytes)?));
        let mut copy = Arc::clone(&own).lock_owned().await;
        self.uploads.leave(self.name, &self.copy);
        let former = mem::replace(&mut self.copy, Arc::clone(&own));
        self.uploads.lock().insert(self.name.to_owned(), NewestCopy { copy: own, uploads: 1 });
        blocking(move || {
            copy.fill(from, length)?;
            // It is given back no earlier.
            drop(former);
            Ok(copy)
        })
        .await
    }

    /// Stores the upload, which is complete and verified.
    ///
    /// # Errors
    ///
    /// As [`Archive::store`]. Equal uploads go on then.
    pub(crate) async fn store(self) -> Result<Stored> {
        let copy = Arc::clone(&self.copy).lock_owned().await;
        if let Some(outcome) = self.uploads.archive.find_stored(self.name) {
            return Ok((outcome, None));
        }
        let (name, crc32) = (self.name.to_owned(), self.crc32.clone().finalize());
        blocking(move || copy.archive.store(&name, &copy.reservation, crc32)).await
    }
}

impl Drop for LargeUpload<'_> {
    fn drop(&mut self) {
        self.uploads.leave(self.name, &self.copy);
    }
}

impl UploadCopy {
    /// Takes pieces of an upload that is at `offset`. Returns the number of bytes taken, and the pieces from the first one
    /// on that differs from what is written.
    fn take(&mut self, pieces: Vec<Bytes>, offset: u64) -> Result<(u64, Vec<Bytes>)> {
        let mut taken = 0;
        let mut pieces = pieces.into_iter();
        while let Some(piece) = pieces.next() {
            let known = self.written_bytes.saturating_sub(offset + taken);
            let known = usize::try_from(known).map_or(piece.len(), |known| known.min(piece.len()));
            let mut new = piece.clone();
            let known = new.split_to(known);
            let begin = self.reservation.contents_offset() + offset + taken;
            if !self.archive.has_written(&known, begin, CHUNK_BYTES)? {
                return Ok((taken, std::iter::once(piece).chain(pieces).collect()));
            }
            if !new.is_empty() {
                self.archive.write(&new, begin + count(known.len()))?;
                self.written_bytes += count(new.len());
            }
            taken += count(piece.len());
        }
        Ok((taken, Vec::new()))
    }

    /// Fills the beginning with `length` bytes that lie at `from` in the archive.
    fn fill(&mut self, from: u64, length: u64) -> Result<()> {
        let mut chunk = vec![0; CHUNK_BYTES];
        while self.written_bytes < length {
            let left = usize::try_from(length - self.written_bytes).unwrap_or(usize::MAX);
            let bytes = self.archive.read(&mut chunk, from + self.written_bytes, left)?;
            self.archive.write(bytes, self.reservation.contents_offset() + self.written_bytes)?;
            self.written_bytes += count(bytes.len());
        }
        Ok(())
    }
}

impl Debug for LargeUploads {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("LargeUploads").field("copies", &self.copies()).finish_non_exhaustive()
    }
}
