//! The rows that a table of operations refuses, from one attempt at a batch to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_postgres::error::SqlState;

/// The number of batches whose refused rows are remembered for the next attempt.
const MAX_REMEMBERED: usize = 16;

/// The number of rows that may be refused, and none taken, before the table itself is to blame.
const MAX_REFUSED_AT_FIRST: usize = 16;

/// The refusal of a row.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// The message of the server.
    pub(crate) message: String,
    /// Whether the row breaks a constraint of the table, and is no value that the server cannot hold.
    breaks_constraint: bool,
    /// Whether a column of the table has no value. All columns that are written have one.
    lacks_column: bool,
}

impl Refusal {
    pub(crate) fn new(error: &tokio_postgres::Error) -> Self {
        let message = error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string);
        let code = error.code();
        Self {
            message,
            breaks_constraint: code.is_some_and(|code| code.code().starts_with("23")),
            lacks_column: code == Some(&SqlState::NOT_NULL_VIOLATION),
        }
    }
}

/// The rows of a batch that were refused, by their place, and those that were taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refused(pub(crate) BTreeMap<usize, Refusal>, pub(crate) BTreeSet<usize>);

impl Refused {
    /// Returns whether so many rows were refused that it is time to ask whether the table is to blame.
    pub(crate) fn are_many(&self) -> bool {
        self.0.len() >= MAX_REFUSED_AT_FIRST
    }

    /// Returns whether the refusals show by themselves that the table is to blame, if it has taken no row of the batch.
    pub(crate) fn blame_table(&self) -> bool {
        self.0.values().any(|refusal| refusal.lacks_column)
            || self.0.values().filter(|refusal| refusal.breaks_constraint).count() >= MAX_REFUSED_AT_FIRST
    }
}

/// The knowledge of a table and of its refusals, which outlives an attempt that was cut short, so that it was not in vain.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    /// Whether the table is known to have taken a row.
    has_taken: AtomicBool,
    refused: Mutex<BTreeMap<String, Refused>>,
}

impl Refusals {
    fn refused(&self) -> MutexGuard<'_, BTreeMap<String, Refused>> {
        // Nothing that panics is called while it is half changed.
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the rows of a batch that were refused or taken so far.
    pub(crate) fn get(&self, batch: &str) -> Refused {
        self.refused().get(batch).cloned().unwrap_or_default()
    }

    /// Notes how far an attempt has come, for the next one.
    pub(crate) fn note(&self, batch: &str, note: impl FnOnce(&mut Refused)) {
        let mut refused = self.refused();
        if refused.len() >= MAX_REMEMBERED && !refused.contains_key(batch) {
            refused.pop_first();
        }
        note(refused.entry(batch.to_owned()).or_default());
    }

    /// Forgets the refusals of a batch that is over, or whose table must be mended.
    pub(crate) fn forget(&self, batch: &str) {
        self.refused().remove(batch);
    }

    pub(crate) fn has_taken(&self) -> bool {
        self.has_taken.load(Ordering::Relaxed)
    }

    pub(crate) fn note_taken(&self) {
        self.has_taken.store(true, Ordering::Relaxed);
    }
}
