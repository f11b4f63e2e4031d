//! The counters of one account: additions without a lock, and snapshots in which no upload ended before it began.

use super::Tally;
use crate::concurrency::{AtomicU64, Ordering};
use crate::{Amounts, Class};

/// The counters of one account.
///
/// Every column only grows, up to the highest number there is. The beginning of an upload is counted before its outcome, and read after it. So a snapshot
/// never has more outcomes than beginnings, though other threads count while it is taken.
#[derive(Debug)]
pub(super) struct Cells([[AtomicU64; 5]; Class::ALL.len()]);

impl Cells {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))))
    }

    /// Counts `amounts` of `class`. Takes no lock and allocates nothing.
    pub(super) fn add(&self, class: Class, amounts: Amounts) {
        let Some(columns) = self.0.get(usize::from(class.code())) else { return };
        for (column, amount) in columns.iter().zip(amounts.columns()) {
            if amount != 0 {
                // Pairs with the acquiring load of an outcome, which thereby sees the beginning too.
                // At the end of the numbers a column stays: one that began anew would fall, in every ledger too.
                let add = |counted: u64| Some(counted.saturating_add(amount));
                let _: Result<u64, u64> = column.fetch_update(Ordering::Release, Ordering::Relaxed, add);
            }
        }
    }

    /// Returns the amounts of `class` so far.
    pub(super) fn get(&self, class: Class) -> Amounts {
        let Some(columns) = self.0.get(usize::from(class.code())) else { return Amounts::default() };
        Amounts::from_columns(std::array::from_fn(|column| {
            columns.get(column).map_or(0, |column| column.load(Ordering::Acquire))
        }))
    }

    /// Returns the amounts of all classes so far.
    pub(super) fn snapshot(&self) -> Tally {
        // Beginnings have the lowest number, and are read last.
        Class::ALL.into_iter().rev().map(|class| (class, self.get(class))).collect()
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn a_column_never_falls() {
        let cells = Cells::new();
        let mut last = 0;
        for _ in 0..5 {
            cells.add(Class::Started, Amounts::started(i64::MAX.unsigned_abs()));
            let now = cells.get(Class::Started).logical_bytes;
            assert!(now >= last, "{last} fell to {now}");
            last = now;
        }
        assert_eq!(last, u64::MAX);
    }
}

#[cfg(test)]
#[cfg(loom)]
mod models_under_loom {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;
    use crate::Outcome;

    /// Checks that two uploads end while a third thread takes two snapshots. Under every interleaving, no snapshot has more
    /// outcomes than beginnings or less than the previous one, and in the end all counts are there.
    #[test]
    fn a_snapshot_is_conserving_and_monotone_under_every_interleaving() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let cells = Arc::new(Cells::new());
            let upload = |cells: &Cells| {
                let outcome = Outcome::Error(crate::ErrorReason::Cancelled);
                cells.add(Class::Started, Amounts { logical_bytes: 0, ..Amounts::started(0) });
                cells.add(Class::from_outcome(outcome), Amounts::ended(outcome, 0));
            };
            let other = {
                let cells = Arc::clone(&cells);
                thread::spawn(move || upload(&cells))
            };
            let reader = {
                let cells = Arc::clone(&cells);
                thread::spawn(move || {
                    let read = || {
                        let ended = cells.get(Class::Cancelled).objects;
                        let started = cells.get(Class::Started).objects;
                        assert!(ended <= started, "{ended} ended of {started}");
                        (ended, started)
                    };
                    let (one, two) = (read(), read());
                    assert!(one.0 <= two.0 && one.1 <= two.1);
                })
            };
            upload(&cells);
            other.join().unwrap();
            reader.join().unwrap();
            let all = cells.snapshot();
            assert_eq!((all.get(Class::Started).objects, all.get(Class::Cancelled).objects), (2, 2));
        });
    }
}
