//! The records of a ZIP archive as bytes, all little-endian.
//!
//! Records are written as Buildbarn writes them: every size and offset stands in a ZIP64 field, whatever its value, so
//! that the length of a record follows from that of its name alone. Times are zero, names are UTF-8, contents are stored
//! without compression. Source: APPNOTE.TXT 6.3.10, sections 4.3 and 4.5.3.

use crate::entry::{Entry, Method};

pub(crate) const LOCAL_SIGNATURE: [u8; 4] = *b"PK\x03\x04";
const CENTRAL_SIGNATURE: [u8; 4] = *b"PK\x01\x02";
const ZIP64_END_SIGNATURE: [u8; 4] = *b"PK\x06\x06";
const ZIP64_LOCATOR_SIGNATURE: [u8; 4] = *b"PK\x06\x07";
const END_SIGNATURE: [u8; 4] = *b"PK\x05\x06";

/// The version needed for ZIP64: 4.5.
const VERSION: u16 = 45;
/// Bit 11: the name is UTF-8.
const UTF8: u16 = 1 << 11;
/// Bit 0: the contents are encrypted.
const ENCRYPTED: u16 = 1;
/// Bit 3: sizes and checksum follow the contents.
const DESCRIBED_AFTER: u16 = 1 << 3;
const ZIP64_FIELD: u16 = 1;

/// The length of a local header without its name and extra fields.
pub(crate) const LOCAL_BYTES: usize = 30;
/// The length of a header of the central directory without its name, extra fields and comment.
pub(crate) const CENTRAL_BYTES: usize = 46;
pub(crate) const ZIP64_END_BYTES: usize = 56;
pub(crate) const ZIP64_LOCATOR_BYTES: usize = 20;
pub(crate) const END_BYTES: usize = 22;
/// The length of the ZIP64 field that local headers are written with.
pub(crate) const LOCAL_EXTRA_BYTES: u16 = 20;

/// Returns the number of bytes of the local header that [`local_header`] makes.
pub(crate) fn local_header_bytes(name: &str) -> u64 {
    count(LOCAL_BYTES + name.len()) + u64::from(LOCAL_EXTRA_BYTES)
}

/// Makes the local header that stands before the contents of an entry. The name is shorter than 64 KiB.
pub(crate) fn local_header(name: &str, size_bytes: u64, crc32: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(LOCAL_BYTES + name.len() + usize::from(LOCAL_EXTRA_BYTES));
    out.extend(LOCAL_SIGNATURE);
    put_u16(&mut out, &[VERSION, UTF8, Method::Stored.number(), 0, 0]);
    put_u32(&mut out, &[crc32, u32::MAX, u32::MAX]);
    put_u16(&mut out, &[name_length(name), LOCAL_EXTRA_BYTES]);
    out.extend(name.as_bytes());
    put_u16(&mut out, &[ZIP64_FIELD, 16]);
    put_u64(&mut out, &[size_bytes, size_bytes]);
    out
}

/// Appends the header of an entry to a central directory.
pub(crate) fn put_central_header(out: &mut Vec<u8>, name: &str, entry: &Entry) {
    out.extend(CENTRAL_SIGNATURE);
    put_u16(out, &[VERSION, VERSION, UTF8, entry.method.number(), 0, 0]);
    put_u32(out, &[entry.crc32, u32::MAX, u32::MAX]);
    put_u16(out, &[name_length(name), 28, 0, 0, 0]);
    put_u32(out, &[0, u32::MAX]);
    out.extend(name.as_bytes());
    put_u16(out, &[ZIP64_FIELD, 24]);
    put_u64(out, &[entry.size_bytes, entry.packed_bytes, entry.header_offset]);
}

/// Appends the three records that end an archive.
pub(crate) fn put_end(out: &mut Vec<u8>, directory: &Directory) {
    out.extend(ZIP64_END_SIGNATURE);
    put_u64(out, &[44]);
    put_u16(out, &[VERSION, VERSION]);
    put_u32(out, &[0, 0]);
    put_u64(out, &[directory.entries, directory.entries, directory.size_bytes, directory.offset]);
    out.extend(ZIP64_LOCATOR_SIGNATURE);
    put_u32(out, &[0]);
    put_u64(out, &[directory.offset.saturating_add(directory.size_bytes)]);
    put_u32(out, &[1]);
    out.extend(END_SIGNATURE);
    put_u16(out, &[0, 0, u16::MAX, u16::MAX]);
    put_u32(out, &[u32::MAX, u32::MAX]);
    put_u16(out, &[0]);
}

