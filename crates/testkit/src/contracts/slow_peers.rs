//! Contracts about slow peers: nobody waits for an upload that stands still, or for a reader that does not read.
//!
//! Time is paused for them. It goes on only while nothing else can, so that a call that waits for a slow peer is told from
//! one that is at work, on a machine of any speed.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::{
    Blob, BlobAccess, BlobStream, Clock, DeadlineElapsed, DigestSet, Kind, Provenance, PutOutcome, Result, SystemClock,
};
use bytes::Bytes;
use futures::future::{LocalBoxFuture, join_all};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::erased::ErasedFixture;
use crate::fakes::{slow_stream, trickling_stream};
use crate::run::on_a_paused_clock;
use crate::samples::{Sample, Samples};
use crate::subject::Subject;
use crate::{Fixture, Promises};

/// The time after which a call of somebody else counts as waiting for a slow peer. Stores may take some of it to let a
/// peer give way that holds what others need.
const LIMIT: Duration = Duration::from_secs(30);

/// The time between two bytes of a peer that trickles: less than after which peers count as silent.
const PAUSE: Duration = Duration::from_millis(500);

/// The size of a small blob, in bytes: at a byte in each pause it is far from complete when the contract ends.
const SMALL_BYTES: u64 = 1_000;

/// The size of a large blob, in bytes: more than any store here keeps in memory before it writes.
const LARGE_BYTES: u64 = 9 << 17;

/// The number of slow peers, unless the store promises to bear fewer.
const PEERS: usize = 8;

/// The number of small puts at once beside slow peers.
const PUTS_AT_ONCE: usize = 8;

/// Something that slow peers wait for.
#[derive(Clone, Debug)]
struct Gate(watch::Receiver<bool>);

impl Gate {
    fn shut() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    async fn opened(mut self) {
        if self.0.wait_for(|is_open| *is_open).await.is_err() {
            // Nobody will open it.
            std::future::pending::<()>().await;
        }
    }
}

/// The uploads that peers have begun.
struct Uploads {
    samples: Vec<Sample>,
    tasks: Vec<JoinHandle<Result<PutOutcome>>>,
}

impl Uploads {
    fn begin<K: Kind>(
        subject: &Subject<'_, ErasedFixture<'_, K>>,
        uploads: impl IntoIterator<Item = (Sample, Blob)>,
    ) -> Self {
        let mut begun = Self { samples: Vec::new(), tasks: Vec::new() };
        for (sample, blob) in uploads.into_iter().take(peers(subject.promises)) {
            let (store, ctx, digest) = (Arc::clone(&subject.store), subject.ctx.clone(), sample.digest.clone());
            begun.tasks.push(tokio::spawn(async move { store.put(&ctx, &digest, blob).await }));
            begun.samples.push(sample);
        }
        begun
    }

    fn digests(&self) -> DigestSet {
        self.samples.iter().map(|sample| sample.digest.clone()).collect()
    }

    /// Ends them all, as if the peers were gone.
    async fn end(self) -> Vec<Sample> {
        for task in &self.tasks {
            task.abort();
        }
        join_all(self.tasks).await;
        settle().await;
        self.samples
    }
}

fn peers(promises: Promises) -> usize {
    promises.max_slow_peers.map_or(PEERS, |max| max.min(PEERS))
}

/// Lets everybody come as far as they can.
async fn settle() {
    SystemClock.sleep_until(SystemClock.monotonic() + Duration::from_millis(100)).await;
}

/// Waits for `work`, but no longer than for anything else that does not depend on slow peers.
async fn in_time<T>(work: impl Future<Output = T>) -> Result<T, DeadlineElapsed> {
    let clock: &dyn Clock = &SystemClock;
    clock.timeout(Some(clock.monotonic() + LIMIT), work).await
}

/// Waits for a call of somebody who is not slow.
#[expect(clippy::panic, reason = "this is how a contract reports that it is broken")]
async fn within<T>(what: &str, call: impl Future<Output = Result<T>>) -> Result<T> {
    match in_time(call).await {
        Ok(result) => result.map_err(|error| error.at(format!("{what}, beside slow peers"))),
        Err(DeadlineElapsed) => {
            panic!("{what} waits for others who are slow: it has not ended after {} s", LIMIT.as_secs())
        }
    }
}

/// Makes a blob that stands still after `after_bytes` until the gate opens.
fn held_blob<K: Kind>(sample: &Sample, after_bytes: usize, gate: Gate) -> Blob {
    if K::STORAGE_TYPE.is_mutable() {
        let opened = gate.opened().map(Ok);
        return Blob::from_bytes(sample.value.clone()).with_task(opened);
    }
    let mut first = sample.value.clone();
    let rest = first.split_off(after_bytes.min(first.len()));
    let pieces: BoxStream<'static, Result<Bytes>> = slow_stream(first, 100_000)
        .chain(async move { gate.opened().await }.into_stream().filter_map(async |()| None))
        .chain(slow_stream(rest, 100_000))
        .boxed();
    Blob::from_untrusted_stream(&sample.digest, pieces, Provenance::client())
}

