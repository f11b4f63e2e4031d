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
    /// The number of uploads that failed and wait to be tried again.
    pub delayed: usize,
    /// Whether the store is down, so that one upload at a time looks whether it is back.
    pub is_paused: bool,
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
    /// The number of attempts that failed and were or will be followed by another.
    pub retried: u64,
}

impl QueueSnapshot {
    /// Returns the snapshot as text that Prometheus scrapes; all metrics begin with `blobaccess_upload_queue_`.
    #[must_use]
    pub fn encode_metrics(&self) -> String {
        Self::encode_metrics_of(&[("", *self)])
    }

    /// Returns the snapshots of several queues, each with its name as the label `queue`; an empty name has no label.
    #[must_use]
    pub fn encode_metrics_of(queues: &[(&str, Self)]) -> String {
        let mut text = String::new();
        let metrics: [Metric; 10] = [
            ("items", "gauge", "Uploads queued or under way.", |queue| count(queue.items)),
            ("held_bytes", "gauge", "Contents of queued uploads in memory, in bytes.", |queue| queue.held_bytes),
            ("delayed", "gauge", "Uploads that failed and wait to be tried again.", |queue| count(queue.delayed)),
            ("paused", "gauge", "1 while the store is down.", |queue| u64::from(queue.is_paused)),
            ("uploaded_total", "counter", "Uploads that succeeded.", |queue| queue.uploaded),
            ("failed_total", "counter", "Uploads that failed.", |queue| queue.failed),
            ("dropped_total", "counter", "Uploads dropped before their first byte.", |queue| queue.dropped),
            ("joined_total", "counter", "Puts that an upload already queued made unnecessary.", |queue| queue.joined),
            ("superseded_total", "counter", "Values replaced by a newer one before their turn.", |queue| {
                queue.superseded
            }),
            ("retried_total", "counter", "Attempts that failed and are followed by another.", |queue| queue.retried),
        ];
        for (name, kind, help, value) in metrics {
            let name = format!("blobaccess_upload_queue_{name}");
            // Writing to a string cannot fail.
            let _: std::fmt::Result = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (label, queue) in queues {
                let label = if label.is_empty() { String::new() } else { format!("{{queue={label:?}}}") };
                let _: std::fmt::Result = writeln!(text, "{name}{label} {}", value(queue));
            }
        }
        text
    }
}

/// A metric: its name, its type, its meaning, and its value.
type Metric = (&'static str, &'static str, &'static str, fn(&QueueSnapshot) -> u64);

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
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
            delayed: 8,
            is_paused: true,
            retried: 9,
        };
        let text = snapshot.encode_metrics();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 30);
        for metric in lines.chunks(3) {
            let name = metric[2].split(' ').next().unwrap();
            assert!(metric[0].starts_with(&format!("# HELP {name} ")), "{metric:?}");
            assert!(metric[1].starts_with(&format!("# TYPE {name} ")), "{metric:?}");
        }
        assert!(text.contains("\nblobaccess_upload_queue_dropped_total 5\n"));
        let text = QueueSnapshot::encode_metrics_of(&[("contents", snapshot), ("results", snapshot)]);
        assert!(text.contains("\nblobaccess_upload_queue_items{queue=\"contents\"} 1\n"), "{text}");
        assert_eq!(text.matches("# TYPE ").count(), 10);
    }
}
