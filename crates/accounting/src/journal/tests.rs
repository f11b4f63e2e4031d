use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;

use blobaccess::{AccountName, DigestFunction, StorageType};
use blobaccess_testkit::ManualClock;

use super::record::VERSION;
use super::*;
use crate::Reporter;

struct Setup {
    directory: tempfile::TempDir,
    account: Account,
    clock: ManualClock,
}

fn owner(reporter: &str, store: &str) -> Owner {
    Owner { reporter: Reporter::new(reporter), store: store.to_owned() }
}

impl Setup {
    fn new() -> Self {
        let account = Account::new(AccountName::new("acme"), StorageType::Cas);
        Self { directory: tempfile::tempdir().unwrap(), account, clock: ManualClock::new() }
    }

    fn create(&self, epoch: u8) -> Journal {
        self.create_for(owner("host", ""), epoch)
    }

    fn create_for(&self, owner: Owner, epoch: u8) -> Journal {
        let clock = Arc::new(self.clock.clone());
        Journal::create(self.directory.path(), owner, Epoch::from_bytes([epoch; 16]), clock, false).unwrap()
    }

    fn found(&self, owner: &Owner) -> Found {
        Found::in_directory(self.directory.path(), owner, self.clock.now()).unwrap()
    }

    fn dead(&self) -> Vec<Dead> {
        self.found(&owner("host", "")).dead
    }

    fn open(&self, journal: &Journal, number: u64) {
        let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, &number.to_le_bytes());
        journal.open(&self.account, number, &digest, 8, StoredSize::Exact(8));
    }
}

#[test]
fn the_journal_of_the_living_is_left_alone() {
    let setup = Setup::new();
    let living = setup.create(1);
    assert!(setup.dead().is_empty());
    drop(living);
    let dead = setup.dead();
    assert_eq!(dead.len(), 1);
    // The finder holds its lock.
    assert!(setup.dead().is_empty());
    dead[0].remove().unwrap();
    drop(dead);
    assert!(setup.dead().is_empty());
}

#[test]
fn what_was_written_is_found_after_the_end_of_the_process() {
    let setup = Setup::new();
    let journal = setup.create(1);
    for number in 1..=3 {
        setup.open(&journal, number);
        journal.sent(number);
    }
    setup.open(&journal, 4);
    journal.end(2, Outcome::Created { stored_bytes: 8 });
    journal.deleted(&setup.account, Class::DeletedOnRequest, Amounts::deleted(1, 3));
    let state = journal.state();
    drop(journal);
    let mut dead = setup.dead().remove(0);
    // Uploads that were not sent are dropped for good.
    assert_eq!(dead.state.intents().keys().copied().collect::<Vec<_>>(), [1, 3]);
    assert_eq!(state.intents().len(), 3);
    let tally = dead.state.totals().remove(0).1;
    assert_eq!(tally.get(Class::Started).objects, 4);
    assert_eq!(tally.get(Class::Shutdown).objects, 1);
    assert_eq!(tally.net_bytes(), 5);
    assert!(!dead.report(SystemTime::UNIX_EPOCH).closed);
    // A crash in between loses no answer.
    dead.end(1, Outcome::AlreadyExists { stored_bytes: 8 });
    dead.sync().unwrap();
    drop(dead);
    let mut dead = setup.dead().remove(0);
    assert_eq!(dead.state.intents().keys().copied().collect::<Vec<_>>(), [3]);
    dead.end(3, Outcome::Created { stored_bytes: 8 });
    let report = dead.report(SystemTime::UNIX_EPOCH);
    assert!(report.closed);
    assert_eq!(report.accounts[0].1.net_bytes(), 13);
    assert_eq!(report.accounts[0].1.in_flight().objects, 0);
}

#[test]
fn a_torn_tail_costs_only_what_was_torn() {
    let setup = Setup::new();
    let journal = setup.create(1);
    setup.open(&journal, 1);
    journal.sent(1);
    journal.end(1, Outcome::Created { stored_bytes: 8 });
    let path = journal.path.clone();
    drop(journal);
    let written = std::fs::read(&path).unwrap();
    for torn in 1..33 {
        std::fs::write(&path, &written[..written.len() - torn]).unwrap();
        let mut dead = setup.dead().remove(0);
        assert_eq!(dead.state.intents().len(), 1);
        dead.end(1, Outcome::Created { stored_bytes: 8 });
        dead.sync().unwrap();
        drop(dead);
        assert_eq!(std::fs::read(&path).unwrap(), written, "{torn} bytes");
    }
}

