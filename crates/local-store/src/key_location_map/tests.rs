use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proptest::prelude::*;

use super::tag_line::TagLine;
use super::*;
use crate::key::{CHECK_MASK, Key, words};
use crate::location::Location;

fn record(number: u64, block: u16, sequence: u64) -> Record {
    Record {
        key_words: words(blake3::hash(&number.to_le_bytes()).as_bytes()),
        location: Location { block, generation: u32::from(block) + 1, offset: number, size_bytes: 7 },
        function: 1,
        is_part: false,
        has_tail: false,
        account_name: 1,
        sequence,
        entry: 0,
    }
}

fn key(number: u64) -> Key {
    record(number, 0, 0).key(CHECK_MASK)
}

fn map(slots: u64) -> (KeyLocationMap, MapWriter) {
    KeyLocationMap::new(slots, [0x1234_5678_9abc_def1, 0xfedc_ba98_7654_3211], CHECK_MASK)
}

impl KeyLocationMap {
    /// Takes all records of a block out, and returns how many there were.
    fn remove_block(&self, writer: &mut MapWriter, block: u16) -> usize {
        let slots = self.sweeps().flat_map(|buckets| self.slots_in(buckets, block)).collect::<Vec<_>>();
        slots.into_iter().filter_map(|(bucket, slot)| self.clear_if_in(writer, bucket, slot, block)).count()
    }

    /// Puts a record as a put does; `None` if it is refused.
    fn put(&self, writer: &mut MapWriter, record: &Record, safe_from: u32) -> Option<Inserted> {
        let newcomer = Newcomer::Put { sequence: record.sequence, safe_from };
        let room = self.admit(writer, &record.key(self.check_mask), newcomer)?;
        Some(self.fill(writer, room, record, 0))
    }

    /// Walks over everything: records lie in one of their buckets, once, and are counted.
    fn check(&self, writer: &MapWriter) {
        let mut seen = std::collections::HashSet::new();
        let mut spilled = vec![0_u32; self.lines.len()];
        for bucket in 0..casts::narrow(self.lines.len()) {
            for (slot, tag) in self.line(bucket).unwrap().tags().iter().enumerate() {
                let tag = tag.load(Ordering::Relaxed);
                let Some(block) = tag_line::block_of(tag) else { continue };
                let record = self.slot(bucket, slot).unwrap().load();
                let place = self.placement.of(&record.key(self.check_mask));
                assert_eq!(block, record.location.block);
                assert_eq!(tag & tag_line::FINGERPRINT_MASK, place.fingerprint);
                assert!(bucket == place.primary || bucket == self.placement.secondary(place));
                assert!(seen.insert(record.key_words));
                if bucket != place.primary {
                    spilled[casts::index(place.primary)] += 1;
                }
            }
        }
        for (line, spilled) in self.lines.iter().zip(spilled) {
            assert!(line.begin().unwrap().has_spilled() || spilled == 0);
        }
        assert_eq!(casts::on_device(seen.len()), writer.records());
    }
}

#[test]
fn a_record_is_found_by_its_key_only() {
    let (map, mut writer) = map(100);
    assert!(map.lookup(&key(1), &()).is_none());
    assert_eq!(map.restore(&mut writer, &record(1, 3, 1), 0), Inserted::default());
    assert_eq!(map.lookup(&key(1), &()).unwrap().record, record(1, 3, 1));
    assert!(map.lookup(&Key { check: key(1).check + 1, ..key(1) }, &()).is_none());
    map.check(&writer);
}

#[test]
fn a_newer_record_replaces_and_a_removal_asks_for_the_same() {
    let (map, mut writer) = map(100);
    map.restore(&mut writer, &record(1, 3, 1), FOUND);
    let inserted = map.restore(&mut writer, &record(1, 4, 2), 0);
    assert_eq!(inserted.replaced, Some(record(1, 3, 1)));
    assert!(!map.lookup(&key(1), &()).unwrap().at.has(FOUND));
    assert!(!map.remove(&mut writer, &record(1, 3, 1)));
    assert!(!map.replace(&mut writer, &record(1, 3, 1), &record(1, 9, 1)));
    assert!(map.replace(&mut writer, &record(1, 4, 2), &record(1, 9, 2)));
    assert!(map.remove(&mut writer, &record(1, 9, 2)));
    assert!(map.lookup(&key(1), &()).is_none());
    assert_eq!(writer.records(), 0);
}

