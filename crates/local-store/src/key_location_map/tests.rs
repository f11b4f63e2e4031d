use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proptest::prelude::*;

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
                assert!(bucket == place.primary || bucket == place.secondary);
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
    assert!(map.lookup(&key(1)).is_none());
    assert_eq!(map.insert(&mut writer, &record(1, 3, 1), 0), Inserted::default());
    assert_eq!(map.lookup(&key(1)).unwrap().record, record(1, 3, 1));
    assert!(map.lookup(&Key { check: key(1).check + 1, ..key(1) }).is_none());
    map.check(&writer);
}

#[test]
fn a_newer_record_replaces_and_a_removal_asks_for_the_same() {
    let (map, mut writer) = map(100);
    map.insert(&mut writer, &record(1, 3, 1), FOUND);
    let inserted = map.insert(&mut writer, &record(1, 4, 2), 0);
    assert_eq!(inserted.replaced, Some(record(1, 3, 1)));
    assert!(!map.lookup(&key(1)).unwrap().at.has(FOUND));
    assert!(!map.remove(&mut writer, &record(1, 3, 1)));
    assert!(!map.replace(&mut writer, &record(1, 3, 1), &record(1, 9, 1)));
    assert!(map.replace(&mut writer, &record(1, 4, 2), &record(1, 9, 2)));
    assert!(map.remove(&mut writer, &record(1, 9, 2)));
    assert!(map.lookup(&key(1)).is_none());
    assert_eq!(writer.records(), 0);
}

#[test]
fn nothing_valid_is_dropped_up_to_a_load_of_85_percent() {
    let (map, mut writer) = map(60_000);
    let count = map.capacity() * 85 / 100;
    for number in 0..count {
        assert_eq!(map.insert(&mut writer, &record(number, 1, number), 0), Inserted::default(), "{number}");
    }
    map.check(&writer);
    for number in 0..count {
        assert!(map.lookup(&key(number)).is_some());
    }
    for number in count..2 * count {
        assert!(map.lookup(&key(number)).is_none());
    }
}

#[test]
fn of_a_crowded_map_the_oldest_untouched_go() {
    let (map, mut writer) = map(15);
    for number in 0..15 {
        map.insert(&mut writer, &record(number, u16::try_from(number).unwrap(), number), 0);
    }
    let found = map.lookup(&key(0)).unwrap();
    assert_eq!(map.touch(&found.at, FOUND), Touch::Touched);
    let inserted = map.insert(&mut writer, &record(100, 100, 100), 0);
    assert_eq!(inserted.dropped, Some(record(1, 1, 1)));
    // What is older than all others is not taken in.
    let mut older = record(200, 0, 200);
    older.location.generation = 0;
    assert_eq!(map.insert(&mut writer, &older, 0).dropped, Some(older));
    map.check(&writer);
}

#[test]
fn a_touch_reaches_the_record_that_was_found_or_says_that_it_moved() {
    let (map, mut writer) = map(100);
    map.insert(&mut writer, &record(1, 3, 1), 0);
    let found = map.lookup(&key(1)).unwrap();
    assert_eq!(map.touch(&found.at, READ), Touch::Touched);
    assert_eq!(map.touch(&found.at, FOUND), Touch::Touched);
    assert!(map.lookup(&key(1)).unwrap().at.has(FOUND | READ));
    map.insert(&mut writer, &record(1, 4, 2), 0);
    assert_eq!(map.touch(&found.at, FOUND), Touch::Moved);
    assert!(!map.lookup(&key(1)).unwrap().at.has(FOUND));
}

#[test]
fn a_sweep_finds_and_removes_the_records_of_a_block() {
    let (map, mut writer) = map(20_000);
    for number in 0..15_000 {
        map.insert(&mut writer, &record(number, u16::try_from(number % 3).unwrap(), number), 0);
    }
    let mut found = 0;
    let mut removed = 0;
    for range in map.sweeps() {
        map.records_in(range, 1, 0, &mut |record, _| {
            assert_eq!(record.location.block, 1);
            found += 1;
        });
    }
    for range in map.sweeps() {
        map.remove_in(&mut writer, range, 1, &mut |_| removed += 1);
    }
    assert_eq!((found, removed), (5_000, 5_000));
    assert_eq!(writer.records(), 10_000);
    map.check(&writer);
    assert!(map.lookup(&key(1)).is_none());
    assert!(map.lookup(&key(2)).is_some());
}

#[test]
fn a_batch_finds_what_single_lookups_find() {
    let (map, mut writer) = map(1_000);
    for number in 0..800 {
        map.insert(&mut writer, &record(2 * number, 1, number), 0);
    }
    let keys: Vec<_> = (0..1_600).map(key).collect();
    let mut next = 0;
    map.lookup_all(
        keys.len(),
        |position| keys[position],
        |position, found| {
            assert_eq!(position, next);
            next += 1;
            let single = map.lookup(&keys[position]).map(|found| found.record);
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
        map.insert(&mut writer, &record(*number, 2, *number), 0);
    }
    let (stop, looked) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for number in &stay {
                    let found = map.lookup(&key(*number));
                    assert_eq!(found.map(|found| found.record), Some(record(*number, 2, *number)));
                }
                looked.fetch_add(1, Ordering::Relaxed);
            }
        });
        // Until the other one has had its turn as well.
        let is_done = |round| round >= 300 && (looked.load(Ordering::Relaxed) > 2 || looking.is_finished());
        for round in (0..).take_while(|round| !is_done(*round)) {
            for number in 1_000..1_200 {
                let inserted = map.insert(&mut writer, &record(number + 1_000 * round, 1, number), 0);
                assert_eq!(inserted.dropped, None);
            }
            for range in map.sweeps() {
                map.remove_in(&mut writer, range, 1, &mut |_| ());
            }
        }
        stop.store(true, Ordering::Relaxed);
        map.check(&writer);
    });
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Insert(u64, u16),
    Remove(u64),
    Touch(u64),
    Sweep(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..400_u64, 0..6_u16).prop_map(|(number, block)| Step::Insert(number, block)),
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
                Step::Insert(number, block) => {
                    let new = record(number, block, sequence);
                    let inserted = map.insert(&mut writer, &new, 0);
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
                    if let Some(found) = map.lookup(&key(number)) {
                        let expected = if found.at.has(FOUND) { Touch::Again } else { Touch::Touched };
                        prop_assert_eq!(map.touch(&found.at, FOUND), expected);
                        model.get_mut(&number).unwrap().1 = true;
                    }
                }
                Step::Sweep(block) => {
                    let mut removed = 0;
                    for range in map.sweeps() {
                        map.remove_in(&mut writer, range, block, &mut |_| removed += 1);
                    }
                    let before = model.len();
                    model.retain(|_, (record, _)| record.location.block != block);
                    prop_assert_eq!(before - model.len(), removed);
                }
            }
        }
        map.check(&writer);
        for number in 0..400 {
            let found = map.lookup(&key(number));
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
        let inserted = map.insert(&mut writer, &record(number, 3, number), 0);
        assert_eq!(inserted, Inserted::default());
    }
    map.check(&writer);
    let mut near = 0;
    for number in 9 * stored..10 * stored {
        let found = map.lookup(&key(number)).unwrap();
        let place = map.placement.of(&key(number));
        let first = tag_line::near(place.fingerprint);
        near += u64::from(found.at.bucket == place.primary && (first..first + 2).contains(&found.at.slot));
    }
    // 63 %; where no record makes room for another, 36 %.
    assert!(near * 9 > stored * 5, "{near} of {stored}");
}
