//! Each terminal outcome is a row exactly once, whatever crashes, is sent again or is away.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use blobaccess::{
    AccountName, Clock, Context, Digest, DigestFunction, Error, ErrorKind, InstanceName, Result, StorageType,
};
use blobaccess_testkit::ManualClock;

use crate::{
    Account, Accounts, AccountsOptions, Adjustment, Amounts, Class, Epoch, InFlight, Ledger, Life, MemoryLedger,
    Outcome, Report, Reporter, Reporting, RowBatch, RowSink, RowsOptions, RowsWritten, Total,
};

/// The behaviour of a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mood {
    #[default]
    Well,
    /// Nothing arrives.
    Away,
    /// All is done, and no answer arrives.
    Mute,
    /// A batch with this account is refused.
    Refuses(&'static str),
}

type Key = (Epoch, u64, Account, Class);

/// A table of rows by their key, which keeps the first of those that come again, and checks that they are the same.
#[derive(Debug, Default)]
struct Table {
    rows: Mutex<BTreeMap<Key, (Amounts, SystemTime)>>,
    mood: Mutex<Mood>,
    writes: AtomicUsize,
    repeated: AtomicUsize,
}

impl Table {
    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn created_bytes(&self) -> u64 {
        let rows = self.rows.lock().unwrap();
        rows.iter().filter(|((_, _, _, class), _)| *class == Class::Created).map(|(_, row)| row.0.stored_bytes).sum()
    }

    fn count(&self) -> usize {
        self.rows.lock().unwrap().len()
    }
}

#[async_trait]
impl RowSink for Table {
    async fn write(&self, batch: &RowBatch) -> Result<RowsWritten> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.repeated.fetch_add(usize::from(batch.is_repeated), Ordering::Relaxed);
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Away => return Err(Error::unavailable("away")),
            Mood::Refuses(name) if batch.rows.iter().any(|row| row.account.account_name().as_str() == name) => {
                return Err(Error::invalid_argument("refused"));
            }
            Mood::Well | Mood::Mute | Mood::Refuses(_) => {}
        }
        let mut rows = self.rows.lock().unwrap();
        for row in &batch.rows {
            let key = (batch.epoch, batch.number, row.account.clone(), row.class);
            let value = (row.amounts, batch.created_at);
            let kept = rows.entry(key).or_insert(value);
            assert_eq!(*kept, value, "a batch that is sent again is another one");
        }
        if mood == Mood::Mute { Err(Error::unavailable("no answer")) } else { Ok(RowsWritten::ALL) }
    }
}

/// A ledger that can be away.
#[derive(Debug, Default)]
struct Book {
    ledger: MemoryLedger,
    is_away: Mutex<bool>,
}

#[async_trait]
impl Ledger for Book {
    async fn apply(&self, reports: &[Report]) -> Result<()> {
        if *self.is_away.lock().unwrap() {
            return Err(Error::unavailable("away"));
        }
        self.ledger.apply(reports).await
    }

    async fn adjust(&self, adjustments: &[Adjustment]) -> Result<()> {
        self.ledger.adjust(adjustments).await
    }

    async fn totals(&self, account_name: Option<&AccountName>) -> Result<Vec<Total>> {
        self.ledger.totals(account_name).await
    }

    async fn lives(&self) -> Result<Vec<Life>> {
        self.ledger.lives().await
    }

    async fn retire(&self, lives: &[Life]) -> Result<()> {
        self.ledger.retire(lives).await
    }

    async fn in_flight(&self) -> Result<Vec<InFlight>> {
        self.ledger.in_flight().await
    }

    async fn adjustments(&self) -> Result<Vec<Adjustment>> {
        self.ledger.adjustments().await
    }
}

struct Setup {
    journal: tempfile::TempDir,
    clock: ManualClock,
    book: Arc<Book>,
    table: Arc<Table>,
}

