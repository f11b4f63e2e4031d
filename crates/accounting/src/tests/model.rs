//! A model of everything between an upload and the ledger, of which every state within small bounds is visited.
//!
//! Journal, reports and books are the real ones, as plain values; store, processes and network are a few fields. After
//! each step the invariants I1 to I7 are checked, and from each state the world is brought to rest: then the ledger must
//! equal the store.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{Hash, Hasher};
use std::time::SystemTime;

use blobaccess::{Digest, DigestFunction, InstanceName, Namespace, StorageType, UploadResolution, UploadToken};
use proptest::prelude::*;

use crate::drift::{DriftInterval, Reading, Scanned};
use crate::journal::{Opened, Record, State};
use crate::ledger::Book;
use crate::resolving::outcome_of;
use crate::{Account, Adjustment, Amounts, Class, Epoch, ErrorReason, Outcome, Report, Reporter, Tally};

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

#[derive(Clone, Copy, Debug)]
enum Action {
    Begin(u8),
    Commit(usize),
    Finish(usize),
    /// The answer is lost, and the store asked under the token.
    Lose(usize),
    /// The future is dropped before anything was sent.
    Drop(usize),
    Delete(u8),
    Crash,
    Restart,
    Flush,
    Deliver(usize),
    DeliverWithoutAnswer(usize),
    Vanish(usize),
    Duplicate(usize),
    Consume,
    Scan,
    Adjust,
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
    Account::new(Namespace::new("ns"), storage_type(key))
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

    fn actions(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        let bounds = self.bounds;
        match &self.process {
            None => actions.push(Action::Restart),
            Some(process) => {
                if bounds.uploads > 0 && process.uploads.len() < 2 {
                    actions.extend(KEYS.map(|(key, _)| Action::Begin(key)));
                }
                for (index, upload) in process.uploads.iter().enumerate() {
                    if upload.stored.is_none() {
                        actions.extend([Action::Commit(index), Action::Drop(index)]);
                    } else {
                        actions.push(Action::Finish(index));
                    }
                    // Of an entry of a mutable kind, what is not answered is not known.
                    if bounds.faults > 0 && !storage_type(upload.key).is_mutable() {
                        actions.push(Action::Lose(index));
                    }
                }
                if bounds.deletions > 0 {
                    actions.extend(self.store.keys().map(|key| Action::Delete(*key)));
                }
                let uncertain = process.uploads.iter().any(|upload| storage_type(upload.key).is_mutable());
                if bounds.crashes > 0 && !uncertain {
                    actions.push(Action::Crash);
                }
                if bounds.flushes > 0 && self.network.len() < 3 {
                    actions.push(Action::Flush);
                }
            }
        }
        for index in 0..self.network.len() {
            actions.push(Action::Deliver(index));
            if bounds.faults > 0 {
                actions.extend([Action::DeliverWithoutAnswer(index), Action::Vanish(index), Action::Duplicate(index)]);
            }
        }
        if bounds.consumptions > 0 {
            actions.push(Action::Consume);
        }
        if bounds.scans > 0 || self.scan.is_some() {
            actions.push(Action::Scan);
        }
        if bounds.adjustments > 0 {
            actions.push(Action::Adjust);
        }
        actions
    }

