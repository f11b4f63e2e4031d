use std::time::SystemTime;

use blobaccess::{AccountName, DigestFunction, StorageType};

use super::*;

struct Setup {
    directory: tempfile::TempDir,
    account: Account,
}

impl Setup {
    fn new() -> Self {
        let account = Account::new(AccountName::new("acme"), StorageType::Cas);
        Self { directory: tempfile::tempdir().unwrap(), account }
    }

    fn create(&self, epoch: u8) -> Journal {
        Journal::create(self.directory.path(), Reporter::new("host"), Epoch::from_bytes([epoch; 16])).unwrap()
    }

    fn dead(&self) -> Vec<Dead> {
        Dead::all(self.directory.path()).unwrap()
    }

    fn open(&self, journal: &Journal, number: u64) {
        let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, &number.to_le_bytes());
        journal.open(&self.account, number, &digest, 8, None);
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
    dead.end(1, Outcome::AlreadyExists { stored_bytes: 8 }).unwrap();
    drop(dead);
    let mut dead = setup.dead().remove(0);
    assert_eq!(dead.state.intents().keys().copied().collect::<Vec<_>>(), [3]);
    dead.end(3, Outcome::Created { stored_bytes: 8 }).unwrap();
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
        dead.end(1, Outcome::Created { stored_bytes: 8 }).unwrap();
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
    let (open, failures, length) = journal.condition();
    assert_eq!((open, failures), (10, 0));
    assert!(length < 4_200, "{length} bytes");
    let state = journal.state();
    drop(journal);
    let dead = setup.dead().remove(0);
    assert_eq!(dead.state.totals(), state.totals());
    assert_eq!(dead.state.intents(), state.intents());
    assert_eq!(dead.state.totals()[0].1.get(Class::Created).objects, 990);
}

#[test]
fn a_journal_that_cannot_be_written_fails_nothing_and_is_made_up_for() {
    let setup = Setup::new();
    let journal = setup.create(1);
    setup.open(&journal, 1);
    // A file that is open for reading only.
    journal.inner().file = File::open(&journal.path).unwrap();
    setup.open(&journal, 2);
    journal.sent(2);
    assert_eq!(journal.condition().1, 1);
    let state = journal.state();
    drop(journal);
    let dead = setup.dead().remove(0);
    assert_eq!((dead.state.intents().len(), state.intents().len()), (1, 2));
    assert_eq!(dead.state.totals()[0].1.get(Class::Started).objects, 2);
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
    assert!(setup.dead().is_empty());
    assert!(path.exists());
}