#[test]
fn nothing_valid_is_dropped_up_to_a_load_of_85_percent() {
    let (map, mut writer) = map(60_000);
    let count = map.capacity() * 85 / 100;
    for number in 0..count {
        assert_eq!(map.restore(&mut writer, &record(number, 1, number), 0), Inserted::default(), "{number}");
    }
    map.check(&writer);
    for number in 0..count {
        assert!(map.lookup(&key(number), &()).is_some());
    }
    for number in count..2 * count {
        assert!(map.lookup(&key(number), &()).is_none());
    }
}

#[test]
fn of_a_crowded_map_the_oldest_untouched_go() {
    let (map, mut writer) = map(15);
    for number in 0..15 {
        map.restore(&mut writer, &record(number, u16::try_from(number).unwrap(), number), 0);
    }
    let found = map.lookup(&key(0), &()).unwrap();
    assert_eq!(map.touch(&found.at, FOUND), Touch::Touched);
    let inserted = map.restore(&mut writer, &record(100, 100, 100), 0);
    assert_eq!(inserted.dropped, Some(record(1, 1, 1)));
    // What is older than all others is not taken in.
    let mut older = record(200, 0, 200);
    older.location.generation = 0;
    assert_eq!(map.restore(&mut writer, &older, 0).dropped, Some(older));
    map.check(&writer);
}

#[test]
fn a_touch_reaches_the_record_that_was_found_or_says_that_it_moved() {
    let (map, mut writer) = map(100);
    map.restore(&mut writer, &record(1, 3, 1), 0);
    let found = map.lookup(&key(1), &()).unwrap();
    assert_eq!(map.touch(&found.at, READ), Touch::Touched);
    assert_eq!(map.touch(&found.at, FOUND), Touch::Touched);
    assert!(map.lookup(&key(1), &()).unwrap().at.has(FOUND | READ));
    map.restore(&mut writer, &record(1, 4, 2), 0);
    assert_eq!(map.touch(&found.at, FOUND), Touch::Moved);
    assert!(!map.lookup(&key(1), &()).unwrap().at.has(FOUND));
}

#[test]
fn a_sweep_finds_and_removes_the_records_of_a_block() {
    let (map, mut writer) = map(20_000);
    for number in 0..15_000 {
        map.restore(&mut writer, &record(number, u16::try_from(number % 3).unwrap(), number), 0);
    }
    let mut found = 0;
    for range in map.sweeps() {
        map.records_in(range, 1, 0, &(), &mut |record, _| {
            assert_eq!(record.location.block, 1);
            found += 1;
        });
    }
    assert_eq!((found, map.remove_block(&mut writer, 1)), (5_000, 5_000));
    assert_eq!(writer.records(), 10_000);
    map.check(&writer);
    assert!(map.lookup(&key(1), &()).is_none());
    assert!(map.lookup(&key(2), &()).is_some());
}

#[test]
fn a_batch_finds_what_single_lookups_find() {
    let (map, mut writer) = map(1_000);
    for number in 0..800 {
        map.restore(&mut writer, &record(2 * number, 1, number), 0);
    }
    let keys: Vec<_> = (0..1_600).map(key).collect();
    let mut next = 0;
    map.lookup_all(
        keys.len(),
        |position| keys[position],
        &(),
        |position, found| {
            assert_eq!(position, next);
            next += 1;
            let single = map.lookup(&keys[position], &()).map(|found| found.record);
            assert_eq!(found.and_then(|(at, _)| map.record_at(&at)), single);
            assert_eq!(found.map(|(_, brief)| brief), single.map(|record| record.brief()));
            assert_eq!(found.is_some(), position % 2 == 0);
        },
    );
    assert_eq!(next, 1_600);
}

#[test]
fn what_moves_is_never_missed() {
    // Few buckets, so that records are displaced all the time; those that stay must be found at every moment.
    let (map, mut writer) = map(600);
    let stay: Vec<u64> = (0..300).collect();
    for number in &stay {
        map.restore(&mut writer, &record(*number, 2, *number), 0);
    }
    let (stop, looked) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for number in &stay {
                    let found = map.lookup(&key(*number), &());
                    assert_eq!(found.map(|found| found.record), Some(record(*number, 2, *number)));
                }
                looked.fetch_add(1, Ordering::Relaxed);
            }
        });
        // Until the other one has had its turn as well.
        let is_done = |round| round >= 300 && (looked.load(Ordering::Relaxed) > 2 || looking.is_finished());
        for round in (0..).take_while(|round| !is_done(*round)) {
            for number in 1_000..1_200 {
                let inserted = map.restore(&mut writer, &record(number + 1_000 * round, 1, number), 0);
                assert_eq!(inserted.dropped, None);
            }
            map.remove_block(&mut writer, 1);
        }
        stop.store(true, Ordering::Relaxed);
        map.check(&writer);
    });
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Restore(u64, u16),
    Put(u64, u16),
    Remove(u64),
    Touch(u64),
    Sweep(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..400_u64, 0..6_u16).prop_map(|(number, block)| Step::Restore(number, block)),
        3 => (0..400_u64, 0..6_u16).prop_map(|(number, block)| Step::Put(number, block)),
        2 => (0..400_u64).prop_map(Step::Remove),
        2 => (0..400_u64).prop_map(Step::Touch),
        1 => (0..6_u16).prop_map(Step::Sweep),
    ];
    prop::collection::vec(step, 0..600)
}

