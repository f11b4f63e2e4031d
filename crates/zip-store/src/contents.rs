//! Reads the contents of an entry.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use blobaccess::{Blob, Clock, Digest, Error, ErrorKind, Kind, Provenance, RandomAccess, Result, blocking};
use bytes::Bytes;
use flate2::read::DeflateDecoder;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use crate::entry::{Known, Method};
use crate::file::{ArchiveFile, Mode};
use crate::options::ZipOptions;
use crate::records::{LOCAL_BYTES, LOCAL_EXTRA_BYTES, Local, count};

/// The number of bytes that are read together where reading may wait for the disk.
const PIECE_BYTES: usize = 256 << 10;

/// The number of bytes that are read together on the caller's thread, if they are in the page cache: some 10 µs.
const PIECE_AT_ONCE_BYTES: usize = 64 << 10;

/// The reader of an archive's entries.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) file: ArchiveFile,
    pub(crate) options: ZipOptions,
    clock: Arc<dyn Clock>,
    opened: Instant,
}

impl Contents {
    pub(crate) fn new(file: ArchiveFile, options: ZipOptions, clock: Arc<dyn Clock>) -> Self {
        let opened = clock.monotonic();
        Self { file, options, clock, opened }
    }

    pub(crate) fn with_clock(&self, clock: Arc<dyn Clock>) -> Self {
        Self::new(self.file.clone(), self.options, clock)
    }

    fn now(&self) -> Duration {
        self.clock.monotonic().saturating_duration_since(self.opened)
    }

    /// Notes that the contents of an entry are right.
    pub(crate) fn set_verified(&self, known: &Known) {
        known.set_verified(true, self.now());
    }

    /// Returns the contents of an entry under `digest`.
    ///
    /// # Errors
    ///
    /// `DataLoss` if the entry cannot be right, `Unimplemented` for a compression that is not known. `InvalidArgument`
    /// for a message that is larger than permitted.
    pub(crate) async fn get<K: Kind>(self: &Arc<Self>, digest: &Digest, known: &Arc<Known>) -> Result<Blob> {
        let blob = self.get_unmarked::<K>(digest, Arc::clone(known)).await;
        blob.inspect_err(|error| mark_if_lost(known, error))
    }

    async fn get_unmarked<K: Kind>(self: &Arc<Self>, digest: &Digest, known: Arc<Known>) -> Result<Blob> {
        let entry = known.entry;
        if let Method::Unsupported { number, is_encrypted } = entry.method {
            let encrypted = if is_encrypted { "encrypted and " } else { "" };
            return Err(Error::unimplemented(format!("entry is {encrypted}compressed by method {number}")));
        }
        if entry.method == Method::Stored && entry.packed_bytes != entry.size_bytes {
            let (size, packed) = (entry.size_bytes, entry.packed_bytes);
            return Err(Error::data_loss(format!("entry of {size} bytes is stored in {packed} bytes")));
        }
        if K::STORAGE_TYPE.is_mutable() {
            return Ok(Blob::from_bytes(self.read_message(known).await?));
        }
        if entry.size_bytes != digest.size_bytes() {
            let (size, expected) = (entry.size_bytes, digest.size_bytes());
            return Err(Error::data_loss(format!("entry is {size} bytes, while {expected} bytes were expected")));
        }
        self.get_contents(digest, known).await
    }

    async fn get_contents(self: &Arc<Self>, digest: &Digest, known: Arc<Known>) -> Result<Blob> {
        let is_stored = known.entry.method == Method::Stored;
        let is_verified = known.is_verified(self.now(), self.options.verification_lifetime);
        let is_small = known.entry.size_bytes <= count(PIECE_AT_ONCE_BYTES);
        if is_stored && is_small {
            let contents = self.wait(&known, read_small).await?;
            return Ok(if is_verified {
                Blob::from_verified_bytes(digest, contents)
            } else {
                Blob::from_untrusted_bytes(digest, contents, self.provenance(known))
            });
        }
        let contents_offset = match known.contents_offset() {
            Some(offset) => offset,
            None => self.wait(&known, find_contents).await?,
        };
        let packed = Packed { file: self.file.clone(), known: Arc::clone(&known), contents_offset };
        Ok(match (is_stored, is_verified) {
            (true, true) => Blob::from_random_access(digest, Arc::new(packed)),
            (true, false) => Blob::from_untrusted_stream(digest, packed.into_stream(), self.provenance(known)),
            (false, _) => Blob::from_untrusted_stream(digest, packed.into_decoded_stream(), self.provenance(known)),
        })
    }

    /// Returns where the bytes of an entry come from, and notes the verdict about them.
    fn provenance(self: &Arc<Self>, known: Arc<Known>) -> Provenance {
        let contents = Arc::clone(self);
        Provenance::store_with_verdict(move |is_right| known.set_verified(is_right, contents.now()))
    }

