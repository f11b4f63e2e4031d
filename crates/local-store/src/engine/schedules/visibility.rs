//! Names that see contents, against who recycles the block that these lie in.

use blobaccess::{Cas, PutOutcome};

use super::*;

/// Returns the same contents under another name.
fn under(name: &str, item: &Item) -> Item {
    let digest = Digest::from_hash(
        name.parse::<InstanceName>().unwrap(),
        DigestFunction::Sha256,
        item.digest.hash_bytes(),
        item.digest.size_bytes(),
    );
    Item { digest: digest.unwrap(), contents: item.contents.clone() }
}

#[test]
fn a_name_sees_what_it_was_told_to_see_though_its_block_is_recycled() {
    explore("a_name_sees_what_it_was_told_to_see_though_its_block_is_recycled", || {
        let store = open::<Cas>(in_memory().with_hierarchical_instance_names());
        let item = under("one", &Item::new(1, 1_000));
        with_in_oldest(&store, &[&item]);
        let other = under("two", &item);
        let putting = {
            let other = other.clone();
            spawn(&store, move |store| {
                let outcome = store.put_blocking(&other.digest, other.contents.clone()).unwrap();
                assert!(matches!(outcome, PutOutcome::Created { .. }));
                assert!(get(store, &other), "the name does not see what it put");
            })
        };
        let finding = {
            let item = item.clone();
            spawn(&store, move |store| find(store, &item))
        };
        put(&store, &under("one", &Item::filling(4)));
        put(&store, &under("one", &Item::filling(5)));
        putting.join().unwrap();
        let is_found = finding.join().unwrap();
        assert!(get(&store, &other), "the name does not see any more what it put");
        assert!(get(&store, &item) || !is_found, "the name does not see any more what it found");
        assert!(!get(&store, &under("three", &item)), "a name sees what it did not put");
    });
}