proptest! {
    #[test]
    fn it_is_a_map_that_says_what_it_drops(steps in steps(), slots in 30_u64..400) {
        let (map, mut writer) = map(slots);
        let mut model: HashMap<u64, (Record, bool)> = HashMap::new();
        for (sequence, step) in (1_u64..).zip(steps) {
            match step {
                Step::Put(number, block) => {
                    let new = record(number, block, sequence);
                    let Some(inserted) = map.put(&mut writer, &new, 4) else {
                        // Nothing was given up for nothing.
                        prop_assert!(!model.contains_key(&number));
                        continue;
                    };
                    let replaced = model.insert(number, (new, false));
                    prop_assert_eq!(inserted.replaced, replaced.map(|(record, _)| record));
                    if let Some(dropped) = inserted.dropped {
                        prop_assert_ne!(dropped, new);
                        let (record, is_found) = model.remove(&dropped.location.offset).unwrap();
                        prop_assert_eq!(inserted.was_promised, is_found || record.location.generation >= 4);
                    }
                    prop_assert_eq!(map.lookup(&key(number), &()).map(|found| found.record), Some(new));
                }
                Step::Restore(number, block) => {
                    let new = record(number, block, sequence);
                    let inserted = map.restore(&mut writer, &new, 0);
                    let replaced = model.insert(number, (new, false));
                    prop_assert_eq!(inserted.replaced, replaced.map(|(record, _)| record));
                    if let Some(dropped) = inserted.dropped {
                        prop_assert!(model.remove(&dropped.location.offset).is_some());
                    }
                }
                Step::Remove(number) => {
                    if let Some((record, _)) = model.remove(&number) {
                        prop_assert!(map.remove(&mut writer, &record));
                    }
                }
                Step::Touch(number) => {
                    if let Some(found) = map.lookup(&key(number), &()) {
                        let expected = if found.at.has(FOUND) { Touch::Again } else { Touch::Touched };
                        prop_assert_eq!(map.touch(&found.at, FOUND), expected);
                        model.get_mut(&number).unwrap().1 = true;
                    }
                }
                Step::Sweep(block) => {
                    let removed = map.remove_block(&mut writer, block);
                    let before = model.len();
                    model.retain(|_, (record, _)| record.location.block != block);
                    prop_assert_eq!(before - model.len(), removed);
                }
            }
        }
        map.check(&writer);
        for number in 0..400 {
            let found = map.lookup(&key(number), &());
            let expected = model.get(&number);
            prop_assert_eq!(found.map(|found| found.record), expected.map(|(record, _)| *record));
            prop_assert_eq!(found.is_some_and(|found| found.at.has(FOUND)), expected.is_some_and(|(_, touched)| *touched));
        }
    }
}

#[test]
fn most_records_lie_where_they_are_looked_for_first() {
    let (map, mut writer) = map(15_000);
    let stored = 11_250_u64;
    for number in 0..10 * stored {
        if let Some(old) = number.checked_sub(stored) {
            assert!(map.remove(&mut writer, &record(old, 3, old)));
        }
        let inserted = map.restore(&mut writer, &record(number, 3, number), 0);
        assert_eq!(inserted, Inserted::default());
    }
    map.check(&writer);
    let mut near = 0;
    for number in 9 * stored..10 * stored {
        let found = map.lookup(&key(number), &()).unwrap();
        let place = map.placement.of(&key(number));
        let first = tag_line::near(place.fingerprint);
        near += u64::from(found.at.bucket == place.primary && (first..first + 2).contains(&found.at.slot));
    }
    // 63 %; where no record makes room for another, 36 %.
    assert!(near * 9 > stored * 5, "{near} of {stored}");
}

