//! Reads the central directory of a finished archive, piece by piece.

use std::sync::Arc;

use blobaccess::{Error, Result};

use crate::entries::Entries;
use crate::entry::{Entry, Known};
use crate::file::ArchiveFile;
use crate::records::{
    CENTRAL_BYTES, Directory, END_BYTES, LOCAL_BYTES, ZIP64_END_BYTES, ZIP64_LOCATOR_BYTES, count, parse_central,
    parse_central_lengths, parse_end, parse_zip64_end, parse_zip64_locator,
};

/// The maximum length of the comment at the end of an archive, in bytes.
const MAX_COMMENT_BYTES: usize = 65_535;

/// The number of bytes of a directory that are read together.
const BUFFER_BYTES: usize = 256 << 10;

/// The memory that an entry takes while a directory is read, in bytes: where it begins and ends.
const EXTENT_BYTES: u64 = 16;

/// Finds the central directory of an archive. `None` if there is none at the end, as in an archive that was cut.
///
/// # Errors
///
/// `DataLoss` if the end is there and cannot be right. `Unimplemented` if the archive is split over several files.
pub(crate) fn find(file: &ArchiveFile) -> Result<Option<Directory>> {
    let archive_bytes = file.size_bytes()?;
    let tail_bytes = usize::try_from(archive_bytes).unwrap_or(usize::MAX).min(END_BYTES + MAX_COMMENT_BYTES);
    let tail_offset = archive_bytes - count(tail_bytes);
    let mut tail = vec![0; tail_bytes];
    file.read_exact(&mut tail, tail_offset)?;
    // The comment behind the record must end with the file. So an end record within a comment does not count.
    let end = (0..=tail_bytes.saturating_sub(END_BYTES)).rev().find_map(|at| {
        let end = parse_end(tail.get(at..)?)?;
        (end.comment_bytes == count(tail_bytes - at - END_BYTES)).then_some((tail_offset + count(at), end))
    });
    let Some((end_offset, end)) = end else { return Ok(None) };
    if end.is_split {
        return Err(Error::unimplemented("the archive is split over several files"));
    }
    let zip64 = if end.is_saturated { find_zip64(file, end_offset)? } else { None };
    let (directory, directory_end) = zip64.unwrap_or((end.directory, end_offset));
    let Directory { entries, offset, size_bytes } = directory;
    if offset.checked_add(size_bytes) != Some(directory_end) {
        let message = format!("{size_bytes} bytes of directory at {offset} do not end at {directory_end}");
        return Err(Error::data_loss(message));
    }
    if entries > size_bytes / count(CENTRAL_BYTES) {
        let message = format!("{size_bytes} bytes of directory are too few for {entries} entries");
        return Err(Error::data_loss(message));
    }
    Ok(Some(directory))
}

/// Reads the ZIP64 records before the end record at `end_offset`; returns the directory and its end. `None` if there
/// are none, so that the numbers of the end record are meant.
fn find_zip64(file: &ArchiveFile, end_offset: u64) -> Result<Option<(Directory, u64)>> {
    let Some(locator_offset) = end_offset.checked_sub(count(ZIP64_LOCATOR_BYTES)) else { return Ok(None) };
    let mut locator = [0; ZIP64_LOCATOR_BYTES];
    file.read_exact(&mut locator, locator_offset)?;
    let Some(record_offset) = parse_zip64_locator(&locator) else { return Ok(None) };
    let broken = || Error::data_loss(format!("there is no ZIP64 end record at {record_offset}, where it should be"));
    if record_offset.checked_add(count(ZIP64_END_BYTES)).is_none_or(|end| end > locator_offset) {
        return Err(broken());
    }
    let mut record = [0; ZIP64_END_BYTES];
    file.read_exact(&mut record, record_offset)?;
    Ok(Some((parse_zip64_end(&record).ok_or_else(broken)?, record_offset)))
}