    fn step(&mut self, action: Action) {
        match action {
            Action::Begin(key) => self.begin(key),
            Action::Commit(index) => self.commit(index),
            Action::Finish(index) => self.finish(index),
            Action::Lose(index) => {
                self.bounds.faults -= 1;
                self.lose(index);
            }
            Action::Drop(index) => {
                let upload = self.process().uploads.remove(index);
                self.end(&upload, Outcome::Error(ErrorReason::Cancelled));
            }
            Action::Delete(key) => self.delete(key),
            Action::Crash => {
                self.bounds.crashes -= 1;
                if let Some(process) = self.process.take() {
                    self.journals.extend(process.dead);
                    self.journals.push(process.journal);
                }
            }
            Action::Restart => self.restart(),
            Action::Flush => {
                self.bounds.flushes -= 1;
                let reports = self.reports();
                self.network.extend(reports);
            }
            Action::Deliver(index) => self.deliver(index, true),
            Action::DeliverWithoutAnswer(index) => {
                self.bounds.faults -= 1;
                self.deliver(index, false);
            }
            Action::Vanish(index) => {
                self.bounds.faults -= 1;
                self.network.remove(index);
            }
            Action::Duplicate(index) => {
                self.bounds.faults -= 1;
                let report = self.network[index].clone();
                self.apply(&report);
            }
            Action::Consume => {
                self.bounds.consumptions -= 1;
                self.book.consume(SystemTime::UNIX_EPOCH);
            }
            Action::Scan => self.scan(),
            Action::Adjust => {
                self.bounds.adjustments -= 1;
                // An operator takes it back later, each of them once though it is sent twice.
                for delta in [5, -5, 5] {
                    let adjustment =
                        Adjustment::new(format!("{delta}"), account(0), delta, (0, 0), SystemTime::UNIX_EPOCH);
                    self.book.adjust(&adjustment);
                }
                self.adjusted = 0;
            }
        }
    }

    fn process(&mut self) -> &mut Process {
        self.process.as_mut().unwrap()
    }

    fn begin(&mut self, key: u8) {
        self.bounds.uploads -= 1;
        let process = self.process();
        let number = process.next_number;
        process.next_number += 1;
        process.uploads.push(Upload { number, key, stored: None });
        process.counted.entry(account(key)).or_default().add(Class::Started, Amounts::started(logical_bytes(number)));
        process.journal.apply(&Record::Open(Opened {
            number,
            name: u32::from(key),
            digest: digest(key),
            logical_bytes: logical_bytes(number),
            token: None,
            sent: false,
            counted: false,
        }));
        process.journal.apply(&Record::Sent { number });
    }

    /// The store takes it up, if it is not there; of a mutable kind in any case.
    fn commit(&mut self, index: usize) {
        let epoch = self.process().journal.epoch;
        let upload = self.process().uploads[index].clone();
        let (key, size) = (upload.key, 10 + upload.number);
        let token = crate::tokens::token_of(epoch, upload.number);
        let truth = self.truth.entry(account(key)).or_default();
        let outcome = match self.store.get(&key).copied() {
            None => {
                truth.added_bytes += size;
                self.created.insert((epoch.as_bytes()[0], key, upload.number));
                self.store.insert(key, (token, size));
                Outcome::Created { stored_bytes: size }
            }
            Some((_, old_bytes)) if storage_type(key).is_mutable() => {
                truth.added_bytes += size;
                truth.removed_bytes += old_bytes;
                self.store.insert(key, (token, size));
                Outcome::Replaced { stored_bytes: size, old_bytes }
            }
            Some((_, stored_bytes)) => Outcome::AlreadyExists { stored_bytes },
        };
        self.process().uploads[index].stored = Some(outcome);
    }

    fn finish(&mut self, index: usize) {
        let upload = self.process().uploads.remove(index);
        let outcome = upload.stored.unwrap();
        // I3: an upload is created exactly if it is this one that created what was stored.
        let epoch = self.process().journal.epoch.as_bytes()[0];
        let created = self.created.contains(&(epoch, upload.key, upload.number));
        assert_eq!(matches!(outcome, Outcome::Created { .. }), created);
        self.end(&upload, outcome);
    }

    fn lose(&mut self, index: usize) {
        let upload = self.process().uploads.remove(index);
        let token = crate::tokens::token_of(self.process().journal.epoch, upload.number);
        let mut resolution = self.resolve(upload.key, token);
        if self.mistake == Mistake::ExistsMeansAnothers
            && let UploadResolution::Mine { stored_bytes } = resolution
        {
            resolution = UploadResolution::Anothers { stored_bytes };
        }
        self.end(&upload, outcome_of(resolution, storage_type(upload.key), ErrorReason::Rejected));
    }

