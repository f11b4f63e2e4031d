//! The trailer of an object on a device: checksums of its pieces, bound to its name.
//!
//! `docs/format.md`, section 4.

use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_64_with_seed};

use crate::key_location_map::Record;
use crate::machine::casts;

/// The size of a piece, in bytes. Contents are verified by pieces, so that a range is verified without the rest.
pub(crate) const PIECE_BYTES: u64 = 256 << 10;

const SUM_BYTES: u64 = 8;

/// Returns the size of the trailer of `contents` bytes.
pub(crate) const fn size_bytes(contents: u64) -> u64 {
    if contents <= PIECE_BYTES { SUM_BYTES } else { SUM_BYTES * (contents.div_ceil(PIECE_BYTES) + 1) }
}

/// Returns the size of the largest contents that fit into `bytes` with their trailer.
pub(crate) const fn max_contents(bytes: u64) -> u64 {
    // A smaller object has no larger trailer.
    bytes.saturating_sub(size_bytes(bytes))
}

/// Sums up contents that arrive in parts of any size.
#[derive(Default)]
pub(crate) struct Sums {
    /// The sum of the first piece; most objects have no other.
    first: Option<u64>,
    others: Vec<u64>,
    /// The hasher of the piece that has begun, if it came in parts.
    open: Option<Box<Xxh3>>,
    in_piece: u64,
}

impl Sums {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn push(&mut self, sum: u64) {
        if self.first.is_none() { self.first = Some(sum) } else { self.others.push(sum) }
    }

    /// Adds a whole piece, or the last one, where none has begun.
    pub(crate) fn add_piece(&mut self, piece: &[u8]) {
        self.push(xxh3_64(piece));
    }

    pub(crate) fn update(&mut self, mut part: &[u8]) {
        while !part.is_empty() {
            let room = casts::in_memory(PIECE_BYTES - self.in_piece).min(part.len());
            let (now, later) = part.split_at(room);
            if now.len() == casts::in_memory(PIECE_BYTES) {
                self.add_piece(now);
            } else {
                self.open.get_or_insert_default().update(now);
                self.in_piece += casts::on_device(room);
                if self.in_piece == PIECE_BYTES {
                    self.end_piece();
                }
            }
            part = later;
        }
    }

    fn end_piece(&mut self) {
        if let Some(open) = &mut self.open {
            let sum = open.digest();
            open.reset();
            self.push(sum);
        }
        self.in_piece = 0;
    }

    /// Ends the last piece.
    pub(crate) fn end(&mut self) {
        if self.in_piece > 0 {
            self.end_piece();
        }
        if self.first.is_none() {
            self.add_piece(&[]);
        }
    }

    /// Returns the trailer of the object that `record` names.
    pub(crate) fn trailer(&self, record: &Record) -> Trailer {
        let first = self.first.unwrap_or_default().to_le_bytes();
        let seed = seed(record);
        if self.others.is_empty() {
            return Trailer::Single(xxh3_64_with_seed(&first, seed).to_le_bytes());
        }
        let mut trailer = Vec::with_capacity((self.others.len() + 2) * 8);
        trailer.extend_from_slice(&first);
        for sum in &self.others {
            trailer.extend_from_slice(&sum.to_le_bytes());
        }
        let bound = xxh3_64_with_seed(&trailer, seed);
        trailer.extend_from_slice(&bound.to_le_bytes());
        Trailer::Several(trailer)
    }
}

/// The bytes of a trailer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Trailer {
    Single([u8; 8]),
    Several(Vec<u8>),
}

impl AsRef<[u8]> for Trailer {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Single(bytes) => bytes,
            Self::Several(bytes) => bytes,
        }
    }
}

/// Returns the seed that binds the checksum of the sums to a record.
pub(crate) fn seed(record: &Record) -> u64 {
    let mut name = [0; 41];
    let (key, rest) = name.split_at_mut(32);
    key.copy_from_slice(&crate::key::bytes(&record.key_words));
    let (size, function) = rest.split_at_mut(8);
    size.copy_from_slice(&record.location.size_bytes.to_le_bytes());
    function.fill(record.function);
    xxh3_64_with_seed(&name, record.sequence)
}

/// The sums of the pieces of an object, as its trailer has them.
#[derive(Debug)]
pub(crate) struct Checked {
    /// Empty for an object of one piece: its sum is compared through `bound` alone.
    sums: Vec<u64>,
    bound: u64,
    seed: u64,
}

