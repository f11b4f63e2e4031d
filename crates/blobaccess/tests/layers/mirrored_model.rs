//! A mirror under outages at random: what was acknowledged is readable while a copy lives that can be reached, no outage
//! is absence, and repairs converge.
#![expect(clippy::indexing_slicing, reason = "there are two halves, and their indexes are 0 and 1")]
#![expect(clippy::print_stdout, reason = "test output is shown when the test fails, and then the calls are wanted")]

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::decorators::{Mirrored, MirroredOptions, PutPolicy};
use blobaccess::replication::{EntryLocks, LocalReplicator};
use blobaccess::{
    Ac, Blob, BlobAccess, BlobAccessExt, Cas, Clock, Context, Digest, DigestSet, Error, Kind, PutCertainty, SystemClock,
};
use blobaccess_testkit::fakes::{InterruptibleStore, Outage};
use blobaccess_testkit::{ManualClock, Numbers, digest_of, seed, time_budget};

use crate::replaceable::ReplaceableStore;

static CTX: Context = Context::background();

/// The number of calls of one run.
const CALLS: usize = 400;

/// The number of keys: few, so that each is put, lost and repaired again and again.
const KEYS: usize = 12;

type Half<K> = Arc<InterruptibleStore<ReplaceableStore<K>>>;

/// The knowledge about one key.
#[derive(Clone, Debug, Default)]
struct Known {
    /// The value that was acknowledged last.
    acknowledged: Option<String>,
    /// The values of later puts that failed and may be stored.
    maybe: BTreeSet<String>,
}

impl Known {
    fn permits(&self, value: &str) -> bool {
        self.acknowledged.as_deref() == Some(value) || self.maybe.contains(value)
    }
}

struct Model<K: Kind> {
    halves: [Half<K>; 2],
    is_down: [bool; 2],
    loses_answers: [bool; 2],
    policy: PutPolicy,
    clock: ManualClock,
    store: Mirrored<K>,
    known: HashMap<usize, Known>,
    /// The number of values of messages so far. No two are equal, so that what a half has tells which put it is of.
    values: usize,
    /// The copies of messages that a half has without the mirror's knowledge, by half and key.
    unknown_copies: HashSet<(usize, usize)>,
    /// The calls so far and their results, for a failure.
    trace: Vec<String>,
}

fn dynamic<K: Kind>(half: &Half<K>) -> Arc<dyn BlobAccess<Kind = K>> {
    Arc::<InterruptibleStore<ReplaceableStore<K>>>::clone(half)
}

fn key(number: usize) -> Digest {
    digest_of(key_contents(number))
}

fn key_contents(number: usize) -> String {
    format!("contents of {number}")
}

impl<K: Kind> Model<K> {
    fn new(policy: PutPolicy) -> Self {
        let half = || Arc::new(InterruptibleStore::new(ReplaceableStore::<K>::new(), Outage::default()));
        let (a, b, locks, clock) = (half(), half(), Arc::<EntryLocks>::default(), ManualClock::new());
        let replicator = |source: &Half<K>, sink: &Half<K>| {
            Arc::new(LocalReplicator::new(Arc::clone(source), Arc::clone(sink)).with_entry_locks(Arc::clone(&locks)))
        };
        let store = Mirrored::new(dynamic(&a), dynamic(&b), replicator(&a, &b), replicator(&b, &a))
            .with_entry_locks(locks)
            .with_clock(Arc::new(clock.clone()))
            .with_options(MirroredOptions::new().with_put_policy(policy));
        let (known, unknown_copies, trace) = (HashMap::new(), HashSet::new(), Vec::new());
        Self {
            halves: [a, b],
            is_down: [false; 2],
            loses_answers: [false; 2],
            policy,
            clock,
            store,
            known,
            values: 0,
            unknown_copies,
            trace,
        }
    }

    fn next_value(&mut self) -> usize {
        self.values += 1;
        self.values
    }

    /// Returns the value of a key in each half, and in each half that is up.
    async fn values(&self, number: usize) -> [Option<String>; 2] {
        let mut values = [None, None];
        for (value, half) in values.iter_mut().zip(&self.halves) {
            let contents = half.inner().contents(&key(number)).await;
            *value = contents.map(|contents| String::from_utf8(contents.to_vec()).unwrap());
        }
        values
    }

    fn known(&self, number: usize) -> Known {
        self.known.get(&number).cloned().unwrap_or_default()
    }

