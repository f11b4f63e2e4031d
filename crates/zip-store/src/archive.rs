//! An archive that is written: the space that is taken, the entries that are stored, and the directory at the end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blobaccess::{Error, PutOutcome, Result};

use crate::contents::read_message_blocking;
use crate::directory::Headers;
use crate::entries::Entries;
use crate::entry::{Entry, Known, Method};
use crate::file::ArchiveFile;
use crate::records::{Directory, count, local_header, local_header_bytes, put_central_header, put_end};

/// The number of bytes of the directory that are written together.
const BUFFER_BYTES: usize = 1 << 20;

/// The size up to which contents are copied behind their header, so that both are written together, in bytes.
const WRITE_TOGETHER_BYTES: usize = 64 << 10;

/// The number of gaps that are remembered, to take their space back if everything behind them is given back too.
const MAX_GAPS: usize = 1024;

/// The entries of an archive that is written, and the end of what is taken.
#[derive(Debug)]
pub(crate) struct Archive {
    file: ArchiveFile,
    state: Mutex<State>,
    /// The directory that the archive had when it was opened, and that is a gap from then on.
    former: Option<Directory>,
}

#[derive(Debug)]
struct State {
    entries: Entries,
    phase: Phase,
    /// The place of the next entry.
    end: u64,
    /// The beginnings of gaps by their ends.
    gaps: BTreeMap<u64, u64>,
    gap_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Writing,
    /// No entry is stored any more; the directory is not written yet.
    Finishing,
    Finished,
}

/// The state of an archive in numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Totals {
    pub(crate) phase: Phase,
    pub(crate) entries: usize,
    pub(crate) directory_memory_bytes: u64,
    pub(crate) end: u64,
    pub(crate) gap_bytes: u64,
}

/// Space for one entry, which is given back unless the entry is stored.
///
/// Whoever writes into it holds it, on whatever thread. So no space is given back while a write is under way.
#[derive(Debug)]
pub(crate) struct Reservation {
    archive: Arc<Archive>,
    header_offset: u64,
    contents_offset: u64,
    end: u64,
    /// Set under the lock of the state.
    is_stored: AtomicBool,
}

impl Reservation {
    pub(crate) const fn contents_offset(&self) -> u64 {
        self.contents_offset
    }

    const fn size_bytes(&self) -> u64 {
        self.end - self.contents_offset
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.is_stored.load(Ordering::Relaxed) {
            self.archive.lock().give_back(self.header_offset, self.end);
        }
    }
}

