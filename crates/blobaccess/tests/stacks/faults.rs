//! One store at a time goes wrong, in each position of each stack and in each way.

use std::fmt::Debug;
use std::time::Duration;

use blobaccess::{
    Ac, BlobAccess, BlobAccessExt, Caller, Clock, Context, Digest, DigestSet, ErrorKind, Kind, PutCertainty,
    PutOutcome, Result, SystemClock,
};
use blobaccess_testkit::{Numbers, seed};
use bytes::Bytes;

use crate::deployments::{self, MAX_MESSAGE_SIZE_BYTES, REMEMBERED};
use crate::leaf::Fault;
use crate::samples::{Sample, result_of, sample};
use crate::site::{FaultySite, Site, Store};

/// The time in which every call ends, whatever is wrong.
const PATIENCE: Duration = Duration::from_mins(10);

/// Makes a stack.
pub(crate) type Make<'a, K> = &'a (dyn Fn(&dyn Site) -> Store<K> + Sync);

/// A stack, and what it promises.
pub(crate) struct Deployment<'a, K: Kind> {
    pub(crate) make: Make<'a, K>,
    /// The stores without which everything that was put can be read.
    pub(crate) spare: &'a [&'static str],
}

/// A stack of which one store may be wrong.
struct Subject<K: Kind> {
    site: FaultySite,
    store: Store<K>,
    ctx: Context,
}

impl<K: Kind> Subject<K> {
    fn new(make: Make<'_, K>) -> Self {
        let site = FaultySite::default();
        let store = make(&site);
        Self { site, store, ctx: Context::background().with_caller(Caller::new("a build")) }
    }

    async fn get(&self, digest: &Digest) -> Result<Bytes> {
        in_time(self.store.get_bytes(&self.ctx, digest, MAX_MESSAGE_SIZE_BYTES)).await
    }

    async fn put(&self, sample: &Sample) -> Result<PutOutcome> {
        in_time(self.store.put_bytes(&self.ctx, &sample.digest, sample.value.clone())).await
    }

    async fn is_missing(&self, digest: &Digest) -> Result<bool> {
        let asked = DigestSet::from(digest.clone());
        Ok(!in_time(self.store.find_missing(&self.ctx, &asked)).await?.is_empty())
    }

    /// Stores what action results refer to, wherever there are contents.
    async fn store_outputs<'a>(&self, samples: impl IntoIterator<Item = &'a Sample>) {
        let samples: Vec<_> = samples.into_iter().collect();
        for name in self.site.names().into_iter().filter(|name| !self.site.is_ac(name)) {
            for (digest, contents) in samples.iter().filter_map(|sample| sample.output.as_ref()) {
                self.site.cas(name).put_bytes(&self.ctx, digest, contents.clone()).await.unwrap();
            }
        }
    }

    async fn assert_readable(&self, sample: &Sample) {
        assert_eq!(self.get(&sample.digest).await.unwrap(), sample.value);
        assert!(!self.is_missing(&sample.digest).await.unwrap());
    }
}

async fn in_time<T>(call: impl Future<Output = T>) -> T {
    let clock: &dyn Clock = &SystemClock;
    clock.timeout(Some(clock.monotonic() + PATIENCE), call).await.expect("every call ends in time")
}

/// Fails if `result` says that something is absent which is not.
fn assert_no_absence<T: Debug>(result: &Result<T>) {
    if let Err(error) = result {
        assert!(!error.is_not_found(), "an outage passes for absence: {error:?}");
    }
}

