//! Makes ZIP archives as other tools do, and such as no tool does. Nothing here is shared with the store.

/// An archive on its way: local parts and a directory.
#[derive(Default)]
pub(crate) struct Builder {
    pub(crate) bytes: Vec<u8>,
    pub(crate) directory: Vec<u8>,
    pub(crate) entries: u16,
}

/// One entry, whose headers can be made to say anything.
#[derive(Clone)]
pub(crate) struct Part<'a> {
    pub(crate) name: &'a str,
    pub(crate) local_name: &'a str,
    pub(crate) flags: u16,
    pub(crate) method: u16,
    pub(crate) packed: Vec<u8>,
    pub(crate) packed_bytes: u32,
    pub(crate) size_bytes: u32,
    pub(crate) crc32: u32,
    /// The place in the directory, if it is not the true one.
    pub(crate) offset: Option<u32>,
    pub(crate) local_extra: Vec<u8>,
    pub(crate) central_extra: Vec<u8>,
}

impl<'a> Part<'a> {
    pub(crate) fn stored(name: &'a str, contents: &[u8]) -> Self {
        Self {
            name,
            local_name: name,
            flags: 0,
            method: 0,
            packed: contents.to_vec(),
            packed_bytes: contents.len().try_into().unwrap(),
            size_bytes: contents.len().try_into().unwrap(),
            crc32: crc32(contents),
            offset: None,
            local_extra: Vec::new(),
            central_extra: Vec::new(),
        }
    }

    /// Returns an entry of contents that are compressed to `packed`.
    pub(crate) fn deflated(name: &'a str, contents: &[u8], packed: Vec<u8>) -> Self {
        let packed_bytes = packed.len().try_into().unwrap();
        Self { method: 8, packed, packed_bytes, ..Self::stored(name, contents) }
    }
}

impl Builder {
    pub(crate) fn add(&mut self, part: &Part<'_>) -> &mut Self {
        let offset = part.offset.unwrap_or_else(|| self.bytes.len().try_into().unwrap());
        let has_descriptor = part.flags & 8 != 0;
        let here = |value: u32| if has_descriptor { 0 } else { value };
        let local_name = part.local_name.as_bytes();
        self.bytes.extend(b"PK\x03\x04");
        put16(&mut self.bytes, &[20, part.flags, part.method, 0x1234, 0x5678]);
        put32(&mut self.bytes, &[here(part.crc32), here(part.packed_bytes), here(part.size_bytes)]);
        put16(&mut self.bytes, &[len16(local_name), len16(&part.local_extra)]);
        self.bytes.extend(local_name);
        self.bytes.extend(&part.local_extra);
        self.bytes.extend(&part.packed);
        if has_descriptor {
            self.bytes.extend(b"PK\x07\x08");
            put32(&mut self.bytes, &[part.crc32, part.packed_bytes, part.size_bytes]);
        }
        self.directory.extend(b"PK\x01\x02");
        put16(&mut self.directory, &[20, 20, part.flags, part.method, 0x1234, 0x5678]);
        put32(&mut self.directory, &[part.crc32, part.packed_bytes, part.size_bytes]);
        put16(&mut self.directory, &[len16(part.name.as_bytes()), len16(&part.central_extra), 3, 0, 0]);
        put32(&mut self.directory, &[0o644 << 16, offset]);
        self.directory.extend(part.name.as_bytes());
        self.directory.extend(&part.central_extra);
        self.directory.extend(b"abc");
        self.entries += 1;
        self
    }

    /// Returns the archive, whose end says this.
    pub(crate) fn end_with(&self, entries: u16, size: u32, offset: u32, comment: &[u8]) -> Vec<u8> {
        let mut bytes = [&*self.bytes, &*self.directory, b"PK\x05\x06"].concat();
        put16(&mut bytes, &[0, 0, entries, entries]);
        put32(&mut bytes, &[size, offset]);
        put16(&mut bytes, &[len16(comment)]);
        bytes.extend(comment);
        bytes
    }

