//! One slot: key, location, sequence and number of the entry, as eight words.

use std::sync::atomic::Ordering;

use crate::key::Key;
use crate::location::Location;
use crate::machine::casts;
use crate::machine::concurrency::AtomicU64;

/// The entry of the map for an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The key, and whatever size and function are compared with.
    pub(crate) key_words: [u64; 4],
    pub(crate) location: Location,
    /// The digest function, by its number in the protocol.
    pub(crate) function: u8,
    /// A part of another object's contents, without a trailer of its own.
    pub(crate) is_part: bool,
    /// Whether a [`Tail`](crate::object::provenance::Tail) lies behind the object.
    pub(crate) has_tail: bool,
    /// The number of the account on whose account it is; 0 if it is on nobody's. Below 16,384.
    pub(crate) account_name: u16,
    /// Drawn at publication; a copy keeps that of its source.
    pub(crate) sequence: u64,
    /// The number of its entry in the log of its block.
    pub(crate) entry: u32,
}

/// The part of a record that a look-up needs, wherever the record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Brief {
    /// The generation of the block that the record lies in.
    pub(crate) generation: u32,
    /// The number of its entry in the log of its block.
    pub(crate) entry: u32,
    /// Whether it is the record of an instance name.
    pub(crate) is_name: bool,
}

/// The words of a record: one cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Slot([AtomicU64; STORED.len()]);

/// Which words a slot has: all of them, but in a model, whose records differ in no others.
const STORED: &[usize] = if cfg!(loom) { &[0, 5, 6] } else { &[0, 1, 2, 3, 4, 5, 6, 7] };

impl Default for Slot {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

/// Word 4: size (48 bits), function (8), part (1), tail (1), account, its upper bits (6). Word 5: offset (40),
/// block (16), account, its lower bits (8). Word 6: sequence. Word 7: generation (32), entry (32).
type Words = [u64; 8];

const SIZE_MASK: u64 = (1 << 48) - 1;
const OFFSET_MASK: u64 = (1 << 40) - 1;
const PART: u64 = 1 << 56;
const TAIL: u64 = 1 << 57;
const ACCOUNT_HIGH_SHIFT: u32 = 58;
const ACCOUNT_LOW_SHIFT: u32 = 56;

/// The largest number of an account: it has 14 bits.
pub(crate) const MAX_ACCOUNT_NUMBER: u16 = (1 << 14) - 1;

#[cfg(not(loom))]
impl Slot {
    /// Returns whether the slot is that of `key`. Only the version of the bucket tells whether the answer can be
    /// trusted.
    #[inline]
    pub(super) fn has_key(&self, key: &Key, check_mask: u64) -> bool {
        let (words, [check, ..]) = self.0.split_at(4) else { return false };
        words.iter().zip(key.words).all(|(word, of_key)| word.load(Ordering::Relaxed) == of_key)
            && check.load(Ordering::Relaxed) & check_mask == key.check & check_mask
    }

    #[inline]
    pub(super) fn load(&self) -> Record {
        Record::from_words(self.0.each_ref().map(|word| word.load(Ordering::Relaxed)))
    }

    #[inline]
    pub(super) fn load_brief(&self) -> Brief {
        let [.., size, _, _, rest] = &self.0;
        Brief::from_words(size.load(Ordering::Relaxed), rest.load(Ordering::Relaxed))
    }

    pub(super) fn store(&self, record: &Record) {
        for (word, value) in self.0.iter().zip(record.to_words()) {
            word.store(value, Ordering::Relaxed);
        }
    }
}

#[cfg(loom)]
impl Slot {
    pub(super) fn has_key(&self, key: &Key, _check_mask: u64) -> bool {
        self.0[0].load(Ordering::Relaxed) == key.words[0]
    }

    pub(super) fn load(&self) -> Record {
        let mut words = Record::of_model().to_words();
        for (word, stored) in STORED.iter().zip(&self.0) {
            words[*word] = stored.load(Ordering::Relaxed);
        }
        Record::from_words(words)
    }

    pub(super) fn load_brief(&self) -> Brief {
        self.load().brief()
    }

