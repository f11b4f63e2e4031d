//! Many tasks at once on a store whose blocks are recycled all the time: nothing wrong is read, nothing promised is
//! missed, and a reader that dawdles stops nobody.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a step that fails is a failed test")]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, DigestSet, InstanceName, PutOutcome};
use blobaccess_local_store::{LocalStore, Options, Refresh, Snapshot, SyncPolicy};
use blobaccess_testkit::{Numbers, seed};
use bytes::Bytes;
use futures::TryStreamExt;

const TASKS: u64 = 4;

fn blob(numbers: &mut Numbers) -> (Digest, Bytes) {
    let size = match numbers.below(20) {
        0 => numbers.below(200_000),
        1..=5 => numbers.below(20_000),
        _ => numbers.below(1_000),
    };
    let contents = Bytes::from(numbers.bytes(size));
    (Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents), contents)
}

async fn read(store: &LocalStore<Cas>, digest: &Digest) -> Option<Bytes> {
    match store.get(&Context::background(), digest).await {
        Ok(blob) => match blob.into_bytes(1 << 30).await {
            Ok(contents) => Some(contents),
            // It was recycled while it was read piece by piece.
            Err(error) => {
                assert_eq!(error.kind(), blobaccess::ErrorKind::Unavailable, "{error:?}");
                None
            }
        },
        Err(error) => {
            assert!(error.is_not_found(), "{error:?}");
            None
        }
    }
}

/// As many of the first blobs of a task are asked for all the time, so that they are copied again and again.
const FAVOURITES: usize = 15;

/// Returns the bytes that were put so far, as the promise counts them; `all` counts the puts.
fn put_so_far(store: &LocalStore<Cas>, all: &AtomicU64) -> u64 {
    all.load(Ordering::SeqCst) + store.snapshot().syncs * store.sizes().counted_bytes_of_sync()
}

/// Puts, and finds its latest blobs and its favourites again as long as the promise lasts, whatever the others do.
async fn work(store: Arc<LocalStore<Cas>>, all: Arc<AtomicU64>, seed: u64, rounds: usize) {
    let ctx = Context::background();
    let mut numbers = Numbers::new(seed);
    let promise = store.sizes().promised_bytes();
    let mut mine: Vec<(Digest, Bytes)> = Vec::new();
    // What all had put, or were about to, before a blob of mine was put or found.
    let mut since: HashMap<Digest, u64> = HashMap::new();
    let mut held = 0;
    for _ in 0..rounds {
        let (digest, contents) = blob(&mut numbers);
        since.insert(digest.clone(), put_so_far(&store, &all));
        all.fetch_add(store.sizes().counted_bytes(digest.size_bytes()), Ordering::SeqCst);
        let outcome = store.put(&ctx, &digest, Blob::from_bytes(contents.clone())).await.unwrap();
        assert!(matches!(outcome, PutOutcome::Created { .. } | PutOutcome::AlreadyExists { .. }));
        mine.push((digest, contents));
        let latest: Vec<_> = mine.iter().rev().take(10).collect();
        let favourites = (0..2).map(|_| &mine[numbers.below(mine.len().min(FAVOURITES))]);
        // All in one block, they must be fewer than what may be copied of one.
        let favourites = favourites.filter(|(digest, _)| digest.size_bytes() < 20_000);
        let asked: DigestSet = favourites.chain(latest.iter().copied()).map(|(digest, _)| digest.clone()).collect();
        let before = put_so_far(&store, &all);
        let missing = store.find_missing(&ctx, &asked).await.unwrap();
        let after = put_so_far(&store, &all);
        for digest in &asked {
            if after - since[digest] <= promise {
                let age = after - since[digest];
                let breached = store.snapshot().breached_bytes;
                assert!(
                    !missing.contains(digest),
                    "{digest} was promised for {promise} bytes, and is gone after {age}; {breached} are counted"
                );
                held += 1;
            }
            if !missing.contains(digest) {
                since.insert(digest.clone(), before);
            }
        }
        let (digest, contents) = latest[numbers.below(latest.len())];
        if let Some(read) = read(&store, digest).await {
            assert_eq!(read, contents);
        }
        let (digest, contents) = &mine[numbers.below(mine.len())];
        if let Some(read) = read(&store, digest).await {
            assert_eq!(read, contents);
        }
    }
    assert!(held > rounds);
}