    pub(crate) fn finish(&self) -> Vec<u8> {
        self.finish_with_comment(b"")
    }

    pub(crate) fn finish_with_comment(&self, comment: &[u8]) -> Vec<u8> {
        let (size, offset) = (self.directory.len().try_into().unwrap(), self.bytes.len().try_into().unwrap());
        self.end_with(self.entries, size, offset, comment)
    }

    /// Returns the archive, with ZIP64 records that say this.
    pub(crate) fn end_with_zip64(&self, entries: u64, size: u64, offset: u64) -> Vec<u8> {
        let mut bytes = [&*self.bytes, &*self.directory].concat();
        let record = u64::try_from(bytes.len()).unwrap();
        bytes.extend(b"PK\x06\x06");
        put64(&mut bytes, &[44]);
        put16(&mut bytes, &[45, 45]);
        put32(&mut bytes, &[0, 0]);
        put64(&mut bytes, &[entries, entries, size, offset]);
        bytes.extend(b"PK\x06\x07");
        put32(&mut bytes, &[0]);
        put64(&mut bytes, &[record]);
        put32(&mut bytes, &[1]);
        bytes.extend(b"PK\x05\x06");
        put16(&mut bytes, &[0, 0, u16::MAX, u16::MAX]);
        put32(&mut bytes, &[u32::MAX, u32::MAX]);
        put16(&mut bytes, &[0]);
        bytes
    }
}

/// Returns the ZIP64 field with these values.
pub(crate) fn zip64(values: &[u64]) -> Vec<u8> {
    let mut field = Vec::new();
    put16(&mut field, &[1, u16::try_from(8 * values.len()).unwrap()]);
    put64(&mut field, values);
    field
}

/// Computes CRC-32 bit by bit.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

/// Returns a deflate stream of `count` zeros: a bomb of about a thousandth.
pub(crate) fn deflated_zeros(count: usize) -> Vec<u8> {
    // A block of fixed codes: a zero, then matches of 258 bytes at distance 1, each of 8 and 5 bits.
    let mut bits = Bits::default();
    bits.push(0b1, 1);
    bits.push(0b01, 2);
    // Literal 0 has the code 00110000, most significant bit first.
    bits.push(u32::from(0b0011_0000_u8.reverse_bits()), 8);
    for _ in 0..count.saturating_sub(1) / 258 {
        // Length 258 has the code 11000101, distance 1 the code 00000.
        bits.push(u32::from(0b1100_0101_u8.reverse_bits()), 8);
        bits.push(0, 5);
    }
    for _ in 0..count.saturating_sub(1) % 258 {
        bits.push(u32::from(0b0011_0000_u8.reverse_bits()), 8);
    }
    // The end of the block has the code 0000000.
    bits.push(0, 7);
    bits.push(0, 7);
    bits.bytes
}

/// Returns a deflate stream of `contents` in blocks that are not compressed.
pub(crate) fn deflated_plainly(contents: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    for piece in contents.chunks(1000) {
        let length = u16::try_from(piece.len()).unwrap();
        packed.push(0);
        put16(&mut packed, &[length, !length]);
        packed.extend(piece);
    }
    // The last block, which is empty.
    packed.extend([1, 0, 0, 0xff, 0xff]);
    packed
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    pending: u32,
    count: u32,
}

impl Bits {
    fn push(&mut self, value: u32, count: u32) {
        self.pending |= value << self.count;
        self.count += count;
        while self.count >= 8 {
            self.bytes.push(u8::try_from(self.pending & 0xff).unwrap());
            self.pending >>= 8;
            self.count -= 8;
        }
    }
}

fn len16(bytes: &[u8]) -> u16 {
    bytes.len().try_into().unwrap()
}

pub(crate) fn put16(out: &mut Vec<u8>, values: &[u16]) {
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn put32(out: &mut Vec<u8>, values: &[u32]) {
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn put64(out: &mut Vec<u8>, values: &[u64]) {
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}