    pub(super) fn store(&self, record: &Record) {
        let words = record.to_words();
        for (word, stored) in STORED.iter().zip(&self.0) {
            stored.store(words[*word], Ordering::Relaxed);
        }
    }
}

#[cfg(not(loom))]
impl Brief {
    #[inline]
    fn from_words(size: u64, rest: u64) -> Self {
        Self { generation: casts::low(rest), entry: casts::high(rest), is_name: size & (PART | TAIL) == PART | TAIL }
    }
}

#[cfg(loom)]
impl Record {
    /// Returns a record with the fields that all records of a model share.
    pub(super) fn of_model() -> Self {
        Self::from_words([0, 7, 7, 7, 7 | 1 << 48, 64 | 3 << 40, 1, 4])
    }
}

impl Record {
    fn to_words(self) -> Words {
        let [a, b, c, d] = self.key_words;
        let location = self.location;
        let flags = if self.is_part { PART } else { 0 } | if self.has_tail { TAIL } else { 0 };
        let account_name = u64::from(self.account_name.min(MAX_ACCOUNT_NUMBER));
        [
            a,
            b,
            c,
            d,
            location.size_bytes & SIZE_MASK
                | u64::from(self.function) << 48
                | flags
                | account_name >> 8 << ACCOUNT_HIGH_SHIFT,
            location.offset & OFFSET_MASK
                | u64::from(location.block) << 40
                | (account_name & 0xff) << ACCOUNT_LOW_SHIFT,
            self.sequence,
            u64::from(location.generation) | u64::from(self.entry) << 32,
        ]
    }

    #[inline]
    fn from_words([a, b, c, d, size, offset, sequence, rest]: Words) -> Self {
        Self {
            key_words: [a, b, c, d],
            location: Location {
                block: u16::try_from(offset >> 40 & 0xffff).unwrap_or_default(),
                generation: casts::low(rest),
                offset: offset & OFFSET_MASK,
                size_bytes: size & SIZE_MASK,
            },
            function: u8::try_from(size >> 48 & 0xff).unwrap_or_default(),
            is_part: size & PART != 0,
            has_tail: size & TAIL != 0,
            account_name: u16::try_from(size >> ACCOUNT_HIGH_SHIFT << 8 | offset >> ACCOUNT_LOW_SHIFT)
                .unwrap_or_default(),
            sequence,
            entry: casts::high(rest),
        }
    }

    /// Returns whether this is of an instance name, which shares the contents of another one. It is a part with a tail,
    /// which no object is.
    pub(crate) fn is_name(&self) -> bool {
        self.is_part && self.has_tail
    }

    #[inline]
    pub(crate) fn brief(&self) -> Brief {
        // In a model, records differ by their sequences alone.
        let entry = if cfg!(loom) { casts::low(self.sequence) } else { self.entry };
        Brief { generation: self.location.generation, entry, is_name: self.is_name() }
    }

    /// Returns the key that finds this record.
    pub(crate) fn key(&self, check_mask: u64) -> Key {
        Key { words: self.key_words, check: crate::key::pack(self.location.size_bytes, self.function) & check_mask }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_the_largest_values_survives_its_slot() {
        let record = Record {
            key_words: [1, 2, 3, u64::MAX],
            location: Location { block: 65_534, generation: u32::MAX, offset: OFFSET_MASK, size_bytes: SIZE_MASK },
            function: 10,
            is_part: true,
            has_tail: true,
            account_name: MAX_ACCOUNT_NUMBER,
            sequence: u64::MAX,
            entry: u32::MAX,
        };
        let slot = Slot::default();
        for account_name in [0, 1, 255, 256, 0x1234, MAX_ACCOUNT_NUMBER] {
            let record = Record { account_name, ..record };
            slot.store(&record);
            assert_eq!(slot.load(), record);
            assert_eq!(slot.load_brief(), record.brief());
        }
        assert_eq!(size_of::<Slot>(), 64);
        assert!(slot.has_key(&record.key(crate::key::CHECK_MASK), crate::key::CHECK_MASK));
    }
}
