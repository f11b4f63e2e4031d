//! Reads what a record names, and believes of a device only what proves right.

use std::ops::Range;

use bytes::{Buf as _, Bytes, BytesMut};

use blobaccess::{DigestFunction, Error, Result};

use super::Engine;
use crate::block::{One, ReadPart};
use crate::key_location_map::Record;
use crate::location::Location;
use crate::tail::Tail;
use crate::trailer::{self, Checked, PIECE_BYTES};
use crate::verified::Piece;
use crate::{tail, width};

/// Whether reading may wait for a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Waiting,
    AtOnce,
}

/// What reading came to.
#[derive(Debug)]
pub(crate) enum Read {
    Bytes(Bytes),
    /// The block is in another use: what the record named is gone, or elsewhere.
    Gone,
    /// It would take waiting for a disk.
    NotAtOnce,
}

impl Engine {
    /// Reads a range of the contents that `record` names.
    ///
    /// What is in memory is as it was put. What is read from the device is checked, by pieces; parts of other objects
    /// are hashed as a whole, wherever they lie.
    ///
    /// # Errors
    ///
    /// `DataLoss` if it is not what was put; the object is quarantined then. `Unavailable` if the device fails.
    pub(crate) fn read(&self, record: &Record, range: Range<u64>, mode: Mode) -> Result<Read> {
        if record.is_part {
            return self.read_part(record, range, mode);
        }
        let location = record.location;
        let Some(block) = self.block(location.block) else { return Ok(Read::Gone) };
        let within = location.offset + range.start..location.offset + range.end;
        match block.read_one(location.generation, &within) {
            One::Bytes(bytes) => return Ok(Read::Bytes(self.lend(bytes))),
            One::Gone => return Ok(Read::Gone),
            One::OnDevice if self.is_verified(record, &range) => return self.read_raw(record, range, mode),
            One::OnDevice => return self.read_checked(record, range, mode),
            One::Several => {}
        }
        let Some(parts) = block.read(location.generation, within) else { return Ok(Read::Gone) };
        if parts.iter().all(|part| matches!(part, ReadPart::Bytes(_))) {
            return Ok(Read::Bytes(self.lend(join(parts))));
        }
        if self.is_verified(record, &range) {
            return self.read_raw(record, range, mode);
        }
        self.read_checked(record, range, mode)
    }

    /// What is read, as it lies in memory; or a copy, where readers keep much of what blocks gave up: a slow one is not to
    /// keep a piece of memory for each small object that it reads.
    #[inline]
    fn lend(&self, bytes: Bytes) -> Bytes {
        if self.pool.has_lent_enough() { Bytes::copy_from_slice(&bytes) } else { bytes }
    }

    fn read_checked(&self, record: &Record, range: Range<u64>, mode: Mode) -> Result<Read> {
        let size = record.location.size_bytes;
        let trailer_bytes = trailer::size_bytes(size);
        let (mut bytes, from, checked) = if size <= PIECE_BYTES {
            let mut bytes = match self.read_raw(record, 0..size + trailer_bytes, mode)? {
                Read::Bytes(bytes) => bytes,
                other @ (Read::Gone | Read::NotAtOnce) => return Ok(other),
            };
            let checked = bytes.get(width::in_memory(size)..).and_then(|trailer| Checked::read(record, trailer));
            bytes.truncate(width::in_memory(size));
            (bytes, 0, checked)
        } else {
            let trailer = match self.read_raw(record, size..size + trailer_bytes, mode)? {
                Read::Bytes(bytes) => bytes,
                other @ (Read::Gone | Read::NotAtOnce) => return Ok(other),
            };
            let from = range.start / PIECE_BYTES * PIECE_BYTES;
            let to = range.end.next_multiple_of(PIECE_BYTES).min(size);
            let bytes = match self.read_raw(record, from..to, mode)? {
                Read::Bytes(bytes) => bytes,
                other @ (Read::Gone | Read::NotAtOnce) => return Ok(other),
            };
            (bytes, from, Checked::read(record, &trailer))
        };
        let is_right = checked.is_some_and(|checked| {
            let pieces = bytes.chunks(width::in_memory(PIECE_BYTES));
            // An object without contents has one piece all the same.
            let is_empty_right = !bytes.is_empty() || checked.verify(0, &[]);
            is_empty_right && (from / PIECE_BYTES..).zip(pieces).all(|(number, piece)| checked.verify(number, piece))
        });
        if !is_right {
            return Err(self.wrong(record));
        }
        self.remember_verified(record, &(from..from + width::on_device(bytes.len())));
        bytes.truncate(width::in_memory(range.end - from));
        bytes.advance(width::in_memory(range.start - from));
        Ok(Read::Bytes(bytes))
    }

    /// Whether all pieces of a range proved right lately.
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

    fn read_part(&self, record: &Record, range: Range<u64>, mode: Mode) -> Result<Read> {
        let size = record.location.size_bytes;
        let bytes = match self.read_raw(record, 0..size, mode)? {
            Read::Bytes(bytes) => bytes,
            other @ (Read::Gone | Read::NotAtOnce) => return Ok(other),
        };
        if !is_contents_of(record, &bytes) {
            return Err(self.wrong(record));
        }
        Ok(Read::Bytes(bytes.slice(width::in_memory(range.start)..width::in_memory(range.end))))
    }

