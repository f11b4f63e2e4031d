//! The destination of rows.

use std::fmt::Debug;

use async_trait::async_trait;
use blobaccess::Result;

use super::RowBatch;

/// A destination of rows.
///
/// # Examples
///
/// ```
/// use std::collections::BTreeMap;
/// use std::sync::Mutex;
///
/// use async_trait::async_trait;
/// use blobaccess::Result;
/// use blobaccess_accounting::{RowBatch, RowSink, RowsWritten};
///
/// /// Rows by their key: a batch that comes again changes nothing.
/// #[derive(Debug, Default)]
/// struct Rows(Mutex<BTreeMap<String, u64>>);
///
/// #[async_trait]
/// impl RowSink for Rows {
///     async fn write(&self, batch: &RowBatch) -> Result<RowsWritten> {
///         for row in &batch.rows {
///             let key = format!("{} {} {}", batch.key(), row.account, row.class.code());
///             self.0.lock().unwrap().entry(key).or_insert(row.amounts.stored_bytes);
///         }
///         Ok(RowsWritten::ALL)
///     }
/// }
/// ```
#[async_trait]
pub trait RowSink: Debug + Send + Sync + 'static {
    /// Writes a batch. Returning acknowledges all of its rows.
    ///
    /// A row that the sink refuses for what is in it, such as a name, must not keep the others: set it aside, write it to the
    /// log, and count it.
    ///
    /// # Errors
    ///
    /// Fails if not all rows were written or set aside. The same batch is then written again, until it is acknowledged.
    /// `Unavailable` and `DeadlineExceeded` say that the sink is away: no other batch is tried before the next report.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any time. The batch is then written again.
    async fn write(&self, batch: &RowBatch) -> Result<RowsWritten>;
}

/// The end of a batch that was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RowsWritten {
    /// The number of rows that the sink refused for what is in them, and set aside.
    pub set_aside: u64,
}

impl RowsWritten {
    /// Nothing was set aside.
    pub const ALL: Self = Self { set_aside: 0 };

    /// Says how many rows were set aside.
    #[must_use]
    pub const fn with_set_aside(mut self, set_aside: u64) -> Self {
        self.set_aside = set_aside;
        self
    }
}
