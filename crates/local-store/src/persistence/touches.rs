//! Which entries of a block were touched: a bit each, in memory and on the device.

use std::sync::atomic::Ordering;

use xxhash_rust::xxh3::xxh3_64;

use crate::device::SECTOR_BYTES;
use crate::machine::casts;
use crate::machine::concurrency::{AtomicBool, AtomicU32, AtomicU64};

/// Bits in a sector.
pub(crate) const TOUCHES_PER_SECTOR: u64 = (SECTOR_BYTES - HEADER_BYTES) * 8;

/// Checksum, generation, zeros.
const HEADER_BYTES: u64 = 16;

/// Words of bits in a sector. One is enough for a model.
const WORDS: usize = if cfg!(loom) { 1 } else { 510 };

/// Which entries of a block were touched.
#[derive(Debug)]
pub(crate) struct Touches {
    words: Box<[AtomicU64]>,
    /// One a sector: whether it has changed since it was written.
    dirty: Box<[AtomicBool]>,
    /// Whether one of these may have, so that a sync of what has not asks once.
    is_dirty: AtomicBool,
    /// Returns the number of sectors in use, once the result of [`take_dirty`](Self::take_dirty) is written.
    used: AtomicU32,
}

impl Touches {
    pub(crate) fn new(sectors: u32) -> Self {
        Self {
            words: (0..casts::index(sectors) * WORDS).map(|_| AtomicU64::new(0)).collect(),
            dirty: (0..sectors).map(|_| AtomicBool::new(false)).collect(),
            is_dirty: AtomicBool::new(false),
            used: AtomicU32::new(0),
        }
    }

    /// Notes a touch. Where touches are not kept, this does nothing.
    #[inline]
    pub(crate) fn set(&self, entry: u32) {
        let word = casts::index(entry / 64);
        let Some(bits) = self.words.get(word) else { return };
        let bit = 1 << (entry % 64);
        if bits.fetch_or(bit, Ordering::Relaxed) & bit == 0
            && let Some(dirty) = self.dirty.get(word / WORDS)
        {
            // After the bit: whoever takes this back sees the bit.
            dirty.store(true, Ordering::SeqCst);
            self.note_dirty();
        }
    }

    /// Notes that a sector has changed, after its own flag was set. Either whoever takes the changed sectors sees that
    /// flag, or this sees that they were taken.
    fn note_dirty(&self) {
        if !self.is_dirty.load(Ordering::SeqCst) {
            self.is_dirty.store(true, Ordering::SeqCst);
        }
    }

    pub(crate) fn is_set(&self, entry: u32) -> bool {
        let bits = self.words.get(casts::index(entry / 64));
        bits.is_some_and(|bits| bits.load(Ordering::Relaxed) & 1 << (entry % 64) != 0)
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.is_dirty.load(Ordering::Acquire)
    }

    /// Returns the number of sectors in use, once the result of [`take_dirty`](Self::take_dirty) is written.
    pub(crate) fn used(&self) -> u32 {
        self.used.load(Ordering::Relaxed)
    }

    /// Returns the sectors that have changed, with their numbers.
    pub(crate) fn take_dirty(&self, generation: u32) -> Vec<(u32, Vec<u8>)> {
        if !self.is_dirty() || !self.is_dirty.swap(false, Ordering::SeqCst) {
            return Vec::new();
        }
        let used = self.used();
        let take = |dirty: &AtomicBool| dirty.load(Ordering::SeqCst) && dirty.swap(false, Ordering::SeqCst);
        let changed: Vec<bool> = self.dirty.iter().map(take).collect();
        let last = changed.iter().rposition(|changed| *changed).map_or(0, |last| casts::narrow(last) + 1);
        self.used.fetch_max(last, Ordering::Relaxed);
        // Those below the last that were never written are in use from now on as well.
        let changed = (0..).zip(changed).filter(|(number, changed)| *changed || (used..last).contains(number));
        changed.map(|(number, _)| (number, self.sector(number, generation))).collect()
    }

    fn sector(&self, number: u32, generation: u32) -> Vec<u8> {
        let mut rest = Vec::with_capacity(casts::in_memory(SECTOR_BYTES));
        rest.extend_from_slice(&generation.to_le_bytes());
        rest.extend_from_slice(&[0; 4]);
        for word in self.words.iter().skip(casts::index(number) * WORDS).take(WORDS) {
            rest.extend_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
        }
        let mut sector = xxh3_64(&rest).to_le_bytes().to_vec();
        sector.append(&mut rest);
        sector
    }

