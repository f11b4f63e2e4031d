//! Footprints: the bytes that each namespace stores, added up from rows of operations into a table of the site's.

mod accumulator;
mod ingestion_time;
mod ledger_source;
mod mark;
mod memory;
mod options;
mod plan;
mod redb;
mod run;
mod shard;
mod source;
mod table;

pub use self::accumulator::FootprintAccumulator;
pub use self::ingestion_time::IngestionTime;
pub use self::ledger_source::LedgerSource;
pub use self::mark::{Counted, FootprintMark};
pub use self::memory::MemoryFootprints;
pub use self::options::FootprintOptions;
pub use self::redb::RedbFootprints;
pub use self::run::{AccumulatorRun, AccumulatorSnapshot, FootprintFailure};
pub use self::shard::FootprintShard;
pub use self::source::{RowSource, RowSum};
pub use self::table::{FootprintAddition, FootprintRow, FootprintTable};
