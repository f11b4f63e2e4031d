//! Scans while hosts upload, are late, or are dead.

use super::*;
use crate::{Adjustment, InFlight, Life, Total};

#[tokio::test]
async fn a_blob_that_is_written_while_the_scan_runs_is_no_drift() {
    let shard = Shard::new((0..9).map(|number| (number, account("a"), 10)));
    let world = World::new(vec![Arc::clone(&shard)]);
    let mut host = Host::new("host");
    (0..9).for_each(|_| host.upload("a", 10));
    host.send(&world.ledger);
    // Uploaded between two pages, and reported long after.
    let mut uploads = 0;
    shard.on_page(move |blobs| {
        uploads += 1;
        blobs.insert(100 + uploads, (account("a"), 1_000));
    });
    let mut late = host.clone();
    (0..5).for_each(|_| late.upload("a", 1_000));
    let watch = world.watch(options());
    let report = world.scan(&watch, &mut late).await.unwrap();
    assert_eq!(shard.blobs().len(), 14);
    assert!(!report.alarms.any(), "{report:?}");
    assert_eq!(report.total.interval.proved_bytes(), 0);
}

#[tokio::test]
async fn what_a_dead_life_had_under_way_hides_no_drift() {
    let world = World::new(vec![Shard::new([(1, account("a"), 1_000)])]);
    let mut dead = Host::new("dead");
    dead.upload("a", 1);
    dead.start("a", 1 << 40);
    dead.send(&world.ledger);
    let mut host = Host::new("host");
    host.send(&world.ledger);
    let watch = world.watch(options());
    let report = world.scan(&watch, &mut host).await.unwrap();
    assert_eq!(report.total.interval.proved_bytes(), -999);
    assert!(report.total.is_alarm && report.alarms.accounts == 1);
    assert_eq!((report.silent_lives, report.silent[0].reporter.as_str()), (1, "dead"));
    let waited = world.clock.now();
    assert_eq!(waited.duration_since(SystemTime::UNIX_EPOCH).unwrap(), 10 * SECOND);
    // The next scan does not wait for it.
    world.scan(&watch, &mut host).await.unwrap();
    assert_eq!(world.clock.now().duration_since(waited).unwrap(), 2 * SECOND);
    // Nobody speaks of it any more once it is retired.
    world.ledger.retire(&report.silent).await.unwrap();
    let report = world.scan(&watch, &mut host).await.unwrap();
    assert_eq!((report.silent_lives, report.returned_lives, report.total.interval.proved_bytes()), (0, 0, -999));
    // It was not dead.
    dead.send(&world.ledger);
    let ctx = Context::background();
    let report = drive(&world.clock, watch.run_once(&ctx), || {
        host.send(&world.ledger);
        dead.send(&world.ledger);
    });
    let report = report.await.unwrap();
    assert_eq!((report.silent_lives, report.returned_lives), (0, 1));
    assert!(watch.metrics().encode().contains("\nblobaccess_accounting_drift_returned_lives 1\n"));
}

#[tokio::test]
async fn a_size_that_a_peer_announces_hides_no_more_than_it_can_have_stored() {
    let blobs = (0..100).map(|number| (number, account("a"), 10)).chain([(100, account("b"), 10)]);
    let world = World::new(vec![Shard::new(blobs)]);
    let mut host = Host::new("host");
    host.upload("b", 10);
    // One upload under way, of a tebibyte, which it may say.
    host.start("a", 1 << 40);
    host.send(&world.ledger);
    let report = world.scan(&world.watch(options()), &mut host).await.unwrap();
    // At most one blob of those that were listed is that upload's, and none is larger than 10 bytes.
    assert_eq!((report.total.interval.low_bytes, report.total.interval.high_bytes), (-1_000, -990));
    // An account has no more under way than it has in the store.
    host.start("c", 1 << 40);
    let report = world.scan(&world.watch(options()), &mut host).await.unwrap();
    assert_eq!((report.total.interval.low_bytes, report.total.interval.high_bytes), (-1_000, -990));
}