    /// Takes over what the sectors in use say: one that does not prove right says that all was touched.
    pub(crate) fn restore(&self, sectors: &[u8], generation: u32) {
        let mut used = 0;
        for (number, sector) in (0..).zip(sectors.chunks_exact(casts::in_memory(SECTOR_BYTES))) {
            used += 1;
            let bits = bits_of(sector, generation);
            let words = self.words.iter().skip(number * WORDS).take(WORDS);
            if let Some(bits) = bits {
                for (word, bits) in words.zip(bits.as_chunks().0) {
                    word.store(u64::from_le_bytes(*bits), Ordering::Relaxed);
                }
                continue;
            }
            for word in words {
                word.store(u64::MAX, Ordering::Relaxed);
            }
            if let Some(dirty) = self.dirty.get(number) {
                dirty.store(true, Ordering::SeqCst);
                self.note_dirty();
            }
        }
        self.used.store(used, Ordering::Relaxed);
    }

    /// Begins another use of the block.
    pub(crate) fn clear(&self) {
        for word in &self.words {
            word.store(0, Ordering::Relaxed);
        }
        for dirty in &self.dirty {
            dirty.store(false, Ordering::Release);
        }
        self.is_dirty.store(false, Ordering::Release);
        self.used.store(0, Ordering::Relaxed);
    }
}

fn bits_of(sector: &[u8], generation: u32) -> Option<&[u8]> {
    let (checksum, rest) = sector.split_first_chunk()?;
    let (of, bits) = rest.split_at_checked(8)?;
    let proves_right = xxh3_64(rest) == u64::from_le_bytes(*checksum);
    (proves_right && of.first_chunk() == Some(&generation.to_le_bytes())).then_some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(touches: &Touches, generation: u32) -> Vec<u8> {
        (0..touches.used()).flat_map(|number| touches.sector(number, generation)).collect()
    }

    #[test]
    fn touches_survive_and_unchanged_sectors_are_not_written() {
        let touches = Touches::new(3);
        let far = u32::try_from(TOUCHES_PER_SECTOR).unwrap() + 5;
        touches.set(7);
        touches.set(far);
        assert!(touches.is_dirty());
        let written = touches.take_dirty(4);
        assert_eq!(written.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(touches.used(), 2);
        assert!(!touches.is_dirty());
        touches.set(far);
        assert!(touches.take_dirty(4).is_empty());
        touches.set(8);
        assert_eq!(touches.take_dirty(4).len(), 1);
        let restored = Touches::new(3);
        restored.restore(&image(&touches, 4), 4);
        for entry in 0..far + 100 {
            assert_eq!(restored.is_set(entry), [7, 8, far].contains(&entry));
        }
        assert!(restored.take_dirty(4).is_empty());
    }

    #[test]
    fn sectors_below_the_first_touched_one_are_written_too() {
        let touches = Touches::new(3);
        touches.set(u32::try_from(TOUCHES_PER_SECTOR * 2).unwrap());
        assert_eq!(touches.take_dirty(1).len(), 3);
    }

    #[test]
    fn a_damaged_sector_or_one_of_another_generation_counts_as_all_touched() {
        let touches = Touches::new(1);
        touches.set(7);
        touches.take_dirty(4);
        let mut damaged = image(&touches, 4);
        damaged[2000] ^= 1;
        for (image, generation) in [(damaged, 4), (image(&touches, 4), 5)] {
            let restored = Touches::new(1);
            restored.restore(&image, generation);
            assert!(restored.is_set(0) && restored.is_set(32_000));
            assert!(restored.is_dirty());
        }
    }
}

#[cfg(test)]
#[cfg(loom)]
mod loom_models {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    #[test]
    fn a_touch_that_comes_while_touches_are_taken_is_taken_or_stays_to_be() {
        loom::model(|| {
            let touches = Arc::new(Touches::new(1));
            touches.set(0);
            let other = Arc::clone(&touches);
            let touching = thread::spawn(move || other.set(3));
            let has_it = |sectors: &[(u32, Vec<u8>)]| {
                let bits = |(_, sector): &(u32, Vec<u8>)| bits_of(sector, 1).and_then(|bits| bits.first().copied());
                sectors.iter().filter_map(bits).any(|bits| bits & 1 << 3 != 0)
            };
            let first = touches.take_dirty(1);
            touching.join().unwrap();
            assert!(has_it(&first) || has_it(&touches.take_dirty(1)));
        });
    }
}