#[test]
fn a_journal_that_has_grown_is_written_anew_and_says_the_same() {
    let setup = Setup::new();
    let journal = setup.create(1);
    journal.compact_at(4_000);
    for number in 1..=1_000 {
        setup.open(&journal, number);
        journal.sent(number);
        if number % 100 != 0 {
            journal.end(number, Outcome::Created { stored_bytes: 8 });
        }
    }
    journal.maintain();
    let Condition { open, failures, bytes, .. } = journal.condition();
    assert_eq!((open, failures), (10, 0));
    assert!(bytes < 4_200, "{bytes} bytes");
    let state = journal.state();
    drop(journal);
    let dead = setup.dead().remove(0);
    assert_eq!(dead.state.totals(), state.totals());
    assert_eq!(dead.state.intents(), state.intents());
    assert_eq!(dead.state.totals()[0].1.get(Class::Created).objects, 990);
}

/// Lets every write of the journal's file fail.
fn fail_writes(journal: &Journal) {
    journal.inner().file = Some(File::open(&journal.path).unwrap());
}

/// Lets the journal be rewritten or not, by the permissions that even a superuser has to keep: of a folder that is there.
fn hide_folder(setup: &Setup, hidden: bool) {
    let (path, aside) = (setup.directory.path(), setup.directory.path().with_extension("aside"));
    if hidden {
        std::fs::rename(path, &aside).unwrap();
        File::create(path).unwrap();
    } else {
        std::fs::remove_file(path).unwrap();
        std::fs::rename(&aside, path).unwrap();
    }
}

#[test]
fn a_journal_that_cannot_be_written_fails_nothing_and_is_made_up_for() {
    let setup = Setup::new();
    let journal = setup.create(1);
    setup.open(&journal, 1);
    fail_writes(&journal);
    setup.open(&journal, 2);
    journal.sent(2);
    assert_eq!((journal.condition().failures, journal.condition().lacking), (1, true));
    setup.clock.advance(PAUSES.0);
    journal.sync().unwrap();
    assert!(!journal.condition().lacking);
    let state = journal.state();
    drop(journal);
    let dead = setup.dead().remove(0);
    assert_eq!((dead.state.intents().len(), state.intents().len()), (1, 2));
    assert_eq!(dead.state.totals()[0].1.get(Class::Started).objects, 2);
}

#[test]
fn a_full_disk_costs_uploads_no_attempt_and_a_report_nothing_that_is_not_written() {
    let setup = Setup::new();
    let journal = setup.create(1);
    fail_writes(&journal);
    hide_folder(&setup, true);
    for number in 0..1_000 {
        setup.open(&journal, number);
        journal.sent(number);
        journal.end(number, Outcome::Created { stored_bytes: 8 });
    }
    assert_eq!(journal.condition().failures, 1);
    for second in 0..60 {
        assert_eq!(journal.sync().unwrap_err().kind(), blobaccess::ErrorKind::Unavailable);
        assert!(journal.condition().failures <= 2 + second / 10 + 5, "{second}");
        setup.clock.advance(Duration::from_secs(1));
    }
    hide_folder(&setup, false);
    setup.clock.advance(PAUSES.1);
    journal.sync().unwrap();
    drop(journal);
    assert_eq!(setup.dead()[0].state.totals()[0].1.get(Class::Created).objects, 1_000);
}

#[test]
fn a_journal_that_could_not_be_synced_is_written_anew_before_anything_is_reported() {
    let setup = Setup::new();
    let journal = setup.create(1);
    setup.open(&journal, 1);
    journal.inner().fail(&journal.path, &setup.clock, &std::io::Error::other("no sync"), true);
    journal.sync().unwrap_err();
    let before = std::fs::metadata(&journal.path).unwrap().ino();
    setup.clock.advance(PAUSES.0);
    journal.sync().unwrap();
    assert_ne!(std::fs::metadata(&journal.path).unwrap().ino(), before);
}

