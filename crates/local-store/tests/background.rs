//! The work of `run`: syncs by interval, none while idle, and recycling ahead of need.

#![expect(clippy::unwrap_used, reason = "a step that fails is a failed test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, DigestSet, InstanceName};
use blobaccess_local_store::{Environment, LocalStore, MemoryDevice, Options, Refresh, SyncPolicy};
use blobaccess_testkit::{ManualClock, Numbers};

async fn put(store: &LocalStore<Cas>, numbers: &mut Numbers, size: usize) -> Digest {
    let contents = numbers.bytes(size);
    let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents);
    store.put(&Context::background(), &digest, Blob::from_bytes(contents)).await.unwrap();
    digest
}

/// Lets `run` go on until `is_done`, however long the threads that work for it are kept from it.
async fn until(mut is_done: impl FnMut() -> bool) {
    while !is_done() {
        tokio::task::yield_now().await;
        tokio::task::spawn_blocking(|| ()).await.unwrap();
    }
}

#[tokio::test]
async fn a_store_that_changed_is_synced_once_an_interval_is_over_and_an_idle_one_is_not() {
    let clock = Arc::new(ManualClock::new());
    let options = Options::on_device(4 << 20)
        .with_blocks(1, 4, 1)
        .with_entries(1_000)
        .persistent(SyncPolicy::Interval(Duration::from_mins(5)));
    let device = Arc::new(MemoryDevice::new(4 << 20));
    let environment = Environment::default().with_clock(Arc::<ManualClock>::clone(&clock));
    let store = LocalStore::<Cas>::open_on(options, device, environment).await.unwrap();
    let store = Arc::new(store);
    let running = Arc::clone(&store);
    let background = tokio::spawn(async move { running.run().await });
    let mut numbers = Numbers::new(1);
    let at_first = store.snapshot().syncs;
    let digest = put(&store, &mut numbers, 100).await;
    tokio::task::yield_now().await;
    clock.advance(Duration::from_mins(4));
    assert_eq!(store.snapshot().syncs, at_first);
    clock.advance(Duration::from_mins(2));
    until(|| store.snapshot().syncs > at_first).await;
    // Once it was idle for a minute or two, the other superblock says the same; from then on there is nothing to write.
    until(|| {
        clock.advance(Duration::from_mins(1));
        store.snapshot().syncs == at_first + 2
    })
    .await;
    for _ in 0..5 {
        clock.advance(Duration::from_mins(6));
        tokio::task::yield_now().await;
    }
    assert_eq!(store.snapshot().syncs, at_first + 2);
    // To be found where it stays anyway is nothing to sync, to be found in an older block is.
    let digest = DigestSet::from(digest);
    store.find_missing(&Context::background(), &digest).await.unwrap();
    for _ in 0..5 {
        clock.advance(Duration::from_mins(6));
        tokio::task::yield_now().await;
    }
    assert_eq!(store.snapshot().syncs, at_first + 2);
    for _ in 0..60 {
        put(&store, &mut numbers, 10_000).await;
    }
    // The second one has both superblocks say the same.
    store.sync().await.unwrap();
    store.sync().await.unwrap();
    assert_eq!(store.snapshot().syncs, at_first + 4);
    store.find_missing(&Context::background(), &digest).await.unwrap();
    // It may count an interval only from when it is done with the last one.
    until(|| {
        clock.advance(Duration::from_mins(6));
        store.snapshot().syncs > at_first + 4
    })
    .await;
    assert!(store.snapshot().syncs <= at_first + 6);
    background.abort();
}

