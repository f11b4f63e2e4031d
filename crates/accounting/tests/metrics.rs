//! The metrics after a known history, under the names that operators know.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail so")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use blobaccess::{AccountName, Context, Digest, DigestFunction, Error, InstanceName, Result, StorageType};
use blobaccess_accounting::{
    Accounts, AccountsOptions, Adjustment, DriftInterval, DriftWatch, DriftWatchOptions, DropReason, ErrorReason,
    InFlight, Ledger, Life, MemoryLedger, Metrics, Outcome, Reading, Report, Reporter, Reporting, Scanned, Total,
};

/// A ledger that can be down.
#[derive(Debug, Default)]
struct Failing {
    ledger: MemoryLedger,
    down: AtomicBool,
}

#[async_trait]
impl Ledger for Failing {
    async fn apply(&self, reports: &[Report]) -> Result<()> {
        if self.down.load(Ordering::Relaxed) {
            return Err(Error::unavailable("down"));
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

fn digest(name: &str) -> Digest {
    Digest::of(InstanceName::new(name).unwrap(), DigestFunction::Sha256, b"contents")
}

/// Returns the value on the line that begins with `what` and a space.
fn value<'a>(text: &'a str, what: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(' '));
    assert!(line.is_some(), "no line for {what} in\n{text}");
    line.unwrap()
}

#[tokio::test]
async fn metrics_have_the_names_that_operators_know_and_the_values_of_the_history() {
    let accounts = Accounts::open(AccountsOptions::new(Reporter::new("host"))).unwrap();
    let ledger = Arc::new(Failing::default());
    let reporting = Arc::new(Reporting::new(Arc::clone(&accounts), Arc::<Failing>::clone(&ledger)));
    let metrics = Metrics::new(Arc::clone(&accounts), Arc::clone(&reporting));

    let ctx = Context::background();
    let begin = |name: &str, kind| accounts.begin(&ctx, &digest(name), kind, 10).unwrap();
    for (name, kind, outcome) in [
        ("a", StorageType::Cas, Outcome::Created { stored_bytes: 6 }),
        ("b", StorageType::Cas, Outcome::Created { stored_bytes: 7 }),
        ("a", StorageType::Ac, Outcome::Created { stored_bytes: 100 }),
        ("a", StorageType::Ac, Outcome::Replaced { stored_bytes: 120, old_bytes: 100 }),
        ("a", StorageType::Cas, Outcome::AlreadyExists { stored_bytes: 6 }),
        ("a", StorageType::Cas, Outcome::Error(ErrorReason::Rejected)),
        ("a", StorageType::Cas, Outcome::Dropped { reason: DropReason::QueueFull, stored_bytes: None }),
    ] {
        begin(name, kind).finish(outcome);
    }
    let under_way = begin("a", StorageType::Cas);
    reporting.flush().await.unwrap();
    ledger.down.store(true, Ordering::Relaxed);
    reporting.flush().await.unwrap_err();
    reporting.flush().await.unwrap_err();
    ledger.down.store(false, Ordering::Relaxed);
    reporting.flush().await.unwrap();

    let reading = Reading::from_totals(&ledger.totals(None).await.unwrap(), StorageType::Cas);
    assert_eq!(reading.footprint_bytes, 13);
    metrics.observe_drift(&DriftInterval::new(&reading, &Scanned { objects: 2, stored_bytes: 10 }, &reading));

    let text = metrics.encode();
    let uploads = |kind: &str, status: &str, reason: &str, column: &str| {
        let labels = format!(r#"storage_type="{kind}",status="{status}",reason="{reason}""#);
        value(&text, &format!("blobaccess_accounting_{column}_total{{{labels}}}")).parse::<u64>().unwrap()
    };
    // The names of the earlier accounting.
    assert_eq!(value(&text, "bazelre_cache_upload_bytes_created"), "113");
    assert_eq!(value(&text, "bazelre_cache_accounting_reports_completed"), "2");
    assert_eq!(value(&text, "bazelre_cache_accounting_reports_failed_to_send"), "2");
    for (name, sum) in [
        ("bazelre_cache_actual_storage_bytes", "10"),
        ("bazelre_cache_reported_storage_bytes", "13"),
        // Between 3 and 13, as uploads under way may have been listed and not yet counted.
        ("bazelre_cache_storage_drift_bytes", "8"),
        ("bazelre_cache_storage_drift_percent", "80"),
        ("blobaccess_accounting_drift_width_bytes", "10"),
    ] {
        assert!(text.contains(&format!("# TYPE {name} histogram\n")), "{name}");
        assert_eq!((value(&text, &format!("{name}_sum")), value(&text, &format!("{name}_count"))), (sum, "1"));
        assert_eq!(value(&text, &format!(r#"{name}_bucket{{le="+Inf"}}"#)), "1");
    }
    // Names of this project.
    assert_eq!((uploads("cas", "started", "", "uploads"), uploads("ac", "started", "", "uploads")), (6, 2));
    assert_eq!(uploads("cas", "created", "", "uploads"), 2);
    assert_eq!(uploads("cas", "created", "", "stored_bytes"), 13);
    assert_eq!(uploads("cas", "created", "", "logical_bytes"), 20);
    assert_eq!(uploads("ac", "replaced", "", "stored_bytes"), 120);
    assert_eq!(uploads("cas", "already_exists", "", "uploads"), 1);
    assert_eq!(uploads("cas", "error", "rejected", "uploads"), 1);
    assert_eq!(uploads("cas", "dropped", "queue_full", "unsized_logical_bytes"), 10);
    assert_eq!(value(&text, r#"blobaccess_accounting_in_flight_uploads{storage_type="cas"}"#), "1");
    assert_eq!(value(&text, r#"blobaccess_accounting_in_flight_uploads{storage_type="ac"}"#), "0");
    for name in ["overflowed_uploads_total", "unresolved_uploads", "dead_lives", "journal_failures_total"] {
        assert_eq!(value(&text, &format!("blobaccess_accounting_{name}")), "0");
    }
    // No account is a label.
    assert!(!text.contains("account_name"));
    // Every metric says its meaning and its type once.
    let described = text.lines().filter(|line| line.starts_with("# HELP")).count();
    assert_eq!(described, text.lines().filter(|line| line.starts_with("# TYPE")).count());
    let mut types: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
    let all = types.len();
    types.sort_unstable();
    types.dedup();
    assert_eq!(types.len(), all);
    drop(under_way);
    assert_eq!(value(&metrics.encode(), r#"blobaccess_accounting_in_flight_uploads{storage_type="cas"}"#), "0");
}

#[tokio::test]
async fn the_alerts_query_metrics_and_buckets_that_there_are() {
    let accounts = Accounts::open(AccountsOptions::new(Reporter::new("host"))).unwrap();
    let ledger = Arc::new(MemoryLedger::new());
    let reporting = Arc::new(Reporting::new(Arc::clone(&accounts), Arc::<MemoryLedger>::clone(&ledger)));
    let watch = DriftWatch::new(ledger, DriftWatchOptions::new());
    watch.run_once(&Context::background()).await.unwrap();
    let text = Metrics::new(accounts, reporting).with_drift(watch.metrics()).encode();

    let alerts = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/alerts/drift.yml")).unwrap();
    let rules = alerts.lines().filter(|line| !line.trim_start().starts_with('#'));
    let mut found = 0;
    for word in rules.flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')) {
        if word.starts_with("blobaccess_") || word.starts_with("bazelre_") {
            assert!(text.lines().any(|line| line.starts_with(word)), "{word} is no metric");
            found += 1;
        }
    }
    assert_eq!(found, 8);
    for bound in ["-11", "10", "+Inf"] {
        value(&text, &format!(r#"bazelre_cache_storage_drift_percent_bucket{{le="{bound}"}}"#));
        assert!(alerts.contains(&format!(r#"le="{bound}""#)) || alerts.contains(&format!(r#"le=~"{bound}([.]0)?""#)));
    }
}
