//! A batch of rows, which is the same each time that it is sent.

use std::time::SystemTime;

use crate::{Account, Amounts, Class, Epoch, Reporter};

/// The amounts that were counted for one class of an account since the batch before.
///
/// The columns are read one after the other while uploads go on. So the bytes of an upload can be in the batch after the one
/// that has its object. The sum is exact.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct OperationRow {
    /// The account.
    pub account: Account,
    /// The class that was counted, with its [`status`](Class::status) and [`reason`](Class::reason): an outcome, or a
    /// deletion. Beginnings have no rows.
    pub class: Class,
    /// The amounts.
    pub amounts: Amounts,
}

impl OperationRow {
    /// Makes a row.
    #[must_use]
    pub const fn new(account: Account, class: Class, amounts: Amounts) -> Self {
        Self { account, class, amounts }
    }
}

/// Rows that are sent together, in the same words each time.
///
/// Reporter, epoch, number, account and class identify a row. A batch that is sent again, by this life or by a later one, has
/// the same number, the same time and the same rows. So a sink that skips keys that it has counts nothing twice.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RowBatch {
    /// The reporter.
    pub reporter: Reporter,
    /// The life of the reporter.
    pub epoch: Epoch,
    /// The number of the batch in its epoch, from 1. Numbers can be left out.
    pub number: u64,
    /// The minute in which the batch was made, by the clock of the reporter.
    pub created_at: SystemTime,
    /// Whether the batch may have been sent before, so that its rows can be there.
    pub is_repeated: bool,
    /// The rows, in the order of accounts and classes.
    pub rows: Vec<OperationRow>,
}

impl RowBatch {
    /// Makes the batch with this number in `epoch`, which is sent for the first time.
    #[must_use]
    pub const fn new(
        reporter: Reporter,
        epoch: Epoch,
        number: u64,
        created_at: SystemTime,
        rows: Vec<OperationRow>,
    ) -> Self {
        Self { reporter, epoch, number, created_at, is_repeated: false, rows }
    }

    /// Says whether the batch may have been sent before.
    #[must_use]
    pub const fn with_repeated(mut self, repeated: bool) -> Self {
        self.is_repeated = repeated;
        self
    }

    /// Returns a text that identifies the batch among those of all reporters: epochs are random.
    #[must_use]
    pub fn key(&self) -> String {
        format!("blobaccess/{}/{}", self.epoch, self.number)
    }
}