/// The place of the central directory of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(crate) entries: u64,
    pub(crate) offset: u64,
    pub(crate) size_bytes: u64,
}

/// An end record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) directory: Directory,
    /// Whether a number is the largest that fits, which refers to the ZIP64 records if there are any.
    pub(crate) is_saturated: bool,
    /// Whether the archive is split over several files.
    pub(crate) is_split: bool,
    pub(crate) comment_bytes: u64,
}

/// Reads an end record.
pub(crate) fn parse_end(bytes: &[u8]) -> Option<End> {
    let mut fields = Fields::after(bytes, END_SIGNATURE)?;
    let [disk, first_disk, entries_here, entries] = fields.u16s()?;
    let (size_bytes, offset) = (fields.u32()?, fields.u32()?);
    let comment_bytes = fields.u16()?.into();
    let is_split = [disk, first_disk].iter().any(|disk| ![0, u16::MAX].contains(disk)) || entries_here != entries;
    let is_saturated = entries == u16::MAX || size_bytes == u32::MAX || offset == u32::MAX;
    let directory = Directory { entries: entries.into(), offset: offset.into(), size_bytes: size_bytes.into() };
    Some(End { directory, is_saturated, is_split, comment_bytes })
}

/// Reads the place of the ZIP64 end record out of its locator.
pub(crate) fn parse_zip64_locator(bytes: &[u8]) -> Option<u64> {
    let mut fields = Fields::after(bytes, ZIP64_LOCATOR_SIGNATURE)?;
    fields.u32()?;
    fields.u64()
}

/// Reads a ZIP64 end record. `None` also if the archive is split over several files.
pub(crate) fn parse_zip64_end(bytes: &[u8]) -> Option<Directory> {
    let mut fields = Fields::after(bytes, ZIP64_END_SIGNATURE)?;
    fields.skip(12)?;
    let (disk, first_disk, entries_here) = (fields.u32()?, fields.u32()?, fields.u64()?);
    let (entries, size_bytes, offset) = (fields.u64()?, fields.u64()?, fields.u64()?);
    (disk == 0 && first_disk == 0 && entries_here == entries).then_some(Directory { entries, offset, size_bytes })
}

/// Returns the number of bytes of a record of a directory or of its end, of which `bytes` are the first 46, or all.
pub(crate) fn directory_record_bytes(bytes: &[u8]) -> Option<u64> {
    if let Some(lengths) = parse_central_lengths(bytes) {
        return Some(count(CENTRAL_BYTES + lengths.total()));
    }
    if let Some(mut fields) = Fields::after(bytes, ZIP64_END_SIGNATURE) {
        return fields.u64()?.checked_add(12);
    }
    if parse_zip64_locator(bytes).is_some() {
        return Some(count(ZIP64_LOCATOR_BYTES));
    }
    parse_end(bytes).map(|end| count(END_BYTES) + end.comment_bytes)
}

/// The lengths of the parts that follow the fixed part of a header of the central directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lengths {
    pub(crate) name: usize,
    pub(crate) extra: usize,
    pub(crate) comment: usize,
}

impl Lengths {
    pub(crate) fn total(self) -> usize {
        self.name + self.extra + self.comment
    }
}

/// Reads the lengths out of the fixed part of a header of the central directory.
pub(crate) fn parse_central_lengths(fixed: &[u8]) -> Option<Lengths> {
    let mut fields = Fields::after(fixed, CENTRAL_SIGNATURE)?;
    fields.skip(24)?;
    let [name, extra, comment] = fields.u16s()?;
    Some(Lengths { name: name.into(), extra: extra.into(), comment: comment.into() })
}