/// Checks a stack of which the store `position` goes wrong in the way of `fault`, and is mended. The samples are those
/// from number `first` on.
pub(crate) async fn check<K: Kind>(deployment: &Deployment<'_, K>, position: &'static str, fault: Fault, first: usize) {
    let subject = Subject::new(deployment.make);
    let [stored, new, absent] = [first, first + 1, first + 2].map(sample::<K>);
    subject.store_outputs([&stored, &new]).await;
    subject.put(&stored).await.unwrap();
    subject.assert_readable(&stored).await;

    subject.site.begin(position, fault);
    if fault == Fault::Lost {
        // What caches remember is as old as they say.
        tokio::time::advance(2 * REMEMBERED).await;
    }
    let read = subject.get(&stored.digest).await;
    if let Ok(value) = &read {
        assert_eq!(*value, stored.value, "other bytes were read than were put");
    }
    let is_spare = deployment.spare.contains(&position);
    assert!(read.is_ok() || !is_spare, "the stack cannot do without {position}: {read:?}");
    let missing = subject.is_missing(&stored.digest).await;
    if fault == Fault::Lost {
        let found = missing.as_ref().is_ok_and(|missing| !missing);
        // An action cache does not read results to find them.
        assert!(!found || read.is_ok() || K::STORAGE_TYPE.is_mutable(), "what cannot be read is present: {read:?}");
    } else {
        assert_no_absence(&read);
        assert_no_absence(&missing);
        assert!(!missing.is_ok_and(|missing| missing), "what is stored is missing");
    }
    let read = subject.get(&absent.digest).await;
    let error = read.expect_err("what was never put is read");
    let expected = match fault {
        Fault::Down => Some((ErrorKind::Unavailable, "is down")),
        Fault::Slow => Some((ErrorKind::DeadlineExceeded, "timed out")),
        Fault::Lost | Fault::Corrupt | Fault::Boastful => None,
    };
    if let Some((kind, message)) = expected.filter(|_| !error.is_not_found()) {
        assert!(error.kind() == kind && error.to_string().contains(message), "the error was changed: {error:?}");
    }
    if fault != Fault::Boastful {
        let missing = subject.is_missing(&absent.digest).await;
        assert_no_absence(&missing);
        assert!(missing.unwrap_or(true), "what was never put is present");
    }
    let put = subject.put(&new).await;
    assert_no_absence(&put);

    subject.site.mend();
    // Whatever a layer remembers of the outage is over.
    tokio::time::advance(Duration::from_mins(10)).await;
    if fault == Fault::Lost {
        subject.store_outputs([&stored, &new]).await;
        if subject.get(&stored.digest).await.is_err() || subject.is_missing(&stored.digest).await.unwrap() {
            subject.put(&stored).await.unwrap();
        }
    }
    subject.assert_readable(&stored).await;
    assert!(subject.get(&absent.digest).await.is_err_and(|error| error.is_not_found()));
    assert!(subject.is_missing(&absent.digest).await.unwrap());
    if let Err(error) = put {
        let read = subject.get(&new.digest).await;
        if error.put_certainty() == PutCertainty::NotStored {
            assert!(read.is_err_and(|error| error.is_not_found()), "what was not stored is stored: {error:?}");
        } else {
            assert!(read.is_ok() || read.is_err_and(|error| error.is_not_found()));
        }
        subject.put(&new).await.unwrap();
    }
    subject.assert_readable(&new).await;
}

/// Checks a stack with every store in turn, in every way, and for the samples from each of `firsts` on.
pub(crate) async fn check_each<K: Kind>(deployment: &Deployment<'_, K>, firsts: &[usize]) {
    let site = Subject::new(deployment.make).site;
    let names = site.names();
    assert!(deployment.spare.iter().all(|spare| names.contains(spare)));
    for position in names {
        for fault in Fault::ALL {
            // Nothing below an action cache can tell that a message is not the one that was put.
            if fault == Fault::Corrupt && site.is_ac(position) {
                continue;
            }
            for first in firsts {
                println!("{position} is {fault:?} for the samples from {first} on");
                check(deployment, position, fault, *first).await;
            }
        }
    }
}

async fn check_all<K: Kind>(deployment: Deployment<'_, K>) {
    // With several samples, each shard is the one that is wrong for some.
    check_each(&deployment, &[0, 10, 20, 30]).await;
    check_changing(&deployment, 10).await;
}

