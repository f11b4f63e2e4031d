//! The parts of the crate that have locks, in orders of their threads that are drawn at random.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use shuttle::future::{block_on, yield_now};
use shuttle::sync::Barrier;
use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use shuttle::thread;

use crate::decorators::{Mirrored, MirroredOptions, PutPolicy};
use crate::replication::{DeduplicatingReplicator, LocalReplicator, Replicator};
use crate::{
    Ac, Blob, BlobAccess, BlobAccessExt, Capabilities, Cas, Context, Digest, DigestFunction, DigestSet, Error,
    InstanceName, KeyFormat, MemoryStore, PutOutcome, Result, SingleFlight, Slicer,
};

/// The number of scenarios that share the time.
const SCENARIOS: u32 = 4;

/// Runs a scenario in one order after another.
pub(crate) fn explore(name: &str, scenario: fn()) {
    blobaccess_testkit::explore(name, SCENARIOS, scenario);
}

fn digest() -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello")
}

/// Checks that callers that all wait share one piece of work, and that others get their results when one goes away.
#[test]
fn callers_share_work_and_leave_nothing_behind() {
    explore("single flight", || {
        let flights = Arc::new(SingleFlight::<u8, u8>::new());
        let (begun, all_joined) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(3)));
        let work = |key: u8, begun: &Arc<AtomicUsize>| {
            let begun = Arc::clone(begun);
            move || async move {
                begun.fetch_add(1, Ordering::SeqCst);
                yield_now().await;
                key
            }
        };
        let callers: Vec<_> = (0..3)
            .map(|caller| {
                let (flights, begun, all_joined) = (Arc::clone(&flights), Arc::clone(&begun), Arc::clone(&all_joined));
                thread::spawn(move || {
                    // Nobody drives the work before all have joined it.
                    let shared = flights.join(1, work(1, &begun)).flight;
                    all_joined.wait();
                    // One caller gives up after a moment.
                    if caller == 0 {
                        block_on(async {
                            let mut shared = shared;
                            let _result = (&mut shared).now_or_never();
                            yield_now().await;
                        });
                    } else {
                        assert_eq!(block_on(shared), 1);
                    }
                    // Now they come and go as they like.
                    assert_eq!(block_on(flights.join(2, work(2, &Arc::default())).flight), 2);
                })
            })
            .collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        assert_eq!(begun.load(Ordering::SeqCst), 1, "the work was begun more than once");
        assert!(flights.is_empty(), "a key is left");
    });
}

/// Checks that several callers that need one blob copied all get it, by one copy.
#[test]
fn a_blob_is_copied_once_for_all() {
    explore("deduplication", || {
        let (source, sink) = (Arc::new(MemoryStore::<Cas>::new(1 << 20)), Arc::new(MemoryStore::<Cas>::new(1 << 20)));
        block_on(source.put_bytes(&Context::background(), &digest(), "hello")).unwrap();
        let local = LocalReplicator::new(Arc::clone(&source), Arc::clone(&sink));
        let replicator = Arc::new(DeduplicatingReplicator::new(source, Arc::clone(&sink), local));
        let callers: Vec<_> = (0..3)
            .map(|caller| {
                let (replicator, sink) = (Arc::clone(&replicator), Arc::clone(&sink));
                thread::spawn(move || {
                    let (ctx, digests) = (Context::background(), DigestSet::from(digest()));
                    let mut copied = replicator.replicate_all(&ctx, &digests);
                    if caller == 0 {
                        // This one may begin the copy, and goes away.
                        let _result = (&mut copied).now_or_never();
                        return;
                    }
                    block_on(copied).unwrap();
                    assert!(block_on(sink.contains(&ctx, &digest())).unwrap(), "it is not there after the copy");
                })
            })
            .collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        let snapshot = replicator.snapshot();
        assert_eq!((snapshot.copies.blobs, snapshot.under_way), (1, 0), "{snapshot:?}");
    });
}

/// A store that may be down.
#[derive(Debug)]
struct Half {
    store: MemoryStore<Ac>,
    is_down: AtomicBool,
}

impl Half {
    fn new() -> Arc<Self> {
        Arc::new(Self { store: MemoryStore::new(1 << 20), is_down: AtomicBool::new(false) })
    }

    fn check(&self) -> Result<()> {
        if self.is_down.load(Ordering::SeqCst) { Err(Error::unavailable("it is down")) } else { Ok(()) }
    }

    fn value(&self) -> Option<String> {
        let value = block_on(self.store.get_bytes(&Context::background(), &digest(), 100)).ok()?;
        Some(String::from_utf8(value.to_vec()).unwrap())
    }
}

#[async_trait]
impl BlobAccess for Half {
    type Kind = Ac;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.check()?;
        self.store.get(ctx, digest).await
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        self.check()?;
        self.store.get_from_composite(ctx, parent, child, slicer).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        self.check()?;
        let outcome = self.store.put(ctx, digest, blob).await;
        // The answer may be lost.
        self.check()?;
        outcome
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        self.check()?;
        self.store.find_missing(ctx, digests).await
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        self.store.capabilities(ctx, instance_name).await
    }

    fn key_format(&self) -> KeyFormat {
        self.store.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        self.store.finds_in_bulk()
    }
}

impl Display for Half {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("half")
    }
}

/// Replaces one entry by two callers while a half goes down and comes back, and a repair runs. In the end both halves
/// have the value of the same put; and if a put was acknowledged, the entry is there.
#[test]
fn the_halves_of_a_mirror_end_up_equal() {
    explore("mirror", || {
        let (a, b) = (Half::new(), Half::new());
        let a_to_b = Arc::new(LocalReplicator::new(a.clone(), b.clone()));
        let b_to_a = Arc::new(LocalReplicator::new(b.clone(), a.clone()));
        // No half rests, as time stands still here.
        let options = MirroredOptions::new().with_put_policy(PutPolicy::Either).with_rest(std::time::Duration::ZERO);
        let mirrored = Arc::new(Mirrored::new(a.clone(), b.clone(), a_to_b, b_to_a).with_options(options));
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let mut threads: Vec<_> = ["first", "second"]
            .into_iter()
            .map(|value| {
                let (mirrored, acknowledged) = (Arc::clone(&mirrored), Arc::clone(&acknowledged));
                thread::spawn(move || {
                    if block_on(mirrored.put_bytes(&Context::background(), &digest(), value)).is_ok() {
                        acknowledged.fetch_add(1, Ordering::SeqCst);
                        let read = block_on(mirrored.get_bytes(&Context::background(), &digest(), 100));
                        assert!(!read.is_err_and(|error| error.is_not_found()), "an outage is taken for absence");
                    }
                })
            })
            .collect();
        threads.push(thread::spawn({
            let a = Arc::clone(&a);
            move || {
                a.is_down.store(true, Ordering::SeqCst);
                a.is_down.store(false, Ordering::SeqCst);
            }
        }));
        threads.push(thread::spawn({
            let mirrored = Arc::clone(&mirrored);
            move || {
                let _result = block_on(mirrored.repair(&Context::background()));
            }
        }));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        block_on(mirrored.repair(&Context::background())).unwrap();
        let snapshot = mirrored.snapshot();
        assert_eq!((snapshot.a_to_b.noted, snapshot.b_to_a.noted), (0, 0), "{snapshot:?}");
        assert_eq!(a.value(), b.value(), "{snapshot:?}");
        assert!(a.value().is_some() || acknowledged.load(Ordering::SeqCst) == 0, "what was acknowledged is gone");
    });
}