impl Checked {
    /// Reads the trailer of the object that `record` names; `None` if it belongs to another record.
    pub(crate) fn read(record: &Record, trailer: &[u8]) -> Option<Self> {
        let expected = casts::in_memory(size_bytes(record.location.size_bytes));
        let (sums, bound) = trailer.split_at_checked(expected.checked_sub(8)?)?;
        let bound = u64::from_le_bytes(*bound.first_chunk()?);
        let seed = seed(record);
        if !sums.is_empty() && xxh3_64_with_seed(sums, seed) != bound {
            return None;
        }
        let sums = sums.as_chunks().0.iter().map(|sum| u64::from_le_bytes(*sum)).collect();
        Some(Self { sums, bound, seed })
    }

    /// Returns whether `piece` is the piece of that number.
    pub(crate) fn verify(&self, number: u64, piece: &[u8]) -> bool {
        let sum = xxh3_64(piece);
        if self.sums.is_empty() {
            return number == 0 && xxh3_64_with_seed(&sum.to_le_bytes(), self.seed) == self.bound;
        }
        self.sums.get(casts::in_memory(number)) == Some(&sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::location::Location;

    fn record(size_bytes: usize, sequence: u64) -> Record {
        Record {
            key_words: [1, 2, 3, 4],
            location: Location { block: 0, generation: 1, offset: 0, size_bytes: casts::on_device(size_bytes) },
            function: 1,
            is_part: false,
            has_tail: false,
            account_name: 1,
            sequence,
            entry: 0,
        }
    }

    fn contents(size: usize) -> Vec<u8> {
        (0..size).map(|position| u8::try_from(position * 31 % 251).unwrap()).collect()
    }

    fn sums(contents: &[u8], part: usize) -> Sums {
        let mut sums = Sums::new();
        for part in contents.chunks(part) {
            sums.update(part);
        }
        sums.end();
        sums
    }

    #[test]
    fn pieces_are_recognized_and_others_are_not() {
        let piece = casts::in_memory(PIECE_BYTES);
        for size in [0, 1, 1000, piece - 1, piece, piece + 1, 3 * piece, 3 * piece + 17] {
            let contents = contents(size);
            let trailer = sums(&contents, piece).trailer(&record(size, 9));
            let trailer = trailer.as_ref();
            assert_eq!(casts::on_device(trailer.len()), size_bytes(casts::on_device(size)));
            let checked = Checked::read(&record(size, 9), trailer).unwrap();
            let mut pieces: Vec<&[u8]> = contents.chunks(piece).collect();
            if pieces.is_empty() {
                pieces.push(&[]);
            }
            for (number, bytes) in (0..).zip(pieces) {
                assert!(checked.verify(number, bytes));
                let mut wrong = bytes.to_vec();
                wrong.push(0);
                assert!(!checked.verify(number, &wrong));
                assert!(!checked.verify(number + 1, bytes) || size >= 2 * piece);
            }
            let others = Checked::read(&record(size, 8), trailer);
            assert!(others.is_none_or(|others| !others.verify(0, contents.chunks(piece).next().unwrap_or_default())));
        }
    }

    #[test]
    fn contents_in_parts_have_the_sums_of_the_whole() {
        let contents = contents(700_000);
        let record = record(700_000, 3);
        let mut whole = Sums::new();
        for piece in contents.chunks(casts::in_memory(PIECE_BYTES)) {
            whole.add_piece(piece);
        }
        for part in [99_991, 262_144, 300_000, 700_000] {
            assert_eq!(sums(&contents, part).trailer(&record), whole.trailer(&record));
        }
    }

    #[test]
    fn a_damaged_trailer_is_none() {
        let record = record(700_000, 3);
        let mut trailer = sums(&contents(700_000), 1 << 20).trailer(&record).as_ref().to_vec();
        trailer[3] ^= 1;
        assert!(Checked::read(&record, &trailer).is_none());
        assert!(Checked::read(&record, &trailer[..8]).is_none());
    }

    #[test]
    fn the_largest_contents_fit() {
        for bytes in [0, 7, 8, 4096, PIECE_BYTES + 8, PIECE_BYTES + 24, 1 << 20, 1 << 33] {
            let max = max_contents(bytes);
            assert!(max == 0 || max + size_bytes(max) <= bytes);
        }
    }
}
