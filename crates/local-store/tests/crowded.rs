//! A map that is full while there is space: what a put says is true, and the store says that the map is what evicts.

#![expect(clippy::unwrap_used, reason = "a step that fails is a failed test")]

use blobaccess::{
    Blob, BlobAccess, Cas, Context, Digest, DigestFunction, DigestSet, ErrorKind, InstanceName, PutOutcome,
};
use blobaccess_local_store::{LocalStore, Options};
use blobaccess_testkit::Numbers;

async fn put(store: &LocalStore<Cas>, numbers: &mut Numbers) -> blobaccess::Result<(Digest, PutOutcome)> {
    let contents = numbers.bytes(3_000);
    let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents);
    let outcome = store.put(&Context::background(), &digest, Blob::from_bytes(contents)).await?;
    Ok((digest, outcome))
}

async fn open() -> LocalStore<Cas> {
    LocalStore::open(Options::in_memory(64 << 20).with_entries(960)).await.unwrap()
}

#[tokio::test]
async fn a_put_into_a_crowded_map_of_blobs_in_use_is_stored_or_fails() {
    let store = open().await;
    let mut numbers = Numbers::new(1);
    let mut all = Vec::new();
    for _ in 0..2_000 {
        all.push(put(&store, &mut numbers).await.unwrap().0);
    }
    let snapshot = store.snapshot();
    assert!(snapshot.records > 930 && snapshot.blocks.len() < 6, "{snapshot:?}");
    // All that is stored is in use.
    for digest in &all {
        if store.is_stored(digest) {
            store.get(&Context::background(), digest).await.unwrap();
            store.find_missing(&Context::background(), &DigestSet::from(digest.clone())).await.unwrap();
        }
    }
    let mut put_lately = Vec::new();
    for _ in 0..100 {
        match put(&store, &mut numbers).await {
            Ok((digest, outcome)) => {
                assert!(matches!(outcome, PutOutcome::Created { .. }), "{outcome:?}");
                put_lately.push(digest);
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::ResourceExhausted),
        }
        // Nor does one put drive out another one of late.
        for digest in &put_lately {
            assert!(store.is_stored(digest), "{digest} was put and is not there");
        }
    }
    assert!(put_lately.len() > 90, "{} of 100 were stored", put_lately.len());
}

#[tokio::test]
async fn a_store_says_whether_the_map_or_the_space_is_what_evicts() {
    let store = open().await;
    // 960 slots for 64 MiB: some 70 KB each.
    let least = store.sizes().least_mean_blob_bytes();
    assert!((60_000..75_000).contains(&least), "{least}");
    assert!(store.sizes().to_string().contains(&format!("smaller than {least} bytes on average")));
    let mut numbers = Numbers::new(2);
    for _ in 0..800 {
        put(&store, &mut numbers).await.unwrap();
    }
    let snapshot = store.snapshot();
    assert!(!snapshot.map_evicts && snapshot.dropped_records == 0 && snapshot.breached_bytes == 0, "{snapshot:?}");
    for _ in 0..800 {
        put(&store, &mut numbers).await.unwrap();
    }
    let snapshot = store.snapshot();
    assert!(snapshot.map_evicts && snapshot.dropped_records > 600, "{snapshot:?}");
    assert_eq!(snapshot.dropped_records, snapshot.evicted);
    // What is so young was promised to stay longer.
    assert_eq!(snapshot.breached_bytes, snapshot.evicted_bytes);
}