    /// Returns whether a half that is up has the value that was acknowledged last, and no later one is in question.
    fn must_be_read(&self, number: usize, values: &[Option<String>; 2]) -> bool {
        let known = self.known(number);
        let Some(acknowledged) = known.acknowledged else { return false };
        (0..).zip(self.is_down.iter().zip(values)).any(|(half, (down, value))| {
            !down && value.as_ref() == Some(&acknowledged) && !self.unknown_copies.contains(&(half, number))
        })
    }

    /// Notes that a half that loses answers may have copies of `numbers` that the mirror does not know of: of contents,
    /// it finds them anyway.
    fn note_unknown_copies(&mut self, numbers: Range<usize>) {
        if K::STORAGE_TYPE.is_mutable() {
            for half in (0..2).filter(|half| self.loses_answers[*half]) {
                self.unknown_copies.extend(numbers.clone().map(|number| (half, number)));
            }
        }
    }

    async fn step(&mut self, numbers: &mut Numbers) {
        let number = numbers.below(KEYS);
        match numbers.below(20) {
            0 => {
                let half = numbers.below(2);
                self.trace.push(format!("{half} goes down"));
                let error = if numbers.below(2) == 0 { Error::unavailable("down") } else { Error::internal("on fire") };
                let error = if numbers.below(2) == 0 { error.not_stored() } else { error };
                self.halves[half].outage().begin(error);
                self.is_down[half] = true;
            }
            1 | 2 => {
                let half = numbers.below(2);
                self.trace.push(format!("{half} is up"));
                self.halves[half].outage().end();
                self.is_down[half] = false;
            }
            3 => {
                self.trace.push("time passes".to_owned());
                self.clock.advance(Duration::from_secs(u64::try_from(numbers.below(7)).unwrap()));
            }
            4 => {
                let result = self.store.repair(&CTX).await;
                self.trace.push(format!("repair: {result:?}"));
                if result.is_ok() {
                    self.unknown_copies.clear();
                } else {
                    assert!(self.is_down.contains(&true) || self.loses_answers.contains(&true), "{result:?}");
                    self.note_unknown_copies(0..KEYS);
                }
            }
            // Of messages, a half that is replaced may have been the one with the value that counts.
            5 if !K::STORAGE_TYPE.is_mutable() && numbers.below(4) == 0 => {
                let half = numbers.below(2);
                self.trace.push(format!("{half} is replaced"));
                self.halves[half].inner().replace();
            }
            6 => {
                let (half, loses) = (numbers.below(2), numbers.below(3) == 0);
                self.trace.push(format!("{half} loses answers: {loses}"));
                self.halves[half].inner().set_loses_answers(loses);
                self.loses_answers[half] = loses;
            }
            7..11 => self.put(number).await,
            11..15 => self.find(number, numbers).await,
            _ => self.get(number).await,
        }
    }

    async fn put(&mut self, number: usize) {
        let value =
            if K::STORAGE_TYPE.is_mutable() { format!("value {}", self.next_value()) } else { key_contents(number) };
        let result = self.store.put(&CTX, &key(number), Blob::from_bytes(value.clone())).await;
        self.trace.push(format!("put {number} {value}: {result:?}"));
        let well = self.is_down.iter().zip(&self.loses_answers).filter(|(down, loses)| !**down && !**loses).count();
        self.note_unknown_copies(number..number + 1);
        let known = self.known.entry(number).or_default();
        match result {
            Ok(_) => {
                *known = Known { acknowledged: Some(value.clone()), maybe: BTreeSet::new() };
                let values = self.values(number).await;
                let copies = values.iter().filter(|stored| stored.as_ref() == Some(&value)).count();
                let needed = if self.policy == PutPolicy::Both { 2 } else { 1 };
                assert!(copies >= needed, "{copies} copies of what was acknowledged");
            }
            Err(error) => {
                assert!(!error.is_not_found(), "{error:?}");
                let needed = if self.policy == PutPolicy::Both { 2 } else { 1 };
                assert!(well < needed, "a put failed although enough halves are well: {error:?}");
                if error.put_certainty() == PutCertainty::MaybeStored {
                    known.maybe.insert(value);
                } else if known.acknowledged.as_ref() != Some(&value) && !known.maybe.contains(&value) {
                    let values = self.values(number).await;
                    assert!(values.iter().all(|stored| stored.as_ref() != Some(&value)), "it is stored after all");
                }
            }
        }
    }

