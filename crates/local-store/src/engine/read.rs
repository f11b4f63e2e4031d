//! Reads the object that a record names. Bytes from a device are verified.

use std::ops::Range;
use std::sync::Arc;

use blobaccess::{DigestFunction, Error, ErrorKind, Result};
use bytes::Bytes;

use super::excerpt::Excerpt;
use super::verified_pieces::Piece;
use super::{Engine, Mode, Read};
use crate::key_location_map::Record;
use crate::location::Location;
use crate::machine::casts;
use crate::machine::concurrency::locks::{Mutex, enter};
use crate::object::checksums::{Checked, PIECE_BYTES};
use crate::object::provenance;
use crate::object::provenance::Tail;

/// The trailer of a large object, kept by a reader of many pieces, who reads and checks it once.
#[derive(Debug, Default)]
pub(crate) struct Trailer(Mutex<Option<(Record, Arc<Checked>)>>);

impl Trailer {
    fn get(&self, record: &Record) -> Option<Arc<Checked>> {
        enter(&self.0).as_ref().filter(|(known, _)| known == record).map(|(_, checked)| Arc::clone(checked))
    }

    /// Reads and keeps the trailer of the object that `record` names; `None` if it is another one.
    fn keep(&self, record: &Record, trailer: &[u8]) -> Option<Arc<Checked>> {
        let checked = Arc::new(Checked::read(record, trailer)?);
        *enter(&self.0) = Some((*record, Arc::clone(&checked)));
        Some(checked)
    }
}

impl Engine {
    /// Reads a range of the contents that `record` names, to be shared.
    ///
    /// # Errors
    ///
    /// As [`lend`](Self::lend).
    pub(crate) fn read(&self, record: &Record, range: Range<u64>, mode: Mode) -> Result<Read> {
        self.read_by(&Trailer::default(), record, range, mode)
    }

    /// Reads a range as [`read`](Self::read) does, for a reader of many pieces, who keeps the trailer between them.
    pub(crate) fn read_by(&self, kept: &Trailer, record: &Record, range: Range<u64>, mode: Mode) -> Result<Read> {
        Ok(match self.lend_by(kept, record, range, mode)? {
            Read::Bytes(excerpt) => Read::Bytes(self.reader.hand_out(excerpt)),
            Read::Gone => Read::Gone,
            Read::NotAtOnce => Read::NotAtOnce,
        })
    }

    /// Returns whether reading all that `record` names hashes it.
    pub(crate) fn hashes_reads_of(&self, record: &Record) -> bool {
        record.is_part || self.reader.is_on_device()
    }

    /// Returns all of the contents that `record` names, if memory has them in one piece, and they may be lent.
    pub(crate) fn lend_whole(&self, record: &Record) -> Option<Bytes> {
        self.reader.lend_whole(&record.location)
    }

    /// Returns the bytes that were read, as they lie in memory or as a copy.
    #[inline]
    pub(crate) fn hand_out(&self, excerpt: Excerpt) -> Bytes {
        self.reader.hand_out(excerpt)
    }

    /// Reads a range of the contents that `record` names.
    ///
    /// Memory is trusted. Bytes from the device are verified by pieces. Parts of other objects are hashed as a whole,
    /// wherever they lie.
    ///
    /// # Errors
    ///
    /// `DataLoss` if the bytes are not those that were put, or the device cannot read them while it reads others; the
    /// object is quarantined then. `Unavailable` if the device fails.
    pub(crate) fn lend(&self, record: &Record, range: Range<u64>, mode: Mode) -> Result<Read<Excerpt>> {
        self.lend_by(&Trailer::default(), record, range, mode)
    }

    fn lend_by(&self, kept: &Trailer, record: &Record, range: Range<u64>, mode: Mode) -> Result<Read<Excerpt>> {
        if record.is_part {
            return self.lend_part(record, &range, mode);
        }
        if !self.reader.is_on_device() || self.is_verified(record, &range) {
            return self.lend_unverified(record, range, mode);
        }
        let size = record.location.size_bytes;
        let is_one_piece = size <= PIECE_BYTES;
        // Whole pieces. The trailer of an object of one piece is read along.
        let from = range.start / PIECE_BYTES * PIECE_BYTES;
        let to = range.end.next_multiple_of(PIECE_BYTES).min(size);
        let end = if is_one_piece { self.sizes.stored_bytes(size) } else { to };
        let mut excerpt = match self.lend_unverified(record, from..end, mode)? {
            Read::Bytes(excerpt) => excerpt,
            other @ (Read::Gone | Read::NotAtOnce) => return Ok(other),
        };
        if excerpt.is_from_device() {
            let (pieces, trailer) = excerpt.split_at_checked(casts::in_memory(to - from)).unwrap_or_default();
            let is_right = if is_one_piece {
                is_right(record, from, pieces, trailer)
            } else {
                let known = if let Some(known) = kept.get(record) {
                    Some(known)
                } else {
                    match self.lend_unverified(record, size..self.sizes.stored_bytes(size), mode)? {
                        Read::Bytes(trailer) => kept.keep(record, &trailer),
                        other @ (Read::Gone | Read::NotAtOnce) => return Ok(other),
                    }
                };
                known.is_some_and(|checked| are_right(&checked, from, pieces))
            };
            if !is_right {
                return Err(self.wrong(record));
            }
            self.remember_verified(record, &(from..to));
        }
        excerpt.narrow(&(casts::in_memory(range.start - from)..casts::in_memory(range.end - from)));
        Ok(Read::Bytes(excerpt))
    }

