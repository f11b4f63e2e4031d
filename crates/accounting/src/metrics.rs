//! What is counted, as Prometheus metrics, under the names that operators of a cache know.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use crate::drift::{Histogram, HistogramSnapshot};
use crate::{Accounts, Amounts, Class, DriftInterval, Reporting};

/// A thousand bytes to a petabyte.
const BYTES: &[i64] = &[
    1_000,
    1_000_000,
    1_000_000_000,
    10_000_000_000,
    100_000_000_000,
    1_000_000_000_000,
    10_000_000_000_000,
    100_000_000_000_000,
    1_000_000_000_000_000,
];

/// The same, both ways from 0.
const SIGNED_BYTES: &[i64] = &[
    -1_000_000_000_000,
    -10_000_000_000,
    -1_000_000_000,
    -1_000_000,
    -1_000,
    0,
    1_000,
    1_000_000,
    1_000_000_000,
    10_000_000_000,
    1_000_000_000_000,
];

const SIGNED_PERCENT: &[i64] = &[-50, -20, -10, -5, -2, -1, 0, 1, 2, 5, 10, 20, 50];

/// One of the columns of amounts.
type Column = fn(&Amounts) -> u64;

/// What is counted, as text that Prometheus scrapes.
///
/// It reads the counters when it is asked to, and costs uploads nothing. No account is ever a label.
///
/// | metric | type | is |
/// |---|---|---|
/// | `bazelre_cache_upload_bytes_created` | counter | what uploads created, in bytes as stored |
/// | `bazelre_cache_accounting_reports_completed` | counter | reports that were acknowledged |
/// | `bazelre_cache_accounting_reports_failed_to_send` | counter | reports that were not |
/// | `bazelre_cache_actual_storage_bytes` | histogram | what scans have listed, in bytes |
/// | `bazelre_cache_reported_storage_bytes` | histogram | what had been reported before them, in bytes |
/// | `bazelre_cache_storage_drift_bytes` | histogram | the middle of the drift that they showed, in bytes |
/// | `bazelre_cache_storage_drift_percent` | histogram | the same, in percent of what is stored |
/// | `blobaccess_accounting_drift_width_bytes` | histogram | how wide the interval of the drift was, in bytes |
/// | `blobaccess_accounting_uploads_total` | counter, by `storage_type`, `status`, `reason` | uploads begun, and how they ended |
/// | `blobaccess_accounting_stored_bytes_total` | same | what they take in the store, in bytes |
/// | `blobaccess_accounting_logical_bytes_total` | same | their size, in bytes |
/// | `blobaccess_accounting_unsized_logical_bytes_total` | same | the size of those of which it is not known what they take, in bytes |
/// | `blobaccess_accounting_in_flight_uploads` | gauge, by `storage_type` | uploads without an outcome |
/// | `blobaccess_accounting_overflowed_uploads_total` | counter | uploads that went to `__other__` |
/// | `blobaccess_accounting_unresolved_uploads` | gauge | uploads whose answer was lost |
/// | `blobaccess_accounting_dead_lives` | gauge | earlier lives not yet reported to their end |
/// | `blobaccess_accounting_journal_failures_total` | counter | times that the journal could not be written |
#[derive(Debug)]
pub struct Metrics {
    accounts: Arc<Accounts>,
    reporting: Arc<Reporting>,
    actual: Histogram,
    reported: Histogram,
    drift: Histogram,
    percent: Histogram,
    width: Histogram,
}

impl Metrics {
    /// Shows what `accounts` and `reporting` say.
    #[must_use]
    pub fn new(accounts: Arc<Accounts>, reporting: Arc<Reporting>) -> Self {
        Self {
            accounts,
            reporting,
            actual: Histogram::new(BYTES),
            reported: Histogram::new(BYTES),
            drift: Histogram::new(SIGNED_BYTES),
            percent: Histogram::new(SIGNED_PERCENT),
            width: Histogram::new(BYTES),
        }
    }

    /// Takes note of what a scan showed.
    pub fn observe_drift(&self, drift: &DriftInterval) {
        self.actual.observe(drift.actual_bytes.into());
        self.reported.observe(drift.reported_bytes);
        self.drift.observe(drift.middle_bytes());
        self.percent.observe(i128::from(drift.basis_points(1)) / 100);
        self.width.observe(drift.width_bytes());
    }