/// Reads a header of the central directory, whose extra fields are apart.
pub(crate) fn parse_central(fixed: &[u8], extra: &[u8]) -> Option<Entry> {
    let mut fields = Fields::after(fixed, CENTRAL_SIGNATURE)?;
    fields.skip(4)?;
    let (flags, method) = (fields.u16()?, fields.u16()?);
    fields.skip(4)?;
    let (crc32, packed, size) = (fields.u32()?, fields.u32()?, fields.u32()?);
    fields.skip(14)?;
    let offset = fields.u32()?;
    let mut wide = zip64_field(extra);
    let size_bytes = wide.widen(size)?;
    let packed_bytes = wide.widen(packed)?;
    let header_offset = wide.widen(offset)?;
    let method = Method::from_number(method, flags & ENCRYPTED != 0);
    Some(Entry { header_offset, size_bytes, packed_bytes, crc32, method })
}

/// The fixed part of a local header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Local {
    pub(crate) name_bytes: usize,
    pub(crate) extra_bytes: usize,
    pub(crate) method: Method,
    crc32: u32,
    size: u32,
    packed: u32,
    /// Whether the header has the sizes, rather than a descriptor behind the contents.
    pub(crate) has_sizes: bool,
}

impl Local {
    /// Reads the fixed part of a local header.
    pub(crate) fn parse(fixed: &[u8]) -> Option<Self> {
        let mut fields = Fields::after(fixed, LOCAL_SIGNATURE)?;
        fields.skip(2)?;
        let (flags, method) = (fields.u16()?, fields.u16()?);
        fields.skip(4)?;
        let (crc32, packed, size) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let (name, extra) = (fields.u16()?, fields.u16()?);
        Some(Self {
            name_bytes: name.into(),
            extra_bytes: extra.into(),
            method: Method::from_number(method, flags & ENCRYPTED != 0),
            crc32,
            size,
            packed,
            has_sizes: flags & DESCRIBED_AFTER == 0,
        })
    }

    /// Returns the number of bytes from the beginning of the header to the contents.
    pub(crate) fn header_bytes(&self) -> u64 {
        count(LOCAL_BYTES + self.name_bytes + self.extra_bytes)
    }

    /// Makes the entry of this header, which lies at `header_offset` and has these extra fields.
    pub(crate) fn entry(&self, header_offset: u64, extra: &[u8]) -> Option<Entry> {
        let mut wide = zip64_field(extra);
        let size_bytes = wide.widen(self.size)?;
        let packed_bytes = wide.widen(self.packed)?;
        Some(Entry { header_offset, size_bytes, packed_bytes, crc32: self.crc32, method: self.method })
    }
}

/// Returns the contents of the ZIP64 field, or none.
fn zip64_field(extra: &[u8]) -> Fields<'_> {
    let mut fields = Fields(extra);
    while let Some((tag, length)) = fields.u16().zip(fields.u16()) {
        let Some(field) = fields.take(length.into()) else { break };
        if tag == ZIP64_FIELD {
            return Fields(field);
        }
    }
    Fields(&[])
}

/// The fields of a record, read from its beginning to its end.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn after(record: &'a [u8], signature: [u8; 4]) -> Option<Self> {
        record.strip_prefix(&signature).map(Self)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn skip(&mut self, length: usize) -> Option<()> {
        self.take(length).map(drop)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u16s<const N: usize>(&mut self) -> Option<[u16; N]> {
        let mut values = [0; N];
        for value in &mut values {
            *value = self.u16()?;
        }
        Some(values)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Returns `narrow`, or the next wide value where `narrow` says that it does not fit.
    fn widen(&mut self, narrow: u32) -> Option<u64> {
        if narrow == u32::MAX { self.u64() } else { Some(narrow.into()) }
    }
}

fn put_u16(out: &mut Vec<u8>, values: &[u16]) {
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn put_u32(out: &mut Vec<u8>, values: &[u32]) {
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn put_u64(out: &mut Vec<u8>, values: &[u64]) {
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

/// Returns the length of a name that was found short enough before.
fn name_length(name: &str) -> u16 {
    u16::try_from(name.len()).unwrap_or(u16::MAX)
}

/// Returns a length as the number that files have it as.
pub(crate) fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
