//! Random histories of a queue, over a store that fails in every way: what was acknowledged arrives, each key in order.
//!
//! `BLOBACCESS_RANDOMISED_SECONDS` sets how long this goes on, `BLOBACCESS_QUEUE_SEED` repeats a run.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a test may panic, and there is a budget of time"
)]

use std::collections::{BTreeMap, HashSet};
use std::fmt::{self, Display, Formatter};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use blobaccess::{
    Ac, Blob, BlobAccess, Capabilities, Cas, Context, Digest, DigestFunction, DigestSet, Error, InstanceName,
    KeyFormat, Kind, MemoryStore, PutOutcome, Result, Slicer,
};
use blobaccess_accounting::{Accounts, AccountsOptions, Reporter};
use blobaccess_testkit::{ManualClock, Numbers, seed, time_budget};
use blobaccess_write_behind::{QueueOptions, UploadQueue};

/// A store whose puts take some turns, and then succeed, fail, or store what they say they did not.
#[derive(Debug)]
struct Moody<K: Kind> {
    inner: MemoryStore<K>,
    numbers: Mutex<Numbers>,
    /// The failures in a hundred puts.
    failures: Mutex<u64>,
    under_way: Mutex<HashSet<Digest>>,
}

impl<K: Kind> Moody<K> {
    fn new(seed: u64) -> Self {
        Self {
            inner: MemoryStore::new(1 << 20),
            numbers: Mutex::new(Numbers::new(seed)),
            failures: Mutex::new(0),
            under_way: Mutex::default(),
        }
    }

    fn draw(&self) -> u64 {
        self.numbers.lock().unwrap().draw()
    }
}

/// A put under way.
struct UnderWay<'a>(&'a Mutex<HashSet<Digest>>, Digest);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap().remove(&self.1);
    }
}

#[async_trait]
impl<K: Kind> BlobAccess for Moody<K> {
    type Kind = K;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.inner.get(ctx, digest).await
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        self.inner.get_from_composite(ctx, parent, child, slicer).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        assert!(self.under_way.lock().unwrap().insert(digest.clone()), "two values of one key are under way");
        let _under_way = UnderWay(&self.under_way, digest.clone());
        for _ in 0..self.draw() % 4 {
            tokio::task::yield_now().await;
        }
        let fails = self.draw() % 100 < *self.failures.lock().unwrap();
        match self.draw() % 3 {
            0 if fails => Err(Error::unavailable("not sent").not_stored()),
            1 if fails => Err(Error::deadline_exceeded("lost before it arrived")),
            _ if fails => {
                self.inner.put(ctx, digest, blob).await?;
                Err(Error::unavailable("lost after it was stored"))
            }
            _ => self.inner.put(ctx, digest, blob).await,
        }
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        self.inner.find_missing(ctx, digests).await
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        self.inner.capabilities(ctx, instance_name).await
    }

    fn key_format(&self) -> KeyFormat {
        self.inner.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        true
    }
}

impl<K: Kind> Display for Moody<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("moody")
    }
}

/// Returns the name of the entry with this number, and its contents if it names contents.
fn name<K: Kind>(number: u64, value: &[u8]) -> Digest {
    let named = if K::STORAGE_TYPE.is_mutable() { number.to_le_bytes().to_vec() } else { value.to_vec() };
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, &named)
}

/// Runs the queue for some turns. What is being sent is interrupted only if `interrupts`.
async fn turns<B: BlobAccess>(queue: &UploadQueue<B>, clock: &ManualClock, count: u64, interrupts: bool) {
    let mut run = std::pin::pin!(queue.run());
    for _ in 0..count {
        if futures::poll!(&mut run).is_ready() {
            return;
        }
        tokio::task::yield_now().await;
    }
    let mut left = 10_000;
    while !interrupts && queue.snapshot().uploading > 0 {
        if futures::poll!(&mut run).is_ready() {
            return;
        }
        clock.advance(Duration::from_millis(100));
        tokio::task::yield_now().await;
        left -= 1;
        assert!(left > 0, "uploads do not end: {:?}", queue.snapshot());
    }
}

async fn history<K: Kind>(seed: u64) -> u64 {
    let (clock, mut numbers) = (ManualClock::new(), Numbers::new(seed));
    let accounts = Accounts::builder(AccountsOptions::new(Reporter::new("host")));
    let accounts = accounts.with_clock(Arc::new(clock.clone())).open().unwrap();
    let store = Arc::new(Moody::<K>::new(seed));
    let at_once = 1 + usize::try_from(numbers.draw() % 3).unwrap();
    let options = QueueOptions::new().with_uploads_at_once(at_once).with_max_items(6).with_max_bytes(40);
    let queue = UploadQueue::new(Arc::clone(&store), Arc::clone(&accounts), options);
    let ctx = Context::background();
    let mut acknowledged: BTreeMap<Digest, Vec<u8>> = BTreeMap::new();
    let steps = 20 + numbers.draw() % 60;
    for step in 0..steps {
        match numbers.draw() % 8 {
            0..4 => {
                let number = numbers.draw() % 4;
                let value = if K::STORAGE_TYPE.is_mutable() { step } else { number }.to_le_bytes().to_vec();
                let name = name::<K>(number, &value);
                match queue.put(&ctx, &name, Blob::from_bytes(value.clone())).await {
                    Ok(_) => drop(acknowledged.insert(name, value)),
                    Err(error) => assert!(error.message().contains("queued; the maximum"), "{error}"),
                }
            }
            4..6 => turns(&queue, &clock, numbers.draw() % 12, false).await,
            6 => clock.advance(Duration::from_millis(numbers.draw() % 20_000)),
            _ => *store.failures.lock().unwrap() = [0, 0, 50, 100][usize::try_from(numbers.draw() % 4).unwrap()],
        }
        let snapshot = queue.snapshot();
        assert!(snapshot.items <= 6 && snapshot.held_bytes <= 40, "seed {seed}: {snapshot:?}");
    }
    *store.failures.lock().unwrap() = 0;
    queue.close();
    let mut run = std::pin::pin!(queue.run());
    let mut left = 10_000;
    while futures::poll!(&mut run).is_pending() {
        clock.advance(Duration::from_millis(500));
        tokio::task::yield_now().await;
        left -= 1;
        assert!(left > 0, "seed {seed}: the queue does not end: {:?}", queue.snapshot());
    }
    let snapshot = queue.snapshot();
    assert_eq!((snapshot.items, snapshot.held_bytes, snapshot.uploading, snapshot.failed), (0, 0, 0, 0), "seed {seed}");
    for (name, value) in &acknowledged {
        let stored = store.inner.get(&ctx, name).await.unwrap().into_bytes(100).await.unwrap();
        assert!(stored == *value, "seed {seed}: the value that was acknowledged last is not the one that stays");
    }
    let tally = accounts.tallies().sum();
    assert_eq!(tally.in_flight().objects, 0, "seed {seed}: each upload has an outcome");
    steps
}

#[tokio::test]
async fn what_was_acknowledged_last_is_what_stays() {
    let (begin, budget, first) = (Instant::now(), time_budget() / 3, seed("BLOBACCESS_QUEUE_SEED"));
    let (mut histories, mut steps) = (0_u64, 0);
    for seed in first.. {
        steps += history::<Ac>(seed).await + history::<Cas>(seed).await;
        histories += 2;
        if begin.elapsed() > budget && histories > 100 {
            break;
        }
    }
    println!("{histories} histories of {steps} steps");
}
