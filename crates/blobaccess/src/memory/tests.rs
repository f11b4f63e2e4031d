//! Tests of the entries that a store in memory keeps, evicts and counts.

use futures::future::join_all;
use futures::stream;

use super::*;
use crate::{Ac, Cas, DigestFunction, ErrorKind, Provenance};

fn digest_of(contents: &[u8]) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents)
}

async fn put<K: Kind>(store: &MemoryStore<K>, contents: &'static [u8]) -> Result<PutOutcome> {
    store.put(&Context::background(), &digest_of(contents), Blob::from_bytes(contents)).await
}

async fn has<K: Kind>(store: &MemoryStore<K>, contents: &[u8]) -> bool {
    let asked = DigestSet::from_iter([digest_of(contents)]);
    store.find_missing(&Context::background(), &asked).await.unwrap().is_empty()
}

/// Walks the entries: what they take is what is said that they take.
fn check<K: Kind>(store: &MemoryStore<K>) {
    let entries = store.lock();
    let taken: u64 = entries.by_key.iter().map(|(_, entry)| footprint(&entry.contents)).sum();
    assert_eq!(entries.taken_bytes, taken);
    assert!(taken <= store.capacity_bytes);
}

const A: &[u8] = &[1; 100];
const B: &[u8] = &[2; 100];
const C: &[u8] = &[3; 100];
/// Room for two of them.
const TWO: u64 = 2 * (100 + ENTRY_OVERHEAD_BYTES);

#[tokio::test]
async fn what_was_used_least_lately_goes_first() {
    let store = MemoryStore::<Cas>::new(TWO);
    for (used, gone) in [("get", B), ("find missing", B), ("put", B), ("nothing", A)] {
        *store.lock() = MemoryStore::<Cas>::new(TWO).entries.into_inner().unwrap();
        put(&store, A).await.unwrap();
        put(&store, B).await.unwrap();
        match used {
            "get" => drop(store.get(&Context::background(), &digest_of(A)).await.unwrap()),
            "find missing" => assert!(has(&store, A).await),
            "put" => assert_eq!(put(&store, A).await.unwrap(), PutOutcome::AlreadyExists { stored_bytes: 100 }),
            _ => {}
        }
        assert_eq!(put(&store, C).await.unwrap(), PutOutcome::Created { stored_bytes: 100 });
        check(&store);
        assert!(!has(&store, gone).await, "after {used}");
        assert_eq!((store.snapshot().blobs, store.snapshot().evicted, store.snapshot().evicted_bytes), (2, 1, 100));
    }
}

#[tokio::test]
async fn a_blob_that_is_evicted_while_it_is_read_stays_until_its_reader_is_done() {
    let store = MemoryStore::<Cas>::new(TWO);
    put(&store, A).await.unwrap();
    let blob = store.get(&Context::background(), &digest_of(A)).await.unwrap();
    put(&store, B).await.unwrap();
    put(&store, C).await.unwrap();
    assert!(!has(&store, A).await);
    assert_eq!(blob.into_bytes(100).await.unwrap(), A);
}

#[tokio::test]
async fn of_many_concurrent_puts_of_one_blob_one_creates_it() {
    let store = Arc::new(MemoryStore::<Cas>::new(1 << 20));
    for round in 0..20_u8 {
        let contents = vec![round; 1000];
        let digest = digest_of(&contents);
        let barrier = Arc::new(tokio::sync::Barrier::new(64));
        let puts = (0..64).map(|_| {
            let (store, digest, barrier) = (Arc::clone(&store), digest.clone(), Arc::clone(&barrier));
            let piece = Bytes::from(contents.clone());
            tokio::spawn(async move {
                let source = stream::once(async move {
                    barrier.wait().await;
                    Ok(piece)
                });
                let blob = Blob::from_untrusted_stream(&digest, source, Provenance::client());
                store.put(&Context::background(), &digest, blob).await.unwrap()
            })
        });
        let outcomes = join_all(puts.collect::<Vec<_>>()).await;
        let created = outcomes.iter().filter(|outcome| matches!(outcome, Ok(PutOutcome::Created { .. }))).count();
        assert_eq!(created, 1);
        check(&store);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn puts_on_two_threads_keep_the_account() {
    let store = Arc::new(MemoryStore::<Cas>::new(10_000));
    let puts = (0..2000_u32).map(|number| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let contents = Bytes::from(vec![0; usize::try_from(number % 97).unwrap()]);
            let digest = digest_of(&contents);
            store.put(&Context::background(), &digest, Blob::from_bytes(contents)).await.unwrap()
        })
    });
    for outcome in join_all(puts.collect::<Vec<_>>()).await {
        outcome.unwrap();
    }
    check(&store);
}