impl Setup {
    fn new() -> Self {
        Self {
            journal: tempfile::tempdir().unwrap(),
            clock: ManualClock::new(),
            book: Arc::default(),
            table: Arc::default(),
        }
    }

    fn accounts(&self) -> Arc<Accounts> {
        let options = AccountsOptions::new(Reporter::new("host")).with_journal(self.journal.path());
        Accounts::builder(options).with_clock(Arc::new(self.clock.clone())).open().unwrap()
    }

    fn open(&self) -> (Arc<Accounts>, Reporting) {
        let accounts = self.accounts();
        let reporting = Reporting::new(Arc::clone(&accounts), Arc::<Book>::clone(&self.book));
        (accounts, reporting.with_rows(Arc::<Table>::clone(&self.table), RowsOptions::default()))
    }

    async fn ledger_bytes(&self) -> u64 {
        let totals = self.book.totals(None).await.unwrap();
        totals.iter().map(|total| total.tally.get(Class::Created).stored_bytes).sum()
    }

    fn journals(&self) -> usize {
        std::fs::read_dir(self.journal.path()).unwrap().count()
    }
}

fn put(accounts: &Arc<Accounts>, account: &str, stored_bytes: u64) {
    let digest = Digest::of(InstanceName::new(account).unwrap(), DigestFunction::Sha256, b"contents");
    let ticket = accounts.begin(&Context::background(), &digest, StorageType::Cas, stored_bytes).unwrap();
    ticket.finish(Outcome::Created { stored_bytes });
}

/// Ends a life without a word, as `kill -9` does.
fn crash(accounts: Arc<Accounts>, reporting: Reporting) {
    drop(reporting);
    accounts.lose_the_journal();
    drop(accounts);
}

#[tokio::test]
async fn a_crash_between_two_reports_loses_no_row() {
    let setup = Setup::new();
    let (accounts, reporting) = setup.open();
    put(&accounts, "acme", 3);
    reporting.flush().await.unwrap();
    put(&accounts, "acme", 7);
    crash(accounts, reporting);
    let (_accounts, reporting) = setup.open();
    reporting.flush().await.unwrap();
    assert_eq!((setup.ledger_bytes().await, setup.table.created_bytes()), (10, 10));
    assert_eq!(setup.journals(), 1);
}

#[tokio::test]
async fn a_batch_whose_acknowledgement_was_lost_is_sent_again_as_it_was_also_by_the_next_life() {
    let setup = Setup::new();
    let (accounts, reporting) = setup.open();
    put(&accounts, "acme", 3);
    setup.table.set(Mood::Mute);
    assert_eq!(reporting.flush().await.unwrap_err().kind(), ErrorKind::Unavailable);
    put(&accounts, "acme", 7);
    setup.clock.advance(Duration::from_mins(5));
    reporting.flush().await.unwrap_err();
    assert_eq!((setup.table.count(), setup.table.created_bytes()), (1, 3));
    put(&accounts, "other", 100);
    crash(accounts, reporting);

    // The table checks that what comes again is the same.
    setup.clock.advance(Duration::from_mins(5));
    let (accounts, reporting) = setup.open();
    reporting.flush().await.unwrap_err();
    crash(accounts, reporting);
    setup.table.set(Mood::Well);
    let (_accounts, reporting) = setup.open();
    // The rest of that life is in the same report.
    reporting.flush().await.unwrap();
    assert_eq!((setup.table.count(), setup.journals()), (3, 1));
    assert_eq!((setup.ledger_bytes().await, setup.table.created_bytes()), (110, 110));
    assert!(setup.table.repeated.load(Ordering::Relaxed) >= 3);
}