/// Reads all entries of a directory into memory.
///
/// Entries whose name is not UTF-8 are passed over: no digest has such a name.
///
/// # Errors
///
/// `DataLoss` if the directory is not what its end says, or if entries overlap or lie outside of the archive.
/// `ResourceExhausted` if it takes too much memory.
pub(crate) fn read(file: &ArchiveFile, directory: &Directory, entries: &mut Entries) -> Result<()> {
    let mut extents: Vec<(u64, u64)> = Vec::new();
    let mut headers = Headers::new(file, directory);
    while let Some(header) = headers.next()? {
        // The local header is at least as long as its fixed part and the name.
        let least_bytes = count(LOCAL_BYTES + header.name.len()).saturating_add(header.entry.packed_bytes);
        let end = header.entry.header_offset.checked_add(least_bytes).filter(|end| *end <= directory.offset);
        let Some(end) = end else {
            let (number, offset) = (header.number, directory.offset);
            return Err(Error::data_loss(format!("entry {number} does not end before the directory at {offset}")));
        };
        extents.push((header.entry.header_offset, end));
        entries.check_room(count(extents.len()).saturating_mul(EXTENT_BYTES))?;
        if let Ok(name) = std::str::from_utf8(header.name) {
            entries.add(Arc::new(Known::new(name, header.entry)))?;
        }
    }
    extents.sort_unstable();
    let overlapping = extents.iter().zip(extents.iter().skip(1)).find(|((_, end), (next, _))| end > next);
    match overlapping {
        None => Ok(()),
        Some(((a, end), (b, _))) => {
            let message = format!("the entry at {a} goes on to {end} at least, and overlaps the one at {b}");
            Err(Error::data_loss(message))
        }
    }
}

/// A header of a directory, as it is.
#[derive(Debug)]
pub(crate) struct Header<'a> {
    number: u64,
    pub(crate) bytes: &'a [u8],
    pub(crate) name: &'a [u8],
    pub(crate) entry: Entry,
}

/// The headers of a directory, read from its beginning to its end.
#[derive(Debug)]
pub(crate) struct Headers<'a> {
    file: &'a ArchiveFile,
    entries: u64,
    number: u64,
    /// The place of the next byte that is not in the buffer.
    offset: u64,
    left: u64,
    buffer: Vec<u8>,
    /// The place of the next header in the buffer.
    at: usize,
}

impl<'a> Headers<'a> {
    pub(crate) fn new(file: &'a ArchiveFile, directory: &Directory) -> Self {
        let Directory { entries, offset, size_bytes } = *directory;
        Self { file, entries, number: 0, offset, left: size_bytes, buffer: Vec::new(), at: 0 }
    }

    /// Reads the next header. `None` after the last.
    ///
    /// # Errors
    ///
    /// `DataLoss` if the directory is not what its end says.
    pub(crate) fn next(&mut self) -> Result<Option<Header<'_>>> {
        let number = self.number;
        if number == self.entries {
            let rest = self.left + count(self.buffer.len() - self.at);
            return if rest == 0 { Ok(None) } else { Err(broken(number, &format!("is followed by {rest} bytes"))) };
        }
        self.number += 1;
        self.fill(CENTRAL_BYTES)?;
        let fixed = self.buffer.get(self.at..).unwrap_or_default();
        let lengths = parse_central_lengths(fixed).ok_or_else(|| broken(number, "has no header"))?;
        let length = CENTRAL_BYTES + lengths.total();
        self.fill(length)?;
        let bytes = self.buffer.get(self.at..self.at + length);
        self.at += length;
        let split = bytes.and_then(|bytes| {
            let (fixed, rest) = bytes.split_at_checked(CENTRAL_BYTES)?;
            let (name, rest) = rest.split_at_checked(lengths.name)?;
            Some((bytes, fixed, name, rest.get(..lengths.extra)?))
        });
        let (bytes, fixed, name, extra) = split.ok_or_else(|| broken(number, "is cut off"))?;
        let entry = parse_central(fixed, extra).ok_or_else(|| broken(number, "has no ZIP64 field for its sizes"))?;
        Ok(Some(Header { number, bytes, name, entry }))
    }

    /// Reads on until the buffer has `length` bytes of this header, or all that there are.
    fn fill(&mut self, length: usize) -> Result<()> {
        if self.buffer.len() - self.at >= length {
            return Ok(());
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        let filled = self.buffer.len();
        let more = usize::try_from(self.left).unwrap_or(usize::MAX).min(BUFFER_BYTES.max(length - filled));
        self.buffer.resize(filled + more, 0);
        if let Some(free) = self.buffer.get_mut(filled..) {
            self.file.read_exact(free, self.offset)?;
        }
        self.offset += count(more);
        self.left -= count(more);
        Ok(())
    }
}

fn broken(number: u64, how: &str) -> Error {
    Error::data_loss(format!("entry {number} of the directory {how}"))
}
