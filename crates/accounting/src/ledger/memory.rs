//! A ledger in memory, for tests and for hosts that keep the totals elsewhere.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use blobaccess::{AccountName, Result};

use super::{Accumulator, Adjustment, Book, Correction, InFlight, Ledger, Life, Movement, Statement, Total};
use crate::Report;

/// A [`Ledger`] in memory. Nothing outlives the value.
///
/// # Memory
///
/// Some 300 bytes for each life, account and class with counts.
#[derive(Debug, Default)]
pub struct MemoryLedger {
    book: Mutex<Book>,
}

impl MemoryLedger {
    /// Makes an empty ledger.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // A panic can leave a report half applied, and a report may be applied again.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn apply(&self, reports: &[Report]) -> Result<()> {
        let mut book = self.book();
        for report in reports {
            book.apply(report);
        }
        Ok(())
    }

    async fn adjust(&self, adjustments: &[Adjustment]) -> Result<()> {
        let mut book = self.book();
        for adjustment in adjustments {
            book.adjust(adjustment);
        }
        Ok(())
    }

    async fn totals(&self, account_name: Option<&AccountName>) -> Result<Vec<Total>> {
        Ok(self.book().totals(account_name))
    }

    async fn lives(&self) -> Result<Vec<Life>> {
        Ok(self.book().lives())
    }

    async fn retire(&self, lives: &[Life]) -> Result<()> {
        let mut book = self.book();
        for life in lives {
            book.retire(life);
        }
        Ok(())
    }

    async fn in_flight(&self) -> Result<Vec<InFlight>> {
        Ok(self.book().in_flight())
    }

    async fn adjustments(&self) -> Result<Vec<Adjustment>> {
        Ok(self.book().adjustments())
    }
}

#[async_trait]
impl Accumulator for MemoryLedger {
    async fn consume(&self, now: SystemTime) -> Result<Vec<Movement>> {
        Ok(self.book().consume(now))
    }

    async fn statements(&self) -> Result<Vec<Statement>> {
        Ok(self.book().statements())
    }

    async fn correct(&self, corrections: &[Correction]) -> Result<()> {
        let mut book = self.book();
        for correction in corrections {
            book.correct(correction);
        }
        Ok(())
    }

    async fn corrections(&self) -> Result<Vec<Correction>> {
        Ok(self.book().corrections())
    }

    async fn rewind(&self, to: SystemTime) -> Result<()> {
        self.book().rewind(to);
        Ok(())
    }
}
