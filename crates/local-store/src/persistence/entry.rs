//! The entry of the log of a block for one object: 72 bytes, 56 of them a sector.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::device::SECTOR_BYTES;
use crate::key_location_map::Record;
use crate::location::Location;
use crate::machine::casts;

/// The size of an entry, in bytes.
pub(crate) const ENTRY_BYTES: usize = 72;

/// Entries in a sector.
pub(crate) const ENTRIES_PER_SECTOR: u64 = 56;

const PART: u8 = 1;
const TAIL: u8 = 2;

/// Appends the entry of `record` to the log of its block, and zeros after the last one of a sector.
pub(crate) fn write(log: &mut Vec<u8>, record: &Record, seed: u64) {
    let begin = log.len();
    log.extend_from_slice(&crate::key::bytes(&record.key_words));
    log.extend_from_slice(&record.sequence.to_le_bytes());
    log.extend_from_slice(&record.location.offset.to_le_bytes());
    log.extend_from_slice(&record.location.size_bytes.to_le_bytes());
    let flags = if record.is_part { PART } else { 0 } | if record.has_tail { TAIL } else { 0 };
    let [low, high] = record.account_name.to_le_bytes();
    log.extend_from_slice(&[record.function, flags, low, high, 0, 0, 0, 0]);
    let body = log.get(begin..).unwrap_or_default();
    let checksum = xxh3_64_with_seed(body, seed.wrapping_add(u64::from(record.entry)));
    log.extend_from_slice(&checksum.to_le_bytes());
    if (u64::from(record.entry) + 1).is_multiple_of(ENTRIES_PER_SECTOR) {
        pad(log);
    }
}

/// Fills up the last sector with zeros.
pub(crate) fn pad(log: &mut Vec<u8>) {
    log.resize(log.len().next_multiple_of(casts::in_memory(SECTOR_BYTES)), 0);
}

/// Reads the entry of this number. `None` if it is padding or damaged.
pub(crate) fn read(bytes: &[u8; ENTRY_BYTES], entry: u32, block: u16, generation: u32, seed: u64) -> Option<Record> {
    let (body, checksum) = bytes.split_last_chunk::<8>()?;
    if xxh3_64_with_seed(body, seed.wrapping_add(u64::from(entry))) != u64::from_le_bytes(*checksum) {
        return None;
    }
    let (key, rest) = body.split_first_chunk::<32>()?;
    let ([sequence, offset, size_bytes], flags) = numbers(rest)?;
    let [function, flags, low, high, ..] = *flags else { return None };
    Some(Record {
        key_words: crate::key::words(key),
        location: Location { block, generation, offset, size_bytes },
        function,
        is_part: flags & PART != 0,
        has_tail: flags & TAIL != 0,
        account_name: u16::from_le_bytes([low, high]),
        sequence,
        entry,
    })
}

fn numbers(bytes: &[u8]) -> Option<([u64; 3], &[u8])> {
    let (a, rest) = bytes.split_first_chunk()?;
    let (b, rest) = rest.split_first_chunk()?;
    let (c, rest) = rest.split_first_chunk()?;
    Some(([a, b, c].map(|bytes| u64::from_le_bytes(*bytes)), rest))
}

/// Returns the records that a log of whole sectors has, in order.
pub(crate) fn read_all(log: &[u8], block: u16, generation: u32, seed: u64) -> impl Iterator<Item = Record> {
    let sectors = log.chunks_exact(casts::in_memory(SECTOR_BYTES));
    let entries = sectors.flat_map(|sector| {
        let entries = sector.as_chunks::<ENTRY_BYTES>().0.iter();
        entries.take(casts::in_memory(ENTRIES_PER_SECTOR))
    });
    (0..).zip(entries).filter_map(move |(number, entry)| read(entry, number, block, generation, seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(entry: u32) -> Record {
        Record {
            key_words: [u64::from(entry), 2, 3, 4],
            location: Location { block: 5, generation: 6, offset: 1 << 39, size_bytes: 8 },
            function: 9,
            is_part: entry.is_multiple_of(3),
            has_tail: entry.is_multiple_of(5),
            account_name: 0x1234,
            sequence: 10,
            entry,
        }
    }

    #[test]
    fn a_log_is_read_as_it_was_written() {
        let mut log = Vec::new();
        for entry in 0..100 {
            write(&mut log, &record(entry), 77);
        }
        pad(&mut log);
        assert_eq!(log.len(), 2 * 4096);
        let read: Vec<_> = read_all(&log, 5, 6, 77).collect();
        assert_eq!(read, (0..100).map(record).collect::<Vec<_>>());
        assert_eq!(read_all(&log, 5, 6, 78).count(), 0);
    }

    #[test]
    fn a_flipped_bit_costs_one_entry() {
        let mut log = Vec::new();
        for entry in 0..56 {
            write(&mut log, &record(entry), 1);
        }
        for byte in 0..72 {
            let mut damaged = log.clone();
            damaged[72 * 20 + byte] ^= 4;
            let read: Vec<_> = read_all(&damaged, 5, 6, 1).map(|record| record.entry).collect();
            assert_eq!(read.len(), 55);
            assert!(!read.contains(&20));
        }
    }

    #[test]
    fn an_entry_counts_at_its_own_place_only() {
        let mut log = Vec::new();
        write(&mut log, &record(0), 1);
        let bytes = log.first_chunk().unwrap();
        assert!(read(bytes, 0, 5, 6, 1).is_some());
        assert!(read(bytes, 1, 5, 6, 1).is_none());
    }
}
