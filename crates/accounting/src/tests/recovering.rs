//! Crashes and lost answers change no count.

use std::sync::Arc;
use std::time::Duration;

use blobaccess::{
    Ac, Blob, BlobAccess, Cas, Context, Digest, DigestFunction, Error, InstanceName, MemoryStore, StorageType,
};
use blobaccess_testkit::ManualClock;

use crate::{Accounts, AccountsOptions, Class, Ledger, MemoryLedger, Outcome, Report, Reporter, Reporting, Tally};

struct Setup {
    journal: tempfile::TempDir,
    store: Arc<MemoryStore<Cas>>,
    clock: ManualClock,
    ledger: Arc<MemoryLedger>,
}

const SETTLE: Duration = Duration::from_secs(30);

impl Setup {
    fn new() -> Self {
        Self {
            journal: tempfile::tempdir().unwrap(),
            store: Arc::new(MemoryStore::new(1 << 20)),
            clock: ManualClock::new(),
            ledger: Arc::new(MemoryLedger::new()),
        }
    }

    fn open(&self) -> (Arc<Accounts>, Reporting) {
        self.open_settling_after(SETTLE)
    }

    fn open_settling_after(&self, settle_after: Duration) -> (Arc<Accounts>, Reporting) {
        let options = AccountsOptions::new(Reporter::new("host"))
            .with_journal(self.journal.path())
            .with_settle_after(settle_after);
        let accounts = Accounts::builder(options)
            .with_resolver(StorageType::Cas, Arc::<MemoryStore<Cas>>::clone(&self.store))
            .with_clock(Arc::new(self.clock.clone()))
            .open()
            .unwrap();
        let reporting = Reporting::new(Arc::clone(&accounts), Arc::<MemoryLedger>::clone(&self.ledger));
        (accounts, reporting)
    }

    async fn total(&self) -> Tally {
        let mut sum = Tally::new();
        self.ledger.totals(None).await.unwrap().iter().for_each(|total| sum.add_all(&total.tally));
        sum
    }

    fn journals(&self) -> usize {
        std::fs::read_dir(self.journal.path()).unwrap().count()
    }
}

fn digest(contents: &'static str) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents.as_bytes())
}

/// Ends a life without a word, as `kill -9` does.
fn crash(accounts: Arc<Accounts>, reporting: Reporting, tickets: Vec<crate::Ticket>) {
    drop(reporting);
    accounts.lose_the_journal();
    drop(tickets);
    drop(accounts);
}

#[tokio::test]
async fn a_crash_between_the_store_and_the_count_changes_nothing() {
    let setup = Setup::new();
    let ctx = Context::background();
    let (accounts, reporting) = setup.open();
    let mut tickets = Vec::new();
    for (contents, stored, by_another) in [("mine", true, false), ("absent", false, false), ("theirs", false, true)] {
        if by_another {
            setup
                .store
                .put(
                    &Context::background().with_upload_token(blobaccess::UploadToken::from_bytes([1; 16])),
                    &digest(contents),
                    Blob::from_bytes(contents),
                )
                .await
                .unwrap();
        }
        let mut ticket = accounts.begin(&ctx, &digest(contents), StorageType::Cas, 8).unwrap();
        let sending = ticket.send(&ctx);
        if stored {
            setup.store.put(&sending, &digest(contents), Blob::from_bytes(contents)).await.unwrap();
        }
        tickets.push(ticket);
    }
    // One more that never began to be sent, and one that ended and was not reported.
    tickets.push(accounts.begin(&ctx, &digest("unsent"), StorageType::Cas, 8).unwrap());
    accounts.begin(&ctx, &digest("x"), StorageType::Cas, 8).unwrap().finish(Outcome::Created { stored_bytes: 100 });
    crash(accounts, reporting, tickets);

    let (accounts, reporting) = setup.open();
    assert_eq!(accounts.snapshot().dead_lives, 1);
    reporting.flush().await.unwrap();
    // What was sent may still arrive: absence is not believed yet.
    let tally = setup.total().await;
    assert_eq!((tally.get(Class::Created).stored_bytes, tally.get(Class::AlreadyExists).objects), (104, 1));
    assert_eq!((tally.in_flight().objects, tally.get(Class::Shutdown).objects), (1, 1));
    setup.clock.advance(SETTLE);
    reporting.flush().await.unwrap();
    let tally = setup.total().await;
    assert_eq!((tally.in_flight().objects, tally.get(Class::Cancelled).objects), (0, 1));
    assert_eq!(tally.net_bytes(), 104);
    assert_eq!((accounts.snapshot().dead_lives, setup.journals()), (0, 1));
    assert!(reporting.close().await.unwrap());
    assert_eq!(setup.journals(), 0);
    assert!(setup.ledger.lives().await.unwrap().iter().all(|life| life.closed));
}

