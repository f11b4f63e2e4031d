//! Passing results from the process of a contestant to the tables.

#![expect(clippy::print_stdout, reason = "results are printed")]

use std::time::Duration;

use crate::contest::measurement::Measurement;
use crate::contest::work::{Results, Scale, Work};

/// Prints each result as a line, for the process that started this one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines;

impl Results for Lines {
    fn measured(&mut self, work: Work, measurement: &Measurement) {
        let kind = if work.waits_for_the_disk() { "waited" } else { "measured" };
        println!("{kind}\t{work}\t{}", measurement.encode());
    }

    fn counted(&mut self, what: &str, value: f64) {
        println!("counted\t{what}\t{value}");
    }
}

/// The results of a contest: one table for each kind of work, in the order in which it was first done.
#[derive(Debug)]
pub(super) struct Tables {
    title: String,
    measured: Vec<(String, Vec<(&'static str, Measurement)>)>,
    counted: Vec<(String, Vec<(&'static str, f64)>)>,
}

impl Tables {
    pub(super) fn new(name: &str, scale: Scale) -> Self {
        Self { title: format!("{name}: {scale}"), measured: Vec::new(), counted: Vec::new() }
    }

    /// Takes a line of [`Lines`]. Of several measurements of one kind of work the best counts, because disturbances
    /// only slow down: the one with the least processor time, or the quickest if the disk decides.
    pub(super) fn add(&mut self, name: &'static str, line: &str) {
        let mut parts = line.splitn(3, '\t');
        let (Some(kind), Some(what), Some(value)) = (parts.next(), parts.next(), parts.next()) else { return };
        if let ("measured" | "waited", Some(measurement)) = (kind, Measurement::decode(value)) {
            let cost = |of: &Measurement| if kind == "waited" { of.elapsed } else { of.processor };
            let rows = rows_of(&mut self.measured, what);
            match rows.iter_mut().find(|(of, _)| *of == name) {
                Some((_, best)) if cost(best) <= cost(&measurement) => {}
                Some((_, best)) => *best = measurement,
                None => rows.push((name, measurement)),
            }
        } else if let ("counted", Ok(value)) = (kind, value.parse()) {
            let rows = rows_of(&mut self.counted, what);
            match rows.iter_mut().find(|(of, _)| *of == name) {
                Some((_, last)) => *last = value,
                None => rows.push((name, value)),
            }
        }
    }

    pub(super) fn print(&self) {
        println!("\n{}", self.title);
        for (work, rows) in &self.measured {
            println!("\n{work}");
            println!(
                "  {:<34}{:>10}{:>10}{:>9}{:>8}{:>12}{:>9}{:>11}{:>11}{:>11}{:>12}",
                "",
                "calls",
                "M units/s",
                "to first",
                "GB/s",
                "CPU ns/unit",
                "to first",
                "p50",
                "p99",
                "p99.9",
                "allocations"
            );
            let Some((_, first)) = rows.first() else { continue };
            for (name, row) in rows {
                let [p50, p99, p999] = row.percentiles.map(Duration::from_nanos);
                println!(
                    "  {name:<34}{:>10}{:>10.4}{:>9.3}{:>8.2}{:>12.0}{:>9.2}{p50:>11.1?}{p99:>11.1?}{p999:>11.1?}{:>12.2}",
                    row.calls,
                    row.per_second() / 1e6,
                    row.per_second() / first.per_second(),
                    row.bytes_per_second() / 1e9,
                    row.processor_nanoseconds(),
                    row.processor_nanoseconds() / first.processor_nanoseconds(),
                    row.allocations_per_call(),
                );
            }
        }
        for (what, rows) in &self.counted {
            println!("\n{what}");
            for (name, value) in rows {
                println!("  {name:<34}{value:>10.2}");
            }
        }
    }
}

fn rows_of<'a, T>(tables: &'a mut Vec<(String, Vec<(&'static str, T)>)>, what: &str) -> &'a mut Vec<(&'static str, T)> {
    let index = tables.iter().position(|(of, _)| of == what).unwrap_or_else(|| {
        tables.push((what.to_owned(), Vec::new()));
        tables.len() - 1
    });
    #[expect(clippy::indexing_slicing, reason = "it was found or made just now")]
    &mut tables[index].1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_rounds_the_best_counts() {
        let mut tables = Tables::new("test", Scale::TEST);
        for (elapsed, processor) in [(200, 20), (300, 10), (100, 30)] {
            for kind in ["measured", "waited"] {
                tables.add("a", &format!("{kind}\t{kind}\t10 10 0 {elapsed} {processor} 1 2 3 4"));
            }
        }
        tables.add("b", "counted\tbytes\t1.5");
        tables.add("b", "what a store printed itself");
        let best: Vec<_> =
            tables.measured.iter().map(|(work, rows)| (&**work, rows.len(), rows[0].1.elapsed)).collect();
        let nanos = Duration::from_nanos;
        assert_eq!(best, [("measured", 1, nanos(300)), ("waited", 1, nanos(100))]);
        assert_eq!(tables.counted, [("bytes".to_owned(), vec![("b", 1.5)])]);
    }
}
