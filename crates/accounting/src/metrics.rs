//! The counters as Prometheus metrics, some of them under the names that operators' dashboards know.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::drift::DriftMetrics;
use crate::exposition::Text;
use crate::{Accounts, Amounts, Class, DriftInterval, Reporting};

/// One column of amounts.
type Column = fn(&Amounts) -> u64;

/// The counters of [`Accounts`] and [`Reporting`], as text that Prometheus scrapes.
///
/// Encoding reads the counters and costs uploads nothing. No account is ever a label.
///
/// Names that begin with `bazelre_cache_` are those that the dashboards and alerts of operators query already: they come
/// from the accounting of an earlier remote cache for Bazel and are kept unchanged, so that its dashboards show this one.
/// All other names begin with `blobaccess_`.
///
/// | metric | type | value |
/// |---|---|---|
/// | `bazelre_cache_upload_bytes_created` | counter | bytes that uploads created, as stored |
/// | `bazelre_cache_accounting_reports_completed` | counter | reports that were acknowledged |
/// | `bazelre_cache_accounting_reports_failed_to_send` | counter | reports that the ledger or, without one, the sink of rows did not take |
/// | `blobaccess_accounting_uploads_total` | counter, by `storage_type`, `status`, `reason` | uploads begun, and how they ended |
/// | `blobaccess_accounting_stored_bytes_total` | counter, by the same | their bytes, as stored |
/// | `blobaccess_accounting_logical_bytes_total` | counter, by the same | their bytes, by the sizes in their digests |
/// | `blobaccess_accounting_unsized_logical_bytes_total` | counter, by the same | the part of the logical bytes whose stored size is unknown |
/// | `blobaccess_accounting_in_flight_uploads` | gauge, by `storage_type` | uploads without an outcome |
/// | `blobaccess_accounting_rows_delivered_total` | counter | rows that their sink took |
/// | `blobaccess_accounting_rows_set_aside_total` | counter | the part of these that the sink refused for what is in them |
/// | `blobaccess_accounting_row_batches_failed_total` | counter | attempts to send a batch of rows that failed |
/// | `blobaccess_accounting_row_batches_open` | gauge | batches of rows that are not acknowledged |
/// | `blobaccess_accounting_row_batches_open_since_seconds` | gauge | Unix time of the oldest of them, else 0 |
/// | `blobaccess_accounting_overflowed_uploads_total` | counter | uploads that were counted for `__other__` |
/// | `blobaccess_accounting_unresolved_uploads` | gauge | uploads whose answer was lost |
/// | `blobaccess_accounting_dead_lives` | gauge | earlier lives whose last report is not acknowledged yet |
/// | `blobaccess_accounting_journal_failures_total` | counter | failures to write the journal |
/// | `blobaccess_accounting_journal_lacking` | gauge | 1 while the journal lacks records, else 0 |
/// | `blobaccess_accounting_journal_damaged_records` | gauge | records of earlier lives that could not be read |
/// | `blobaccess_accounting_foreign_journals` | gauge | journals of other reporters or stores beside that of this one |
/// | `blobaccess_accounting_unreadable_journals` | gauge | files there that are no journals of a version that is known |
/// | `blobaccess_accounting_unreported_uploads` | gauge | uploads since the last report that was acknowledged |
/// | `blobaccess_accounting_open_quotas` | gauge | 1 while the use of a quota is not known, else 0 |
///
/// Those of scans for drift are listed at [`DriftMetrics`].
#[derive(Debug)]
pub struct Metrics {
    accounts: Arc<Accounts>,
    reporting: Arc<Reporting>,
    drift: Arc<DriftMetrics>,
}

impl Metrics {
    /// Makes metrics of `accounts` and `reporting`.
    #[must_use]
    pub fn new(accounts: Arc<Accounts>, reporting: Arc<Reporting>) -> Self {
        Self { accounts, reporting, drift: Arc::new(DriftMetrics::new(1)) }
    }

    /// Shows the metrics of a [watch over drift](crate::DriftWatch::metrics), in place of those of scans that the host makes by
    /// itself.
    #[must_use]
    pub fn with_drift(mut self, drift: Arc<DriftMetrics>) -> Self {
        self.drift = drift;
        self
    }

