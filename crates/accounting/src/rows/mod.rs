//! Rows for consumers that add up: each terminal outcome is in exactly one of them, whatever crashes or is away.

mod batch;
mod options;
mod planned;
mod sink;

pub use self::batch::{OperationRow, RowBatch};
pub use self::options::RowsOptions;
pub(crate) use self::planned::PlannedRows;
pub use self::sink::{RowSink, RowsWritten};
