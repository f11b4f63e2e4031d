//! A store that breaks one rule, and the fixture that opens it.
#![expect(clippy::wildcard_enum_match_arm, reason = "a fault shows in one place, and elsewhere all are alike")]

mod calls;
mod fault;
mod puts;

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt::{self, Debug, Display, Formatter};
use std::sync::{Arc, Mutex, MutexGuard};

use blobaccess::{Digest, Error, Kind, MemoryStore, PutOutcome, Result, UploadToken};
use blobaccess_testkit::fakes::{InterruptibleStore, Outage};
use blobaccess_testkit::foreign_answers::ForeignAnswer;
use blobaccess_testkit::{Damage, Fixture, Promises};
use bytes::Bytes;
use futures::future::{BoxFuture, Shared};

pub(crate) use self::fault::Fault;

/// Small, so that contracts about eviction are quick.
pub(crate) const CAPACITY_BYTES: u64 = 1 << 20;

/// A limit above the size of any blob.
const ANY_SIZE: u64 = 1 << 40;

fn size_of(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap()
}

/// A store in memory with one fault.
pub(crate) struct Broken<K: Kind> {
    fault: Fault,
    inner: Arc<InterruptibleStore<Arc<MemoryStore<K>>>>,
    memory: Arc<MemoryStore<K>>,
    state: Arc<Mutex<State>>,
    /// The number of times that the fixture was opened, this time included.
    generation: u64,
    /// The digests that were put since this store was opened.
    put_here: Mutex<HashSet<Digest>>,
    alive: Arc<()>,
}

/// The state of faults.
#[derive(Default)]
struct State {
    /// The values that are read instead of the stored ones.
    instead: HashMap<Digest, Bytes>,
    /// The first value of each digest.
    first: HashMap<Digest, Bytes>,
    /// The digests that are treated as absent.
    absent: HashSet<Digest>,
    /// The digests that are damaged where they lie, and those of them that a read has found.
    damaged: HashSet<Digest>,
    lost: HashSet<Digest>,
    /// The digests that `find_missing` treats as present.
    found: HashSet<Digest>,
    /// The digests in order of use, with their sizes.
    order: VecDeque<(Digest, u64)>,
    tokens: HashMap<Digest, UploadToken>,
    flights: HashMap<Digest, Shared<BoxFuture<'static, Result<PutOutcome>>>>,
    part: Option<Bytes>,
    lent: u64,
    latched: Option<Error>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl<K: Kind> Broken<K> {
    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// Returns the lock that one call has at a time.
    fn turn(&self) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(&self.state().turn)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl<K: Kind> Display for Broken<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.fault {
            Fault::PrintsTwoLines => f.write_str("broken\n(memory)"),
            Fault::HidesItsLayers => f.write_str("broken"),
            _ => write!(f, "broken({})", self.inner),
        }
    }
}

impl<K: Kind> Debug for Broken<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Broken({:?})", self.fault)
    }
}

/// A fixture that opens a broken store over one that is sound, durable and can break down.
pub(crate) struct BrokenFixture<K: Kind> {
    fault: Fault,
    promises: Promises,
    memory: Mutex<Arc<MemoryStore<K>>>,
    state: Arc<Mutex<State>>,
    outage: Outage,
    opened: Mutex<u64>,
}

impl<K: Kind> BrokenFixture<K> {
    pub(crate) fn new(fault: Fault) -> Self {
        let mut promises = Promises::for_memory_store(CAPACITY_BYTES).with_durable(true);
        if fault == Fault::KeepsLessThanPromised {
            promises = promises.with_keeps_bytes(Some(2 * CAPACITY_BYTES));
        }
        Self {
            fault,
            promises,
            memory: Mutex::new(Arc::new(MemoryStore::new(CAPACITY_BYTES))),
            state: Arc::default(),
            outage: Outage::default(),
            opened: Mutex::new(0),
        }
    }

    pub(crate) fn promising(mut self, change: impl FnOnce(Promises) -> Promises) -> Self {
        self.promises = change(self.promises);
        self
    }
}

impl<K: Kind> Fixture for BrokenFixture<K> {
    type Store = Broken<K>;

    fn promises(&self) -> Promises {
        self.promises
    }

    async fn open(&self) -> Result<Broken<K>> {
        let mut opened = self.opened.lock().unwrap();
        *opened += 1;
        let mut memory = self.memory.lock().unwrap();
        if *opened > 1 && self.fault == Fault::LosesAllOnRestart {
            *memory = Arc::new(MemoryStore::new(CAPACITY_BYTES));
        }
        Ok(Broken {
            fault: self.fault,
            inner: Arc::new(InterruptibleStore::new(Arc::clone(&memory), self.outage.clone())),
            memory: Arc::clone(&memory),
            state: Arc::clone(&self.state),
            generation: *opened,
            put_here: Mutex::default(),
            alive: Arc::default(),
        })
    }

    fn break_down(&self) -> bool {
        self.break_down_with(Error::unavailable("down for a test"))
    }

    fn break_down_with(&self, error: Error) -> bool {
        self.outage.begin(error);
        true
    }

    fn answer_with(&self, answer: &ForeignAnswer) -> bool {
        self.outage.begin(match self.fault {
            Fault::TakesAPageForAbsence if answer.status == 404 => Error::not_found("no such path"),
            Fault::QuotesPages => Error::unavailable(answer.body.to_string()),
            _ => Error::unavailable(format!("the answer is {}", answer.status)),
        });
        true
    }

    fn mend(&self) {
        self.outage.end();
    }

    fn damage(&self, digest: &Digest, _contents: &Bytes, damage: Damage) -> bool {
        if self.fault == Fault::TakesDamageForAnOutage && damage == Damage::Wrong {
            return false;
        }
        self.state.lock().unwrap().damaged.insert(digest.clone())
    }

    fn layers(&self) -> Vec<String> {
        vec!["broken".to_owned(), "memory".to_owned()]
    }
}
