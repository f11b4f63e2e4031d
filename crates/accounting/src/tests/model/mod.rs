//! A model of everything between an upload and the ledger, of which every state within small bounds is visited.
//!
//! Journal, reports and books are the real ones, as plain values; store, processes and network are a few fields. After
//! each step the invariants I1 to I7 are checked, and from each state the world is brought to rest: then the ledger must
//! equal the store.

mod checks;
mod exploring;
mod process;
mod reports;
mod steps;

use std::collections::{BTreeMap, BTreeSet};

use blobaccess::{AccountName, Digest, DigestFunction, InstanceName, StorageType, UploadToken};

use crate::drift::Reading;
use crate::journal::State;
use crate::ledger::Book;
use crate::{Account, Outcome, Report, Reporter, Tally};

/// A fault that the model is to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Mistake {
    None,
    /// Reports say what happened since the one before, and ledgers add them up.
    DeltaReports,
    /// The journals of earlier lives are not read.
    NoReplay,
    /// An outcome is counted and reported before it is written down.
    CountedBeforeWritten,
    /// What exists is taken for somebody else's.
    ExistsMeansAnothers,
}

/// How many steps of each kind a run may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Bounds {
    uploads: u8,
    crashes: u8,
    flushes: u8,
    deletions: u8,
    faults: u8,
    consumptions: u8,
    adjustments: u8,
    scans: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Upload {
    number: u64,
    key: u8,
    /// What the store came to, once it did.
    stored: Option<Outcome>,
}

/// A life of the reporter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Process {
    /// What is on disk.
    journal: State,
    /// What is in memory only.
    counted: BTreeMap<Account, Tally>,
    uploads: Vec<Upload>,
    seq: u64,
    next_number: u64,
    /// Earlier lives whose last report was not acknowledged.
    dead: Vec<State>,
    /// What the report before said, for the mistake that needs it.
    reported: BTreeMap<Account, Tally>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    mistake: Mistake,
    bounds: Bounds,
    /// Token and size of what is stored.
    store: BTreeMap<u8, (UploadToken, u64)>,
    process: Option<Process>,
    /// Journals that nobody holds.
    journals: Vec<State>,
    epochs: u8,
    network: Vec<Report>,
    book: Book,
    /// For the mistake that needs it: all that was delivered, added up.
    added_up: BTreeMap<Account, Tally>,
    /// Who has created what, in truth: token and size.
    created: BTreeSet<(u8, u8, u64)>,
    truth: BTreeMap<Account, Truth>,
    scan: Option<Reading>,
    adjusted: i64,
}

/// What happened to the store, in truth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Truth {
    added_bytes: u64,
    removed_bytes: u64,
}

/// Contents, of which two uploads may race for the first; an entry that is replaced.
const KEYS: [(u8, StorageType); 2] = [(0, StorageType::Cas), (1, StorageType::Ac)];

fn storage_type(key: u8) -> StorageType {
    KEYS[usize::from(key)].1
}

fn account(key: u8) -> Account {
    Account::new(AccountName::new("ns"), storage_type(key))
}

fn digest(key: u8) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, &[key])
}

fn reporter() -> Reporter {
    Reporter::new("host")
}

fn logical_bytes(number: u64) -> u64 {
    1_000 + number
}

impl World {
    fn new(bounds: Bounds, mistake: Mistake) -> Self {
        let mut world = Self {
            mistake,
            bounds,
            store: BTreeMap::new(),
            process: None,
            journals: Vec::new(),
            epochs: 0,
            network: Vec::new(),
            book: Book::default(),
            added_up: BTreeMap::new(),
            created: BTreeSet::new(),
            truth: BTreeMap::new(),
            scan: None,
            adjusted: 0,
        };
        world.restart();
        world
    }
}
