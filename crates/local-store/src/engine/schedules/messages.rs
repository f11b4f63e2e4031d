//! Messages on a disk: a refresh of one against a put that overwrites it, against recycling, and against a crash.

use std::sync::atomic::{AtomicU32, Ordering};

use blobaccess::Ac;

use super::disk::CrashingDisk;
use super::*;
use crate::options::Refresh;

/// Returns an item with the same key and other contents.
fn message(version: u8) -> Item {
    let Item { digest, .. } = Item::new(1, 1_000);
    Item { digest, contents: vec![version; 1_000 + usize::from(version)].into() }
}

/// Returns which version is stored.
fn version(store: &LocalStore<Ac>) -> Option<u8> {
    let contents = store.get_blocking(&message(0).digest).unwrap()?;
    assert_eq!(contents, message(contents[0]).contents);
    Some(contents[0])
}

/// Uses the first version in an old block, so that it is queued to be copied. Meanwhile the second is
/// put, the block is recycled, and the machine crashes at any time.
fn overwrite(is_oldest: bool) {
    let disk = Arc::new(CrashingDisk::new(CAPACITY));
    let store = open_on::<Ac>(&disk, options());
    put(&store, &message(1));
    for number in 0..if is_oldest { 4 } else { 3 } {
        put(&store, &Item::filling(number));
    }
    assert!(find(&store, &message(1)) && store.engine.queued_refreshes() == 1);
    store.sync_blocking().unwrap();
    // What must not be lost, nor be older.
    let durable = Arc::new(AtomicU32::new(1));
    disk.crash_some_time(&durable);
    let overwriting = {
        let durable = Arc::clone(&durable);
        spawn(&store, move |store| {
            put(store, &message(2));
            assert_eq!(version(store), Some(2));
            store.sync_blocking().unwrap();
            durable.store(2, Ordering::SeqCst);
        })
    };
    let refreshing = spawn(&store, |store| store.engine.maintain().unwrap());
    put(&store, &Item::filling(4));
    store.sync_blocking().unwrap();
    overwriting.join().unwrap();
    refreshing.join().unwrap();
    let (at_least, image) = disk.crashed();
    let after = open_on::<Ac>(&Arc::new(CrashingDisk::with(image)), options());
    assert!(
        version(&after).map(u32::from) >= Some(at_least),
        "version {at_least} was durable, {:?} is there",
        version(&after)
    );
    drop(after);
    store.sync_blocking().unwrap();
    assert_eq!(version(&open_on::<Ac>(&Arc::new(CrashingDisk::with(disk.crash())), options())), Some(2));
    // The newer one goes in the end, and the older one does not come back then either.
    assert_eq!(version(&store), Some(2));
    for number in 5.. {
        put(&store, &Item::filling(number));
        assert_ne!(version_unused(&store), Some(1));
        if version_unused(&store).is_none() {
            break;
        }
    }
    store.engine.close().unwrap();
    drop(store);
    let after = open_on::<Ac>(&Arc::new(CrashingDisk::with(disk.crash())), options());
    assert_eq!(version(&after), None);
}

/// Returns which version is stored, without a use of it.
fn version_unused(store: &LocalStore<Ac>) -> Option<u8> {
    let record = store.engine.peek(&store.engine.keys.key(&message(0).digest))?;
    u8::try_from(record.location.size_bytes - 1_000).ok()
}

fn options() -> Options {
    on_disk().with_refresh(Refresh::OnTouch)
}

#[test]
fn a_message_that_is_overwritten_while_it_is_refreshed_does_not_come_back() {
    explore("a_message_that_is_overwritten_while_it_is_refreshed_does_not_come_back", || overwrite(false));
}

#[test]
fn a_message_that_is_overwritten_while_its_block_is_recycled_does_not_come_back() {
    explore("a_message_that_is_overwritten_while_its_block_is_recycled_does_not_come_back", || overwrite(true));
}
