//! Objects that prove wrong, against who finds, copies and puts them, and against a crash.

use blobaccess::Cas;

use super::crashing::{Acknowledged, check};
use super::*;
use crate::key_location_map::Record;

/// Returns whether an object lies where it failed verification.
fn is_wrong(store: &LocalStore<Cas>, item: &Item, wrong: &Record) -> bool {
    record_of(store, item).is_some_and(|record| record.location == wrong.location)
}

#[test]
fn what_proved_wrong_does_not_come_back_and_may_be_put_again() {
    explore("what_proved_wrong_does_not_come_back_and_may_be_put_again", || {
        let disk = Arc::new(CrashingDisk::new(CAPACITY));
        let store = open_on::<Cas>(&disk, on_disk());
        let (good, bad) = (Item::new(1, 100), Item::new(2, 1_000));
        with_in_oldest(&store, &[&good, &bad]);
        store.sync_blocking().unwrap();
        let wrong = record_of(&store, &bad).unwrap();
        let told = Acknowledged::default();
        let quarantining = {
            let (bad, told) = (bad.clone(), told.clone());
            spawn(&store, move |store| {
                store.engine.quarantine(&wrong, "failed verification");
                assert!(!is_wrong(store, &bad, &wrong), "it is there that proved wrong");
                // Else it was given up before, or copied, which it is only if it proves right.
                let is_quarantined = store.snapshot().corrupted == 1;
                store.sync_blocking().unwrap();
                if is_quarantined {
                    told.tell(2);
                }
                put(store, &bad);
                assert!(get(store, &bad), "it is gone that was put again");
                store.sync_blocking().unwrap();
                told.tell(1);
            })
        };
        let again = spawn(&store, move |store| store.engine.quarantine(&wrong, "failed verification"));
        let finding = [&good, &bad].map(|item| {
            let (item, told) = (item.clone(), told.clone());
            spawn(&store, move |store| {
                if find(store, &item) && item.contents.len() == 100 {
                    store.sync_blocking().unwrap();
                    told.tell(0);
                }
            })
        });
        disk.crash_some_time(told.bits());
        put(&store, &Item::filling(4));
        put(&store, &Item::filling(5));
        for thread in finding.into_iter().chain([quarantining, again]) {
            thread.join().unwrap();
        }
        assert!(store.snapshot().corrupted <= 1);
        let (before, image) = disk.crashed();
        store.engine.close().unwrap();
        for (image, told) in [(image, before), (disk.crash(), told.all())] {
            let after = open_on::<Cas>(&Arc::new(CrashingDisk::with(image.clone())), on_disk());
            assert!(told & 1 << 2 == 0 || !is_wrong(&after, &bad, &wrong), "it is back that proved wrong");
            drop(after);
            check(image, on_disk(), told, &[&good, &bad]);
        }
    });
}