    async fn read_message(&self, known: Arc<Known>) -> Result<Bytes> {
        let (size, max) = (known.entry.size_bytes, self.options.max_message_size_bytes);
        if size > max {
            return Err(Error::invalid_argument(format!("message is {size} bytes; the maximum is {max}")));
        }
        if known.entry.method == Method::Stored && size <= count(PIECE_AT_ONCE_BYTES) {
            let contents = self.wait(&known, read_small).await?;
            return check_message(&known, contents);
        }
        let file = self.file.clone();
        blocking(move || read_message_blocking(&file, &known)).await
    }

    /// Reads at once if that needs no waiting for the disk, else on a thread that may wait.
    async fn wait<T: Send + 'static>(
        &self,
        known: &Arc<Known>,
        read: fn(&ArchiveFile, &Known, Mode) -> Result<Option<T>>,
    ) -> Result<T> {
        if let Some(read) = read(&self.file, known, Mode::AtOnce)? {
            return Ok(read);
        }
        let (file, known) = (self.file.clone(), Arc::clone(known));
        let read = blocking(move || read(&file, &known, Mode::Waiting)).await?;
        read.ok_or_else(|| Error::internal("a read that may wait has not read"))
    }
}

/// Notes that an entry is lost, if this is the error of that.
fn mark_if_lost(known: &Known, error: &Error) {
    if error.kind() == ErrorKind::DataLoss {
        known.set_verified(false, Duration::ZERO);
    }
}

/// Returns the place of the contents of an entry, which is behind its local header. `None` if reading would wait and
/// must not.
fn find_contents(file: &ArchiveFile, known: &Known, mode: Mode) -> Result<Option<u64>> {
    let mut header = vec![0; LOCAL_BYTES + known.name.len()];
    if !file.read(&mut header, known.entry.header_offset, mode)? {
        return Ok(None);
    }
    check_header(known, &header).map(Some)
}

/// Reads the contents of a stored entry whole. `None` if reading would wait and must not.
fn read_small(file: &ArchiveFile, known: &Known, mode: Mode) -> Result<Option<Bytes>> {
    // An entry is smaller than a piece here.
    let size = usize::try_from(known.entry.size_bytes).unwrap_or_default();
    match known.contents_offset() {
        Some(offset) => read_at(file, offset, size, mode),
        None => read_with_header(file, known, size, mode),
    }
}

/// Reads the local header of an entry and its contents, together if the header has the fields that this crate and
/// Buildbarn write.
fn read_with_header(file: &ArchiveFile, known: &Known, size: usize, mode: Mode) -> Result<Option<Bytes>> {
    let header_bytes = LOCAL_BYTES + known.name.len() + usize::from(LOCAL_EXTRA_BYTES);
    let header_offset = known.entry.header_offset;
    let mut both = vec![0; header_bytes + size];
    if header_offset.saturating_add(count(both.len())) > file.size_bytes()? {
        let Some(offset) = find_contents(file, known, mode)? else { return Ok(None) };
        return read_at(file, offset, size, mode);
    }
    if !file.read(&mut both, header_offset, mode)? {
        return Ok(None);
    }
    let contents_offset = check_header(known, &both)?;
    if contents_offset - header_offset != count(header_bytes) {
        return read_at(file, contents_offset, size, mode);
    }
    Ok(Some(Bytes::from(both).split_off(header_bytes)))
}

fn read_at(file: &ArchiveFile, offset: u64, length: usize, mode: Mode) -> Result<Option<Bytes>> {
    let mut piece = vec![0; length];
    Ok(file.read(&mut piece, offset, mode)?.then(|| piece.into()))
}

/// Returns the place of the contents behind the local header that `bytes` begin with, and notes it.
///
/// # Errors
///
/// `DataLoss` if it is the header of another entry, or none.
fn check_header(known: &Known, bytes: &[u8]) -> Result<u64> {
    let offset = known.entry.header_offset;
    let local = Local::parse(bytes).ok_or_else(|| {
        Error::data_loss(format!("there is no local header at {offset}, where the directory has one"))
    })?;
    let name = bytes.get(LOCAL_BYTES..LOCAL_BYTES + known.name.len());
    if local.name_bytes != known.name.len() || name != Some(known.name.as_bytes()) {
        let name = &known.name;
        return Err(Error::data_loss(format!("the local header at {offset} has another name than {name:?}")));
    }
    if local.method != known.entry.method {
        let (number, other) = (known.entry.method.number(), local.method.number());
        let message = format!("the local header at {offset} has method {other}, and the directory {number}");
        return Err(Error::data_loss(message));
    }
    known.set_header_bytes(local.header_bytes());
    Ok(offset.saturating_add(local.header_bytes()))
}