/// Checks a stack whose stores are down and slow by turns, also several at a time.
pub(crate) async fn check_changing<K: Kind>(deployment: &Deployment<'_, K>, rounds: usize) {
    let mut numbers = Numbers::new(seed("BLOBACCESS_STACKS_SEED"));
    for _ in 0..rounds {
        let subject = Subject::new(deployment.make);
        let names = subject.site.names();
        let samples: Vec<_> = (0..20).map(sample::<K>).collect();
        subject.store_outputs(&samples).await;
        let mut stored: Vec<&Sample> = Vec::new();
        for sample in &samples {
            match numbers.below(4) {
                0 => subject.site.mend(),
                1 => subject.site.begin(names[numbers.below(names.len())], Fault::Down),
                2 => subject.site.begin(names[numbers.below(names.len())], Fault::Slow),
                _ => {}
            }
            match subject.put(sample).await {
                Ok(_) => stored.push(sample),
                Err(error) => assert!(!error.is_not_found(), "{error:?}"),
            }
            for sample in &stored {
                let read = subject.get(&sample.digest).await;
                assert_no_absence(&read);
                assert!(read.is_err() || read.is_ok_and(|value| value == sample.value));
                assert!(!subject.is_missing(&sample.digest).await.is_ok_and(|missing| missing));
            }
        }
        subject.site.mend();
        tokio::time::advance(Duration::from_mins(10)).await;
        for sample in stored {
            subject.assert_readable(sample).await;
        }
    }
}

/// The action results that may be read: the last one that was acknowledged, and those whose puts failed since.
type Possible = Vec<Option<Bytes>>;

/// Checks a stack of action results that are replaced while its stores are down and slow by turns.
pub(crate) async fn check_replacing(deployment: &Deployment<'_, Ac>, rounds: usize) {
    const ACTIONS: usize = 3;
    let mut numbers = Numbers::new(seed("BLOBACCESS_STACKS_SEED"));
    for _ in 0..rounds {
        let subject = Subject::new(deployment.make);
        let names = subject.site.names();
        let results: Vec<_> = (0..30).map(|number| result_of(number % ACTIONS, number)).collect();
        subject.store_outputs(&results).await;
        let mut possible: [Possible; ACTIONS] = std::array::from_fn(|_| vec![None]);
        for result in &results {
            match numbers.below(4) {
                0 => subject.site.mend(),
                1 => subject.site.begin(names[numbers.below(names.len())], Fault::Down),
                2 => subject.site.begin(names[numbers.below(names.len())], Fault::Slow),
                _ => {}
            }
            let action = numbers.below(ACTIONS);
            let result = Sample { digest: result_of(action, 0).digest, ..result.clone() };
            match subject.put(&result).await {
                Ok(_) => possible[action] = vec![Some(result.value)],
                Err(error) if error.put_certainty() == PutCertainty::NotStored => {}
                Err(_) => possible[action].push(Some(result.value)),
            }
            for (action, possible) in possible.iter().enumerate() {
                match subject.get(&result_of(action, 0).digest).await {
                    Ok(value) => assert!(possible.contains(&Some(value)), "an older result is read again"),
                    Err(error) => assert!(!error.is_not_found() || possible.contains(&None), "{error:?}"),
                }
            }
        }
        subject.site.mend();
        tokio::time::advance(Duration::from_mins(10)).await;
        for (action, possible) in possible.iter().enumerate() {
            match subject.get(&result_of(action, 0).digest).await {
                Ok(value) => assert!(possible.contains(&Some(value)), "an older result is read again"),
                Err(error) => assert!(error.is_not_found() && possible.contains(&None), "{error:?}"),
            }
        }
    }
}

macro_rules! deployments {
    ($($name:ident, without $spare:expr;)*) => {
        $(
            #[tokio::test(start_paused = true)]
            async fn $name() {
                check_all(Deployment { make: &deployments::$name, spare: &$spare }).await;
            }
        )*
    };
}

deployments! {
    node, without [];
    node_of_results, without [];
    frontend, without [];
    frontend_of_results, without [];
    mirrored_nodes, without ["a", "b"];
    mirrored_results, without ["a", "b"];
    migration, without ["old"];
    migration_of_results, without ["old"];
    projects, without ["right"];
    branches, without [];
    shards, without [];
    shards_of_results, without [];
    mirrored_shards, without ["0a", "0b", "1a", "1b"];
    moving_shards, without [];
    worker, without ["disk"];
    far_frontend_of_results, without ["near"];
    trial, without ["near"];
}