    /// Reads what lies there, right or wrong. `range` begins with the contents and may reach into the trailer.
    pub(super) fn read_raw(&self, record: &Record, range: Range<u64>, mode: Mode) -> Result<Read> {
        let location = record.location;
        let Some(block) = self.block(location.block) else { return Ok(Read::Gone) };
        let within = location.offset + range.start..location.offset + range.end;
        let read = match block.read_one(location.generation, &within) {
            One::Bytes(bytes) => return Ok(Read::Bytes(bytes)),
            One::Gone => return Ok(Read::Gone),
            One::OnDevice => match self.read_device(location.block, within, mode)? {
                Some(bytes) => bytes,
                None => return Ok(Read::NotAtOnce),
            },
            One::Several => {
                let Some(mut parts) = block.read(location.generation, within) else { return Ok(Read::Gone) };
                for part in &mut parts {
                    if let ReadPart::OnDevice(range) = part {
                        match self.read_device(location.block, range.clone(), mode)? {
                            Some(bytes) => *part = ReadPart::Bytes(bytes),
                            None => return Ok(Read::NotAtOnce),
                        }
                    }
                }
                join(parts)
            }
        };
        // Only now: the block may have been given another use while it was read.
        if block.is(location.generation) { Ok(Read::Bytes(read)) } else { Ok(Read::Gone) }
    }

    /// Reads a range of a block from the device; `None` if it would take waiting, and that is not wanted.
    fn read_device(&self, block: u16, range: Range<u64>, mode: Mode) -> Result<Option<Bytes>> {
        let Some(disk) = &self.disk else { return Ok(None) };
        let at = disk.layout.data(block) + range.start;
        let mut buffer = self.buffers.take(width::in_memory(range.end - range.start));
        match mode {
            Mode::Waiting => disk.device.read_at(at, buffer.as_mut())?,
            Mode::AtOnce => {
                if !disk.device.read_at_once(at, buffer.as_mut()) {
                    return Ok(None);
                }
            }
        }
        Ok(Some(buffer.freeze()))
    }

    /// What the tail of an object has behind its checksum; nothing if it has none, and `None` if the object is gone. It
    /// may block.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub(super) fn read_tail(&self, record: &Record) -> Result<Option<Vec<u8>>> {
        if !record.has_tail {
            return Ok(Some(Vec::new()));
        }
        let begin = self.sizes.stored_bytes(record.location.size_bytes);
        let head = match self.read_raw(record, begin..begin + tail::HEAD_BYTES, Mode::Waiting)? {
            Read::Bytes(head) => head,
            Read::Gone | Read::NotAtOnce => return Ok(None),
        };
        let longest = tail::max_bytes(self.storage_type).min(self.sizes.data_bytes - record.location.offset - begin);
        let Some(length) = tail::length(&head).filter(|length| *length <= longest) else {
            return Err(self.wrong(record));
        };
        let whole = match self.read_raw(record, begin..begin + length, Mode::Waiting)? {
            Read::Bytes(whole) => whole,
            Read::Gone | Read::NotAtOnce => return Ok(None),
        };
        match tail::verified(record, &whole) {
            Some(body) => Ok(Some(body.to_vec())),
            None => Err(self.wrong(record)),
        }
    }

    /// What the tail of an object says. `None` if the object is gone. It may block.
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
        self.quarantine(record);
        let location = record.location;
        Error::data_loss(format!(
            "what is stored in block {} at {} is not the object of {} bytes that was put there",
            location.block, location.offset, location.size_bytes
        ))
    }
}

/// The pieces that a range of an object lies in.
fn pieces(record: &Record, range: &Range<u64>) -> impl Iterator<Item = Piece> + use<> {
    let Location { generation, offset, .. } = record.location;
    let sequence = record.sequence;
    let first = range.start / PIECE_BYTES;
    // An empty range has one piece: that of an object without contents.
    let end = range.end.div_ceil(PIECE_BYTES).max(first + 1);
    (first..end).map(move |number| Piece { generation, offset: offset + number * PIECE_BYTES, sequence })
}

/// Whether `bytes` are the contents that the key of `record` is the hash of.
fn is_contents_of(record: &Record, bytes: &[u8]) -> bool {
    let Some(function) = DigestFunction::from_number(i32::from(record.function)) else { return false };
    let mut hasher = function.hasher(record.location.size_bytes);
    hasher.update(bytes);
    let hash = hasher.finish();
    let mut key = [0; 32];
    for (byte, of_hash) in key.iter_mut().zip(hash.as_bytes()) {
        *byte = *of_hash;
    }
    key == crate::key::bytes(&record.key_words)
}

fn join(mut parts: Vec<ReadPart>) -> Bytes {
    if let [ReadPart::Bytes(only)] = &mut *parts {
        return std::mem::take(only);
    }
    let bytes = |part: &ReadPart| match part {
        ReadPart::Bytes(bytes) => bytes.clone(),
        ReadPart::OnDevice(_) => Bytes::new(),
    };
    let mut whole = BytesMut::with_capacity(parts.iter().map(|part| bytes(part).len()).sum());
    for part in &parts {
        whole.extend_from_slice(&bytes(part));
    }
    whole.freeze()
}
