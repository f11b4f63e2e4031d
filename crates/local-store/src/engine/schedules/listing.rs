//! Listings, against who moves what is listed.

use std::collections::HashMap;

use blobaccess::{Ac, Cas};

use super::*;

/// Returns the digests of a listing, with the bytes of each.
fn listed<K: Kind>(store: &LocalStore<K>) -> HashMap<Digest, u64> {
    let (entries, next) = store.engine.list(None).unwrap();
    assert_eq!(next, None);
    let mut listed = HashMap::new();
    for entry in entries {
        let before = listed.insert(entry.digest.clone(), entry.stored_bytes);
        assert_eq!(before, None, "{} is listed twice", entry.digest);
    }
    listed
}

#[test]
fn what_is_there_all_the_while_is_listed_once_though_it_moves() {
    explore("what_is_there_all_the_while_is_listed_once_though_it_moves", || {
        let store = open::<Cas>(in_memory());
        let items = [Item::new(1, 100), Item::new(2, 1_000), Item::new(3, 90)];
        with_in_oldest(&store, &items.each_ref());
        for item in &items {
            assert!(find(&store, item));
        }
        // Nobody asks for these. They crowd the map, so that what comes moves others from bucket to bucket.
        for number in 20..70 {
            put(&store, &Item::new(number, 10));
        }
        let listing = [0, 1].map(|number| {
            let items = items.clone();
            spawn(&store, move |store| {
                let new = Item::new(10 + number, 80);
                put(store, &new);
                let listed = listed(store);
                // What is there now was there all the while: nobody puts it again.
                for item in items.iter().chain([&new]).filter(|item| store.is_stored(&item.digest)) {
                    let size = item.digest.size_bytes();
                    assert_eq!(listed.get(&item.digest), Some(&size), "{item:?} is not listed as it is");
                }
            })
        });
        put(&store, &Item::filling(4));
        put(&store, &Item::filling(5));
        for listing in listing {
            listing.join().unwrap();
        }
    });
}

#[test]
fn a_message_is_listed_once_while_it_is_overwritten_and_moves() {
    explore("a_message_is_listed_once_while_it_is_overwritten_and_moves", || {
        let disk = Arc::new(CrashingDisk::new(CAPACITY));
        let store = open_on::<Ac>(&disk, on_disk());
        let [first, second] =
            [1_000, 1_010].map(|size| Item { digest: Item::new(1, 1_000).digest, ..Item::new(1, size) });
        with_in_oldest(&store, &[&first]);
        assert!(find(&store, &first));
        let overwriting = {
            let second = second.clone();
            spawn(&store, move |store| put(store, &second))
        };
        let digest = first.digest.clone();
        let listing = spawn(&store, move |store| {
            let sizes = [(); 2].map(|()| listed(store).get(&digest).copied());
            assert!(
                [[1_000, 1_000], [1_000, 1_010], [1_010, 1_010]].map(|sizes| sizes.map(Some)).contains(&sizes),
                "{sizes:?}"
            );
        });
        put(&store, &Item::filling(4));
        put(&store, &Item::filling(5));
        overwriting.join().unwrap();
        listing.join().unwrap();
        assert_eq!(listed(&store).get(&first.digest), Some(&1_010));
    });
}