#[test]
fn a_put_is_never_its_own_victim_and_takes_those_whose_promise_is_over_first() {
    let (map, mut writer) = map(15);
    for number in 0..15 {
        map.restore(&mut writer, &record(number, u16::try_from(number).unwrap(), number), 0);
    }
    // All are in use, and two of them are promised.
    for number in 0..15 {
        let found = map.lookup(&key(number), &()).unwrap();
        map.touch(&found.at, if number < 2 { FOUND } else { READ });
    }
    // Generations from 6 on are safe. Of those before, the oldest that nobody was told of goes first.
    let mut gone = Vec::new();
    for number in 100..114 {
        let inserted = map.put(&mut writer, &record(number, 50, number), 6).unwrap();
        assert_eq!(map.lookup(&key(number), &()).map(|found| found.record), Some(record(number, 50, number)));
        gone.push((inserted.dropped.unwrap().location.offset, inserted.was_promised));
    }
    assert_eq!(gone[..5], [(2, false), (3, false), (4, false), (0, true), (1, true)]);
    assert!(gone[5..12].iter().zip(5..).all(|(gone, number)| *gone == (number, true)), "{gone:?}");
    map.check(&writer);
}

#[test]
fn a_put_is_refused_rather_than_that_it_drives_out_another_one_of_late() {
    let (map, mut writer) = map(15);
    for number in 0..15 {
        map.put(&mut writer, &record(number, 1, 100), 0).unwrap();
    }
    assert_eq!(map.put(&mut writer, &record(100, 1, 101), 0), None);
    for number in 0..15 {
        assert!(map.lookup(&key(number), &()).is_some());
    }
    assert!(map.put(&mut writer, &record(100, 1, 107), 0).is_some());
    map.check(&writer);
}

#[test]
fn nothing_is_dropped_below_a_load_of_95_percent() {
    for slots in [15_000_u64, 200_000] {
        let (map, mut writer) = map(slots);
        let stored = map.capacity() / 100 * 95;
        for number in 0..stored {
            let inserted = map.put(&mut writer, &record(number, 3, number), 0);
            assert_eq!(inserted, Some(Inserted::default()), "at {number} of {}", map.capacity());
        }
        map.check(&writer);
    }
}

/// Stands for a writer that is kept from the processor while it changes a bucket, and goes on once it is waited for.
struct Stalled<'a>(&'a TagLine, AtomicU64);

impl Writers for Stalled<'_> {
    type Turn<'a>
        = ()
    where
        Self: 'a;

    fn enter(&self) {
        self.0.close();
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_look_up_waits_for_a_writer_that_does_not_end_its_change() {
    let (map, mut writer) = map(15);
    let there = record(1, 3, 1);
    map.restore(&mut writer, &there, 0);
    let waits = || {
        let line = map.line(0).unwrap();
        assert!(line.open());
        Stalled(line, AtomicU64::new(0))
    };
    let stalled = waits();
    assert_eq!(map.lookup(&key(1), &stalled).map(|found| found.record), Some(there));
    assert_eq!(stalled.1.into_inner(), 1);
    let stalled = waits();
    map.lookup_all(1, |_| key(1), &stalled, |_, found| assert_eq!(found.map(|(_, brief)| brief), Some(there.brief())));
    assert_eq!(stalled.1.into_inner(), 1);
    let stalled = waits();
    let mut seen = 0;
    map.records_of_segment(0, &stalled, |_, _| seen += 1);
    map.records_in(0..1, 3, 0, &Stalled(stalled.0, AtomicU64::new(0)), &mut |_, _| seen += 1);
    assert_eq!((seen, stalled.1.into_inner()), (2, 1));
}

#[test]
fn a_listing_by_segments_has_every_record_once_in_any_map() {
    let mut positions = Vec::new();
    for slots in [15, 15_000, 15 * 20_000] {
        let (map, mut writer) = map(slots);
        for number in 0..100.min(slots) {
            map.restore(&mut writer, &record(number, 3, number), 0);
        }
        let mut listed = Vec::new();
        for segment in 0..map.segments() {
            let begin = listed.len();
            map.records_of_segment(segment, &(), |position, _| listed.push(position));
            listed[begin..].sort_unstable();
            assert!(listed[begin..].iter().all(|position| *position <= map.end_of(segment)));
            assert_eq!(map.segment_of(&map.end_of(segment)), segment);
        }
        assert!(listed.is_sorted());
        positions.push(listed);
    }
    // The order is the same, whatever the size of the map.
    assert_eq!(positions[0].len(), 15);
    assert_eq!(positions[1].len(), 100);
    assert_eq!(positions[1], positions[2]);
}