    /// Reads a range of what `record` names, without verifying it.
    ///
    /// # Errors
    ///
    /// `DataLoss` if the device cannot read it while it reads others: the object is quarantined then. `Unavailable` if the
    /// device fails.
    fn lend_unverified(&self, record: &Record, range: Range<u64>, mode: Mode) -> Result<Read<Excerpt>> {
        self.reader.lend(&record.location, range, mode).inspect_err(|error| {
            if error.kind() == ErrorKind::DataLoss {
                self.quarantine(record, "cannot be read");
            }
        })
    }

    /// Returns whether all pieces of a range were verified recently.
    fn is_verified(&self, record: &Record, range: &Range<u64>) -> bool {
        let Some(verified) = &self.verified else { return false };
        let now = self.surroundings.clock.monotonic();
        pieces(record, range).all(|piece| verified.has(&piece, now))
    }

    fn remember_verified(&self, record: &Record, range: &Range<u64>) {
        let Some(verified) = &self.verified else { return };
        let now = self.surroundings.clock.monotonic();
        for piece in pieces(record, range) {
            verified.remember(piece, now);
        }
    }

    fn lend_part(&self, record: &Record, range: &Range<u64>, mode: Mode) -> Result<Read<Excerpt>> {
        let mut excerpt = match self.lend_unverified(record, 0..record.location.size_bytes, mode)? {
            Read::Bytes(excerpt) => excerpt,
            other @ (Read::Gone | Read::NotAtOnce) => return Ok(other),
        };
        if !is_contents_of(record, &excerpt) {
            return Err(self.wrong(record));
        }
        excerpt.narrow(&(casts::in_memory(range.start)..casts::in_memory(range.end)));
        Ok(Read::Bytes(excerpt))
    }

    /// Returns the tail of an object without its checksum: empty if there is none, `None` if the object is gone. It may
    /// block.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub(super) fn read_tail(&self, record: &Record) -> Result<Option<Vec<u8>>> {
        if !record.has_tail {
            return Ok(Some(Vec::new()));
        }
        let begin = self.sizes.stored_bytes(record.location.size_bytes);
        let head = match self.lend_unverified(record, begin..begin + provenance::HEAD_BYTES, Mode::Waiting)? {
            Read::Bytes(head) => head,
            Read::Gone | Read::NotAtOnce => return Ok(None),
        };
        let longest =
            provenance::max_bytes(self.storage_type).min(self.sizes.data_bytes - record.location.offset - begin);
        let Some(length) = provenance::length(&head).filter(|length| *length <= longest) else {
            return Err(self.wrong(record));
        };
        let whole = match self.lend_unverified(record, begin..begin + length, Mode::Waiting)? {
            Read::Bytes(whole) => whole,
            Read::Gone | Read::NotAtOnce => return Ok(None),
        };
        match provenance::verified(record, &whole) {
            Some(body) => Ok(Some(body.to_vec())),
            None => Err(self.wrong(record)),
        }
    }

    /// Returns the decoded tail of an object. `None` if the object is gone. It may block.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub(crate) fn tail(&self, record: &Record) -> Result<Option<Tail>> {
        let Some(body) = self.read_tail(record)? else { return Ok(None) };
        if body.is_empty() {
            return Ok(Some(Tail { token: None, digest: None }));
        }
        Tail::read(&body, record.function).map(Some).ok_or_else(|| self.wrong(record))
    }

    fn wrong(&self, record: &Record) -> Error {
        self.quarantine(record, "failed verification");
        let location = record.location;
        Error::data_loss(format!(
            "block {} at {} does not hold the object of {} bytes that was put there",
            location.block, location.offset, location.size_bytes
        ))
    }
}

/// Returns the pieces that a range of an object lies in.
fn pieces(record: &Record, range: &Range<u64>) -> impl Iterator<Item = Piece> + use<> {
    let Location { generation, offset, .. } = record.location;
    let sequence = record.sequence;
    let first = range.start / PIECE_BYTES;
    // An empty range has one piece: that of an object without contents.
    let end = range.end.div_ceil(PIECE_BYTES).max(first + 1);
    (first..end).map(move |number| Piece { generation, offset: offset + number * PIECE_BYTES, sequence })
}

/// Returns whether the pieces of an object, the first of which begins at `from`, are those that were put.
fn is_right(record: &Record, from: u64, pieces: &[u8], trailer: &[u8]) -> bool {
    Checked::read(record, trailer).is_some_and(|checked| are_right(&checked, from, pieces))
}

/// Returns whether pieces, the first of which begins at `from`, have the sums of a trailer.
fn are_right(checked: &Checked, from: u64, pieces: &[u8]) -> bool {
    // An object without contents has one piece anyway.
    if pieces.is_empty() {
        return checked.verify(0, &[]);
    }
    let pieces = pieces.chunks(casts::in_memory(PIECE_BYTES));
    (from / PIECE_BYTES..).zip(pieces).all(|(number, piece)| checked.verify(number, piece))
}

/// Returns whether the key of `record` is the hash of `bytes`.
fn is_contents_of(record: &Record, bytes: &[u8]) -> bool {
    let Some(function) = DigestFunction::from_number(i32::from(record.function)) else { return false };
    let mut hasher = function.hasher(record.location.size_bytes);
    hasher.update(bytes);
    let hash = hasher.finish();
    let mut key = [0; 32];
    for (byte, hashed) in key.iter_mut().zip(hash.as_bytes()) {
        *byte = *hashed;
    }
    key == crate::key::bytes(&record.key_words)
}
