//! Text in the exposition format of Prometheus.

use std::fmt::Write;

use crate::drift::HistogramSnapshot;

/// Text in the format of Prometheus. Writing to a string cannot fail.
#[derive(Debug, Default)]
pub(crate) struct Text(pub(crate) String);

impl Text {
    /// Writes what a metric is.
    pub(crate) fn metric(&mut self, name: &str, kind: &str, help: &str) {
        let _: std::fmt::Result = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Writes a value. The labels are words of this crate, never a peer's.
    pub(crate) fn line(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _: std::fmt::Result = if labels.is_empty() {
            writeln!(self.0, "{name} {value}")
        } else {
            writeln!(self.0, "{name}{{{labels}}} {value}")
        };
    }

    /// Writes a histogram, and what it is.
    pub(crate) fn histogram(&mut self, name: &str, help: &str, snapshot: &HistogramSnapshot) {
        self.metric(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        for (bound, count) in &snapshot.at_most {
            self.line(&bucket, &format!(r#"le="{bound}""#), count);
        }
        self.line(&bucket, r#"le="+Inf""#, snapshot.count);
        self.line(&format!("{name}_sum"), "", snapshot.sum);
        self.line(&format!("{name}_count"), "", snapshot.count);
    }
}