impl Archive {
    /// Makes an archive with these entries, whose next entry is written at `end`.
    pub(crate) fn new(file: ArchiveFile, entries: Entries, end: u64, former: Option<Directory>) -> Self {
        let gap_bytes = former.map_or(0, |former| end - former.offset);
        let state = State { entries, phase: Phase::Writing, end, gaps: BTreeMap::new(), gap_bytes };
        Self { file, state: Mutex::new(state), former }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that panics is called while the state is half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<Known>> {
        self.lock().entries.find(name).cloned()
    }

    /// Returns whether each of `names` is stored, under one lock.
    pub(crate) fn contains_each(&self, names: &[String]) -> Vec<bool> {
        let state = self.lock();
        names.iter().map(|name| state.entries.find(name).is_some()).collect()
    }

    pub(crate) fn totals(&self) -> Totals {
        let state = self.lock();
        Totals {
            phase: state.phase,
            entries: state.entries.len(),
            directory_memory_bytes: state.entries.taken_bytes(),
            end: state.end,
            gap_bytes: state.gap_bytes,
        }
    }

    /// Fails unless entries can be stored.
    ///
    /// # Errors
    ///
    /// `Unavailable` for an archive that is finished, or about to be.
    pub(crate) fn check_writing(&self) -> Result<()> {
        self.lock().check_writing()
    }

    /// Reserves space for an entry of this name and size.
    ///
    /// # Errors
    ///
    /// As [`check_writing`](Self::check_writing). `ResourceExhausted` if the directory would take too much memory, or
    /// if the archive would be larger than a file can be.
    pub(crate) fn reserve(self: &Arc<Self>, name: &str, size_bytes: u64) -> Result<Reservation> {
        let mut state = self.lock();
        state.check_writing()?;
        state.entries.check_room_for(name)?;
        let header_offset = state.end;
        let contents_offset = header_offset.checked_add(local_header_bytes(name));
        let end = contents_offset.and_then(|offset| offset.checked_add(size_bytes));
        let (Some(contents_offset), Some(end)) = (contents_offset, end.filter(|end| i64::try_from(*end).is_ok()))
        else {
            let message = format!("archive of {header_offset} bytes cannot take {size_bytes} bytes more");
            return Err(Error::resource_exhausted(message));
        };
        state.end = end;
        Ok(Reservation {
            archive: Arc::clone(self),
            header_offset,
            contents_offset,
            end,
            is_stored: AtomicBool::new(false),
        })
    }

    /// Returns the outcome of a put of contents that are stored already.
    pub(crate) fn find_stored(&self, name: &str) -> Option<PutOutcome> {
        let known = self.find(name)?;
        Some(PutOutcome::AlreadyExists { stored_bytes: known.entry.size_bytes })
    }

    /// Returns whether `contents` lie at `offset`, by reading up to `chunk_bytes` at a time.
    pub(crate) fn has_written(&self, contents: &[u8], offset: u64, chunk_bytes: usize) -> Result<bool> {
        let mut there = vec![0; contents.len().min(chunk_bytes)];
        let mut at = offset;
        for chunk in contents.chunks(chunk_bytes) {
            if self.read(&mut there, at, chunk.len())? != chunk {
                return Ok(false);
            }
            at += count(chunk.len());
        }
        Ok(true)
    }

    /// Reads up to `max_bytes` of what was written at `offset`, as many as the buffer takes.
    pub(crate) fn read<'b>(&self, buffer: &'b mut [u8], offset: u64, max_bytes: usize) -> Result<&'b [u8]> {
        let length = buffer.len().min(max_bytes);
        let (wanted, _) = buffer.split_at_mut(length);
        self.file.read_exact(wanted, offset)?;
        Ok(wanted)
    }

    /// Writes contents into their space, from `offset` on.
    pub(crate) fn write(&self, contents: &[u8], offset: u64) -> Result<()> {
        self.file.write_all(contents, offset)
    }

    /// Stores contents that are at hand. Only one call is made at a time.
    ///
    /// Equal contents, or an equal message, are not stored again.
    ///
    /// # Errors
    ///
    /// As [`reserve`](Self::reserve) and [`publish`](Self::publish).
    pub(crate) fn append(
        self: &Arc<Self>,
        name: &str,
        contents: &[u8],
        crc32: u32,
        is_mutable: bool,
    ) -> Result<(PutOutcome, Option<Arc<Known>>)> {
        self.check_writing()?;
        if let Some(known) = self.find(name)
            && (!is_mutable || self.is_equal(&known, contents, crc32))
        {
            return Ok((PutOutcome::AlreadyExists { stored_bytes: known.entry.size_bytes }, None));
        }
        let reservation = self.reserve(name, count(contents.len()))?;
        let header_offset = reservation.header_offset;
        let stored = self.write_whole(name, contents, crc32, &reservation);
        let stored = stored.and_then(|()| self.publish(name, &reservation, crc32, is_mutable));
        if stored.is_err() && is_mutable {
            // Part of a message must not be taken for entries when the archive is salvaged. There is nothing behind it,
            // as messages are stored one after another. If this fails too, the disk takes nothing anyway.
            drop(self.file.set_size(header_offset));
        }
        stored
    }

    fn is_equal(&self, known: &Arc<Known>, message: &[u8], crc32: u32) -> bool {
        let entry = known.entry;
        let may_be_equal = entry.size_bytes == count(message.len()) && entry.crc32 == crc32;
        // A value that cannot be read is not equal, and is replaced.
        may_be_equal && read_message_blocking(&self.file, known).is_ok_and(|stored| stored == message)
    }

    fn write_whole(&self, name: &str, contents: &[u8], crc32: u32, reservation: &Reservation) -> Result<()> {
        let mut header = local_header(name, reservation.size_bytes(), crc32);
        if contents.len() <= WRITE_TOGETHER_BYTES {
            header.extend_from_slice(contents);
            return self.write(&header, reservation.header_offset);
        }
        self.write(contents, reservation.contents_offset)?;
        self.write(&header, reservation.header_offset)
    }

    /// Stores an entry whose contents are written. If this fails, the reservation is as before.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish), or if the header cannot be written.
    pub(crate) fn store(
        &self,
        name: &str,
        reservation: &Reservation,
        crc32: u32,
    ) -> Result<(PutOutcome, Option<Arc<Known>>)> {
        let header = local_header(name, reservation.size_bytes(), crc32);
        self.write(&header, reservation.header_offset)?;
        self.publish(name, reservation, crc32, false)
    }

    /// Makes an entry visible that is written; returns it, unless an equal one was faster.
    ///
    /// # Errors
    ///
    /// As [`check_writing`](Self::check_writing). `ResourceExhausted` if the directory would take too much memory.
    fn publish(
        &self,
        name: &str,
        reservation: &Reservation,
        crc32: u32,
        is_mutable: bool,
    ) -> Result<(PutOutcome, Option<Arc<Known>>)> {
        let size_bytes = reservation.size_bytes();
        let header_offset = reservation.header_offset;
        let entry = Entry { header_offset, size_bytes, packed_bytes: size_bytes, crc32, method: Method::Stored };
        let known = Arc::new(Known::new(name, entry));
        known.set_header_bytes(reservation.contents_offset - header_offset);
        let mut state = self.lock();
        state.check_writing()?;
        let old_bytes = state.entries.find(name).map(|known| known.entry.size_bytes);
        if let Some(stored_bytes) = old_bytes
            && !is_mutable
        {
            drop(state);
            return Ok((PutOutcome::AlreadyExists { stored_bytes }, None));
        }
        state.entries.add(Arc::clone(&known))?;
        if let Some(old_bytes) = old_bytes {
            state.gap_bytes = state.gap_bytes.saturating_add(local_header_bytes(name) + old_bytes);
        }
        reservation.is_stored.store(true, Ordering::Relaxed);
        drop(state);
        let outcome = match old_bytes {
            None => PutOutcome::Created { stored_bytes: size_bytes },
            Some(old_bytes) => PutOutcome::Replaced { stored_bytes: size_bytes, old_bytes },
        };
        Ok((outcome, Some(known)))
    }

    /// Writes the directory behind all entries, and syncs the file. No entry is stored any more. Does nothing if that
    /// was done before.
    ///
    /// Only one call is made at a time, and none of [`append`](Self::append) meanwhile.
    ///
    /// # Errors
    ///
    /// If the file cannot be written; it may be tried again.
    pub(crate) fn finish(&self) -> Result<()> {
        let (mut added, offset) = {
            let mut state = self.lock();
            if state.phase == Phase::Finished {
                return Ok(());
            }
            state.phase = Phase::Finishing;
            let first = self.former.map_or(0, |former| former.offset);
            let added = state.entries.iter().filter(|known| known.entry.header_offset >= first).cloned();
            (added.collect::<Vec<_>>(), state.end)
        };
        // Whoever finds a directory after a crash finds all that it lists.
        self.file.sync()?;
        let mut written = Written { file: &self.file, buffer: Vec::new(), offset, entries: 0 };
        if let Some(former) = self.former {
            self.copy_former(&former, &mut written)?;
        }
        added.sort_unstable_by_key(|known| known.entry.header_offset);
        for known in added {
            written.put(|buffer| put_central_header(buffer, &known.name, &known.entry))?;
        }
        let size_bytes = written.offset + count(written.buffer.len()) - offset;
        put_end(&mut written.buffer, &Directory { entries: written.entries, offset, size_bytes });
        written.flush()?;
        self.file.set_size(written.offset)?;
        self.file.sync()?;
        self.file.sync_name()?;
        self.lock().phase = Phase::Finished;
        self.file.unlock()
    }

    /// Copies the headers of the former directory as they are, without those of entries that were replaced.
    fn copy_former(&self, former: &Directory, written: &mut Written<'_>) -> Result<()> {
        let mut headers = Headers::new(&self.file, former);
        while let Some(header) = headers.next()? {
            let is_current = match std::str::from_utf8(header.name) {
                Ok(name) => self.find(name).is_some_and(|known| known.entry == header.entry),
                // Something else, which is nobody's here to replace.
                Err(_) => true,
            };
            if is_current {
                written.put(|buffer| buffer.extend_from_slice(header.bytes))?;
            }
        }
        Ok(())
    }
}

impl State {
    fn check_writing(&self) -> Result<()> {
        if self.phase == Phase::Writing {
            return Ok(());
        }
        Err(Error::unavailable("the archive has been finished already").with_retryable(false))
    }

    /// Takes back space that holds no entry: the end of the archive, or else a gap.
    fn give_back(&mut self, begin: u64, end: u64) {
        if self.end != end {
            self.gap_bytes += end - begin;
            if self.gaps.len() < MAX_GAPS {
                self.gaps.insert(end, begin);
            }
            return;
        }
        self.end = begin;
        while let Some(begin) = self.gaps.remove(&self.end) {
            self.gap_bytes -= self.end - begin;
            self.end = begin;
        }
    }
}

/// A directory that is being written.
struct Written<'a> {
    file: &'a ArchiveFile,
    buffer: Vec<u8>,
    offset: u64,
    entries: u64,
}

impl Written<'_> {
    /// Appends a header.
    fn put(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        put(&mut self.buffer);
        self.entries += 1;
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.file.write_all(&self.buffer, self.offset)?;
        self.offset += count(self.buffer.len());
        self.buffer.clear();
        Ok(())
    }
}