#[test]
fn nothing_is_durable_before_the_folder_of_a_new_file_is_synced() {
    let setup = Setup::new();
    let journal = setup.create(1);
    setup.open(&journal, 1);
    journal.sync().unwrap();
    let (path, aside) = (setup.directory.path(), setup.directory.path().with_extension("aside"));
    // As a rewriting leaves it whose last step failed.
    journal.inner().folder_unsynced = true;
    std::fs::rename(path, &aside).unwrap();
    for _ in 0..2 {
        assert_eq!(journal.sync().unwrap_err().kind(), blobaccess::ErrorKind::Unavailable);
    }
    std::fs::rename(&aside, path).unwrap();
    journal.sync().unwrap();
    assert!(!journal.inner().folder_unsynced);
}

#[test]
fn a_journal_may_begin_on_a_full_disk_if_that_is_permitted() {
    let setup = Setup::new();
    hide_folder(&setup, true);
    let create = |optional| {
        let (owner, epoch) = (owner("host", ""), Epoch::from_bytes([1; 16]));
        Journal::create(setup.directory.path(), owner, epoch, Arc::new(setup.clock.clone()), optional)
    };
    create(false).unwrap_err();
    let journal = create(true).unwrap();
    setup.open(&journal, 1);
    hide_folder(&setup, false);
    setup.clock.advance(PAUSES.0);
    journal.sync().unwrap();
    drop(journal);
    assert_eq!(setup.dead()[0].state.totals()[0].1.get(Class::Started).objects, 1);
}

#[test]
fn records_that_are_written_while_the_journal_is_rewritten_are_in_both_files() {
    let setup = Setup::new();
    let journal = setup.create(1);
    setup.open(&journal, 1);
    let bytes = journal.inner().begin_rewriting();
    setup.open(&journal, 2);
    journal.end(1, Outcome::Created { stored_bytes: 8 });
    let mut new = bytes;
    new.extend(journal.inner().shadow.take().unwrap());
    let old = std::fs::read(&journal.path).unwrap();
    for file in [new, old] {
        let replayed = State::read(&file).unwrap();
        assert_eq!((replayed.damaged, replayed.length), (0, file.len()));
        assert_eq!(replayed.state.intents().keys().copied().collect::<Vec<_>>(), [2]);
        assert_eq!(replayed.state.totals(), journal.state().totals());
    }
}

#[test]
fn a_journal_is_taken_up_by_its_own_store_only() {
    let setup = Setup::new();
    for (epoch, owner) in
        [(1, owner("a", "bucket")), (2, owner("b", "bucket")), (3, owner("a", "")), (4, owner("a", "other"))]
    {
        let journal = setup.create_for(owner, epoch);
        setup.open(&journal, 1);
        journal.sent(1);
    }
    let epochs = |found: &Found| found.dead.iter().map(|dead| dead.state.epoch.as_bytes()[0]).collect::<Vec<_>>();
    let b = setup.found(&owner("b", "bucket"));
    assert_eq!((epochs(&b), b.foreign), (vec![2], 3));
    // A journal from before the store had a name is its reporter's.
    let a = setup.found(&owner("a", "bucket"));
    assert_eq!((epochs(&a), a.foreign), (vec![1, 3], 2));
    assert_eq!(epochs(&setup.found(&owner("c", "bucket"))), [0; 0]);
    drop((a, b));
    assert_eq!(epochs(&setup.found(&owner("b", "bucket"))), [2]);
}

#[test]
fn damage_in_the_middle_is_reported_and_kept_and_costs_one_record() {
    let setup = Setup::new();
    let journal = setup.create(1);
    for number in 1..=3 {
        setup.open(&journal, number);
        journal.sent(number);
        journal.end(number, Outcome::Created { stored_bytes: 8 });
    }
    let path = journal.path.clone();
    drop(journal);
    let mut written = std::fs::read(&path).unwrap();
    // An outcome in the middle.
    let at = written.len() - 115 - 35 + 20;
    written[at] ^= 0xff;
    std::fs::write(&path, &written).unwrap();
    let found = setup.found(&owner("host", ""));
    assert_eq!((found.damaged, found.dead.len()), (1, 1));
    let mut dead = found.dead.into_iter().next().unwrap();
    assert_eq!(dead.state.intents().keys().copied().collect::<Vec<_>>(), [2]);
    assert_eq!(dead.state.totals()[0].1.get(Class::Created).objects, 2);
    dead.end(2, Outcome::Created { stored_bytes: 8 });
    dead.sync().unwrap();
    assert_eq!(std::fs::read(&path).unwrap()[..written.len()], written);
    dead.remove().unwrap();
    assert!(path.with_extension("damaged").exists());
}