    /// Records the result of a scan that the host made by itself.
    pub fn observe_drift(&self, drift: &DriftInterval) {
        self.drift.observe(drift);
    }

    /// Returns all metrics as text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = Text::default();
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
        let rows = self.reporting.rows_snapshot();
        let accounts = self.accounts.snapshot();
        for (name, help, value) in [
            ("bazelre_cache_upload_bytes_created", "Bytes that uploads created, as stored.", created),
            ("bazelre_cache_accounting_reports_completed", "Reports acknowledged by the ledger.", reporting.completed),
            (
                "bazelre_cache_accounting_reports_failed_to_send",
                "Reports that the ledger did not acknowledge.",
                reporting.failed_to_send,
            ),
            ("blobaccess_accounting_rows_delivered_total", "Rows that their sink took.", rows.rows_delivered),
            ("blobaccess_accounting_rows_set_aside_total", "Rows that their sink refused.", rows.rows_set_aside),
            (
                "blobaccess_accounting_row_batches_failed_total",
                "Attempts to send a batch of rows that failed.",
                rows.batches_failed,
            ),
            ("blobaccess_accounting_overflowed_uploads_total", "Uploads counted for __other__.", tallies.overflowed),
            (
                "blobaccess_accounting_journal_failures_total",
                "Failures to write the journal.",
                accounts.journal_failures,
            ),
        ] {
            text.metric(name, "counter", help);
            text.line(name, "", value);
        }
        let columns: [(&str, &str, Column); 4] = [
            ("uploads_total", "Uploads begun, and how they ended.", |amounts| amounts.objects),
            ("stored_bytes_total", "Bytes of uploads, as stored.", |amounts| amounts.stored_bytes),
            ("logical_bytes_total", "Bytes of uploads, by their digests.", |amounts| amounts.logical_bytes),
            ("unsized_logical_bytes_total", "Logical bytes whose stored size is unknown.", |amounts| {
                amounts.unsized_bytes
            }),
        ];
        for (name, help, column) in columns {
            let name = format!("blobaccess_accounting_{name}");
            text.metric(&name, "counter", help);
            for ((storage_type, class), amounts) in &by_class {
                let (status, reason) = (class.status(), class.reason());
                let labels = format!(r#"storage_type="{storage_type}",status="{status}",reason="{reason}""#);
                text.line(&name, &labels, column(amounts));
            }
        }
        let name = "blobaccess_accounting_in_flight_uploads";
        text.metric(name, "gauge", "Uploads without an outcome.");
        for (storage_type, uploads) in in_flight {
            text.line(name, &format!(r#"storage_type="{storage_type}""#), uploads);
        }
        for (name, help, value) in [
            ("unresolved_uploads", "Uploads whose answer was lost.", count(accounts.unresolved)),
            ("dead_lives", "Earlier lives that are not reported to their end.", count(accounts.dead_lives)),
            ("journal_lacking", "Whether the journal lacks records.", accounts.journal_lacking.into()),
            ("journal_damaged_records", "Records of earlier lives that could not be read.", accounts.damaged_records),
            ("foreign_journals", "Journals of other reporters or stores.", accounts.foreign_journals),
            ("unreadable_journals", "Files that are no journals of a known version.", accounts.unreadable_journals),
            ("unreported_uploads", "Uploads since the last report.", accounts.unreported),
            ("row_batches_open", "Batches of rows that are not acknowledged.", rows.open_batches),
            (
                "row_batches_open_since_seconds",
                "Unix time of the oldest batch of rows that is not acknowledged, else 0.",
                rows.open_since.map_or(0, |time| crate::unix_millis(time) / 1_000),
            ),
            ("open_quotas", "Whether the use of a quota is not known.", u64::from(!accounts.quotas_known)),
        ] {
            let name = format!("blobaccess_accounting_{name}");
            text.metric(&name, "gauge", help);
            text.line(&name, "", value);
        }
        self.drift.write(&mut text);
        text.0
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