#[tokio::test]
async fn ledger_and_sink_do_not_wait_for_each_other_and_the_journal_waits_for_both() {
    let setup = Setup::new();
    let (accounts, reporting) = setup.open();
    put(&accounts, "acme", 3);
    *setup.book.is_away.lock().unwrap() = true;
    reporting.close().await.unwrap_err();
    assert_eq!((setup.table.created_bytes(), setup.journals()), (3, 1));
    assert_eq!((reporting.snapshot().failed_to_send, reporting.rows_snapshot().batches_failed), (1, 0));
    crash(accounts, reporting);

    let (accounts, reporting) = setup.open();
    put(&accounts, "acme", 4);
    *setup.book.is_away.lock().unwrap() = false;
    setup.table.set(Mood::Away);
    reporting.close().await.unwrap_err();
    assert_eq!((setup.ledger_bytes().await, setup.table.created_bytes()), (7, 3));
    // The life of the first has all its rows.
    assert_eq!(setup.journals(), 1);
    assert_eq!((reporting.snapshot().failed_to_send, reporting.rows_snapshot().batches_failed), (0, 1));
    assert_eq!(reporting.snapshot().completed, 1);
    crash(accounts, reporting);

    setup.table.set(Mood::Well);
    let (_accounts, reporting) = setup.open();
    assert!(reporting.close().await.unwrap());
    assert_eq!((setup.ledger_bytes().await, setup.table.created_bytes(), setup.journals()), (7, 7, 0));
}

#[tokio::test]
async fn an_outage_of_hours_costs_one_more_batch() {
    let setup = Setup::new();
    let (accounts, reporting) = setup.open();
    setup.table.set(Mood::Away);
    let began = setup.clock.now();
    for _ in 0..180 {
        put(&accounts, "acme", 1);
        reporting.flush().await.unwrap_err();
        setup.clock.advance(Duration::from_mins(1));
    }
    let rows = reporting.rows_snapshot();
    assert_eq!((rows.open_batches, rows.batches_failed), (1, 180));
    assert!(rows.open_since.unwrap() <= began && began < rows.open_since.unwrap() + Duration::from_mins(1));
    assert_eq!(setup.ledger_bytes().await, 180);
    setup.table.set(Mood::Well);
    reporting.flush().await.unwrap();
    reporting.flush().await.unwrap();
    assert_eq!((setup.table.count(), setup.table.created_bytes()), (2, 180));
    let rows = reporting.rows_snapshot();
    assert_eq!((rows.batches_delivered, rows.rows_delivered, rows.open_batches, rows.open_since), (2, 2, 0, None));
}

#[tokio::test]
async fn a_site_with_rows_alone_needs_no_ledger() {
    let setup = Setup::new();
    let rows_alone = |accounts: &Arc<Accounts>| {
        let sink = Arc::<Table>::clone(&setup.table);
        Reporting::without_ledger(Arc::clone(accounts)).with_rows(sink, RowsOptions::default())
    };
    let accounts = setup.accounts();
    let reporting = rows_alone(&accounts);
    put(&accounts, "acme", 3);
    setup.table.set(Mood::Away);
    reporting.flush().await.unwrap_err();
    assert_eq!((accounts.snapshot().unreported, reporting.snapshot().failed_to_send), (1, 1));
    crash(accounts, reporting);
    setup.table.set(Mood::Well);
    let accounts = setup.accounts();
    let reporting = rows_alone(&accounts);
    put(&accounts, "acme", 4);
    assert!(reporting.close().await.unwrap());
    assert_eq!((setup.table.created_bytes(), setup.journals()), (7, 0));
    assert_eq!((accounts.snapshot().unreported, reporting.snapshot().completed), (0, 1));
}