/// Makes a blob of which a byte comes now and then.
fn trickling_blob<K: Kind>(sample: &Sample) -> Blob {
    if K::STORAGE_TYPE.is_mutable() {
        let task = std::future::pending::<Result<()>>();
        return Blob::from_bytes(sample.value.clone()).with_task(task);
    }
    Blob::from_untrusted_stream(&sample.digest, trickling_stream(sample.value.clone(), PAUSE), Provenance::client())
}

/// The parts of a blob, in thousandths, after which uploads of it stand still. The last byte never comes.
const STOPS: [usize; 3] = [0, 500, 1000];

/// Returns the number of bytes after which an upload stands still.
fn stop(sample: &Sample, per_mille: usize) -> usize {
    (sample.value.len() * per_mille / 1000).min(sample.value.len().saturating_sub(1))
}

/// A store in which something was put before the slow peers came.
struct Stage<'f, K: Kind> {
    fixture: &'f ErasedFixture<'f, K>,
    subject: Subject<'f, ErasedFixture<'f, K>>,
    samples: Samples,
    stored: [Sample; 2],
}

impl<'f, K: Kind> Stage<'f, K> {
    async fn set(fixture: &'f ErasedFixture<'f, K>) -> Result<Self> {
        let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
        let kept_bytes = subject.promises.keeps_bytes.unwrap_or(LARGE_BYTES);
        let large = samples.sample(fixture, subject.at_most(LARGE_BYTES).min(kept_bytes / 4));
        let small = samples.sample(fixture, SMALL_BYTES);
        let stage = Self { fixture, subject, samples, stored: [large, small] };
        stage.put_stored().await?;
        Ok(stage)
    }

    /// Puts what is there beforehand, unless it is still there.
    async fn put_stored(&self) -> Result<()> {
        for sample in &self.stored {
            self.subject.put(sample).await?;
        }
        Ok(())
    }

    fn small(&mut self) -> Sample {
        self.samples.sample(self.fixture, SMALL_BYTES)
    }

    fn large(&mut self) -> Sample {
        self.samples.sample(self.fixture, self.subject.at_most(LARGE_BYTES))
    }

    /// Checks that whoever is not slow is served, while none of `uploads` is complete.
    async fn serve_others(&mut self, uploads: &DigestSet) -> Result<()> {
        let absent = self.samples.absent(self.fixture);
        let missing = DigestSet::union([uploads.clone(), absent.into()]);
        let stored: DigestSet = self.stored.iter().map(|sample| sample.digest.clone()).collect();
        if self.subject.promises.keeps_bytes.is_some() {
            let asked = DigestSet::union([missing.clone(), stored]);
            within("find_missing", self.subject.assert_missing(&asked, &missing)).await?;
            for sample in &self.stored {
                within("a get", self.subject.assert_reads(sample)).await?;
            }
        }
        for new in [self.small(), self.large()] {
            let outcome = within("a put", self.subject.put(&new)).await?;
            self.subject.assert_created(outcome);
            within("a get of what was just put", self.subject.assert_reads(&new)).await?;
        }
        let many: Vec<_> = (0..PUTS_AT_ONCE).map(|_| self.small()).collect();
        let puts = async {
            let outcomes = join_all(many.iter().map(|sample| self.subject.put(sample))).await;
            outcomes.into_iter().collect::<Result<Vec<_>>>()
        };
        for outcome in within("one of many puts", puts).await? {
            self.subject.assert_created(outcome);
        }
        within("find_missing", self.subject.assert_missing(&missing, &missing)).await?;
        let [name, _] = self.fixture.instance_names();
        within("a question for the capabilities", self.subject.capabilities(&name)).await?;
        Ok(())
    }

    /// Checks that uploads that were given up have left nothing, and keep nobody from the same uploads.
    async fn put_again(&mut self, given_up: impl Iterator<Item = &Sample>) -> Result<()> {
        for sample in given_up {
            within("a get of what was given up", self.subject.assert_absent(&sample.digest)).await?;
            let outcome = within("a put of what was given up", self.subject.put(sample)).await?;
            self.subject.assert_created(outcome);
            within("a get of what was put again", self.subject.assert_reads(sample)).await?;
        }
        Ok(())
    }
}

/// Runs a contract over the store of `fixture` while time is paused. The contract is compiled for the kind of the store, and
/// not for each store.
fn run<F: Fixture>(
    fixture: &F,
    contract: for<'e> fn(&'e ErasedFixture<'e, KindOf<F>>) -> LocalBoxFuture<'e, Result<()>>,
) -> Result<()> {
    on_a_paused_clock(Box::new(|| {
        async move {
            let erased = ErasedFixture::open(fixture).await?;
            contract(&erased).await
        }
        .boxed_local()
    }))
}

type KindOf<F> = <<F as Fixture>::Store as BlobAccess>::Kind;