    fn resolve(&self, key: u8, token: UploadToken) -> UploadResolution {
        match self.store.get(&key) {
            None => UploadResolution::Absent,
            Some((stored, stored_bytes)) if *stored == token => UploadResolution::Mine { stored_bytes: *stored_bytes },
            Some((_, stored_bytes)) => UploadResolution::Anothers { stored_bytes: *stored_bytes },
        }
    }

    fn end(&mut self, upload: &Upload, outcome: Outcome) {
        let early = self.mistake == Mistake::CountedBeforeWritten;
        let process = self.process();
        let amounts = Amounts::ended(outcome, logical_bytes(upload.number));
        process.counted.entry(account(upload.key)).or_default().add(Class::of(outcome), amounts);
        if !early {
            process.journal.apply(&Record::End { number: upload.number, outcome });
        }
    }

    /// Only when nothing is under way: what is deleted before it was counted is not told from what never was.
    fn delete(&mut self, key: u8) {
        if !self.process().uploads.is_empty() {
            return;
        }
        self.bounds.deletions -= 1;
        let Some((_, size)) = self.store.remove(&key) else { return };
        self.truth.entry(account(key)).or_default().removed_bytes += size;
        let (class, amounts) = (Class::DeletedOnRequest, Amounts::deleted(1, size));
        let process = self.process();
        process.journal.apply(&Record::Deleted { account: account(key), class, amounts });
        process.counted.entry(account(key)).or_default().add(class, amounts);
    }

    fn restart(&mut self) {
        self.epochs += 1;
        let mut journal = State::new(reporter(), Epoch::from_bytes([self.epochs; 16]));
        for (key, _) in KEYS {
            let (id, instance_name) = (u32::from(key), InstanceName::empty());
            journal.apply(&Record::Name { id, account: account(key), instance_name });
        }
        let mut dead = std::mem::take(&mut self.journals);
        if self.mistake == Mistake::NoReplay {
            dead.clear();
        }
        for life in &mut dead {
            for unsent in life.unsent() {
                life.apply(&unsent);
            }
            for (number, intent) in life.intents().clone() {
                let key = KEYS.iter().find(|(key, _)| digest(*key) == intent.digest).unwrap().0;
                let resolution = self.resolve(key, intent.token);
                let outcome = outcome_of(resolution, storage_type(key), ErrorReason::Cancelled);
                life.apply(&Record::End { number, outcome });
            }
        }
        self.process = Some(Process {
            journal,
            counted: BTreeMap::new(),
            uploads: Vec::new(),
            seq: 0,
            next_number: 1,
            dead,
            reported: BTreeMap::new(),
        });
    }

    fn reports(&mut self) -> Vec<Report> {
        let deltas = self.mistake == Mistake::DeltaReports;
        let process = self.process();
        process.seq += 1;
        let (epoch, seq) = (process.journal.epoch, process.seq);
        let said = |(account, tally): (&Account, &Tally)| {
            let before = process.reported.get(account).cloned().unwrap_or_default();
            (account.clone(), if deltas { tally.beyond(&before) } else { tally.clone() })
        };
        let accounts = process.counted.iter().map(said).collect();
        if deltas {
            process.reported = process.counted.clone();
        }
        let mut reports = vec![Report::new(reporter(), epoch, seq, SystemTime::UNIX_EPOCH, accounts)];
        reports.extend(process.dead.iter().map(|life| {
            Report::new(reporter(), life.epoch, u64::MAX, SystemTime::UNIX_EPOCH, life.totals()).closing()
        }));
        reports
    }

    fn apply(&mut self, report: &Report) {
        let before = self.book.clone();
        self.book.apply(report);
        // I5: what was applied once changes nothing the second time.
        let once = self.book.clone();
        self.book.apply(report);
        assert_eq!(self.book, once);
        drop(before);
        for (account, tally) in &report.accounts {
            self.added_up.entry(account.clone()).or_default().add_all(tally);
        }
    }

