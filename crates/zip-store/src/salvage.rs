//! Finds the entries of an archive that was cut, by its local headers.

use std::sync::Arc;
use std::time::Duration;

use blobaccess::{Digest, Error, Kind, Result};

use crate::entries::Entries;
use crate::entry::{Entry, Known, Method};
use crate::file::ArchiveFile;
use crate::names;
use crate::records::{CENTRAL_BYTES, LOCAL_BYTES, LOCAL_SIGNATURE, Local, count, directory_record_bytes};

/// The number of bytes that are read together.
const BUFFER_BYTES: usize = 256 << 10;

/// The number of bytes of wrong contents that are read before salvaging ends, as a multiple of the size of the archive.
///
/// An archive that was cut has few wrong entries: those whose upload had not ended. In one that was made to take time,
/// each of millions of headers may claim all that follows.
const WRONG_CONTENTS_FACTOR: u64 = 2;

/// The result of salvaging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Salvaged {
    /// The place behind the last entry.
    pub(crate) end: u64,
    /// The bytes before that which belong to no entry.
    pub(crate) gap_bytes: u64,
}

/// Adds the entries of an archive without a directory, whose contents are right.
///
/// A header is written after the contents, but a crash may have kept one and lost the other. So contents are verified,
/// which reads the whole archive: blobs by their digest, messages by their checksum.
///
/// An upload that failed or was under way has left a gap. For blobs, the next header is searched for byte by byte. A gap
/// may hold part of a blob, and with it headers that a client wrote; but those too name a digest that its contents have.
/// A message is not told by its name, so salvaging messages ends at the first gap. A former directory is not a gap: it
/// is passed over by the lengths in it.
///
/// # Errors
///
/// If the file cannot be read. `ResourceExhausted` if the entries take too much memory, or if too many contents are
/// wrong.
pub(crate) fn salvage<K: Kind>(file: &ArchiveFile, entries: &mut Entries) -> Result<Salvaged> {
    let archive_bytes = file.size_bytes()?;
    let is_message = K::STORAGE_TYPE.is_mutable();
    let mut wrong_bytes_left = archive_bytes.saturating_mul(WRONG_CONTENTS_FACTOR);
    let (mut offset, mut salvaged) = (0, Salvaged { end: 0, gap_bytes: 0 });
    while let Some(header) = read_header::<K>(file, offset, archive_bytes)? {
        match header {
            Header::Entry(found) if found.is_right(file, is_message)? => {
                salvaged.gap_bytes += offset - salvaged.end;
                salvaged.end = found.end;
                offset = found.end;
                entries.add(Arc::new(found.into_known(is_message)))?;
                continue;
            }
            Header::Entry(found) => {
                let left = wrong_bytes_left.checked_sub(found.entry.size_bytes);
                wrong_bytes_left = left.ok_or_else(|| {
                    let message = format!("more than {WRONG_CONTENTS_FACTOR} times {archive_bytes} bytes are wrong");
                    Error::resource_exhausted(message)
                })?;
            }
            Header::Directory { end } => {
                offset = end;
                continue;
            }
            Header::Unusable => {}
        }
        if is_message {
            break;
        }
        let Some(next) = find_signature(file, offset + 1, archive_bytes)? else { break };
        offset = next;
    }
    Ok(salvaged)
}

/// The record at a place of an archive.
enum Header {
    Entry(Box<Candidate>),
    /// A record of a former directory.
    Directory {
        end: u64,
    },
    Unusable,
}

/// An entry whose contents are yet to be verified.
struct Candidate {
    name: Box<str>,
    digest: Digest,
    entry: Entry,
    header_bytes: u64,
    end: u64,
}

impl Candidate {
    fn is_right(&self, file: &ArchiveFile, is_message: bool) -> Result<bool> {
        let mut crc32 = crc32fast::Hasher::new();
        let mut hash = self.digest.function().hasher(self.digest.size_bytes());
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut offset = self.entry.header_offset + self.header_bytes;
        while offset < self.end {
            let length = usize::try_from(self.end - offset).unwrap_or(usize::MAX).min(BUFFER_BYTES);
            let piece = buffer.get_mut(..length).unwrap_or_default();
            file.read_exact(piece, offset)?;
            if is_message {
                crc32.update(piece);
            } else {
                hash.update(piece);
            }
            offset += count(length);
        }
        Ok(if is_message { crc32.finalize() == self.entry.crc32 } else { hash.finish() == *self.digest.hash() })
    }

    fn into_known(self, is_message: bool) -> Known {
        let known = Known::new(&self.name, self.entry);
        known.set_header_bytes(self.header_bytes);
        if !is_message {
            known.set_verified(true, Duration::ZERO);
        }
        known
    }
}

/// Reads the record at `offset`. `None` at the end of the file.
fn read_header<K: Kind>(file: &ArchiveFile, offset: u64, archive_bytes: u64) -> Result<Option<Header>> {
    let left = usize::try_from(archive_bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
    if left == 0 {
        return Ok(None);
    }
    let mut fixed = [0; CENTRAL_BYTES];
    let fixed = fixed.get_mut(..left.min(CENTRAL_BYTES)).unwrap_or_default();
    file.read_exact(fixed, offset)?;
    if let Some(length) = directory_record_bytes(fixed) {
        let end = offset.checked_add(length).filter(|end| *end <= archive_bytes);
        return Ok(Some(end.map_or(Header::Unusable, |end| Header::Directory { end })));
    }
    let Some(local) = Local::parse(fixed).filter(|local| local.has_sizes) else { return Ok(Some(Header::Unusable)) };
    if offset.saturating_add(local.header_bytes()) > archive_bytes {
        return Ok(Some(Header::Unusable));
    }
    let mut rest = vec![0; local.name_bytes + local.extra_bytes];
    file.read_exact(&mut rest, offset + count(LOCAL_BYTES))?;
    let candidate = rest.split_at_checked(local.name_bytes).and_then(|(name, extra)| {
        let entry = local.entry(offset, extra)?;
        let end = offset.checked_add(local.header_bytes())?.checked_add(entry.packed_bytes)?;
        let name = std::str::from_utf8(name).ok()?;
        let digest = names::parse::<K>(name)?;
        // Compressed contents are not what this crate and Buildbarn write, and so are not salvaged.
        let is_stored = entry.method == Method::Stored && entry.packed_bytes == entry.size_bytes;
        let is_possible = K::STORAGE_TYPE.is_mutable() || digest.size_bytes() == entry.size_bytes;
        (is_stored && is_possible && end <= archive_bytes)
            .then(|| Box::new(Candidate { name: name.into(), digest, entry, header_bytes: local.header_bytes(), end }))
    });
    Ok(Some(candidate.map_or(Header::Unusable, Header::Entry)))
}

/// Returns the place of the next signature of a local header, from `offset` on.
fn find_signature(file: &ArchiveFile, mut offset: u64, archive_bytes: u64) -> Result<Option<u64>> {
    let mut buffer = vec![0; BUFFER_BYTES];
    while offset.saturating_add(count(LOCAL_SIGNATURE.len())) <= archive_bytes {
        let length = usize::try_from(archive_bytes - offset).unwrap_or(usize::MAX).min(BUFFER_BYTES);
        let piece = buffer.get_mut(..length).unwrap_or_default();
        file.read_exact(piece, offset)?;
        if let Some(found) = piece.windows(LOCAL_SIGNATURE.len()).position(|window| window == LOCAL_SIGNATURE) {
            return Ok(Some(offset + count(found)));
        }
        // A signature may lie across two pieces.
        offset += count(length + 1 - LOCAL_SIGNATURE.len());
    }
    Ok(None)
}