#[tokio::test]
async fn a_batch_that_is_refused_keeps_no_other() {
    let setup = Setup::new();
    let (accounts, reporting) = setup.open();
    setup.table.set(Mood::Refuses("hostile"));
    put(&accounts, "hostile", 1);
    assert_eq!(reporting.flush().await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    for turn in 0..40 {
        put(&accounts, "acme", 1);
        reporting.flush().await.unwrap_err();
        assert_eq!(setup.table.created_bytes(), turn + 1);
    }
    // If all are refused, they are not without number.
    for _ in 0..40 {
        put(&accounts, "hostile", 1);
        reporting.flush().await.unwrap_err();
    }
    assert!(reporting.rows_snapshot().open_batches <= 16, "{:?}", reporting.rows_snapshot());
    setup.table.set(Mood::Well);
    reporting.flush().await.unwrap();
    reporting.flush().await.unwrap();
    assert_eq!(setup.table.created_bytes(), 81);
}

#[tokio::test]
async fn batches_are_bounded_by_number_and_age() {
    let setup = Setup::new();
    let accounts = setup.accounts();
    let options = RowsOptions::default().with_max_batch_rows(10).with_min_age(Duration::from_mins(5));
    let reporting =
        Reporting::without_ledger(Arc::clone(&accounts)).with_rows(Arc::<Table>::clone(&setup.table), options);
    for number in 0..25 {
        put(&accounts, &format!("tenant {number}"), 1);
    }
    reporting.flush().await.unwrap();
    assert_eq!((setup.table.writes.load(Ordering::Relaxed), setup.table.created_bytes()), (3, 25));
    // A few wait for their time, many do not.
    put(&accounts, "tenant 1", 1);
    reporting.flush().await.unwrap();
    assert_eq!(setup.table.created_bytes(), 25);
    for number in 0..11 {
        put(&accounts, &format!("tenant {number}"), 1);
    }
    reporting.flush().await.unwrap();
    assert_eq!(setup.table.created_bytes(), 37);
    put(&accounts, "tenant 1", 1);
    setup.clock.advance(Duration::from_mins(5));
    reporting.flush().await.unwrap();
    assert_eq!(setup.table.created_bytes(), 38);
    put(&accounts, "tenant 1", 1);
    assert!(reporting.close().await.unwrap());
    assert_eq!(setup.table.created_bytes(), 39);
}

#[tokio::test]
async fn a_slow_sink_holds_up_no_report_for_longer_than_a_step() {
    /// A sink that takes ten seconds for a batch.
    #[derive(Debug)]
    struct Slow(Arc<Table>, ManualClock);

    #[async_trait]
    impl RowSink for Slow {
        async fn write(&self, batch: &RowBatch) -> Result<RowsWritten> {
            self.1.advance(Duration::from_secs(10));
            self.0.write(batch).await
        }
    }

    let setup = Setup::new();
    let accounts = setup.accounts();
    let slow = Slow(Arc::clone(&setup.table), setup.clock.clone());
    let options = RowsOptions::default().with_max_batch_rows(1);
    let reporting = Reporting::without_ledger(Arc::clone(&accounts)).with_rows(Arc::new(slow), options);
    for number in 0..10 {
        put(&accounts, &format!("tenant {number}"), 1);
    }
    for delivered in [3, 6, 9] {
        assert_eq!(reporting.flush().await.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
        assert_eq!(setup.table.created_bytes(), delivered);
    }
    reporting.flush().await.unwrap();
    assert_eq!(setup.table.created_bytes(), 10);
}

#[tokio::test]
async fn no_row_is_sent_whose_plan_is_not_in_the_journal() {
    let setup = Setup::new();
    let options =
        AccountsOptions::new(Reporter::new("host")).with_journal(setup.journal.path()).with_optional_journal(true);
    let accounts = Accounts::builder(options).with_clock(Arc::new(setup.clock.clone())).open().unwrap();
    let reporting = Reporting::new(Arc::clone(&accounts), Arc::<Book>::clone(&setup.book));
    let reporting = reporting.with_rows(Arc::<Table>::clone(&setup.table), RowsOptions::default());
    put(&accounts, "acme", 3);
    accounts.journal().unwrap().fail_for_tests(&setup.clock);
    reporting.flush().await.unwrap_err();
    assert_eq!((setup.ledger_bytes().await, setup.table.writes.load(Ordering::Relaxed)), (3, 0));
    setup.clock.advance(Duration::from_secs(30));
    reporting.flush().await.unwrap();
    assert_eq!(setup.table.created_bytes(), 3);
}