async fn stress(options: Options) -> Snapshot {
    let seed = seed("BLOBACCESS_STRESS_SEED");
    let store = Arc::new(LocalStore::<Cas>::open(options).await.unwrap());
    let running = Arc::clone(&store);
    let background = tokio::spawn(async move { running.run().await });
    // A reader that holds on to what it was given.
    let (held, held_contents) = blob(&mut Numbers::new(seed));
    store.put(&Context::background(), &held, Blob::from_bytes(held_contents.clone())).await.unwrap();
    let held = store.get(&Context::background(), &held).await.unwrap();
    let all = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| tokio::spawn(work(Arc::clone(&store), Arc::clone(&all), seed ^ task << 40 | 1, 1_500)))
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    background.abort();
    let snapshot = store.snapshot();
    assert!(snapshot.recycled_blocks > 10);
    assert_eq!((snapshot.corrupted, snapshot.dropped_records, snapshot.breached_bytes), (0, 0, 0));
    assert!(snapshot.copied > 0);
    if held_contents.len() < 200_000 {
        let pieces: Vec<Bytes> = held.into_stream(..).unwrap().try_collect().await.unwrap_or_default();
        assert!(pieces.is_empty() || pieces.concat() == held_contents);
    }
    snapshot
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_at_once_in_memory() {
    let snapshot = stress(Options::in_memory(16 << 20).with_blocks(2, 8, 1).with_entries(60_000)).await;
    assert_eq!((snapshot.refreshed, snapshot.queued_refreshes), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_at_once_on_lanes_of_their_own() {
    stress(Options::in_memory(32 << 20).with_blocks(2, 8, 1).with_entries(60_000).with_lanes(4)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_at_once_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::in_file(directory.path().join("blocks"), 16 << 20).with_blocks(2, 8, 1);
    stress(options.with_entries(60_000).with_staged_bytes(1 << 20)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_at_once_in_a_persistent_file() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::in_file(directory.path().join("blocks"), 24 << 20).with_blocks(2, 8, 1);
    let policy = SyncPolicy::Interval(std::time::Duration::from_millis(20));
    stress(options.with_entries(60_000).with_staged_bytes(1 << 20).persistent(policy)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_at_once_where_what_is_touched_is_copied_at_once() {
    let options = Options::in_memory(16 << 20).with_blocks(3, 7, 1).with_entries(60_000);
    let snapshot = stress(options.with_refresh(Refresh::OnTouch)).await;
    assert!(snapshot.refreshed > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_at_once_in_a_persistent_file_where_what_is_touched_is_copied_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::in_file(directory.path().join("blocks"), 24 << 20).with_blocks(3, 7, 1);
    let policy = SyncPolicy::Interval(std::time::Duration::from_millis(20));
    let options = options.with_entries(60_000).with_staged_bytes(1 << 20).persistent(policy);
    let snapshot = stress(options.with_refresh(Refresh::OnTouch)).await;
    assert!(snapshot.refreshed > 0);
}

/// Finds what it keeps again and again, while another thread does nothing but put: never is that refused. Returns how
/// often something was missing, and what was recorded.
fn find_under_puts(kept: usize) -> (u64, Snapshot) {
    let options = Options::in_memory(64 << 20).with_blocks(4, 16, 1).with_entries(60_000);
    let store = futures::executor::block_on(LocalStore::<Cas>::open(options)).unwrap();
    let contents = Bytes::from(vec![1; 4096]);
    let mut numbers = Numbers::new(seed("BLOBACCESS_STRESS_SEED"));
    let kept: Vec<Digest> = (0..kept).map(|_| unread(&mut numbers)).collect();
    for digest in &kept {
        store.put_blocking(digest, contents.clone()).unwrap();
    }
    // Who finds may not get a processor for as long as a promise lasts. So there is a batch of puts to each of its turns
    // at most, and three between two finds of the same: of those turns, and what was left of an earlier batch.
    let batch = store.sizes().promised_bytes() / store.sizes().counted_bytes(4096) / 4;
    let mut missing = 0;
    let (finder, turns) = (AtomicBool::new(true), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let putter = scope.spawn(|| {
            // Until the other one has failed or has seen enough.
            while finder.load(Ordering::Relaxed) {
                let turn = turns.load(Ordering::Acquire);
                for _ in 0..batch {
                    store.put_blocking(&unread(&mut numbers), contents.clone()).unwrap();
                }
                while turns.load(Ordering::Acquire) == turn && finder.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
            }
        });
        let mut refused = Ok(());
        while refused.is_ok() && !putter.is_finished() && store.snapshot().recycled_blocks < 150 {
            refused = store.find_missing_blocking(&kept, |_| missing += 1);
            turns.fetch_add(1, Ordering::Release);
        }
        finder.store(false, Ordering::Relaxed);
        refused.unwrap();
    });
    (missing, store.snapshot())
}

/// Returns a digest of contents that nobody verifies.
fn unread(numbers: &mut Numbers) -> Digest {
    Digest::from_hash(InstanceName::empty(), DigestFunction::Sha256, &numbers.bytes(32), 4096).unwrap()
}

#[test]
fn who_finds_is_refused_nothing_while_others_put() {
    // Less than copies save up: one and a half blocks.
    let (missing, snapshot) = find_under_puts(1_000);
    assert_eq!((missing, snapshot.breached_bytes), (0, 0));
    assert!(snapshot.copied > 0);
    // More lies together than may be copied, so some of it goes.
    let (missing, snapshot) = find_under_puts(5_000);
    assert!(missing > 0 && snapshot.breached_bytes > 0);
}