#[tokio::test]
async fn an_idle_store_that_syncs_on_puts_makes_durable_what_was_found() {
    let clock = Arc::new(ManualClock::new());
    let options = Options::on_device(4 << 20).with_blocks(1, 4, 1).with_entries(1_000).persistent(SyncPolicy::OnPut);
    let device = Arc::new(MemoryDevice::new(4 << 20));
    let environment = Environment::default().with_clock(Arc::<ManualClock>::clone(&clock));
    let store = Arc::new(LocalStore::<Cas>::open_on(options, device, environment).await.unwrap());
    let mut numbers = Numbers::new(1);
    let digest = DigestSet::from(put(&store, &mut numbers, 100).await);
    for _ in 0..60 {
        put(&store, &mut numbers, 10_000).await;
    }
    let syncs = store.snapshot().syncs;
    // To be found in an older block changes what a sync says.
    store.find_missing(&Context::background(), &digest).await.unwrap();
    let running = Arc::clone(&store);
    let background = tokio::spawn(async move { running.run().await });
    until(|| {
        clock.advance(Duration::from_mins(1));
        store.snapshot().syncs == syncs + 2
    })
    .await;
    background.abort();
}

#[tokio::test]
async fn blocks_are_recycled_before_puts_need_them() {
    let options = Options::in_memory(2 << 20).with_blocks(1, 4, 1).with_spare_blocks(3);
    let store = Arc::new(LocalStore::<Cas>::open(options).await.unwrap());
    let running = Arc::clone(&store);
    let background = tokio::spawn(async move { running.run().await });
    let mut numbers = Numbers::new(1);
    for _ in 0..2_000 {
        put(&store, &mut numbers, 4_000).await;
        let has_spare = || store.snapshot().free_blocks >= 3 || store.snapshot().blocks.len() <= 6;
        until(has_spare).await;
    }
    let snapshot = store.snapshot();
    assert!(snapshot.recycled_blocks > 10);
    assert_eq!(snapshot.waits_for_space, 0);
    background.abort();
}

#[tokio::test]
async fn what_is_read_in_an_old_block_is_copied_without_anybody_waiting() {
    let options = Options::in_memory(2 << 20).with_blocks(3, 4, 1).with_refresh(Refresh::OnTouch);
    let store = Arc::new(LocalStore::<Cas>::open(options).await.unwrap());
    let mut numbers = Numbers::new(1);
    let digest = put(&store, &mut numbers, 4_000).await;
    while store.snapshot().blocks.len() < 7 {
        put(&store, &mut numbers, 4_000).await;
    }
    let running = Arc::clone(&store);
    let background = tokio::spawn(async move { running.run().await });
    assert_eq!(store.block_of(&digest), Some(0));
    store.get(&Context::background(), &digest).await.unwrap();
    assert_eq!(store.block_of(&digest), Some(0));
    until(|| store.snapshot().refreshed == 1).await;
    assert_eq!(store.block_of(&digest), Some(6));
    assert_eq!(store.snapshot().queued_refreshes, 0);
    background.abort();
}

#[tokio::test]
async fn puts_do_not_wake_what_runs_in_the_background_one_by_one() {
    let options = Options::on_device(4 << 20)
        .with_blocks(1, 4, 1)
        .with_entries(1_000)
        .persistent(SyncPolicy::Interval(Duration::from_mins(5)));
    let device = Arc::new(MemoryDevice::new(4 << 20));
    let environment = Environment::default().with_clock(Arc::new(ManualClock::new()));
    let store = LocalStore::<Cas>::open_on(options, device, environment).await.unwrap();
    let mut running = std::pin::pin!(store.run());
    let wakes = Arc::new(Wakes::default());
    let handle = Waker::from(Arc::clone(&wakes));
    let mut ctx = std::task::Context::from_waker(&handle);
    assert!(running.as_mut().poll(&mut ctx).is_pending());
    let mut numbers = Numbers::new(1);
    for _ in 0..100 {
        put(&store, &mut numbers, 100).await;
        if wakes.take() {
            assert!(running.as_mut().poll(&mut ctx).is_pending());
        }
    }
    // The first put changed the store and began a block. The others did neither.
    let woken = wakes.count.load(Ordering::SeqCst);
    assert!((1..=4).contains(&woken), "woken {woken} times by 100 puts");
}

/// Counts how often a task is woken.
#[derive(Default)]
struct Wakes {
    count: AtomicU32,
    is_woken: AtomicBool,
}

impl Wakes {
    fn take(&self) -> bool {
        self.is_woken.swap(false, Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.is_woken.store(true, Ordering::SeqCst);
    }
}
