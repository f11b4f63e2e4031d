//! The results of scans as Prometheus metrics.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{DriftInterval, DriftReport, Histogram, Listed};
use crate::exposition::Text;
use crate::unix_millis;

/// The bounds of sizes: a thousand bytes to a petabyte.
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

/// The bounds of differences of sizes, in both directions from 0.
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

/// The bounds of percents. Numbers are whole, so those beyond -10 are those up to -11.
const SIGNED_PERCENT: &[i64] = &[-50, -20, -11, -10, -5, -2, -1, 0, 1, 2, 5, 10, 20, 50];

/// One column of what was listed.
type Column = fn(&Listed) -> u64;

/// The results of scans for drift, as text that Prometheus scrapes.
///
/// Each scan adds one number for each account to the histograms; for a kind of store of whose blobs no owner is known, one for
/// all of it. What was there before the ledger, and what is nobody's, is in gauges only. No account is ever a label, so the
/// number of series does not grow with accounts. [`DriftWatchSnapshot`](super::DriftWatchSnapshot) names those that drift most.
///
/// | metric | type | value |
/// |---|---|---|
/// | `bazelre_cache_actual_storage_bytes` | histogram | bytes that scans listed |
/// | `bazelre_cache_reported_storage_bytes` | histogram | bytes that were reported before those scans |
/// | `bazelre_cache_storage_drift_bytes` | histogram | the middle of the drift that scans showed, in bytes |
/// | `bazelre_cache_storage_drift_percent` | histogram | that middle, in percent of the bytes stored, or of the floor of the alarm if that is more; rounded away from 0 |
/// | `blobaccess_accounting_drift_width_bytes` | histogram | the width of the interval of the drift, in bytes |
/// | `blobaccess_accounting_drift_scans_total` | counter | scans that ended |
/// | `blobaccess_accounting_drift_scan_failures_total` | counter | attempts at a scan that failed, and went on later |
///
/// The others are there once a scan has ended, and are those of the latest.
///
/// | metric | type | value |
/// |---|---|---|
/// | `blobaccess_accounting_drift_alarms` | gauge, by `subject`: `account`, `storage_type`, `total` | the number of subjects that are cause for alarm |
/// | `blobaccess_accounting_drift_low_bytes`, `.._high_bytes` | gauge, by `storage_type` | the ends of the interval |
/// | `blobaccess_accounting_drift_listed_bytes`, `.._listed_objects` | gauge, by `storage_type` and `owner`: `account`, `adopted`, `unknown` | what was listed |
/// | `blobaccess_accounting_drift_proved_bytes` | gauge | the drifts of accounts that are proved, added up without their signs |
/// | `blobaccess_accounting_drift_compared_accounts` | gauge | accounts that were compared |
/// | `blobaccess_accounting_drift_silent_lives` | gauge | lives that did not report |
/// | `blobaccess_accounting_drift_returned_lives` | gauge | lives that were retired and have reported since |
/// | `blobaccess_accounting_drift_last_scan_timestamp_seconds` | gauge | the end of the scan, in seconds since 1970 |
/// | `blobaccess_accounting_drift_last_scan_seconds` | gauge | how long it took |
#[derive(Debug)]
pub struct DriftMetrics {
    floor_bytes: u64,
    actual: Histogram,
    reported: Histogram,
    drift: Histogram,
    percent: Histogram,
    width: Histogram,
    latest: Mutex<Latest>,
}

#[derive(Debug, Default)]
struct Latest {
    scans: u64,
    failures: u64,
    report: Option<DriftReport>,
}

impl DriftMetrics {
    /// Makes metrics of no scan yet. A store of less than `floor_bytes` counts as that large in percents.
    #[must_use]
    pub fn new(floor_bytes: u64) -> Self {
        Self {
            floor_bytes,
            actual: Histogram::new(BYTES),
            reported: Histogram::new(BYTES),
            drift: Histogram::new(SIGNED_BYTES),
            percent: Histogram::new(SIGNED_PERCENT),
            width: Histogram::new(BYTES),
            latest: Mutex::default(),
        }
    }

    /// Records the drift of one subject.
    pub fn observe(&self, drift: &DriftInterval) {
        self.actual.observe(drift.actual_bytes.into());
        self.reported.observe(drift.reported_bytes);
        self.drift.observe(drift.middle_bytes());
        self.percent.observe(drift.percent(self.floor_bytes).into());
        self.width.observe(drift.width_bytes());
    }

    /// Records the result of a scan, in which these drifts were found.
    pub(super) fn observe_scan(&self, report: &DriftReport, observed: &[DriftInterval]) {
        for drift in observed {
            self.observe(drift);
        }
        let mut latest = self.lock();
        latest.scans = latest.scans.saturating_add(1);
        latest.report = Some(report.clone());
    }

