//! The results of scans: intervals, alarms, metrics, lines in the log.

use std::sync::Mutex;

use blobaccess_testkit::fakes::Warnings;

use super::*;
use crate::{AccountingObserver, Adjustment, DriftFinding, DriftSubject};

fn subject(name: &str) -> DriftSubject {
    DriftSubject::Account(Account::new(AccountName::new(name), CAS))
}

fn ends(finding: &DriftFinding) -> (i128, i128) {
    (finding.interval.low_bytes, finding.interval.high_bytes)
}

#[tokio::test]
async fn in_a_quiet_store_every_drift_is_exactly_zero() {
    let blobs = (0..20).map(|number| (number, account(["a", "b"][usize::from(number % 2 == 0)]), 10 + number));
    let (even, odd): (Vec<_>, Vec<_>) = blobs.partition(|(number, ..)| number % 3 == 0);
    let world = World::new(vec![Shard::new(even.clone()), Shard::new(odd.clone())]);
    let mut host = Host::new("host");
    for (_, owner, bytes) in even.iter().chain(&odd) {
        let Owner::Account(name) = owner else { unreachable!() };
        host.upload(name.as_str(), *bytes);
    }
    host.send(&world.ledger);
    let watch = world.watch(options());
    let report = world.scan(&watch, &mut host).await.unwrap();
    assert_eq!(ends(&report.total), (0, 0));
    assert_eq!((report.total.interval.reported_bytes, report.total.interval.actual_bytes), (390, 390));
    assert_eq!(report.kinds.iter().map(|kind| ends(&kind.finding)).collect::<Vec<_>>(), [(0, 0)]);
    assert_eq!(report.worst.iter().map(ends).collect::<Vec<_>>(), [(0, 0), (0, 0)]);
    assert!(!report.alarms.any() && report.compared_accounts == 2 && report.silent_lives == 0);
    let text = watch.metrics().encode();
    for line in [
        "bazelre_cache_actual_storage_bytes_sum 390",
        "bazelre_cache_actual_storage_bytes_count 2",
        "bazelre_cache_reported_storage_bytes_sum 390",
        "bazelre_cache_storage_drift_bytes_sum 0",
        r#"bazelre_cache_storage_drift_percent_bucket{le="0"} 2"#,
        r#"bazelre_cache_storage_drift_percent_bucket{le="-1"} 0"#,
        r#"blobaccess_accounting_drift_alarms{subject="account"} 0"#,
        r#"blobaccess_accounting_drift_listed_objects{storage_type="cas",owner="account"} 20"#,
        "blobaccess_accounting_drift_scans_total 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
}

#[tokio::test]
async fn what_is_stored_was_there_before_or_is_nobodys_is_told_apart() {
    let world = World::new(vec![Shard::new([
        (1, account("a"), 10),
        (2, Owner::Adopted, 500),
        (3, Owner::Unknown, 3),
        (4, Owner::Adopted, 600),
    ])]);
    let mut host = Host::new("host");
    host.upload("a", 10);
    host.send(&world.ledger);
    let watch = world.watch(options());
    let report = world.scan(&watch, &mut host).await.unwrap();
    let kind = &report.kinds[0];
    let bytes = (kind.owned.stored_bytes, kind.adopted.stored_bytes, kind.unknown.stored_bytes);
    assert_eq!(bytes, (10, 1_100, 3));
    // What is nobody's is drift of its kind, and may be the account's.
    assert_eq!((ends(&kind.finding), ends(&report.worst[0])), ((-3, -3), (-3, 0)));

    // The ledger has what was there before, in an account.
    let before = Account::new(AccountName::new("__before__"), CAS);
    let opening = Adjustment::new("opening", before, 1_100, (-1_100, -1_100), SystemTime::UNIX_EPOCH);
    world.ledger.adjust(&[opening]).await.unwrap();
    let watch = world.watch(options().with_adopted_account(AccountName::new("__before__")));
    let report = world.scan(&watch, &mut host).await.unwrap();
    let kind = &report.kinds[0];
    let bytes = (kind.owned.stored_bytes, kind.adopted.stored_bytes, kind.unknown.stored_bytes);
    assert_eq!(bytes, (10, 1_100, 3));
    assert_eq!((ends(&kind.finding), kind.finding.interval.actual_bytes), ((-3, -3), 1_113));
    assert!(report.worst.iter().all(|finding| ends(finding) == (-3, 0)), "{:?}", report.worst);
}

#[tokio::test]
async fn without_owners_kinds_are_compared_and_accounts_are_not() {
    let world = World::new(vec![Shard::new([(1, account("a"), 10), (2, account("b"), 20)])]);
    let mut host = Host::new("host");
    host.upload("a", 30);
    host.send(&world.ledger);
    let watch = DriftWatch::new(Arc::<MemoryLedger>::clone(&world.ledger), options())
        .with_store(CAS, world.shards.clone())
        .with_clock(Arc::new(world.clock.clone()));
    let report = world.scan(&watch, &mut host).await.unwrap();
    assert_eq!((report.compared_accounts, ends(&report.total)), (0, (0, 0)));
    assert!(!report.kinds[0].by_account);
    assert!(watch.metrics().encode().contains("\nbazelre_cache_actual_storage_bytes_sum 30\n"));
}

/// An observer that notes what it is told.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<(DriftSubject, i128)>>, Mutex<Vec<DriftReport>>);

impl AccountingObserver for Told {
    fn drift_found(&self, finding: &DriftFinding) {
        self.0.lock().unwrap().push((finding.subject.clone(), finding.interval.proved_bytes()));
    }

    fn scan_ended(&self, report: &DriftReport) {
        self.1.lock().unwrap().push(report.clone());
    }
}

#[tokio::test]
async fn errors_of_opposite_sign_cancel_in_no_alarm() {
    let world = World::new(vec![Shard::new([
        (1, account("over"), 600),
        (2, account("under"), 1_400),
        (3, account("right"), 5_000),
    ])]);
    let mut host = Host::new("host");
    for (name, bytes) in [("over", 1_000), ("under", 1_000), ("right", 5_000)] {
        host.upload(name, bytes);
    }
    host.send(&world.ledger);
    let told = Arc::new(Told::default());
    let alarm = DriftAlarm::new().with_floor_bytes(0).with_times(2);
    let watch = world.watch(options().with_alarm(alarm)).with_observer(Arc::clone(&told));
    let warnings = Warnings::begin();
    let first = world.scan(&watch, &mut host).await.unwrap();
    assert!(!first.alarms.any() && told.0.lock().unwrap().is_empty() && warnings.take().is_empty());
    assert_eq!((ends(&first.total), first.proved_bytes_of_accounts), ((0, 0), 800));
    let second = world.scan(&watch, &mut host).await.unwrap();
    assert_eq!((second.alarms.accounts, second.alarms.kinds, second.alarms.total), (2, 0, false));
    let mut found = std::mem::take(&mut *told.0.lock().unwrap());
    found.sort_by_key(|(_, bytes)| *bytes);
    assert_eq!(found, [(subject("under"), -400), (subject("over"), 400)]);
    assert_eq!(*told.1.lock().unwrap(), [first, second]);
    let lines = warnings.take();
    assert!(lines.len() == 1 && lines[0].starts_with("what is stored is not what was reported"), "{lines:?}");
    assert!(watch.metrics().encode().contains(r#"drift_alarms{subject="account"} 2"#));
    // The line does not come again at once.
    assert!(world.scan(&watch, &mut host).await.unwrap().alarms.any());
    assert!(warnings.take().is_empty());
    // Both are mended.
    world.shards[0].blobs().extend([(1, (account("over"), 1_000)), (2, (account("under"), 1_000))]);
    let mended = world.scan(&watch, &mut host).await.unwrap();
    assert!(!mended.alarms.any() && mended.worst.iter().all(|finding| ends(finding) == (0, 0)));
}

#[tokio::test]
async fn accounts_beyond_the_bound_are_compared_as_one_and_no_name_is_a_label() {
    let hostile = "x\" } 1\nevil{le=\"";
    let world = World::new(vec![Shard::new([
        (1, account(hostile), 100),
        (2, account("small"), 1),
        (3, account("new"), 7),
        (4, account(&"long".repeat(1_000)), 9),
    ])]);
    let mut host = Host::new("host");
    host.upload(hostile, 100);
    host.upload("small", 1);
    host.upload("smaller", 0);
    host.send(&world.ledger);
    let watch = world.watch(options().with_max_accounts(1));
    let report = world.scan(&watch, &mut host).await.unwrap();
    assert_eq!(report.compared_accounts, 2);
    assert_eq!(report.worst[0].subject, DriftSubject::OtherAccounts(CAS));
    assert_eq!((ends(&report.worst[0]), ends(&report.worst[1])), ((-16, -16), (0, 0)));
    assert!(!watch.metrics().encode().contains("evil"));
    let all = world.scan(&world.watch(options().with_worst(1)), &mut host).await.unwrap();
    assert_eq!((all.compared_accounts, all.worst.len(), all.alarms.accounts), (5, 1, 2));
    assert_eq!(ends(&all.worst[0]), (-9, -9));
}