    fn deliver(&mut self, index: usize, answered: bool) {
        let report = self.network.remove(index);
        self.apply(&report);
        if answered && let Some(process) = &mut self.process {
            // The answer to what an earlier life had sent itself reaches nobody.
            process.dead.retain(|life| !report.closed || life.epoch != report.epoch);
        }
    }

    /// The first half reads the ledger and lists the store; the second reads the ledger again.
    ///
    /// In between anything may happen. All that is said then has been reported, or the second half waits.
    fn scan(&mut self) {
        let reading = |world: &Self| Reading::of(&world.book.totals(None), StorageType::Cas);
        match self.scan.take() {
            None => {
                self.bounds.scans -= 1;
                self.scan = Some(reading(self));
            }
            Some(before) => {
                let mut rested = self.clone();
                rested.rest();
                let stored = rested.store.get(&0).map_or(0, |(_, size)| *size);
                let scanned = Scanned { objects: 1, stored_bytes: stored };
                let drift = DriftInterval::new(&before, &scanned, &reading(&rested));
                assert_eq!(drift.proved_bytes(), 0, "{drift:?}");
            }
        }
    }

    /// Lets everything come to its end: no more faults, and all that was begun is finished and reported.
    fn rest(&mut self) {
        if self.process.is_none() {
            self.restart();
        }
        while !self.process().uploads.is_empty() {
            if self.process().uploads[0].stored.is_none() {
                self.commit(0);
            }
            self.finish(0);
        }
        let reports = self.reports();
        self.network.extend(reports);
        while !self.network.is_empty() {
            self.deliver(0, true);
        }
    }

    fn check(&self) {
        if let Some(process) = &self.process {
            for (key, _) in KEYS {
                let under_way: Vec<_> = process.uploads.iter().filter(|upload| upload.key == key).collect();
                let logical: u64 = under_way.iter().map(|upload| logical_bytes(upload.number)).sum();
                let of = |tally: Option<&Tally>| tally.cloned().unwrap_or_default();
                let counted = of(process.counted.get(&account(key)));
                // I1: what was begun has ended or is under way, in objects and bytes.
                let (started, ended) = (counted.of(Class::Started), counted.ended());
                assert_eq!(started.objects, ended.objects + u64::try_from(under_way.len()).unwrap());
                assert_eq!(started.logical_bytes, ended.logical_bytes + logical);
            }
            // I2: what is under way has no outcome, and all else has one.
            let open: Vec<_> = process.journal.intents().keys().copied().collect();
            let mut under_way: Vec<_> = process.uploads.iter().map(|upload| upload.number).collect();
            under_way.sort_unstable();
            if self.mistake != Mistake::CountedBeforeWritten {
                assert_eq!(open, under_way);
            }
        }
        for total in self.book.totals(None) {
            let truth = self.truth.get(&total.account).copied().unwrap_or_default();
            // I4: never more than what happened.
            assert!(total.tally.added_bytes() <= truth.added_bytes, "{total:?} of {truth:?}");
            assert!(total.tally.removed_bytes() <= truth.removed_bytes, "{total:?} of {truth:?}");
            // I6: sizes in the store are below 100, logical ones above 1,000.
            let created = total.tally.of(Class::Created);
            assert!(created.stored_bytes < 100 * created.objects + 1);
            assert!(created.logical_bytes >= 1_000 * created.objects);
        }
    }