#[tokio::test]
async fn a_refused_put_leaves_nothing() {
    let store = MemoryStore::<Cas>::new(TWO);
    let ctx = Context::background();
    let wrong = store.put(&ctx, &digest_of(A), Blob::from_bytes(B)).await;
    assert_eq!(wrong.unwrap_err().kind(), ErrorKind::InvalidArgument);
    let large = vec![0; 457];
    let refused = store.put(&ctx, &digest_of(&large), Blob::from_bytes(large)).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!((store.snapshot().blobs, store.snapshot().taken_bytes), (0, 0));
    let whole = vec![0; 456];
    store.put(&ctx, &digest_of(&whole), Blob::from_bytes(whole)).await.unwrap();
    assert_eq!(store.snapshot().taken_bytes, TWO);
}

#[tokio::test]
async fn a_store_without_room_for_any_blob_says_so() {
    for capacity in [0, ENTRY_OVERHEAD_BYTES - 1] {
        let store = MemoryStore::<Cas>::new(capacity);
        assert_eq!(put(&store, b"").await.unwrap_err().kind(), ErrorKind::InvalidArgument);
        assert_eq!(store.snapshot().evicted, 0);
    }
    let store = MemoryStore::<Cas>::new(ENTRY_OVERHEAD_BYTES);
    assert_eq!(put(&store, b"").await.unwrap(), PutOutcome::Created { stored_bytes: 0 });
    assert!(has(&store, b"").await);
}

#[tokio::test]
async fn a_blob_that_exists_is_not_read_again() {
    let store = MemoryStore::<Cas>::new(TWO);
    put(&store, A).await.unwrap();
    let unread = stream::poll_fn(|_| -> std::task::Poll<Option<Result<Bytes>>> { panic!("it was polled") });
    let blob = Blob::from_untrusted_stream(&digest_of(A), unread, Provenance::client());
    let outcome = store.put(&Context::background(), &digest_of(A), blob).await.unwrap();
    assert_eq!(outcome, PutOutcome::AlreadyExists { stored_bytes: 100 });
}