    async fn get(&mut self, number: usize) {
        let (values, known) = (self.values(number).await, self.known(number));
        let result = self.store.get_bytes(&CTX, &key(number), 1000).await;
        self.trace.push(format!("get {number}: {result:?}, of {values:?}"));
        match result {
            Ok(read) => assert!(known.permits(std::str::from_utf8(&read).unwrap()), "an older value was read"),
            Err(error) => {
                assert!(!self.must_be_read(number, &values), "what was acknowledged cannot be read: {error:?}");
                if self.is_down.contains(&true) {
                    assert!(!error.is_not_found(), "an outage was taken for absence");
                } else {
                    assert!(error.is_not_found(), "{error:?}");
                    assert!(values.iter().all(Option::is_none), "what a half has was not found");
                }
            }
        }
        // A read copies.
        self.note_unknown_copies(number..number + 1);
    }

    async fn find(&mut self, number: usize, numbers: &mut Numbers) {
        let asked = [number, numbers.below(KEYS), numbers.below(KEYS)];
        let (rests, mut values) = (self.store.snapshot(), Vec::new());
        for number in asked {
            values.push((key(number), self.values(number).await));
        }
        let digests: DigestSet = asked.into_iter().map(key).collect();
        let result = self.store.find_missing(&CTX, &digests).await;
        self.trace.push(format!("find {asked:?}: {result:?}"));
        let Ok(missing) = result else {
            assert!(self.is_down.contains(&true), "{result:?}");
            return;
        };
        for (digest, [in_a, in_b]) in values {
            if missing.contains(&digest) {
                // With one half enough, one that is down or rests is not asked about what is to be uploaded.
                let may_be_uploaded = self.policy == PutPolicy::Either && !K::STORAGE_TYPE.is_mutable();
                let passed_over = |is_down: bool, rests: bool| may_be_uploaded && (is_down || rests);
                assert!(in_a.is_none() || passed_over(self.is_down[0], rests.a_rests), "missing although a has it");
                assert!(in_b.is_none() || passed_over(self.is_down[1], rests.b_rests), "missing although b has it");
                if !may_be_uploaded {
                    assert!(!self.is_down.contains(&true), "an outage was taken for absence");
                }
            } else {
                assert!(in_a.is_some() || in_b.is_some(), "no half has what is reported present");
            }
        }
    }

    /// Ends all outages and repairs, after which both halves are the same.
    async fn converge(&mut self) {
        for half in &self.halves {
            half.outage().end();
            half.inner().set_loses_answers(false);
        }
        self.is_down = [false; 2];
        self.clock.advance(Duration::from_secs(10));
        self.trace.push("all is well again".to_owned());
        let all: DigestSet = (0..KEYS).map(key).collect();
        // Ends the rests, and notes what only one half has.
        for number in 0..KEYS {
            drop(self.store.get_bytes(&CTX, &key(number), 1000).await);
        }
        self.store.find_missing(&CTX, &all).await.unwrap();
        self.store.repair(&CTX).await.unwrap();
        let snapshot = self.store.snapshot();
        assert_eq!((snapshot.a_to_b.noted, snapshot.b_to_a.noted), (0, 0), "{snapshot:?}");
        assert!(!snapshot.a_rests && !snapshot.b_rests);
        for number in 0..KEYS {
            let [in_a, in_b] = self.values(number).await;
            assert_eq!(in_a, in_b, "the halves differ in {number}");
            if let Some(value) = in_a {
                assert!(self.known(number).permits(&value), "{number} has an older value: {value}");
            }
        }
    }
}

async fn run<K: Kind>(policy: PutPolicy, seed: u64) {
    let mut numbers = Numbers::new(seed);
    let mut model = Model::<K>::new(policy);
    let ended = std::panic::AssertUnwindSafe(async {
        for _ in 0..CALLS {
            model.step(&mut numbers).await;
        }
        model.converge().await;
    });
    let ended = futures::FutureExt::catch_unwind(ended).await;
    if let Err(panic) = ended {
        let last = model.trace.len().saturating_sub(60);
        println!("seed {seed}, {policy:?}, {}:\n{}", K::STORAGE_TYPE.name(), model.trace[last..].join("\n"));
        std::panic::resume_unwind(panic);
    }
}

/// Takes a tenth of the time budget.
#[tokio::test]
async fn what_was_acknowledged_is_readable_while_a_copy_lives_and_repairs_converge() {
    let mut seeds = Numbers::new(seed("BLOBACCESS_MIRRORED_SEED"));
    let (began, mut runs) = (SystemClock.monotonic(), 0);
    while runs < 4 || SystemClock.monotonic() - began < time_budget() / 10 {
        run::<Cas>(PutPolicy::Both, seeds.draw()).await;
        run::<Cas>(PutPolicy::Either, seeds.draw()).await;
        run::<Ac>(PutPolicy::Both, seeds.draw()).await;
        run::<Ac>(PutPolicy::Either, seeds.draw()).await;
        runs += 4;
    }
    println!("{runs} runs of {CALLS} calls");
}
