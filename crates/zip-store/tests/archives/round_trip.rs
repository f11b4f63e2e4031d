//! Any sequence of puts and restarts, compared with a map.

use std::collections::HashMap;

use blobaccess::{Ac, BlobAccess, Cas, Digest, DigestSet, Kind, PutOutcome};
use blobaccess_zip_store::{ZipOptions, ZipReadingStore, ZipWritingStore};
use proptest::prelude::*;

use super::{Place, action, ctx, digest, get, put};

const OPTIONS: ZipOptions = ZipOptions::new().with_salvaging(true).with_max_message_size_bytes(4 << 20);

#[derive(Clone, Debug)]
enum Step {
    Put { name: u32, size: usize, filling: u8 },
    Finish,
    Stop,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let size = prop_oneof![
        10 => 0_usize..300,
        3 => 60_000_usize..70_000,
        1 => (1_usize << 20) - 1..(1 << 20) + 2,
        1 => 1_500_000_usize..2_000_000,
    ];
    let put = (0_u32..4, size, 0_u8..3).prop_map(|(name, size, filling)| Step::Put { name, size, filling });
    proptest::collection::vec(prop_oneof![8 => put, 1 => Just(Step::Finish), 1 => Just(Step::Stop)], 1..30)
}

async fn check<K: Kind>(store: &impl BlobAccess<Kind = K>, model: &HashMap<Digest, Vec<u8>>) {
    for (digest, contents) in model {
        assert_eq!(get(store, digest).await, *contents);
    }
    let absent = if K::STORAGE_TYPE.is_mutable() { action(99) } else { digest("absent") };
    let asked: DigestSet = model.keys().cloned().chain([absent.clone()]).collect();
    assert_eq!(store.find_missing(&ctx(), &asked).await.unwrap(), absent.into());
}

async fn follow<K: Kind>(steps: Vec<Step>) {
    let place = Place::new();
    let mut store = ZipWritingStore::<K>::create(&place.path, OPTIONS).await.unwrap();
    let mut model: HashMap<Digest, Vec<u8>> = HashMap::new();
    for step in steps {
        match step {
            Step::Put { name, size, filling } => {
                let contents = vec![filling; size];
                let digest = if K::STORAGE_TYPE.is_mutable() { action(name) } else { digest(&contents) };
                let stored_bytes = size.try_into().unwrap();
                let expected = match model.insert(digest.clone(), contents.clone()) {
                    None => PutOutcome::Created { stored_bytes },
                    Some(old) if old == contents => PutOutcome::AlreadyExists { stored_bytes },
                    Some(old) => PutOutcome::Replaced { stored_bytes, old_bytes: old.len().try_into().unwrap() },
                };
                assert_eq!(put(&store, &digest, contents).await, expected);
            }
            Step::Finish => {
                store.finish().await.unwrap();
                let reader = ZipReadingStore::<K>::open(&place.path, ZipOptions::new()).await.unwrap();
                assert_eq!(reader.snapshot().entries, model.len());
                check(&reader, &model).await;
                drop(store);
                store = ZipWritingStore::append(&place.path, OPTIONS).await.unwrap();
            }
            Step::Stop => {
                drop(store);
                store = ZipWritingStore::append(&place.path, OPTIONS).await.unwrap();
            }
        }
        assert_eq!(store.snapshot().entries, model.len());
    }
    check(&store, &model).await;
    store.finish().await.unwrap();
    check(&place.open::<K>().await, &model).await;
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn blobs_are_read_as_they_were_put(steps in steps()) {
        run(follow::<Cas>(steps));
    }

    #[test]
    fn messages_are_read_as_they_were_put_last(steps in steps()) {
        run(follow::<Ac>(steps));
    }
}