#[tokio::test]
async fn a_mutable_entry_is_replaced_and_its_bytes_given_back() {
    let store = MemoryStore::<Ac>::new(1000);
    let (ctx, key) = (Context::background(), digest_of(b"action"));
    let put = |message: &'static [u8]| store.put(&ctx, &key, Blob::from_bytes(message));
    assert_eq!(put(A).await.unwrap(), PutOutcome::Created { stored_bytes: 100 });
    assert_eq!(put(A).await.unwrap(), PutOutcome::AlreadyExists { stored_bytes: 100 });
    assert_eq!(put(b"new").await.unwrap(), PutOutcome::Replaced { stored_bytes: 3, old_bytes: 100 });
    check(&store);
    assert_eq!(store.snapshot().taken_bytes, 3 + ENTRY_OVERHEAD_BYTES);
    assert_eq!(store.get(&ctx, &key).await.unwrap().into_bytes(9).await.unwrap(), "new");
    let elsewhere = key.with_instance_name(InstanceName::new("elsewhere").unwrap());
    assert!(store.get(&ctx, &elsewhere).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn the_observer_hears_of_what_is_evicted() {
    #[derive(Debug, Default)]
    struct Heard(Mutex<Vec<u64>>);
    impl Observer for Heard {
        fn event(&self, event: &Event) {
            if let Event::Evicted { released_bytes, .. } = event {
                self.0.lock().unwrap().push(*released_bytes);
            }
        }
    }
    let heard = Arc::new(Heard::default());
    let store = MemoryStore::<Cas>::new(TWO).with_observer(Arc::<Heard>::clone(&heard));
    for contents in [A, B, C] {
        put(&store, contents).await.unwrap();
    }
    assert_eq!(*heard.0.lock().unwrap(), [100]);
}

#[tokio::test]
async fn a_token_says_whose_upload_it_was() {
    let store = MemoryStore::<Cas>::new(1 << 20);
    let [mine, other] = [1, 2].map(|byte| UploadToken::from_bytes([byte; 16]));
    let ctx = Context::background();
    store.put(&ctx.clone().with_upload_token(mine), &digest_of(A), Blob::from_bytes(A)).await.unwrap();
    put(&store, B).await.unwrap();
    let resolve = |contents, token| {
        let (store, ctx) = (&store, &ctx);
        async move { store.resolve_upload(ctx, &digest_of(contents), &token).await.unwrap() }
    };
    assert_eq!(resolve(A, mine).await, UploadResolution::Mine { stored_bytes: 100 });
    assert_eq!(resolve(A, other).await, UploadResolution::Anothers { stored_bytes: 100 });
    assert_eq!(resolve(B, mine).await, UploadResolution::Unknown);
    assert_eq!(resolve(C, mine).await, UploadResolution::Absent);
}

#[tokio::test]
async fn everything_is_listed_once() {
    let store = MemoryStore::<Cas>::new(1 << 20);
    let ctx = Context::background();
    for contents in [A, B] {
        let digest = digest_of(contents).with_instance_name(InstanceName::new("somewhere").unwrap());
        store.put(&ctx, &digest, Blob::from_bytes(contents)).await.unwrap();
    }
    let page = store.inventory(&ctx, None).await.unwrap();
    let mut listed: Vec<_> = page.entries.iter().map(|entry| entry.digest.clone()).collect();
    listed.sort();
    let mut expected = vec![digest_of(A), digest_of(B)];
    expected.sort();
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn find_missing_is_exact_beyond_one_turn_at_the_lock() {
    let store = MemoryStore::<Cas>::new(1 << 24);
    let ctx = Context::background();
    let mut expected = Vec::new();
    let mut asked = Vec::new();
    for number in 0..2000_u32 {
        let contents = number.to_le_bytes().to_vec();
        let digest = digest_of(&contents);
        if number % 3 == 0 {
            store.put(&ctx, &digest, Blob::from_bytes(contents)).await.unwrap();
        } else {
            expected.push(digest.clone());
        }
        asked.push(digest);
    }
    let missing = store.find_missing(&ctx, &asked.into_iter().collect()).await.unwrap();
    assert_eq!(missing, expected.into_iter().collect());
}

#[test]
fn a_small_part_of_a_large_message_does_not_keep_the_message() {
    // A large message of which nobody else holds anything any more, in each way that bytes come to be.
    let messages: [fn() -> Bytes; 3] = [
        || Bytes::from(vec![7; 1 << 20]),
        || std::iter::repeat_n(7, 1 << 20).collect::<bytes::BytesMut>().freeze(),
        || Bytes::from_owner(vec![7; 1 << 20]),
    ];
    for message in messages {
        for part in [0..100, 5000..5100, (1 << 20) - 100..1 << 20] {
            let whole = message();
            let arrived = whole.slice(part.clone());
            drop(whole);
            let stored = alone(arrived);
            assert_eq!(stored, vec![7; 100]);
            assert!(Vec::from(stored).capacity() <= 113, "{part:?}");
        }
    }
}

#[test]
fn bytes_that_are_alone_are_not_copied_and_shared_ones_are() {
    let own = Bytes::from(vec![7; 1000]);
    let before = own.as_ptr();
    assert_eq!(alone(own).as_ptr(), before);
    let shared = Bytes::from(vec![7; 1000]);
    assert_ne!(alone(shared.clone()).as_ptr(), shared.as_ptr());
}
