//! Warnings about puts that a restart will lose.

#![expect(clippy::unwrap_used, reason = "a step that fails is a failed test")]

use std::sync::Arc;
use std::time::Duration;

use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, ErrorKind, InstanceName};
use blobaccess_local_store::{Environment, LocalStore, MemoryDevice, Options, SyncPolicy};
use blobaccess_testkit::ManualClock;
use blobaccess_testkit::fakes::Warnings;
use futures::FutureExt as _;

const INTERVAL: Duration = Duration::from_secs(5);

async fn open(options: Options, clock: &Arc<ManualClock>) -> LocalStore<Cas> {
    let environment = Environment::default().with_clock(Arc::<ManualClock>::clone(clock));
    LocalStore::open_on(options, Arc::new(MemoryDevice::new(4 << 20)), environment).await.unwrap()
}

fn options() -> Options {
    Options::on_device(4 << 20).with_blocks(1, 4, 1).with_entries(1_000)
}

async fn put(store: &LocalStore<Cas>, contents: &'static str) {
    let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents.as_bytes());
    store.put(&Context::background(), &digest, Blob::from_bytes(contents)).await.unwrap();
}

#[tokio::test]
async fn a_persistent_store_dropped_with_unsynced_puts_warns_of_them() {
    let warnings = Warnings::begin();
    let store = open(options().persistent(SyncPolicy::OnClose), &Arc::new(ManualClock::new())).await;
    put(&store, "synced").await;
    store.sync().await.unwrap();
    put(&store, "first").await;
    put(&store, "second").await;
    assert_eq!(warnings.take(), [""; 0]);
    drop(store);
    let [warning] = &warnings.take()[..] else { panic!("one warning is expected") };
    assert!(warning.contains("is dropped with changes") && warning.contains("unsynced=2"), "{warning}");
}

#[tokio::test]
async fn stores_that_lose_nothing_or_promise_nothing_are_dropped_without_a_warning() {
    let warnings = Warnings::begin();
    let clock = Arc::new(ManualClock::new());
    let persistent = |policy| options().persistent(policy);
    for (options, syncs) in
        [(options(), false), (persistent(SyncPolicy::OnPut), false), (persistent(SyncPolicy::OnClose), true)]
    {
        let store = open(options, &clock).await;
        put(&store, "hello").await;
        if syncs {
            store.sync().await.unwrap();
        }
        drop(store);
    }
    let store = open(persistent(SyncPolicy::OnClose), &clock).await;
    put(&store, "hello").await;
    store.close().await.unwrap();
    drop(open(persistent(SyncPolicy::OnClose), &clock).await);
    assert_eq!(warnings.take(), [""; 0]);
}

#[tokio::test]
async fn a_put_an_interval_after_the_first_warns_once_that_nobody_runs_the_store() {
    let warnings = Warnings::begin();
    let clock = Arc::new(ManualClock::new());
    let store = open(options().persistent(SyncPolicy::Interval(INTERVAL)), &clock).await;
    put(&store, "at once").await;
    clock.advance(INTERVAL / 2);
    put(&store, "half an interval later").await;
    assert_eq!(warnings.take(), [""; 0]);
    clock.advance(INTERVAL / 2);
    put(&store, "an interval later").await;
    let [warning] = &warnings.take()[..] else { panic!("one warning is expected") };
    assert!(warning.contains("nobody runs a store that is synced by interval"), "{warning}");
    put(&store, "once more").await;
    store.sync().await.unwrap();
    assert_eq!(warnings.take(), [""; 0]);
}

#[tokio::test]
async fn a_store_that_was_run_or_needs_no_run_does_not_warn_of_it() {
    let warnings = Warnings::begin();
    let clock = Arc::new(ManualClock::new());
    for (policy, runs) in
        [(SyncPolicy::Interval(INTERVAL), true), (SyncPolicy::OnPut, false), (SyncPolicy::OnClose, false)]
    {
        let store = open(options().persistent(policy), &clock).await;
        if runs {
            assert!(store.run().now_or_never().is_none());
        }
        clock.advance(2 * INTERVAL);
        put(&store, "hello").await;
        store.sync().await.unwrap();
    }
    assert_eq!(warnings.take(), [""; 0]);
}

#[tokio::test]
async fn a_put_larger_than_a_block_says_what_makes_blocks_larger() {
    let store = open(options(), &Arc::new(ManualClock::new())).await;
    let max = store.sizes().max_blob_size_bytes();
    let contents = vec![0; usize::try_from(max).unwrap() + 1];
    let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents);
    let put = store.put(&Context::background(), &digest, Blob::from_bytes(contents.clone())).await;
    let directly = store.put_blocking(&digest, contents.into());
    for error in [put.unwrap_err(), directly.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        let text = error.to_string();
        assert!(text.contains(&format!("is {} bytes; the maximum is {max}", max + 1)), "{text}");
        assert!(text.contains("`Options::with_blocks`"), "{text}");
    }
}