#[tokio::test]
async fn a_dead_life_is_reported_until_it_is_acknowledged() {
    #[derive(Debug)]
    struct Down;

    #[async_trait::async_trait]
    impl Ledger for Down {
        async fn apply(&self, _: &[Report]) -> blobaccess::Result<()> {
            Err(Error::unavailable("down"))
        }
        async fn adjust(&self, _: &[crate::Adjustment]) -> blobaccess::Result<()> {
            Err(Error::unavailable("down"))
        }
        async fn totals(&self, _: Option<&blobaccess::AccountName>) -> blobaccess::Result<Vec<crate::Total>> {
            Err(Error::unavailable("down"))
        }
        async fn lives(&self) -> blobaccess::Result<Vec<crate::Life>> {
            Err(Error::unavailable("down"))
        }
        async fn retire(&self, _: &[crate::Life]) -> blobaccess::Result<()> {
            Err(Error::unavailable("down"))
        }
        async fn in_flight(&self) -> blobaccess::Result<Vec<crate::InFlight>> {
            Err(Error::unavailable("down"))
        }
        async fn adjustments(&self) -> blobaccess::Result<Vec<crate::Adjustment>> {
            Err(Error::unavailable("down"))
        }
    }

    let setup = Setup::new();
    let ctx = Context::background();
    for lives in 0..3 {
        let (accounts, reporting) = setup.open();
        assert_eq!(accounts.snapshot().dead_lives, lives);
        accounts.begin(&ctx, &digest("x"), StorageType::Cas, 8).unwrap().finish(Outcome::Created { stored_bytes: 7 });
        let down = Reporting::new(Arc::clone(&accounts), Arc::new(Down));
        assert!(down.flush().await.is_err());
        assert_eq!((down.snapshot().failed_to_send, accounts.snapshot().dead_lives), (1, lives));
        crash(accounts, reporting, Vec::new());
    }
    let (_accounts, reporting) = setup.open();
    reporting.flush().await.unwrap();
    assert_eq!(setup.total().await.net_bytes(), 21);
    assert_eq!(setup.journals(), 1);
}

#[tokio::test]
async fn a_lost_answer_is_asked_about_and_absence_believed_late() {
    let setup = Setup::new();
    let ctx = Context::background();
    let (accounts, reporting) = setup.open();
    let lost = Error::unavailable("lost");
    for (contents, stored) in [("stored", true), ("not stored", false)] {
        let mut ticket = accounts.begin(&ctx, &digest(contents), StorageType::Cas, 6).unwrap();
        let sending = ticket.send(&ctx);
        if stored {
            setup.store.put(&sending, &digest(contents), Blob::from_bytes(contents)).await.unwrap();
        }
        ticket.fail(&lost);
    }
    assert_eq!(accounts.snapshot().unresolved, 2);
    reporting.flush().await.unwrap();
    let tally = setup.total().await;
    assert_eq!((tally.get(Class::Created).stored_bytes, tally.in_flight().objects), (6, 1));
    setup.clock.advance(SETTLE);
    reporting.flush().await.unwrap();
    assert_eq!(setup.total().await.get(Class::Rejected).objects, 1);
    assert_eq!(accounts.snapshot().unresolved, 0);
}

#[tokio::test]
async fn what_cannot_be_asked_is_ambiguous_and_an_entry_is_not_guessed() {
    let setup = Setup::new();
    let ctx = Context::background();
    let (accounts, reporting) = setup.open();
    let ac = MemoryStore::<Ac>::new(1 << 20);
    let mut ticket = accounts.begin(&ctx, &digest("action"), StorageType::Ac, 6).unwrap();
    let sending = ticket.send(&ctx);
    ac.put(&sending, &digest("action"), Blob::from_bytes("result")).await.unwrap();
    ticket.fail(&Error::unavailable("lost"));
    reporting.flush().await.unwrap();
    assert_eq!(setup.total().await.get(Class::Ambiguous).objects, 1);
}

#[tokio::test]
async fn absence_is_never_believed_if_no_clock_reaches_that_time() {
    let setup = Setup::new();
    let (accounts, reporting) = setup.open_settling_after(Duration::MAX);
    let mut ticket = accounts.begin(&Context::background(), &digest("lost"), StorageType::Cas, 4).unwrap();
    drop(ticket.send(&Context::background()));
    ticket.fail(&Error::unavailable("lost"));
    setup.clock.advance(SETTLE);
    reporting.flush().await.unwrap();
    assert_eq!(accounts.snapshot().unresolved, 1);
    accounts.give_up_unresolved();
}
