//! The state of a queue of uploads, for people and for Prometheus.

use std::fmt::Write;

/// The uploads that are queued, and the uploads that have ended so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueSnapshot {
    /// The number of uploads queued or under way.
    pub items: usize,
    /// The size of their contents in memory, in bytes.
    pub held_bytes: u64,
    /// The number of uploads under way.
    pub uploading: usize,
    /// The number of uploads that succeeded.
    pub uploaded: u64,
    /// The number of uploads that failed, including those that were dropped after they had their place.
    pub failed: u64,
    /// The number of uploads that were dropped before their first byte, for lack of room among other reasons.
    pub dropped: u64,
    /// The number of puts that an upload already queued made unnecessary.
    pub joined: u64,
    /// The number of values that a newer one replaced before their turn came. The accounts count them as
    /// [`SourceUnavailable`](blobaccess_accounting::DropReason::SourceUnavailable).
    pub superseded: u64,
}

impl QueueSnapshot {
    /// Returns the snapshot as text that Prometheus scrapes; all metrics begin with `blobaccess_upload_queue_`.
    #[must_use]
    pub fn encode_metrics(&self) -> String {
        let mut text = String::new();
        for (name, kind, help, value) in [
            ("items", "gauge", "Uploads queued or under way.", u64::try_from(self.items).unwrap_or(u64::MAX)),
            ("held_bytes", "gauge", "Contents of queued uploads in memory, in bytes.", self.held_bytes),
            ("uploaded_total", "counter", "Uploads that succeeded.", self.uploaded),
            ("failed_total", "counter", "Uploads that failed.", self.failed),
            ("dropped_total", "counter", "Uploads dropped before their first byte.", self.dropped),
            ("joined_total", "counter", "Puts that an upload already queued made unnecessary.", self.joined),
            ("superseded_total", "counter", "Values replaced by a newer one before their turn.", self.superseded),
        ] {
            let name = format!("blobaccess_upload_queue_{name}");
            // Writing to a string cannot fail.
            let _: std::fmt::Result = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_says_its_meaning_its_type_and_its_value() {
        let snapshot = QueueSnapshot {
            items: 1,
            held_bytes: 2,
            uploading: 1,
            uploaded: 3,
            failed: 4,
            dropped: 5,
            joined: 6,
            superseded: 7,
        };
        let text = snapshot.encode_metrics();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 21);
        for metric in lines.chunks(3) {
            let name = metric[2].split(' ').next().unwrap();
            assert!(metric[0].starts_with(&format!("# HELP {name} ")), "{metric:?}");
            assert!(metric[1].starts_with(&format!("# TYPE {name} ")), "{metric:?}");
        }
        assert!(text.contains("\nblobaccess_upload_queue_dropped_total 5\n"));
    }
}
