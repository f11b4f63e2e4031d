//! Parts of composite objects that are remembered, found and read, against who moves the objects that they lie in.

use blobaccess::{Cas, Slice};

use super::crashing::{Acknowledged, check};
use super::*;
use crate::options::Refresh;

/// Returns a composite object and its parts, each with its place.
fn composite() -> (Item, [Item; 2], [Slice; 2]) {
    let whole = Item::new(1, 3_000);
    let contents = Bytes::from((0..3_000_u32).map(|at| u8::try_from(at % 251).unwrap()).collect::<Vec<u8>>());
    let parts = [(100, 90), (1_000, 1_200)].map(|(offset, size): (usize, usize)| {
        let contents = contents.slice(offset..offset + size);
        let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents);
        let slice =
            Slice { digest: digest.clone(), offset: u64::try_from(offset).unwrap(), size_bytes: digest.size_bytes() };
        (Item { digest, contents }, slice)
    });
    let [(first, of_first), (second, of_second)] = parts;
    (Item { digest: whole.digest, contents }, [first, second], [of_first, of_second])
}

/// Remembers parts as the call does that has found out about them.
fn remember(store: &LocalStore<Cas>, whole: &Item, slices: &[Slice]) {
    let engine = &store.engine;
    if let Some(record) = engine.look_up_to_read(&engine.keys.key(&whole.digest)) {
        engine.remember_parts(&record, slices);
    }
}

#[test]
fn parts_that_were_found_stay_while_their_block_is_recycled() {
    explore("parts_that_were_found_stay_while_their_block_is_recycled", || {
        let store = open::<Cas>(in_memory());
        let (whole, parts, slices) = composite();
        with_in_oldest(&store, &[&whole]);
        remember(&store, &whole, &slices[..1]);
        let finding = parts.clone().map(|part| {
            let (whole, slices) = (whole.clone(), slices.clone());
            spawn(&store, move |store| {
                remember(store, &whole, &slices);
                let is_there = find(store, &part);
                assert!(!is_there || get(store, &part), "{part:?} is gone that was found");
                is_there
            })
        });
        let finding_whole = {
            let whole = whole.clone();
            spawn(&store, move |store| find(store, &whole))
        };
        put(&store, &Item::filling(4));
        put(&store, &Item::filling(5));
        let found_parts = finding.map(|finding| finding.join().unwrap());
        let found_whole = finding_whole.join().unwrap();
        for (part, is_found) in parts.iter().zip(found_parts) {
            assert!(get(&store, part) || !is_found, "{part:?} is gone that was found");
        }
        assert!(get(&store, &whole) || !found_whole, "it is gone that was found");
        assert_eq!(store.snapshot().breached_bytes, 0);
    });
}

/// Tests parts that are remembered while their object is copied or fails verification, and the machine crashes at any
/// time.
#[test]
fn parts_that_a_sync_covered_outlive_a_crash_though_their_object_does_not() {
    explore("parts_that_a_sync_covered_outlive_a_crash_though_their_object_does_not", || {
        let options = || on_disk_of(ROOMY).with_refresh(Refresh::OnTouch);
        let disk = Arc::new(CrashingDisk::new(ROOMY));
        let store = open_on::<Cas>(&disk, options());
        let (whole, parts, slices) = composite();
        put(&store, &whole);
        for number in 0..3 {
            put(&store, &Item::filling(number));
        }
        store.sync_blocking().unwrap();
        let told = Acknowledged::default();
        let finding = [0, 1].map(|number| {
            let (whole, part, slices, told) = (whole.clone(), parts[number].clone(), slices.clone(), told.clone());
            spawn(&store, move |store| {
                remember(store, &whole, &slices);
                if find(store, &part) {
                    store.sync_blocking().unwrap();
                    told.tell(u8::try_from(number).unwrap());
                }
            })
        });
        let maintaining = spawn(&store, |store| store.engine.maintain().unwrap());
        let quarantining = {
            let whole = whole.clone();
            spawn(&store, move |store| quarantine(store, &whole))
        };
        disk.crash_some_time(told.bits());
        put(&store, &Item::filling(3));
        put(&store, &Item::filling(4));
        for thread in finding.into_iter().chain([maintaining, quarantining]) {
            thread.join().unwrap();
        }
        let (before, image) = disk.crashed();
        check(image, options(), before, &parts.each_ref());
        store.engine.close().unwrap();
        check(disk.crash(), options(), told.all(), &parts.each_ref());
    });
}