/// Checks that uploads that stand still, before their first byte, in their midst and before their last one, keep nobody
/// else from reading, asking and putting; and that they leave nothing when they are given up.
pub async fn uploads_that_stand_still_harm_nobody<F: Fixture>(fixture: &F) -> Result<()> {
    run(fixture, |erased| stand_still(erased).boxed_local())
}

async fn stand_still<K: Kind>(fixture: &ErasedFixture<'_, K>) -> Result<()> {
    let mut stage = Stage::set(fixture).await?;
    let (_gate, shut) = Gate::shut();
    let mut uploads = Vec::new();
    for per_mille in STOPS {
        for sample in [stage.large(), stage.small()] {
            let blob = held_blob::<K>(&sample, stop(&sample, per_mille), shut.clone());
            uploads.push((sample, blob));
        }
    }
    let uploads = Uploads::begin(&stage.subject, uploads);
    settle().await;
    stage.serve_others(&uploads.digests()).await?;
    let given_up = uploads.end().await;
    stage.put_again(given_up.iter().take(2)).await
}

/// Checks that uploads of which a byte comes now and then keep nobody else from reading, asking and putting.
pub async fn uploads_that_trickle_harm_nobody<F: Fixture>(fixture: &F) -> Result<()> {
    run(fixture, |erased| trickle(erased).boxed_local())
}

async fn trickle<K: Kind>(fixture: &ErasedFixture<'_, K>) -> Result<()> {
    let mut stage = Stage::set(fixture).await?;
    let mut uploads = Vec::new();
    for _ in 0..2 {
        for sample in [stage.large(), stage.small()] {
            let blob = trickling_blob::<K>(&sample);
            uploads.push((sample, blob));
        }
    }
    let uploads = Uploads::begin(&stage.subject, uploads);
    settle().await;
    stage.serve_others(&uploads.digests()).await?;
    drop(uploads.end().await);
    Ok(())
}

/// Checks that of equal uploads the first complete one is stored and answered, while those that began before it stand still;
/// and that these end well once their bytes come after all.
///
/// One that the store let give way meanwhile may fail with an error after which it may be tried again.
pub async fn no_upload_waits_for_an_equal_one_that_stands_still<F: Fixture>(fixture: &F) -> Result<()> {
    run(fixture, |erased| put_faster(erased).boxed_local())
}

async fn put_faster<K: Kind>(fixture: &ErasedFixture<'_, K>) -> Result<()> {
    let mut stage = Stage::set(fixture).await?;
    for sample in [stage.small(), stage.large()] {
        let (gate, shut) = Gate::shut();
        let uploads = [0, 500, 500, 1000].map(|per_mille| {
            let blob = held_blob::<K>(&sample, stop(&sample, per_mille), shut.clone());
            (sample.clone(), blob)
        });
        let uploads = Uploads::begin(&stage.subject, uploads);
        settle().await;
        let outcome = within("a put of what others put more slowly", stage.subject.put(&sample)).await?;
        stage.subject.assert_created(outcome);
        within("a get of it", stage.subject.assert_present(&sample)).await?;
        gate.send_replace(true);
        for task in uploads.tasks {
            let ended = in_time(task).await;
            let ended = ended.map_err(|DeadlineElapsed| "a put did not end although its last byte has come");
            match ended.map(|ended| ended.map_err(|panic| panic.to_string())) {
                Ok(Ok(Ok(outcome))) => stage.subject.assert_already_exists(outcome),
                Ok(Ok(Err(error))) => assert!(error.is_retryable(), "an equal put failed: {error:?}"),
                other => assert!(other.is_err(), "{other:?}"),
            }
        }
        within("a get of it", stage.subject.assert_present(&sample)).await?;
    }
    Ok(())
}

/// Checks that readers that do not read, or only their first piece, keep nobody else from reading, asking and putting, not
/// even of the same blobs.
pub async fn readers_that_do_not_read_harm_nobody<F: Fixture>(fixture: &F) -> Result<()> {
    run(fixture, |erased| read_nothing(erased).boxed_local())
}

async fn read_nothing<K: Kind>(fixture: &ErasedFixture<'_, K>) -> Result<()> {
    let mut stage = Stage::set(fixture).await?;
    let (mut unread, mut begun): (Vec<Blob>, Vec<BlobStream>) = (Vec::new(), Vec::new());
    for number in 0..peers(stage.subject.promises) {
        let digest = match &stage.stored {
            [large, _] if number % 2 == 0 => &large.digest,
            [_, small] => &small.digest,
        };
        let got = within("a get", stage.subject.get(digest)).await;
        match got {
            Err(error) if error.is_not_found() && stage.subject.promises.keeps_bytes.is_none() => {}
            Ok(blob) if number % 4 < 2 => unread.push(blob),
            got => {
                let mut stream = got?.into_stream(..)?;
                let first = async { stream.next().await.transpose() };
                within("the first piece of a get", first).await?;
                begun.push(stream);
            }
        }
    }
    settle().await;
    stage.serve_others(&DigestSet::new()).await?;
    drop((unread, begun));
    settle().await;
    stage.put_stored().await?;
    stage.serve_others(&DigestSet::new()).await
}