/// A ledger in which an upload ends between the readings of uploads under way and of totals.
#[derive(Debug)]
struct Ending {
    ledger: MemoryLedger,
    host: Mutex<Host>,
}

#[async_trait]
impl Ledger for Ending {
    async fn apply(&self, reports: &[Report]) -> Result<()> {
        self.ledger.apply(reports).await
    }

    async fn adjust(&self, adjustments: &[Adjustment]) -> Result<()> {
        self.ledger.adjust(adjustments).await
    }

    async fn totals(&self, account_name: Option<&AccountName>) -> Result<Vec<Total>> {
        let before = self.ledger.totals(account_name).await;
        self.between().await;
        before
    }

    async fn lives(&self) -> Result<Vec<Life>> {
        self.ledger.lives().await
    }

    async fn retire(&self, lives: &[Life]) -> Result<()> {
        self.ledger.retire(lives).await
    }

    async fn in_flight(&self) -> Result<Vec<InFlight>> {
        let before = self.ledger.in_flight().await;
        self.between().await;
        before
    }

    async fn adjustments(&self) -> Result<Vec<Adjustment>> {
        self.ledger.adjustments().await
    }
}

impl Ending {
    /// Begins an upload after the first reading, and ends it after the next.
    async fn between(&self) {
        let report = {
            let mut host = self.host.lock().unwrap();
            if host.seq == 0 {
                host.start("a", 10);
            } else if host.accounts.values().any(|tally| tally.in_flight().objects > 0) {
                host.create("a", 10);
            }
            host.report()
        };
        self.ledger.apply(&[report]).await.unwrap();
    }
}

#[tokio::test]
async fn an_upload_that_ends_between_two_readings_is_in_one_of_them() {
    let clock = ManualClock::new();
    let shard = Shard::new([(1, account("a"), 10)]);
    let ledger = Arc::new(Ending { ledger: MemoryLedger::new(), host: Mutex::new(Host::new("host")) });
    let watch = DriftWatch::new(Arc::<Ending>::clone(&ledger), options())
        .with_store(CAS, [Arc::clone(&shard)])
        .with_owners(Arc::new(OwnersOf { shards: vec![shard], lies: AtomicBool::new(false) }))
        .with_clock(Arc::new(clock.clone()));
    let ctx = Context::background();
    let report = drive(&clock, watch.run_once(&ctx), || {
        let report = ledger.host.lock().unwrap().report();
        futures::FutureExt::now_or_never(ledger.ledger.apply(&[report])).unwrap().unwrap();
    });
    let report = report.await.unwrap();
    assert_eq!(report.total.interval.proved_bytes(), 0, "{report:?}");
}

#[tokio::test]
async fn own_reports_are_made_at_once_so_that_nobody_waits() {
    use crate::{Accounts, AccountsOptions, Reporting};
    let world = World::new(vec![Shard::new([(1, account("a"), 10)])]);
    let accounts = Accounts::builder(AccountsOptions::new(Reporter::new("own")))
        .with_clock(Arc::new(world.clock.clone()))
        .open()
        .unwrap();
    let reporting = Arc::new(Reporting::new(Arc::clone(&accounts), Arc::<MemoryLedger>::clone(&world.ledger)));
    reporting.flush().await.unwrap();
    let ctx = Context::background().with_account_name(AccountName::new("a"));
    accounts.begin(&ctx, &digest(1), CAS, 10).unwrap().finish(Outcome::Created { stored_bytes: 10 });
    let watch = world.watch(options()).with_own_reports(reporting);
    let report = watch.run_once(&Context::background()).await.unwrap();
    assert_eq!((report.total.interval.proved_bytes(), report.silent_lives), (0, 0));
    assert_eq!(world.clock.now(), SystemTime::UNIX_EPOCH);
}