    pub(super) fn count_failure(&self) {
        let mut latest = self.lock();
        latest.failures = latest.failures.saturating_add(1);
    }

    /// Returns the number of scans that ended, of attempts that failed, and the latest result.
    pub(super) fn latest(&self) -> (u64, u64, Option<DriftReport>) {
        let latest = self.lock();
        (latest.scans, latest.failures, latest.report.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Latest> {
        // Every change is complete before anything that could panic.
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns all metrics as text, for a program without [`Metrics`](crate::Metrics), which has these too.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = Text::default();
        self.write(&mut text);
        text.0
    }

    pub(crate) fn write(&self, text: &mut Text) {
        for (name, help, histogram) in [
            ("bazelre_cache_actual_storage_bytes", "Bytes that scans listed.", &self.actual),
            ("bazelre_cache_reported_storage_bytes", "Bytes reported before scans.", &self.reported),
            ("bazelre_cache_storage_drift_bytes", "Middle of the drift, in bytes.", &self.drift),
            (
                "bazelre_cache_storage_drift_percent",
                "Middle of the drift, in percent of the bytes stored.",
                &self.percent,
            ),
            ("blobaccess_accounting_drift_width_bytes", "Width of the interval of the drift, in bytes.", &self.width),
        ] {
            text.histogram(name, help, &histogram.snapshot());
        }
        let (scans, failures, report) = self.latest();
        for (name, help, value) in [
            ("scans_total", "Scans for drift that ended.", scans),
            ("scan_failures_total", "Attempts at a scan for drift that failed.", failures),
        ] {
            let name = format!("blobaccess_accounting_drift_{name}");
            text.metric(&name, "counter", help);
            text.line(&name, "", value);
        }
        if let Some(report) = report {
            write_report(text, &report);
        }
    }
}

fn write_report(text: &mut Text, report: &DriftReport) {
    let name = "blobaccess_accounting_drift_alarms";
    text.metric(name, "gauge", "Subjects whose drift is cause for alarm.");
    let alarms = &report.alarms;
    for (subject, value) in
        [("account", alarms.accounts), ("storage_type", alarms.kinds), ("total", usize::from(alarms.total))]
    {
        text.line(name, &format!(r#"subject="{subject}""#), value);
    }
    for (name, help, is_low) in [
        ("low_bytes", "Lowest possible drift, in bytes.", true),
        ("high_bytes", "Highest possible drift, in bytes.", false),
    ] {
        let name = format!("blobaccess_accounting_drift_{name}");
        text.metric(&name, "gauge", help);
        for kind in &report.kinds {
            let interval = &kind.finding.interval;
            let value = if is_low { interval.low_bytes } else { interval.high_bytes };
            text.line(&name, &format!(r#"storage_type="{}""#, kind.storage_type.name()), value);
        }
    }
    let columns: [(&str, &str, Column); 2] = [
        ("listed_bytes", "Bytes that the latest scan listed.", |listed| listed.stored_bytes),
        ("listed_objects", "Blobs that the latest scan listed.", |listed| listed.objects),
    ];
    for (name, help, column) in columns {
        let name = format!("blobaccess_accounting_drift_{name}");
        text.metric(&name, "gauge", help);
        for kind in &report.kinds {
            for (owner, listed) in [("account", &kind.owned), ("adopted", &kind.adopted), ("unknown", &kind.unknown)] {
                let labels = format!(r#"storage_type="{}",owner="{owner}""#, kind.storage_type.name());
                text.line(&name, &labels, column(listed));
            }
        }
    }
    let took = report.finished_at.duration_since(report.begun_at).unwrap_or(Duration::ZERO);
    for (name, help, value) in [
        ("proved_bytes", "Drifts of accounts that are proved, without their signs.", report.proved_bytes_of_accounts),
        ("compared_accounts", "Accounts that were compared.", count(report.compared_accounts)),
        ("silent_lives", "Lives that did not report.", count(report.silent_lives)),
        ("returned_lives", "Lives that were retired and have reported since.", count(report.returned_lives)),
        ("last_scan_timestamp_seconds", "End of the latest scan.", (unix_millis(report.finished_at) / 1_000).into()),
        ("last_scan_seconds", "How long the latest scan took.", took.as_secs().into()),
    ] {
        let name = format!("blobaccess_accounting_drift_{name}");
        text.metric(&name, "gauge", help);
        text.line(&name, "", value);
    }
}

fn count(number: usize) -> u128 {
    u128::try_from(number).unwrap_or(u128::MAX)
}
