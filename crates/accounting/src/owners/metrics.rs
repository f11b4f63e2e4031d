//! The figures of an index as Prometheus metrics.

use std::fmt::Write;

use blobaccess::StorageType;

use super::{Held, OwnerIndexSnapshot};

/// The blobs of one sort of owners: the name of the figure, its help, and the blobs by kind of store.
type Figure<'a> = (&'static str, &'static str, &'a [(StorageType, Held)]);

/// One column of what an owner has.
type Column = fn(&Held) -> u64;

impl OwnerIndexSnapshot {
    /// Returns the figures as text that Prometheus scrapes. No account is ever a label.
    ///
    /// | metric | type | value |
    /// |---|---|---|
    /// | `blobaccess_accounting_owned_objects`, `.._owned_bytes` | gauge, by `storage_type` | blobs of accounts |
    /// | `blobaccess_accounting_adopted_objects`, `.._adopted_bytes` | gauge, by `storage_type` | blobs from before the ledger began |
    /// | `blobaccess_accounting_foreign_objects`, `.._foreign_bytes` | gauge, by `storage_type` | blobs that nobody counted |
    /// | `blobaccess_accounting_owner_notes_waiting` | gauge | ended uploads that the index has not taken yet |
    /// | `blobaccess_accounting_owner_notes_lost_total` | counter | ended uploads that found no room in between |
    /// | `blobaccess_accounting_owner_log_failures_total` | counter | failures to write the log of ended uploads |
    #[must_use]
    pub fn encode_metrics(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let head = |text: &mut String, name: &str, kind: &str, help: &str| {
            let _: std::fmt::Result = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        };
        let columns: [(&str, Column); 2] = [("objects", |held| held.objects), ("bytes", |held| held.stored_bytes)];
        let figures: [Figure<'_>; 3] = [
            ("owned", "Blobs of accounts that are in the store.", &self.owned),
            ("adopted", "Blobs that were in the store before the ledger began.", &self.adopted),
            ("foreign", "Blobs in the store that nobody counted.", &self.foreign),
        ];
        for (figure, help, by_kind) in figures {
            for (unit, column) in columns {
                let name = format!("blobaccess_accounting_{figure}_{unit}");
                head(&mut text, &name, "gauge", help);
                for (storage_type, held) in by_kind {
                    let (kind, value) = (storage_type.name(), column(held));
                    let _: std::fmt::Result = writeln!(text, "{name}{{storage_type=\"{kind}\"}} {value}");
                }
            }
        }
        let waiting = u64::try_from(self.waiting).unwrap_or(u64::MAX);
        for (name, kind, help, value) in [
            ("owner_notes_waiting", "gauge", "Ended uploads that the index of owners has not taken yet.", waiting),
            ("owner_notes_lost_total", "counter", "Ended uploads that found no room in between.", self.lost),
            ("owner_log_failures_total", "counter", "Failures to write the log of ended uploads.", self.log_failures),
        ] {
            let name = format!("blobaccess_accounting_{name}");
            head(&mut text, &name, kind, help);
            let _: std::fmt::Result = writeln!(text, "{name} {value}");
        }
        text
    }
}
