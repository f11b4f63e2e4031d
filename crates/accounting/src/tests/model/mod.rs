//! A model of everything between an upload and the ledger. Every state within small bounds is visited.
//!
//! Journal, reports, rows and books are the real ones, as plain values; store, processes and network are a few fields. After
//! each step the invariants I1 to I7 are checked, and from each state the world is brought to rest: then the ledger must
//! equal the store.

mod checks;
mod exploring;
mod process;
mod reports;
mod rows;
mod steps;

use std::collections::{BTreeMap, BTreeSet};

use blobaccess::{AccountName, Digest, DigestFunction, InstanceName, StorageType, UploadToken};

use crate::drift::Reading;
use crate::journal::{Owner, State};
use crate::ledger::Book;
use crate::{Account, Amounts, Class, Epoch, Outcome, Report, Reporter, Tally};

/// The key of a row: life, number of the batch, account and class.
type Key = (Epoch, u64, Account, Class);

/// A fault that the model is to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Mistake {
    None,
    /// Reports hold the difference from the previous one, and ledgers add them up.
    DeltaReports,
    /// The journals of earlier lives are not read.
    NoReplay,
    /// An outcome is counted and reported before it is written down.
    CountedBeforeWritten,
    /// Blobs that exist are taken for another upload's.
    ExistsMeansAnothers,
    /// The state of rows is in memory only.
    RowsInMemory,
    /// A journal is deleted as soon as the ledger has acknowledged it.
    RowsForgotten,
}

/// The number of steps of each kind in a run.
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
    /// Whether there is a sink of rows.
    has_rows: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Upload {
    number: u64,
    key: u8,
    /// The outcome in the store, once there is one.
    stored: Option<Outcome>,
}

/// A life of the reporter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Process {
    /// The journal on disk.
    journal: State,
    /// The counts, in memory only.
    counted: BTreeMap<Account, Tally>,
    uploads: Vec<Upload>,
    seq: u64,
    next_number: u64,
    /// Earlier lives whose last report or rows were not acknowledged.
    dead: Vec<State>,
    /// The earlier lives whose last report was acknowledged.
    acknowledged: BTreeSet<Epoch>,
    /// The counts of the previous report, for the mistake that needs them.
    reported: BTreeMap<Account, Tally>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    mistake: Mistake,
    bounds: Bounds,
    /// The token and the size of each stored blob.
    store: BTreeMap<u8, (UploadToken, u64)>,
    process: Option<Process>,
    /// Journals that nobody holds.
    journals: Vec<State>,
    epochs: u8,
    network: Vec<Report>,
    book: Book,
    /// The rows in the table of the site, by their key.
    table: BTreeMap<Key, Amounts>,
    /// The sum of all delivered reports, for the mistake that needs it.
    added_up: BTreeMap<Account, Tally>,
    /// The uploads that created something, in truth.
    created: BTreeSet<(u8, u8, u64)>,
    truth: BTreeMap<Account, Truth>,
    scan: Option<Reading>,
    adjusted: i64,
}

/// The changes of the store, in truth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Truth {
    added_bytes: u64,
    removed_bytes: u64,
}

/// The keys: contents, where two uploads may race for the first, and an entry that is replaced.
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

fn owner() -> Owner {
    Owner { reporter: reporter(), store: String::new() }
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
            table: BTreeMap::new(),
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
