//! Stores, ledgers and disks that are away hold up nothing but what needs them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use blobaccess::{
    AccountName, Clock, Context, Digest, DigestFunction, Error, ErrorKind, InstanceName, ResolveUpload, Result,
    StorageType, StoredSize, UploadResolution, UploadToken,
};
use blobaccess_testkit::ManualClock;

use crate::{
    Accounts, AccountsOptions, Adjustment, Class, DropReason, InFlight, Ledger, Life, MemoryLedger, Outcome, Quota,
    Quotas, Report, Reporter, Reporting, Tally, Total,
};

/// A store that never says what became of an upload.
#[derive(Debug, Default)]
struct Silent {
    asked: AtomicUsize,
}

#[async_trait]
impl ResolveUpload for Silent {
    async fn resolve_upload(&self, _: &Context, _: &Digest, _: &UploadToken) -> Result<UploadResolution> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        std::future::pending().await
    }
}

/// A ledger that notes the reports that it was sent, and can be silent.
#[derive(Debug, Default)]
struct Noting {
    ledger: MemoryLedger,
    is_silent: Mutex<bool>,
    reports: Mutex<Vec<Report>>,
}

#[async_trait]
impl Ledger for Noting {
    async fn apply(&self, reports: &[Report]) -> Result<()> {
        if *self.is_silent.lock().unwrap() {
            std::future::pending::<()>().await;
        }
        self.reports.lock().unwrap().extend(reports.iter().cloned());
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

impl Noting {
    /// Returns the number of accounts in each report since the last call.
    fn accounts(&self) -> Vec<usize> {
        std::mem::take(&mut *self.reports.lock().unwrap()).iter().map(|report| report.accounts.len()).collect()
    }

    async fn created_bytes(&self) -> u64 {
        let totals = self.totals(None).await.unwrap();
        totals.iter().map(|total| total.tally.get(Class::Created).stored_bytes).sum()
    }
}

fn digest(account: &str) -> Digest {
    Digest::of(InstanceName::new(account).unwrap(), DigestFunction::Sha256, b"contents")
}

fn put(accounts: &Arc<Accounts>, account: &str, stored_bytes: u64) -> Result<()> {
    let ticket = accounts.begin(&Context::background(), &digest(account), StorageType::Cas, stored_bytes)?;
    ticket.finish(Outcome::Created { stored_bytes });
    Ok(())
}

fn options() -> AccountsOptions {
    AccountsOptions::new(Reporter::new("host"))
}

struct Setup {
    clock: ManualClock,
    ledger: Arc<Noting>,
}

impl Setup {
    fn new() -> Self {
        Self { clock: ManualClock::new(), ledger: Arc::default() }
    }

    fn open(&self, options: AccountsOptions) -> (Arc<Accounts>, Arc<Reporting>) {
        let accounts = Accounts::builder(options).with_clock(Arc::new(self.clock.clone())).open().unwrap();
        self.reporting(accounts)
    }

    fn reporting(&self, accounts: Arc<Accounts>) -> (Arc<Accounts>, Arc<Reporting>) {
        let reporting = Reporting::new(Arc::clone(&accounts), Arc::<Noting>::clone(&self.ledger));
        (accounts, Arc::new(reporting))
    }

    /// Lets a flush come to its end, while no more time passes than it may take.
    async fn flush_within(&self, reporting: &Arc<Reporting>, time: Duration) -> Result<()> {
        let flushing = tokio::spawn({
            let reporting = Arc::clone(reporting);
            async move { reporting.flush().await }
        });
        let mut passed = Duration::ZERO;
        for _ in 0..1_000_000 {
            if flushing.is_finished() {
                return flushing.await.unwrap();
            }
            if self.clock.sleepers() > 0 && passed < time {
                self.clock.advance(Duration::from_secs(1));
                passed += Duration::from_secs(1);
            }
            tokio::task::yield_now().await;
        }
        panic!("a flush took more than {time:?}")
    }
}

#[tokio::test]
async fn a_bucket_that_does_not_answer_holds_up_no_report() {
    let setup = Setup::new();
    let silent = Arc::new(Silent::default());
    let accounts = Accounts::builder(options())
        .with_resolver(StorageType::Cas, Arc::<Silent>::clone(&silent))
        .with_clock(Arc::new(setup.clock.clone()))
        .open()
        .unwrap();
    let (accounts, reporting) = setup.reporting(accounts);
    for _ in 0..200 {
        let mut ticket = accounts.begin(&Context::background(), &digest("lost"), StorageType::Cas, 1).unwrap();
        drop(ticket.send(&Context::background()));
        ticket.fail(&Error::unavailable("lost"));
    }
    put(&accounts, "acme", 7).unwrap();
    setup.flush_within(&reporting, Duration::from_secs(10)).await.unwrap();
    assert_eq!((setup.ledger.created_bytes().await, accounts.snapshot().unresolved), (7, 200));
    // The next report asks about others first.
    let asked = silent.asked.load(Ordering::Relaxed);
    assert!((1..200).contains(&asked), "{asked} at once");
    setup.flush_within(&reporting, Duration::from_secs(10)).await.unwrap();
    assert_eq!(silent.asked.load(Ordering::Relaxed), 2 * asked);
}

#[tokio::test]
async fn a_ledger_that_is_silent_fails_a_report_and_holds_up_nobody() {
    let setup = Setup::new();
    let (accounts, reporting) = setup.open(options());
    put(&accounts, "acme", 7).unwrap();
    *setup.ledger.is_silent.lock().unwrap() = true;
    let error = setup.flush_within(&reporting, Duration::from_secs(30)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert!(error.to_string().contains("the ledger timed out after 30s"), "{error}");
    *setup.ledger.is_silent.lock().unwrap() = false;
    reporting.flush().await.unwrap();
    assert_eq!(setup.ledger.created_bytes().await, 7);
}

#[tokio::test]
async fn a_report_has_what_changed_since_the_last_acknowledgement() {
    let setup = Setup::new();
    let (accounts, reporting) = setup.open(options());
    for number in 0..100 {
        put(&accounts, &format!("tenant {number}"), 1).unwrap();
    }
    reporting.flush().await.unwrap();
    reporting.flush().await.unwrap();
    put(&accounts, "tenant 7", 1).unwrap();
    assert_eq!(accounts.snapshot().unreported, 1);
    *setup.ledger.is_silent.lock().unwrap() = true;
    setup.flush_within(&reporting, Duration::from_secs(30)).await.unwrap_err();
    *setup.ledger.is_silent.lock().unwrap() = false;
    reporting.flush().await.unwrap();
    assert_eq!((setup.ledger.accounts(), accounts.snapshot().unreported), (vec![100, 0, 1], 0));
    // A ledger that was restored from a copy is made up for.
    for _ in 5..=61 {
        reporting.flush().await.unwrap();
    }
    assert_eq!(setup.ledger.accounts().pop(), Some(100));
    reporting.close().await.unwrap();
    assert_eq!(setup.ledger.accounts(), [100]);
}

#[tokio::test]
async fn a_journal_that_cannot_be_written_fails_its_own_part_only() {
    let setup = Setup::new();
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let (accounts, reporting) = setup.open(options().with_journal(&journal));
    put(&accounts, "before", 7).unwrap();
    drop(reporting);
    accounts.lose_the_journal();
    drop(accounts);

    let (accounts, reporting) = setup.open(options().with_journal(&journal));
    put(&accounts, "now", 30).unwrap();
    accounts.journal().unwrap().fail_for_tests(&setup.clock);
    assert_eq!(reporting.flush().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!((setup.ledger.created_bytes().await, accounts.snapshot().dead_lives), (7, 0));
    assert!(accounts.snapshot().journal_lacking);
    setup.clock.advance(Duration::from_secs(30));
    reporting.flush().await.unwrap();
    assert_eq!(setup.ledger.created_bytes().await, 37);
}

#[tokio::test]
async fn a_full_disk_keeps_nobody_from_starting_if_that_is_permitted() {
    let setup = Setup::new();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, b"").unwrap();
    // A folder below a file cannot be made, and nothing in it be read.
    let options = options().with_journal(file.join("journal"));
    Accounts::open(options.clone()).unwrap_err();
    let (accounts, reporting) = setup.open(options.with_optional_journal(true));
    put(&accounts, "acme", 7).unwrap();
    reporting.flush().await.unwrap_err();
    assert_eq!(setup.ledger.created_bytes().await, 7, "the counts are reported all the same");
    assert!(accounts.snapshot().journal_lacking);
    std::fs::remove_file(&file).unwrap();
    setup.clock.advance(Duration::from_secs(30));
    reporting.flush().await.unwrap();
    assert!(!accounts.snapshot().journal_lacking && file.join("journal").is_dir());
}

#[tokio::test]
async fn limits_whose_use_is_not_known_say_so_or_refuse() {
    let setup = Setup::new();
    let (earlier, reports) = setup.open(options());
    put(&earlier, "acme", 90).unwrap();
    reports.flush().await.unwrap();
    let limits = |hard_bytes| Quotas::new().with_quota(AccountName::new("acme"), Quota { soft_bytes: 50, hard_bytes });
    let (accounts, reporting) = setup.open(options().with_quotas(limits(100).with_refusal_while_unknown(true)));
    let usage = || accounts.quota_usage(&AccountName::new("acme")).unwrap();
    assert!(!usage().is_known && !accounts.snapshot().quotas_known);
    let refused = |bytes| put(&accounts, "acme", bytes).unwrap_err().kind();
    assert_eq!(refused(5), ErrorKind::Unavailable);
    put(&accounts, "unlimited", 1_000).unwrap();
    reporting.flush().await.unwrap();
    assert!(usage().is_known && accounts.snapshot().quotas_known);
    assert_eq!(refused(11), ErrorKind::ResourceExhausted);
    // A size that anybody can announce reserves nothing.
    assert_eq!([refused(u64::MAX), refused(u64::MAX)], [ErrorKind::ResourceExhausted; 2]);
    put(&accounts, "acme", 10).unwrap();
    // Limits change while uploads go on, and what is known of their use stays.
    accounts.set_quotas(&limits(150));
    assert_eq!((refused(51), usage().is_known), (ErrorKind::ResourceExhausted, true));
    put(&accounts, "acme", 50).unwrap();
    accounts.set_quotas(&Quotas::new());
    put(&accounts, "acme", 1_000).unwrap();
    assert_eq!(accounts.quota_usage(&AccountName::new("acme")), None);
}

#[tokio::test]
async fn sizes_that_nobody_can_have_sent_are_not_counted() {
    let setup = Setup::new();
    let (accounts, _reporting) = setup.open(options().with_max_blob_size_bytes(1_000));
    for bytes in [1_000, 1_001, u64::MAX] {
        let ticket = accounts.begin(&Context::background(), &digest("acme"), StorageType::Cas, bytes).unwrap();
        ticket.fail(&Error::invalid_argument("too large"));
    }
    let tally = accounts.tallies().sum();
    assert_eq!((tally.get(Class::Started).objects, tally.get(Class::Started).logical_bytes), (3, 1_000));
    assert_eq!((tally.get(Class::Rejected).objects, tally.get(Class::Rejected).unsized_bytes), (3, 1_000));
}

/// A store that compresses, and is never reached.
#[derive(Debug)]
struct Compressing;

#[async_trait]
impl ResolveUpload for Compressing {
    async fn resolve_upload(&self, _: &Context, _: &Digest, _: &UploadToken) -> Result<UploadResolution> {
        Ok(UploadResolution::Absent)
    }

    fn stored_size(&self, logical_bytes: u64) -> StoredSize {
        if logical_bytes < 100 { StoredSize::Exact(logical_bytes + 1) } else { StoredSize::AtMost(logical_bytes + 10) }
    }
}

#[test]
fn uploads_that_stored_nothing_say_what_they_would_have_stored_also_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let open = || {
        let options = options().with_journal(directory.path());
        Accounts::builder(options).with_resolver(StorageType::Cas, Arc::new(Compressing)).open().unwrap()
    };
    let accounts = open();
    let begin = |bytes| accounts.begin(&Context::background(), &digest("acme"), StorageType::Cas, bytes).unwrap();
    begin(50).fail(&Error::invalid_argument("refused"));
    begin(200).fail(&Error::invalid_argument("refused"));
    begin(60).drop_as(DropReason::QueueFull, None);
    drop(begin(300));
    let crashed = begin(70);
    let expected = |tally: &Tally| {
        let columns = |class| (tally.get(class).stored_bytes, tally.get(class).unsized_bytes);
        assert_eq!(columns(Class::Rejected), (51 + 210, 200));
        assert_eq!(columns(Class::QueueFull), (61, 0));
        tally.get(Class::Shutdown)
    };
    let shutdown = expected(&accounts.tallies().sum());
    assert_eq!((shutdown.stored_bytes, shutdown.unsized_bytes), (310, 300));
    accounts.lose_the_journal();
    drop(crashed);
    drop(accounts);
    let accounts = open();
    let [dead] = accounts.dead_lives().try_into().unwrap();
    let report = crate::accounts::lock_dead(&dead).report(std::time::SystemTime::UNIX_EPOCH);
    let shutdown = expected(&report.accounts[0].1);
    assert_eq!((shutdown.stored_bytes, shutdown.unsized_bytes), (310 + 71, 300));
}

/// A store that has every upload under its own token, and replaces no value.
#[derive(Debug)]
struct FirstValues;

#[async_trait]
impl ResolveUpload for FirstValues {
    async fn resolve_upload(&self, _: &Context, _: &Digest, _: &UploadToken) -> Result<UploadResolution> {
        Ok(UploadResolution::Mine { stored_bytes: 7 })
    }

    fn keeps_first_values(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_store_that_replaces_nothing_tells_what_became_of_an_entry() {
    let directory = tempfile::tempdir().unwrap();
    let options = || options().with_journal(directory.path()).with_settle_after(Duration::ZERO);
    let accounts = Accounts::open(options()).unwrap();
    let ctx = Context::background();
    let mut crashed = accounts.begin(&ctx, &digest("acme"), StorageType::Ac, 7).unwrap();
    drop(crashed.send(&ctx));
    accounts.lose_the_journal();
    drop((crashed, accounts));
    let accounts = Accounts::builder(options()).with_resolver(StorageType::Ac, Arc::new(FirstValues)).open().unwrap();
    let ledger = Arc::new(MemoryLedger::new());
    Reporting::new(accounts, Arc::<MemoryLedger>::clone(&ledger)).flush().await.unwrap();
    let total = ledger.totals(None).await.unwrap().remove(0);
    assert_eq!((total.tally.get(Class::Created).objects, total.footprint_bytes()), (1, 7));
}

#[tokio::test]
async fn a_report_is_made_at_each_interval_and_between_them_the_journal_is_mended() {
    let setup = Setup::new();
    let directory = tempfile::tempdir().unwrap();
    let (accounts, reporting) = setup.open(options().with_journal(directory.path()));
    let running = tokio::spawn({
        let reporting = Arc::clone(&reporting);
        async move { reporting.run().await }
    });
    while reporting.snapshot().completed < 1 {
        tokio::task::yield_now().await;
    }
    accounts.journal().unwrap().fail_for_tests(&setup.clock);
    put(&accounts, "acme", 7).unwrap();
    // The interval, and the pause before the journal is written again.
    while setup.clock.sleepers() < 2 {
        tokio::task::yield_now().await;
    }
    setup.clock.advance(Duration::from_secs(1));
    while accounts.snapshot().journal_lacking {
        tokio::task::yield_now().await;
    }
    assert_eq!(reporting.snapshot().acknowledged_seq, 1);
    setup.clock.advance(Duration::from_mins(1));
    while reporting.snapshot().acknowledged_seq < 2 {
        tokio::task::yield_now().await;
    }
    running.abort();
}

#[test]
fn a_made_up_name_reaches_no_ledger_and_closes_the_table_to_nobody() {
    let setup = Setup::new();
    let (accounts, _reporting) = setup.open(options().with_max_accounts(64));
    put(&accounts, "tenant", 5).unwrap();
    for number in 0..5_000 {
        let ticket = accounts.begin(&Context::background(), &digest(&format!("made up/{number}")), StorageType::Cas, 1);
        ticket.unwrap().fail(&Error::permission_denied("no"));
    }
    put(&accounts, "tenant", 5).unwrap();
    put(&accounts, "new tenant", 5).unwrap();
    let named: Vec<_> = accounts.report(1).accounts.iter().map(|(account, _)| account.to_string()).collect();
    assert_eq!(named, ["cas of __other__", "cas of new tenant", "cas of tenant"]);
}

#[test]
fn what_is_folded_is_folded_in_the_journal_too() {
    let setup = Setup::new();
    let directory = tempfile::tempdir().unwrap();
    let (accounts, reporting) = setup.open(options().with_journal(directory.path()).with_max_accounts(4));
    for number in 0..50 {
        let ticket = accounts.begin(&Context::background(), &digest(&number.to_string()), StorageType::Cas, 1).unwrap();
        ticket.fail(&Error::permission_denied("no"));
    }
    let reported = accounts.report(1).accounts;
    assert_eq!(reported.len(), 1);
    assert_eq!(accounts.journal().unwrap().state().totals(), reported);
    drop(reporting);
    accounts.lose_the_journal();
    drop(accounts);
    let (accounts, _reporting) = setup.open(options().with_journal(directory.path()));
    let dead = crate::accounts::lock_dead(&accounts.dead_lives()[0]).report(setup.clock.now());
    assert_eq!(dead.accounts, reported);
}