#[test]
fn a_name_of_any_length_voids_nothing() {
    let setup = Setup::new();
    let journal = setup.create(1);
    let instance_name = InstanceName::from_stored(&"x".repeat(70_000)).unwrap();
    let digest = Digest::of(instance_name, DigestFunction::Sha256, b"long");
    journal.open(&setup.account, 100, &digest, 4, StoredSize::Unknown);
    for number in 1..=10 {
        setup.open(&journal, number);
        journal.sent(number);
        journal.end(number, Outcome::Created { stored_bytes: 8 });
    }
    drop(journal);
    let found = setup.found(&owner("host", ""));
    assert_eq!(found.damaged, 0);
    assert_eq!(found.dead[0].state.totals()[0].1.get(Class::Created).objects, 10);
}

#[test]
fn a_journal_of_the_first_version_is_read_and_written_anew() {
    let setup = Setup::new();
    let epoch = Epoch::from_bytes([7; 16]);
    let mut bytes = Vec::new();
    for body in [
        [vec![1, 1], epoch.as_bytes().to_vec(), vec![4, 0, 0, 0], b"host".to_vec()].concat(),
        [vec![2, 9, 0, 0, 0, 0, 4, 0, 0, 0], b"acme".to_vec(), vec![0, 0, 0, 0]].concat(),
        // An open upload with a token of its own.
        [
            vec![3, 5],
            vec![1, 0, 0, 0, 0, 0, 0, 0],
            vec![9, 0, 0, 0],
            vec![4; 16],
            vec![8, 0, 0, 0, 0, 0, 0, 0, 1],
            vec![5; 32],
        ]
        .concat(),
    ] {
        bytes.extend(u16::try_from(body.len()).unwrap().to_le_bytes());
        bytes.extend(&xxhash_rust::xxh3::xxh3_64(&body).to_le_bytes()[..4]);
        bytes.extend(body);
    }
    let path = setup.directory.path().join(format!("{epoch}.journal"));
    std::fs::write(&path, &bytes).unwrap();
    for outdated in [true, false] {
        let mut dead = setup.dead().remove(0);
        let (_, intent) = dead.state.intents().first_key_value().unwrap();
        assert_eq!((intent.account.to_string(), intent.token.as_bytes()), ("cas of acme".to_owned(), &[4; 16]));
        assert!(intent.sent);
        dead.sync().unwrap();
        assert!(!std::fs::read(&path).unwrap().starts_with(&bytes[..10]), "{outdated}");
    }
}

/// Returns a record as all versions since the second frame it.
fn framed(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap();
    let check = xxhash_rust::xxh3::xxh3_64_with_seed(body, length.into());
    [&length.to_le_bytes(), &check.to_le_bytes()[..4], body].concat()
}

/// Returns the head of a journal of the reporter `host` for the store `bucket`.
fn head_of_version(version: u8, epoch: Epoch) -> Vec<u8> {
    let names = [&[4, 0, 0, 0][..], b"host", &[6, 0, 0, 0], b"bucket"].concat();
    framed(&[&[1, version], &epoch.as_bytes()[..], &names].concat())
}

