//! The contracts of ledgers, for tests of your own ledger.
//!
//! Each contract is a function that panics if a ledger breaks it. The contracts use reporters and accounts with a prefix,
//! so that a ledger that is in use can be tested too. Only [`consuming`] must be the only consumer.
#![expect(clippy::expect_used, clippy::panic, reason = "a contract that is broken fails the test that runs it")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use blobaccess::{AccountName, StorageType};

use crate::{
    Account, Accumulator, Adjustment, Amounts, Class, Correction, Epoch, Ledger, Life, Outcome, Report, Reporter, Tally,
};

/// The reports of a test, and their sums.
#[derive(Debug)]
struct Truth {
    reports: Vec<Report>,
    totals: BTreeMap<Account, Tally>,
    /// The number of the last report of each life, and whether that report closed the life.
    lives: BTreeMap<(Reporter, Epoch), (u64, bool)>,
}

/// A source of numbers that follow from a seed.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.next() % bound).unwrap_or(0)
    }

    fn shuffle<T>(&mut self, all: &mut [T]) {
        for index in (1..all.len()).rev() {
            let other = self.below(index + 1);
            all.swap(index, other);
        }
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

fn accounts(prefix: &str) -> Vec<Account> {
    let account = |(name, storage_type)| Account::new(AccountName::new(format!("{prefix}/{name}")), storage_type);
    [("a", StorageType::Cas), ("a", StorageType::Ac), ("b'\"\\ü", StorageType::Cas)].map(account).to_vec()
}

/// Draws six lives of three reporters, with ten reports each.
fn truth(prefix: &str, random: &mut Random) -> Truth {
    let mut truth = Truth { reports: Vec::new(), totals: BTreeMap::new(), lives: BTreeMap::new() };
    for number in 0..6 {
        let reporter = Reporter::new(format!("{prefix}/host-{}", number % 3));
        let mut bytes = [0; 16];
        for byte in &mut bytes {
            *byte = u8::try_from(random.below(256)).unwrap_or(0);
        }
        let epoch = Epoch::from_bytes(bytes);
        let mut counted: BTreeMap<Account, Tally> = BTreeMap::new();
        for seq in 1..=10 {
            for account in accounts(prefix) {
                if random.below(2) == 0 {
                    count(counted.entry(account).or_default(), random);
                }
            }
            let all = counted.iter().map(|(account, tally)| (account.clone(), tally.clone())).collect();
            let report = Report::new(reporter.clone(), epoch, seq, at(seq * 60), all);
            let closes = seq == 10 && number < 3;
            truth.reports.push(if closes { report.closing() } else { report });
            truth.lives.insert((reporter.clone(), epoch), (seq, closes));
        }
        for (account, tally) in &counted {
            truth.totals.entry(account.clone()).or_default().add_all(tally);
        }
    }
    truth
}

fn count(tally: &mut Tally, random: &mut Random) {
    let stored_bytes = random.next() % (1 << 40);
    let outcome = match random.below(4) {
        0 => Outcome::AlreadyExists { stored_bytes },
        1 => Outcome::Replaced { stored_bytes, old_bytes: stored_bytes / 2 },
        2 => Outcome::Error(crate::ErrorReason::Ambiguous),
        _ => Outcome::Created { stored_bytes },
    };
    let logical_bytes = stored_bytes.saturating_mul(2);
    tally.add(Class::Started, Amounts::started(logical_bytes));
    tally.add(Class::from_outcome(outcome), Amounts::ended(outcome, logical_bytes));
    if random.below(4) == 0 {
        tally.add(Class::DeletedByRotation, Amounts::deleted(1, 1));
    }
}

/// Draws batches of up to five reports, in which every report occurs three times, in any order.
fn deliveries(truth: &Truth, random: &mut Random) -> Vec<Vec<Report>> {
    let mut all: Vec<Report> = (0..3).flat_map(|_| truth.reports.iter().cloned()).collect();
    random.shuffle(&mut all);
    let mut batches = Vec::new();
    while !all.is_empty() {
        let length = (1 + random.below(5)).min(all.len());
        batches.push(all.split_off(all.len() - length));
    }
    batches
}

async fn assert_totals(ledger: &dyn Ledger, prefix: &str, truth: &Truth, adjusted: &BTreeMap<Account, i64>) {
    let all = ledger.totals(None).await.expect("totals are to be read");
    let ours = all.iter().filter(|total| total.account.account_name().as_str().starts_with(prefix));
    let found: BTreeMap<_, _> =
        ours.map(|total| (total.account.clone(), (total.tally.clone(), total.adjusted_bytes))).collect();
    let accounts: BTreeSet<_> = truth.totals.keys().chain(adjusted.keys()).collect();
    let expected: BTreeMap<_, _> = accounts
        .into_iter()
        .map(|account| {
            let tally = truth.totals.get(account).cloned().unwrap_or_default();
            (account.clone(), (tally, adjusted.get(account).copied().unwrap_or(0)))
        })
        .collect();
    assert_eq!(found, expected, "the totals are not what was reported");
    for account in expected.keys() {
        let some = ledger.totals(Some(account.account_name())).await.expect("totals of an account are to be read");
        assert!(some.iter().all(|total| total.account.account_name() == account.account_name()));
        let one = some.iter().find(|total| total.account == *account).expect("an account is among those of its name");
        let (tally, adjusted_bytes) = (one.tally.clone(), one.adjusted_bytes);
        assert_eq!(Some(&(tally, adjusted_bytes)), expected.get(account));
    }
}

/// Checks that the totals are right after every report arrived three times, in any order, in batches of any size.
///
/// # Panics
///
/// Panics if they are not.
pub async fn reports_in_any_order_and_number_come_to_the_truth(ledger: &dyn Ledger, prefix: &str, seed: u64) {
    let mut random = Random(seed);
    let truth = truth(prefix, &mut random);
    for batch in deliveries(&truth, &mut random) {
        ledger.apply(&batch).await.expect("reports are to be acknowledged");
    }
    ledger.apply(&[]).await.expect("no reports are to be acknowledged");
    assert_totals(ledger, prefix, &truth, &BTreeMap::new()).await;
    let lives = ledger.lives().await.expect("lives are to be read");
    let ours = lives.iter().filter(|life| life.reporter.as_str().starts_with(prefix));
    let found: BTreeMap<_, _> =
        ours.map(|life| ((life.reporter.clone(), life.epoch), (life.seq, life.closed))).collect();
    assert_eq!(found, truth.lives, "the lives are not those that reported");
    let taken = lives.iter().filter(|life| life.reporter.as_str().starts_with(prefix)).map(|life| life.taken_at);
    assert!(taken.into_iter().all(|taken_at| taken_at == at(600)), "the latest report of a life is not known");
}

/// Checks that a life that was retired keeps its counts and its uploads under way, that repeated reports of before leave it
/// retired, and that it is open again once it reports more.
///
/// # Panics
///
/// Panics if it does not.
pub async fn a_retired_life_is_not_awaited_until_it_reports_again(ledger: &dyn Ledger, prefix: &str) {
    let all = accounts(prefix);
    let (reporter, epoch) = (Reporter::new(format!("{prefix}/gone")), Epoch::from_bytes([9; 16]));
    let report = |seq: u64, created: u64| {
        let amounts = |objects| Amounts { objects, stored_bytes: objects * 3, ..Amounts::default() };
        let started = Amounts { objects: created + 2, logical_bytes: created * 10 + 25, ..Amounts::default() };
        let ended = Amounts { logical_bytes: created * 10, ..amounts(created) };
        let tally: Tally = [(Class::Started, started), (Class::Created, ended)].into_iter().collect();
        let counted = all.iter().map(|account| (account.clone(), tally.clone())).collect();
        Report::new(reporter.clone(), epoch, seq, at(seq), counted)
    };
    let life = || async {
        let mut lives = ledger.lives().await.expect("lives are to be read");
        lives.retain(|life| life.reporter == reporter);
        assert_eq!(lives.len(), 1, "a life is not there once");
        lives.remove(0)
    };
    let under_way = || async {
        let mut in_flight = ledger.in_flight().await.expect("uploads under way are to be read");
        in_flight.retain(|life| life.reporter == reporter && life.epoch == epoch);
        in_flight.sort();
        in_flight.into_iter().map(|life| (life.account, life.objects, life.logical_bytes)).collect::<Vec<_>>()
    };
    let mut expected: Vec<_> = all.iter().map(|account| (account.clone(), 2, 25)).collect();
    expected.sort();
    ledger.apply(&[report(4, 1)]).await.expect("a report is to be acknowledged");
    let seen = life().await;
    assert!(seen.is_open() && !seen.is_retired() && !seen.has_returned());
    let unknown = Life::new(Reporter::new(format!("{prefix}/unknown")), epoch, 1, at(1));
    for _ in 0..2 {
        ledger.retire(&[seen.clone(), unknown.clone()]).await.expect("lives are to be retired");
        ledger.apply(&[report(4, 1), report(3, 1)]).await.expect("a report is to be acknowledged again");
        let retired = life().await;
        assert!(retired.is_retired() && !retired.is_open(), "a report of before has opened a life that was retired");
        assert_eq!((retired.seq, retired.taken_at), (4, at(4)));
        assert_eq!(under_way().await, expected);
    }
    ledger.retire(&[]).await.expect("no lives are to be retired");
    ledger.apply(&[report(5, 7)]).await.expect("a life that was retired is to be heard");
    let returned = life().await;
    assert!(returned.is_open() && returned.has_returned(), "a life that reports again is not open");
    // An old request to retire it comes too late.
    ledger.retire(&[seen]).await.expect("lives are to be retired");
    assert!(life().await.is_open(), "a life was retired for a report of before its last");
    assert_eq!(under_way().await, expected);
    for account in &all {
        let totals = ledger.totals(Some(account.account_name())).await.expect("totals are to be read");
        let total = totals.iter().find(|total| total.account == *account).expect("an account is in its totals");
        assert_eq!(total.tally.get(Class::Created).objects, 7, "a retired life's counts are not what it reported");
    }
    let last = report(6, 7);
    ledger.apply(&[Report { accounts: Vec::new(), ..last }.closing()]).await.expect("a report is to be acknowledged");
    let over = life().await;
    assert!(over.closed && !over.is_open() && !over.is_retired());
    assert_eq!(under_way().await, [], "a life that is over has uploads under way");
}

/// Checks that an adjustment counts once, even if it is repeated with other numbers, and can be read with its proof.
///
/// # Panics
///
/// Panics if it does not.
pub async fn an_adjustment_counts_once_and_is_kept_with_its_proof(ledger: &dyn Ledger, prefix: &str) {
    let all = accounts(prefix);
    let Some(account) = all.first() else { panic!("there are accounts") };
    let scan = |number: u32| format!("{prefix}/scan-{number}");
    let one = Adjustment::new(scan(1), account.clone(), -70, (70, 90), at(1));
    let two = Adjustment::new(scan(2), account.clone(), 5, (-9, -5), at(2));
    let again = Adjustment::new(scan(1), account.clone(), -1, (1, 1), at(3));
    for _ in 0..2 {
        ledger.adjust(&[one.clone(), two.clone()]).await.expect("adjustments are to be acknowledged");
    }
    ledger.adjust(&[again]).await.expect("an adjustment that is known is to be passed over");
    let totals = ledger.totals(Some(account.account_name())).await.expect("totals are to be read");
    let adjusted: i64 = totals.iter().filter(|total| total.account == *account).map(|total| total.adjusted_bytes).sum();
    assert_eq!(adjusted, -65, "adjustments did not count once each");
    let mut kept = ledger.adjustments().await.expect("adjustments are to be read");
    kept.retain(|adjustment| adjustment.scan_id.starts_with(prefix));
    kept.sort_by(|a, b| a.scan_id.cmp(&b.scan_id));
    assert_eq!(kept, [one, two]);
}

/// Checks that everything reported moves once, whenever and however often it is consumed, and that statements are its sum
/// and its integral.
///
/// # Panics
///
/// Panics if they are not.
pub async fn consuming<L: Accumulator>(ledger: &L, prefix: &str, seed: u64) {
    let mut random = Random(seed);
    let truth = truth(prefix, &mut random);
    let mut moved: BTreeMap<Account, (Tally, i64)> = BTreeMap::new();
    // When each account was first seen, what it had, and the integral so far.
    let mut integrals: BTreeMap<Account, (u64, i128, i128)> = BTreeMap::new();
    let mut now = 0;
    let mut deliveries = deliveries(&truth, &mut random);
    deliveries.push(Vec::new());
    let last = deliveries.len();
    let mut adjusted = BTreeMap::new();
    for (index, batch) in deliveries.into_iter().enumerate() {
        ledger.apply(&batch).await.expect("reports are to be acknowledged");
        if index == last / 2 {
            let account = accounts(prefix).remove(0);
            let adjustment = Adjustment::new(format!("{prefix}/consumed"), account.clone(), -3, (3, 3), at(0));
            ledger.adjust(&[adjustment]).await.expect("an adjustment is to be acknowledged");
            adjusted.insert(account, -3);
        }
        if index + 1 < last && random.below(4) != 0 {
            continue;
        }
        now += u64::try_from(random.below(5_000)).unwrap_or(0);
        // Two at once must not both move the same.
        let (one, two) = futures::future::join(ledger.consume(at(now)), ledger.consume(at(now))).await;
        let movements = [one, two].into_iter().flat_map(|movements| movements.expect("consuming is to pass"));
        for movement in movements.filter(|movement| movement.account.account_name().as_str().starts_with(prefix)) {
            let sum = moved.entry(movement.account.clone()).or_default();
            sum.0.add_all(&movement.tally);
            sum.1 += movement.adjusted_bytes;
        }
        for (account, (tally, adjusted)) in &moved {
            let footprint = tally.net_bytes() + i128::from(*adjusted);
            let (since, had, integral) = integrals.entry(account.clone()).or_insert((now, 0, 0));
            *integral += *had * i128::from(now - *since) * 1_000;
            (*since, *had) = (now, footprint);
        }
    }
    let sums = moved.iter().map(|(account, (tally, _))| (account.clone(), tally.clone())).collect();
    assert_eq!(truth.totals, sums, "what moved is not what was reported");
    let statements = ledger.statements().await.expect("statements are to be read");
    let ours = statements.iter().filter(|statement| statement.account.account_name().as_str().starts_with(prefix));
    let mut found = 0;
    for statement in ours {
        found += 1;
        let account = &statement.account;
        let expected_adjusted = adjusted.get(account).copied().unwrap_or(0);
        assert_eq!(Some(&statement.tally), truth.totals.get(account), "statement of {account}");
        assert_eq!(statement.adjusted_bytes, expected_adjusted, "adjustments of {account}");
        let integral = integrals.get(account).map_or(0, |(_, _, integral)| *integral);
        assert_eq!(statement.byte_millis, integral, "integral of {account}");
        assert_eq!(statement.as_of, at(now), "time of {account}");
    }
    assert_eq!(found, truth.totals.len(), "not every account has a statement");
    let rest = ledger.consume(at(now)).await.expect("consuming is to pass");
    assert!(rest.iter().all(|movement| !movement.account.account_name().as_str().starts_with(prefix)));
}

/// Checks that what a clock that was ahead has billed can be taken back, and that a correction counts once. The ledger has no
/// statements yet.
///
/// # Panics
///
/// Panics if that is not so.
pub async fn statements_are_rewound_and_corrected<L: Accumulator>(ledger: &L, prefix: &str) {
    const HOUR: u64 = 3_600;
    const HOUR_MILLIS: i128 = 3_600_000;
    let all = accounts(prefix);
    let Some(account) = all.first() else { panic!("there are accounts") };
    let bytes = |bytes| Amounts { objects: 1, stored_bytes: bytes, ..Amounts::default() };
    let (reporter, epoch) = (Reporter::new(format!("{prefix}/host")), Epoch::from_bytes([7; 16]));
    let counted = all.iter().map(|account| (account.clone(), [(Class::Created, bytes(100))].into_iter().collect()));
    let report = Report::new(reporter, epoch, 1, at(0), counted.collect());
    ledger.apply(&[report]).await.expect("a report is to be acknowledged");
    let statements = || async {
        let mut statements = ledger.statements().await.expect("statements are to be read");
        statements.retain(|statement| statement.account.account_name().as_str().starts_with(prefix));
        assert_eq!(statements.len(), all.len());
        statements
    };
    let check = |hours: u64, billed: i128| {
        let statements = statements();
        async move {
            for statement in statements.await {
                let corrected = if statement.account == *account { billed } else { i128::from(hours) * 100 };
                assert_eq!((statement.as_of, statement.byte_hours()), (at(hours * HOUR), corrected));
                assert_eq!(statement.footprint_bytes(), 100);
            }
        }
    };
    let consume = |hours: u64| async move {
        ledger.consume(at(hours * HOUR)).await.expect("consuming is to pass");
    };
    consume(0).await;
    consume(1).await;
    check(1, 100).await;
    // A clock is a year ahead, twice.
    consume(365 * 24).await;
    consume(365 * 24).await;
    check(49, 4_900).await;
    for to in [2, 2, 3] {
        ledger.rewind(at(to * HOUR)).await.expect("statements are to be rewound");
        check(2, 200).await;
    }
    consume(3).await;
    check(3, 300).await;
    let correction =
        |bytes: i128| Correction::new(format!("{prefix}/wrong"), account.clone(), bytes * HOUR_MILLIS, at(4));
    for bytes in [-50, -50, 7] {
        ledger.correct(&[correction(bytes)]).await.expect("a correction is to be kept");
        check(3, 250).await;
    }
    ledger.correct(&[]).await.expect("no corrections are to be kept");
    let mut kept = ledger.corrections().await.expect("corrections are to be read");
    kept.retain(|correction| correction.correction_id.starts_with(prefix));
    assert_eq!(kept, [correction(-50)]);
    consume(4).await;
    check(4, 350).await;
    ledger.rewind(at(3 * HOUR)).await.expect("statements are to be rewound");
    check(3, 250).await;
}