    /// All of it as text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = Text(String::new());
        let tallies = self.accounts.tallies();
        let mut by_class: BTreeMap<(&'static str, Class), Amounts> = BTreeMap::new();
        let mut in_flight: BTreeMap<&'static str, u64> = BTreeMap::new();
        for (account, tally) in &tallies.accounts {
            let storage_type = account.storage_type().name();
            for (class, amounts) in tally.iter() {
                let sum = by_class.entry((storage_type, class)).or_default();
                *sum = sum.plus(amounts);
            }
            *in_flight.entry(storage_type).or_default() += tally.in_flight().objects;
        }
        let created = by_class.iter().filter(|((_, class), _)| *class == Class::Created);
        let created = created.fold(0_u64, |sum, (_, amounts)| sum.saturating_add(amounts.stored_bytes));
        let reporting = self.reporting.snapshot();
        let accounts = self.accounts.snapshot();
        for (name, value) in [
            ("bazelre_cache_upload_bytes_created", created),
            ("bazelre_cache_accounting_reports_completed", reporting.completed),
            ("bazelre_cache_accounting_reports_failed_to_send", reporting.failed_to_send),
            ("blobaccess_accounting_overflowed_uploads_total", tallies.overflowed),
            ("blobaccess_accounting_journal_failures_total", accounts.journal_failures),
        ] {
            text.metric(name, "counter");
            text.line(name, "", value);
        }
        let columns: [(&str, Column); 4] = [
            ("uploads_total", |amounts| amounts.objects),
            ("stored_bytes_total", |amounts| amounts.stored_bytes),
            ("logical_bytes_total", |amounts| amounts.logical_bytes),
            ("unsized_logical_bytes_total", |amounts| amounts.unsized_bytes),
        ];
        for (name, column) in columns {
            let name = format!("blobaccess_accounting_{name}");
            text.metric(&name, "counter");
            for ((storage_type, class), amounts) in &by_class {
                let (status, reason) = (class.status(), class.reason());
                let labels = format!(r#"storage_type="{storage_type}",status="{status}",reason="{reason}""#);
                text.line(&name, &labels, column(amounts));
            }
        }
        let name = "blobaccess_accounting_in_flight_uploads";
        text.metric(name, "gauge");
        for (storage_type, uploads) in in_flight {
            text.line(name, &format!(r#"storage_type="{storage_type}""#), uploads);
        }
        for (name, value) in [
            ("blobaccess_accounting_unresolved_uploads", accounts.unresolved),
            ("blobaccess_accounting_dead_lives", accounts.dead_lives),
        ] {
            text.metric(name, "gauge");
            text.line(name, "", value);
        }
        for (name, histogram) in [
            ("bazelre_cache_actual_storage_bytes", &self.actual),
            ("bazelre_cache_reported_storage_bytes", &self.reported),
            ("bazelre_cache_storage_drift_bytes", &self.drift),
            ("bazelre_cache_storage_drift_percent", &self.percent),
            ("blobaccess_accounting_drift_width_bytes", &self.width),
        ] {
            text.histogram(name, &histogram.snapshot());
        }
        text.0
    }
}

/// Text in the format of Prometheus. To write to a string cannot fail.
struct Text(String);

impl Text {
    fn metric(&mut self, name: &str, kind: &str) {
        let _: std::fmt::Result = writeln!(self.0, "# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _: std::fmt::Result = if labels.is_empty() {
            writeln!(self.0, "{name} {value}")
        } else {
            writeln!(self.0, "{name}{{{labels}}} {value}")
        };
    }

    fn histogram(&mut self, name: &str, snapshot: &HistogramSnapshot) {
        self.metric(name, "histogram");
        let bucket = format!("{name}_bucket");
        for (bound, count) in &snapshot.at_most {
            self.line(&bucket, &format!(r#"le="{bound}""#), count);
        }
        self.line(&bucket, r#"le="+Inf""#, snapshot.count);
        self.line(&format!("{name}_sum"), "", snapshot.sum);
        self.line(&format!("{name}_count"), "", snapshot.count);
    }
}
