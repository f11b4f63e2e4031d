//! Every interleaving of look-ups and touches with the writer and the copier, over a map of three slots.

use loom::sync::Arc;
use loom::thread;

use super::*;
use crate::block::Block;
use crate::key::{CHECK_MASK, Key};
use crate::location::Location;
use crate::persistence::Touches;

const SEEDS: [u64; 2] = [0x1234_5678_9abc_def1, 0xfedc_ba98_7654_3211];
const BLOCK: u16 = 3;

/// Returns a record whose key has these two buckets of three.
fn record(primary: u32, secondary: u32) -> Record {
    let placement = Placement::new(SEEDS, 3);
    let record = |number| Record { key_words: [number, 7, 7, 7], ..Record::of_model() };
    let is_it = |record: &Record| {
        let place = placement.of(&key(record));
        (place.primary, placement.secondary(place)) == (primary, secondary)
    };
    (1..).map(|number: u64| record(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))).find(is_it).unwrap()
}

fn key(record: &Record) -> Key {
    record.key(CHECK_MASK)
}

/// Makes a map of three buckets, of a slot each.
fn map() -> (Arc<KeyLocationMap>, MapWriter) {
    let (map, writer) = KeyLocationMap::new(3, SEEDS, CHECK_MASK);
    assert_eq!(map.capacity(), 3);
    (Arc::new(map), writer)
}

fn model(work: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.max_branches = 10_000;
    model.preemption_bound = model.preemption_bound.or(Some(2));
    model.check(work);
}

fn find_in_batch(map: &KeyLocationMap, record: &Record) -> Option<Brief> {
    let mut brief = None;
    map.lookup_all(1, |_| key(record), &(), |_, found| brief = found.map(|(_, brief)| brief));
    brief
}

/// Moves a record from bucket 0 to bucket 2, where it belongs as well, during a look-up.
fn move_while_looking(moving: Record, look: impl Fn(&KeyLocationMap) -> Option<Brief> + Sync + Send + 'static) {
    let (first, third) = (record(2, 0), record(1, 2));
    model(move || {
        let (map, mut writer) = map();
        let starts_at_home = Placement::new(SEEDS, 3).of(&key(&moving)).primary == 0;
        if !starts_at_home {
            map.restore(&mut writer, &first, 0);
        }
        map.restore(&mut writer, &moving, 0);
        if !starts_at_home {
            assert!(map.remove(&mut writer, &first));
        }
        map.restore(&mut writer, &third, 0);
        let other = Arc::clone(&map);
        let writing = thread::spawn(move || {
            // Both of its buckets are taken.
            let inserted = other.restore(&mut writer, &record(0, 1), 0);
            assert_eq!(inserted, Inserted::default());
        });
        assert_eq!(look(&map), Some(moving.brief()));
        writing.join().unwrap();
    });
}

/// Returns another record that has the same two buckets as `record(2, 0)`.
fn moving_home() -> Record {
    let taken = record(2, 0);
    let placement = Placement::new(SEEDS, 3);
    (1..)
        .map(|number: u64| Record { key_words: [number.wrapping_mul(0xd1b5_4a32_d192_ed03), 7, 7, 7], ..taken })
        .find(|record| {
            let place = placement.of(&key(record));
            (place.primary, placement.secondary(place)) == (2, 0)
                && place.fingerprint != placement.of(&key(&taken)).fingerprint
        })
        .unwrap()
}

#[test]
fn a_record_that_moves_from_home_is_not_missed() {
    let moving = record(0, 2);
    move_while_looking(moving, move |map| map.lookup(&key(&moving), &()).map(|found| found.record.brief()));
}

#[test]
fn a_record_that_moves_from_home_is_not_missed_by_a_batch() {
    let moving = record(0, 2);
    move_while_looking(moving, move |map| find_in_batch(map, &moving));
}

#[test]
fn a_record_that_moves_home_is_not_missed() {
    let moving = moving_home();
    move_while_looking(moving, move |map| map.lookup(&key(&moving), &()).map(|found| found.record.brief()));
}

#[test]
fn a_record_that_moves_is_not_missed_by_a_batch() {
    let moving = moving_home();
    move_while_looking(moving, move |map| find_in_batch(map, &moving));
}

#[test]
fn a_record_is_seen_as_it_was_or_as_it_is() {
    let old = record(0, 2);
    let location = Location { offset: 128, ..old.location };
    let new = Record { location, sequence: 2, ..old };
    model(move || {
        let (map, mut writer) = map();
        map.restore(&mut writer, &old, 0);
        let other = Arc::clone(&map);
        let writing = thread::spawn(move || assert!(other.replace(&mut writer, &old, &new)));
        let found = map.lookup(&key(&old), &()).unwrap().record;
        assert!(found == old || found == new, "{found:?}");
        writing.join().unwrap();
    });
}

#[test]
fn what_is_inserted_is_seen_whole_or_not_at_all() {
    let new = record(0, 2);
    model(move || {
        let (map, mut writer) = map();
        let other = Arc::clone(&map);
        let writing = thread::spawn(move || {
            other.restore(&mut writer, &new, 0);
        });
        let found = find_in_batch(&map, &new);
        assert!(found.is_none_or(|found| found == new.brief()), "{found:?}");
        writing.join().unwrap();
        assert_eq!(find_in_batch(&map, &new), Some(new.brief()));
    });
}

/// Reports a record as present: the caller learns whether its block is being copied.
fn find(map: &KeyLocationMap, block: &Block, record: &Record) -> bool {
    loop {
        let found = map.lookup(&key(record), &()).unwrap();
        if !found.at.has(FOUND) && map.touch(&found.at, FOUND) == Touch::Moved {
            continue;
        }
        return block.is_copying();
    }
}

fn copy_while_finding(finders: usize) {
    let there = record(0, 2);
    model(move || {
        let (map, mut writer) = map();
        let block = Arc::new(Block::new(1, 0, Touches::new(0), 0));
        map.restore(&mut writer, &there, 0);
        let finding: Vec<_> = (0..finders)
            .map(|_| {
                let (map, block) = (Arc::clone(&map), Arc::clone(&block));
                thread::spawn(move || find(&map, &block, &there))
            })
            .collect();
        block.begin_copying();
        let mut is_copied = false;
        map.records_in(0..1, BLOCK, 0, &(), &mut |_, flags| is_copied = flags & FOUND != 0);
        for finding in finding {
            assert!(finding.join().unwrap() || is_copied);
        }
    });
}

#[test]
fn a_touch_is_seen_by_the_copier_or_sees_the_copier() {
    copy_while_finding(1);
}

#[test]
fn a_touch_that_somebody_else_made_counts_as_much() {
    copy_while_finding(2);
}

#[test]
fn a_touch_that_counts_is_on_the_record_wherever_it_is_moved() {
    let moving = record(0, 2);
    let third = record(1, 2);
    model(move || {
        let (map, mut writer) = map();
        map.restore(&mut writer, &moving, 0);
        map.restore(&mut writer, &third, 0);
        let other = Arc::clone(&map);
        let writing = thread::spawn(move || {
            other.restore(&mut writer, &record(0, 1), 0);
        });
        let found = map.lookup(&key(&moving), &()).unwrap();
        let touch = map.touch(&found.at, FOUND);
        writing.join().unwrap();
        assert!(touch == Touch::Moved || map.lookup(&key(&moving), &()).unwrap().at.has(FOUND));
    });
}
