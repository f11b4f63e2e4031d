//! Contents in memory: who finds, reads, puts and refreshes against who recycles.

use blobaccess::{Cas, Error, ErrorKind, PutOutcome};

use super::super::put::{Contents, Published, Replaces};
use super::super::space::Requester;
use super::super::{Owner, Put};
use super::*;
use crate::machine::casts;
use crate::options::Refresh;

#[test]
fn what_was_found_stays_while_its_block_is_recycled() {
    explore("what_was_found_stays_while_its_block_is_recycled", || {
        let store = open::<Cas>(in_memory());
        let (small, large) = (Item::new(1, 100), Item::new(2, 1_000));
        with_in_oldest(&store, &[&small, &large]);
        let finding = [&small, &large].map(|item| {
            let item = item.clone();
            spawn(&store, move |store| {
                let is_there = find(store, &item);
                assert!(!is_there || get(store, &item), "{item:?} is gone that was found");
                is_there
            })
        });
        let item = small.clone();
        let other = spawn(&store, move |store| find(store, &item));
        put(&store, &Item::filling(4));
        put(&store, &Item::filling(5));
        let [found_small, found_large] = finding.map(|finding| finding.join().unwrap());
        let found = [(&small, found_small || other.join().unwrap()), (&large, found_large)];
        for (item, _) in found.iter().filter(|(_, is_found)| *is_found) {
            assert!(get(&store, item), "{item:?} is gone that was found");
        }
        assert_eq!(store.snapshot().breached_bytes, 0);
    });
}

fn owner(item: &Item) -> Owner {
    Owner { function: crate::key::function(&item.digest), account_name: 0, new_account: None, tail: Vec::new() }
}

/// Begins a small put and an upload in a block that is recycled and used again while they go on.
fn what_is_said_to_be_stored_is(store: &Arc<LocalStore<Cas>>) {
    let (small, large) = (Item::new(1, 100), Item::new(2, 10_000));
    let engine = &store.engine;
    let mut writer = engine.begin_large(10_000, &owner(&large)).unwrap().unwrap();
    let contents = Contents { bytes: small.contents.clone(), owner: owner(&small) };
    let length = engine.length(100, &contents.owner);
    let mut reservation = engine.space().reserve(length, Requester::Put).unwrap();
    // It does not all fit beside them.
    for number in 0..4 {
        put(store, &Item::new(100 + number, 46_000));
    }
    let item = large.clone();
    let uploading = spawn(store, move |store| {
        let key = store.engine.keys.key(&item.digest);
        let (first, second) = item.contents.split_at(6_000);
        writer.write(first).unwrap();
        writer.write(second).unwrap();
        match writer.finish(&key, None).map_err(|error: Error| error.kind()) {
            Ok(Put::Done { outcome, .. }) => assert_eq!(outcome, PutOutcome::Created { stored_bytes: 10_000 }),
            Err(ErrorKind::Unavailable) => return false,
            other => panic!("{other:?}"),
        }
        assert!(get(store, &item), "it is gone that was stored");
        true
    });
    let item = small.clone();
    let publishing = spawn(store, move |store| {
        let engine = &store.engine;
        let key = engine.keys.key(&item.digest);
        let sums = engine.fill(&mut reservation, &contents.bytes);
        let size = casts::on_device(contents.bytes.len());
        let published = engine.publish(&key, &mut reservation, size, &contents.owner, sums.as_ref(), Replaces::Nothing);
        match published {
            Published::Done(_) => {
                assert!(get(store, &item), "it is gone that was stored");
                true
            }
            Published::Void => {
                engine.abandon(reservation);
                false
            }
            other => panic!("{other:?}"),
        }
    });
    let others = [Item::filling(4), Item::filling(5)];
    for other in &others {
        put(store, other);
    }
    let is_stored = [(&large, uploading.join().unwrap()), (&small, publishing.join().unwrap())];
    for (item, is_stored) in is_stored {
        assert_eq!(get(store, item), is_stored, "{item:?}");
    }
    for other in &others {
        assert!(get(store, other));
    }
}

#[test]
fn what_is_said_to_be_stored_is_though_its_block_is_recycled() {
    explore("what_is_said_to_be_stored_is_though_its_block_is_recycled", || {
        what_is_said_to_be_stored_is(&open(in_memory()));
    });
}

#[test]
fn what_is_said_to_be_stored_on_a_disk_is_though_its_block_is_recycled() {
    explore("what_is_said_to_be_stored_on_a_disk_is_though_its_block_is_recycled", || {
        let disk = Arc::new(CrashingDisk::new(CAPACITY));
        let store = open_on(&disk, on_disk());
        what_is_said_to_be_stored_is(&store);
        // The same once all of it is read from the disk.
        let stored = |store: &LocalStore<Cas>| {
            let items = [Item::new(1, 100), Item::new(2, 10_000), Item::filling(4), Item::filling(5)];
            items.map(|item| get(store, &item))
        };
        let before = stored(&store);
        store.engine.close().unwrap();
        drop(store);
        assert_eq!(stored(&open_on(&disk, on_disk())), before);
    });
}

#[test]
fn what_is_refreshed_while_its_block_is_recycled_is_there_once() {
    explore("what_is_refreshed_while_its_block_is_recycled_is_there_once", || {
        let store = open::<Cas>(in_memory().with_refresh(Refresh::OnTouch));
        let (read, found, other) = (Item::new(1, 100), Item::new(2, 1_000), Item::new(3, 1_000));
        for item in [&read, &found, &other] {
            put(&store, item);
        }
        for number in 0..3 {
            put(&store, &Item::filling(number));
        }
        assert!(get(&store, &other) && store.engine.queued_refreshes() == 1);
        let reading = {
            let item = read.clone();
            spawn(&store, move |store| get(store, &item))
        };
        let finding = {
            let item = found.clone();
            spawn(&store, move |store| find(store, &item))
        };
        let refreshing = spawn(&store, |store| {
            store.engine.maintain().unwrap();
            store.engine.maintain().unwrap();
        });
        for number in 3..5 {
            put(&store, &Item::filling(number));
        }
        reading.join().unwrap();
        let is_found = finding.join().unwrap();
        refreshing.join().unwrap();
        assert!(get(&store, &found) || !is_found, "it is gone that was found");
        assert!(get(&store, &other), "it is gone that was to be refreshed");
        let snapshot = store.snapshot();
        assert!(snapshot.refreshed <= snapshot.copied, "{snapshot:?}");
        let all = [read, found, other].into_iter().chain((0..5).map(Item::filling));
        // Each is there once.
        let stored = all.filter(|item| get(&store, item)).count();
        assert_eq!(snapshot.records, casts::on_device(stored));
        assert_eq!(snapshot.breached_bytes, 0);
    });
}

#[test]
fn what_is_put_into_a_crowded_map_is_there() {
    explore("what_is_put_into_a_crowded_map_is_there", || {
        let store = open::<Cas>(in_memory());
        // More than the map has slots, all of them in use.
        for number in 0..70 {
            let item = Item::new(number, 10);
            put(&store, &item);
            assert!(find(&store, &item));
        }
        let putting = [0, 1].map(|thread| {
            spawn(&store, move |store| {
                for number in 0..4 {
                    let item = Item::new(100 + 10 * thread + number, 10);
                    put(store, &item);
                    assert!(find(store, &item) && get(store, &item), "{item:?} was put and is not there");
                }
            })
        });
        for putting in putting {
            putting.join().unwrap();
        }
        assert!(store.snapshot().dropped_records >= 8);
    });
}
