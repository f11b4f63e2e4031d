//! Contents on a disk: what was told to be durable, and then the machine crashes at any time.

use std::sync::atomic::{AtomicU32, Ordering};

use blobaccess::{Cas, PutOutcome};

use super::disk::Image;
use super::*;
use crate::machine::casts;
use crate::options::Refresh;

/// The numbers of the steps that a caller was told to be durable.
#[derive(Clone, Debug, Default)]
pub(super) struct Acknowledged(Arc<AtomicU32>);

impl Acknowledged {
    pub(super) fn tell(&self, number: u8) {
        self.0.fetch_or(1 << number, Ordering::SeqCst);
    }

    pub(super) fn bits(&self) -> &Arc<AtomicU32> {
        &self.0
    }

    pub(super) fn all(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Checks that a store left by a crash has everything that was acknowledged and nothing that is wrong, and goes on.
pub(super) fn check(image: Image, options: Options, told: u32, items: &[&Item]) {
    let store = open_on::<Cas>(&Arc::new(CrashingDisk::with(image)), options);
    for (number, item) in items.iter().enumerate() {
        // Nobody reads it, so that nothing but what was told keeps it.
        assert!(store.is_stored(&item.digest) || told & 1 << number == 0, "{item:?} is gone that was durable");
    }
    // What was told to be there stays as was promised then, though its block may be recycled now.
    put(&store, &Item::filling(6));
    for (number, item) in items.iter().enumerate() {
        assert!(get(&store, item) || told & 1 << number == 0, "{item:?} is gone that was promised");
    }
}

#[test]
fn what_a_sync_covered_outlives_a_crash_while_its_block_is_recycled() {
    explore("what_a_sync_covered_outlives_a_crash_while_its_block_is_recycled", || {
        let disk = Arc::new(CrashingDisk::new(CAPACITY));
        let store = open_on::<Cas>(&disk, on_disk());
        let (old, small, large) = (Item::new(1, 100), Item::new(2, 90), Item::new(3, 3_000));
        with_in_oldest(&store, &[&old]);
        store.sync_blocking().unwrap();
        let told = Acknowledged::default();
        let putting = {
            let (small, large, told) = (small.clone(), large.clone(), told.clone());
            spawn(&store, move |store| {
                put(store, &small);
                store.sync_blocking().unwrap();
                told.tell(1);
                put(store, &large);
                store.sync_blocking().unwrap();
                told.tell(2);
            })
        };
        let finding = {
            let (old, told) = (old.clone(), told.clone());
            spawn(&store, move |store| {
                if find(store, &old) {
                    store.sync_blocking().unwrap();
                    told.tell(0);
                }
            })
        };
        disk.crash_some_time(told.bits());
        put(&store, &Item::filling(4));
        put(&store, &Item::filling(5));
        putting.join().unwrap();
        finding.join().unwrap();
        let (before, image) = disk.crashed();
        let items = [&old, &small, &large];
        check(image, on_disk(), before, &items);
        for (number, item) in items.iter().enumerate() {
            assert!(get(&store, item) || told.all() & 1 << number == 0, "{item:?} is gone that was durable");
        }
        store.engine.close().unwrap();
        check(disk.crash(), on_disk(), told.all(), &items);
    });
}

#[test]
fn equal_puts_create_one_and_what_is_answered_outlives_a_crash() {
    explore("equal_puts_create_one_and_what_is_answered_outlives_a_crash", || {
        // In one lane, so that they share sectors.
        let options = || on_disk_of(ROOMY).persistent(SyncPolicy::OnPut).with_lanes(1);
        let disk = Arc::new(CrashingDisk::new(ROOMY));
        let store = open_on::<Cas>(&disk, options());
        let items = [Item::new(1, 90), Item::new(2, 80), Item::new(3, 100), Item::new(4, 3_000)];
        let told = Acknowledged::default();
        let putting = |own: u8| {
            let (items, told) = (items.clone(), told.clone());
            spawn(&store, move |store| {
                [own, 2, 3].map(|number| {
                    let Item { digest, contents } = &items[usize::from(number)];
                    let outcome = store.put_blocking(digest, contents.clone()).unwrap();
                    told.tell(number);
                    let stored_bytes = casts::on_device(contents.len());
                    match outcome {
                        PutOutcome::Created { stored_bytes: bytes } => assert_eq!(bytes, stored_bytes),
                        PutOutcome::AlreadyExists { stored_bytes: bytes } => assert_eq!(bytes, stored_bytes),
                        other => panic!("{other:?}"),
                    }
                    matches!(outcome, PutOutcome::Created { .. })
                })
            })
        };
        let (first, second) = (putting(0), putting(1));
        let closing = spawn(&store, |store| store.engine.close().unwrap());
        disk.crash_some_time(told.bits());
        let (first, second) = (first.join().unwrap(), second.join().unwrap());
        closing.join().unwrap();
        assert!(first[0] && second[0]);
        for equal in [1, 2] {
            assert!(first[equal] ^ second[equal], "created by both or by none");
        }
        let (before, image) = disk.crashed();
        check(image, options(), before, &items.each_ref());
        check(disk.crash(), options(), 0b1111, &items.each_ref());
    });
}

/// Runs everything concurrently, only to see that no thread waits for one that waits.
#[test]
fn nobody_waits_for_somebody_who_waits() {
    explore("nobody_waits_for_somebody_who_waits", || {
        let options = on_disk().with_refresh(Refresh::OnTouch).with_write_concurrency(1).with_staged_bytes(1 << 14);
        let disk = Arc::new(CrashingDisk::new(CAPACITY));
        let store = open_on::<Cas>(&disk, options);
        let items = [Item::new(1, 100), Item::new(2, 1_000), Item::new(3, 1_000)];
        with_in_oldest(&store, &items.each_ref());
        let finding = [0, 1].map(|_| {
            let items = items.clone();
            spawn(&store, move |store| items.map(|item| find(store, &item) && get(store, &item)))
        });
        let syncing = spawn(&store, |store| {
            store.sync_blocking().unwrap();
            store.engine.flush().unwrap();
            store.engine.list(None).unwrap();
            store.engine.close().unwrap();
        });
        let maintaining = spawn(&store, |store| {
            let _runner = store.engine.begin_to_run();
            store.engine.maintain().unwrap();
        });
        let damaged = items[2].clone();
        let quarantining = spawn(&store, move |store| quarantine(store, &damaged));
        put(&store, &Item::filling(4));
        put(&store, &Item::filling(5));
        for thread in finding {
            thread.join().unwrap();
        }
        for thread in [syncing, maintaining, quarantining] {
            thread.join().unwrap();
        }
    });
}