/// Reads a message whole, on a thread that may wait.
///
/// # Errors
///
/// `DataLoss` if it is not what was put.
pub(crate) fn read_message_blocking(file: &ArchiveFile, known: &Arc<Known>) -> Result<Bytes> {
    let contents_offset = match known.contents_offset() {
        Some(offset) => offset,
        None => find_contents(file, known, Mode::Waiting)?.unwrap_or_default(),
    };
    let reader = Packed { file: file.clone(), known: Arc::clone(known), contents_offset }.into_reader();
    // One byte more than there should be, so that more is noticed.
    let limit = known.entry.size_bytes.saturating_add(1);
    let mut contents = Vec::new();
    let read = if known.entry.method == Method::Deflated {
        DeflateDecoder::new(reader).take(limit).read_to_end(&mut contents)
    } else {
        reader.take(limit).read_to_end(&mut contents)
    };
    read.map_err(|error| broken(&error))?;
    check_message(known, contents.into())
}

fn check_message(known: &Known, contents: Bytes) -> Result<Bytes> {
    let (size, expected) = (count(contents.len()), known.entry.size_bytes);
    if size != expected {
        let at_least = if size > expected { "at least " } else { "" };
        return Err(Error::data_loss(format!("entry is {at_least}{size} bytes, while {expected} bytes were expected")));
    }
    let (crc32, expected) = (crc32fast::hash(&contents), known.entry.crc32);
    if crc32 != expected {
        return Err(Error::data_loss(format!("entry has checksum {crc32:08x}, while {expected:08x} was expected")));
    }
    Ok(contents)
}

/// The contents of one entry, as they lie in the archive.
#[derive(Clone, Debug)]
struct Packed {
    file: ArchiveFile,
    known: Arc<Known>,
    contents_offset: u64,
}

impl Packed {
    /// Returns the contents of a stored entry, in pieces.
    fn into_stream(self) -> BoxStream<'static, Result<Bytes>> {
        let known = Arc::clone(&self.known);
        stream::try_unfold((self, 0), |(packed, offset)| async move {
            let piece = packed.read_at(offset, PIECE_BYTES).await?;
            let next = offset + count(piece.len());
            Ok((!piece.is_empty()).then_some((piece, (packed, next))))
        })
        .inspect_err(move |error| mark_if_lost(&known, error))
        .boxed()
    }

    /// Returns the contents of a deflated entry, in pieces.
    fn into_decoded_stream(self) -> BoxStream<'static, Result<Bytes>> {
        let known = Arc::clone(&self.known);
        stream::try_unfold(DeflateDecoder::new(self.into_reader()), |mut decoder| {
            blocking(move || {
                let mut piece = Vec::with_capacity(PIECE_BYTES);
                let read = decoder.by_ref().take(count(PIECE_BYTES)).read_to_end(&mut piece);
                read.map_err(|error| broken(&error))?;
                Ok((!piece.is_empty()).then_some((piece.into(), decoder)))
            })
        })
        .inspect_err(move |error| mark_if_lost(&known, error))
        .boxed()
    }

    fn into_reader(self) -> PackedReader {
        PackedReader { packed: self, at: 0 }
    }
}

#[async_trait]
impl RandomAccess for Packed {
    async fn read_at(&self, offset: u64, length: usize) -> Result<Bytes> {
        let left = usize::try_from(self.known.entry.packed_bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let (offset, length) = (self.contents_offset.saturating_add(offset), length.min(left).min(PIECE_BYTES));
        if let Some(piece) = read_at(&self.file, offset, length.min(PIECE_AT_ONCE_BYTES), Mode::AtOnce)? {
            return Ok(piece);
        }
        let file = self.file.clone();
        blocking(move || Ok(read_at(&file, offset, length, Mode::Waiting)?.unwrap_or_default())).await
    }
}

/// A blocking reader of an entry's contents as they lie in the archive.
#[derive(Debug)]
struct PackedReader {
    packed: Packed,
    at: u64,
}

impl Read for PackedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.packed.known.entry.packed_bytes - self.at;
        let length = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let Some(piece) = buffer.get_mut(..length) else { return Ok(0) };
        let offset = self.packed.contents_offset.saturating_add(self.at);
        self.packed.file.read_exact(piece, offset).map_err(io::Error::other)?;
        self.at += count(length);
        Ok(length)
    }
}

/// Returns the error of a reader: ours, if it is one, else that of contents that cannot be decompressed.
fn broken(error: &io::Error) -> Error {
    match error.get_ref().and_then(|source| source.downcast_ref::<Error>()) {
        Some(error) => error.clone(),
        None => Error::data_loss(format!("entry cannot be decompressed: {error}")),
    }
}