    /// Brought to rest, the ledger is the store, and so is what was consumed.
    fn check_rested(&self) {
        let mut rested = self.clone();
        rested.rest();
        rested.check();
        rested.book.consume(SystemTime::UNIX_EPOCH);
        for (key, _) in KEYS {
            let stored = rested.store.get(&key).map_or(0, |(_, size)| i128::from(*size));
            let totals = rested.book.totals(None);
            let total = totals.iter().find(|total| total.account == account(key));
            let mut footprint = total.map_or(0, crate::Total::footprint_bytes);
            if self.mistake == Mistake::DeltaReports {
                footprint = rested.added_up.get(&account(key)).map_or(0, Tally::net_bytes);
            }
            // I7: the net is what is stored, and so never less than nothing.
            assert_eq!(footprint, stored, "account {key} at rest");
            let statements = rested.book.statements();
            let statement = statements.iter().find(|statement| statement.account == account(key));
            if self.mistake == Mistake::None {
                assert_eq!(statement.map_or(0, crate::Statement::footprint_bytes), stored);
                // Nothing is under way in any life, so that I1 holds in the ledger too.
                assert!(total.is_none_or(|total| total.tally.in_flight().objects == 0));
            }
        }
    }
}

fn digest_of(world: &World) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, world).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}

/// Visits every state that can be reached, depth first. How many there are.
fn explore(bounds: Bounds, mistake: Mistake) -> usize {
    let mut seen = HashSet::new();
    let mut open = vec![World::new(bounds, mistake)];
    while let Some(world) = open.pop() {
        if !seen.insert(digest_of(&world)) {
            continue;
        }
        world.check();
        world.check_rested();
        for action in world.actions() {
            let mut next = world.clone();
            next.step(action);
            open.push(next);
        }
    }
    seen.len()
}

const NONE: Bounds =
    Bounds { uploads: 0, crashes: 0, flushes: 0, deletions: 0, faults: 0, consumptions: 0, adjustments: 0, scans: 0 };

/// What is explored whole: each of these takes seconds without optimization. With it, more of everything is.
const SMALL: [Bounds; 4] = [
    Bounds { uploads: 2, crashes: 1, flushes: 1, ..NONE },
    Bounds { uploads: 1, crashes: 1, flushes: 2, faults: 1, deletions: 1, ..NONE },
    Bounds { uploads: 2, flushes: 1, faults: 1, ..NONE },
    Bounds { uploads: 1, flushes: 1, deletions: 1, consumptions: 1, adjustments: 1, scans: 1, ..NONE },
];

#[test]
fn in_every_state_within_small_bounds_the_invariants_hold() {
    let states: Vec<_> = SMALL.into_iter().map(|bounds| explore(bounds, Mistake::None)).collect();
    println!("{states:?} states");
    assert!(states.iter().all(|states| *states > 100), "{states:?} states");
}

/// The same within larger bounds.
#[test]
#[ignore = "takes two minutes with --release: for whoever changes what it is a model of"]
fn in_every_state_within_larger_bounds_the_invariants_hold() {
    let bounds = Bounds { uploads: 2, crashes: 1, flushes: 2, deletions: 1, faults: 1, consumptions: 1, ..NONE };
    let states = explore(bounds, Mistake::None);
    println!("{states} states");
    assert!(states > 1_000_000, "{states} states");
}

/// The model has teeth: each of these mistakes shows within the same bounds.
#[test]
fn mistakes_are_found() {
    for mistake in
        [Mistake::DeltaReports, Mistake::NoReplay, Mistake::CountedBeforeWritten, Mistake::ExistsMeansAnothers]
    {
        let found = |bounds| std::panic::catch_unwind(|| explore(bounds, mistake)).is_err();
        assert!(SMALL.into_iter().any(found), "{mistake:?} was not found");
    }
}

const LARGE: Bounds = Bounds {
    uploads: 80,
    crashes: 8,
    flushes: 60,
    deletions: 20,
    faults: 60,
    consumptions: 30,
    adjustments: 1,
    scans: 10,
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// The same, far beyond those bounds, by chance.
    #[test]
    fn in_long_runs_the_invariants_hold(choices in proptest::collection::vec(any::<usize>(), 1..400)) {
        let mut world = World::new(LARGE, Mistake::None);
        for (index, choice) in choices.into_iter().enumerate() {
            let actions = world.actions();
            if actions.is_empty() {
                break;
            }
            world.step(actions[choice % actions.len()]);
            world.check();
            if index % 16 == 0 {
                world.check_rested();
            }
        }
        world.check_rested();
    }
}