#[test]
fn a_journal_of_the_second_version_is_read_and_written_anew() {
    let setup = Setup::new();
    let epoch = Epoch::from_bytes([7; 16]);
    let (name, open) = ([9, 0, 0, 0], |number, flags| {
        framed(
            &[&[3, flags, number, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1][..], &[5; 32]].concat(),
        )
    });
    let bytes = [
        head_of_version(2, epoch),
        head_of_version(2, epoch),
        framed(&[&[2], &name[..], &[0, 4, 0, 0, 0], b"acme", &[0, 0, 0, 0]].concat()),
        // One that was sent, one whose first byte follows, and one that ended with 8 bytes created.
        open(1, 1),
        open(2, 0),
        framed(&[4, 2, 0, 0, 0, 0, 0, 0, 0]),
        open(3, 1),
        framed(&[&[5, 3, 0, 0, 0, 0, 0, 0, 0, Class::Created.code(), 1, 8, 0, 0, 0, 0, 0, 0, 0][..], &[0; 8]].concat()),
    ]
    .concat();
    let path = setup.directory.path().join(format!("{epoch}.journal"));
    std::fs::write(&path, &bytes).unwrap();
    let owner = owner("host", "bucket");
    for outdated in [true, false] {
        let found = setup.found(&owner);
        assert_eq!((found.damaged, found.unreadable, found.dead.len()), (0, 0, 1));
        let mut dead = found.dead.into_iter().next().unwrap();
        assert_eq!(dead.state.intents().keys().copied().collect::<Vec<_>>(), [1, 2]);
        assert!(dead.state.intents().values().all(|intent| intent.sent && intent.size == StoredSize::Unknown));
        let tally = dead.state.totals().remove(0).1;
        assert_eq!((tally.get(Class::Started).objects, tally.get(Class::Created).stored_bytes), (3, 8));
        // Its rows are those of everything that it counted, as it delivered none.
        assert_eq!(outdated, !dead.plan_rows(SystemTime::UNIX_EPOCH, 10).is_empty());
        dead.sync().unwrap();
        assert!(std::fs::read(&path).unwrap().starts_with(&head_of_version(VERSION, epoch)), "{outdated}");
    }
}

#[test]
fn a_journal_of_a_later_version_is_left_alone() {
    let setup = Setup::new();
    let epoch = Epoch::from_bytes([7; 16]);
    let head = head_of_version(VERSION + 1, epoch);
    let bytes = [&head[..], &head, &framed(&[200, 1, 2, 3])].concat();
    let path = setup.directory.path().join(format!("{epoch}.journal"));
    std::fs::write(&path, &bytes).unwrap();
    let found = setup.found(&owner("host", "bucket"));
    assert_eq!((found.dead.len(), found.unreadable), (0, 1));
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn the_version_is_one_that_builds_without_rows_and_sizes_leave_alone() {
    // The codes of the records of rows and the flags of sizes are damage to whoever reads versions 1 and 2 only.
    let setup = Setup::new();
    let journal = setup.create_for(owner("host", "bucket"), 7);
    let path = journal.path.clone();
    assert!(std::fs::read(path).unwrap().starts_with(&head_of_version(3, Epoch::from_bytes([7; 16]))));
}

#[test]
fn what_an_interrupted_rewriting_left_is_removed() {
    let setup = Setup::new();
    let left = |name: &str| setup.directory.path().join(name).with_extension("new");
    let modified = SystemTime::UNIX_EPOCH;
    for (name, age) in [("old", 120), ("young", 10), ("held", 120)] {
        let file = File::create(left(name)).unwrap();
        file.set_modified(modified + Duration::from_secs(120 - age)).unwrap();
    }
    setup.clock.advance(Duration::from_mins(2));
    let held = File::open(left("held")).unwrap();
    held.try_lock().unwrap();
    setup.found(&owner("host", ""));
    assert_eq!([left("old").exists(), left("young").exists(), left("held").exists()], [false, true, true]);
}

#[test]
fn a_journal_is_removed_only_when_nothing_is_open() {
    let setup = Setup::new();
    let journal = setup.create(1);
    setup.open(&journal, 1);
    assert!(!journal.remove_if_idle().unwrap());
    journal.end(1, Outcome::Error(crate::ErrorReason::Rejected));
    assert!(journal.remove_if_idle().unwrap());
    drop(journal);
    assert!(setup.dead().is_empty());
}

#[test]
fn what_is_no_journal_is_passed_over_and_kept() {
    let setup = Setup::new();
    let path = setup.directory.path().join("other.journal");
    std::fs::write(&path, b"something else").unwrap();
    let found = setup.found(&owner("host", ""));
    assert_eq!((found.dead.len(), found.unreadable), (0, 1));
    assert!(path.exists());
}
