//! The tables of a ledger, and the queries that read them.

/// The statements that make the tables. An adjustment is kept as often as it was inserted; among those with the same scan
/// and account, the first counts.
pub(crate) const TABLES: [&str; 4] = [
    "CREATE TABLE IF NOT EXISTS blobaccess_lives (
        reporter String,
        epoch String,
        seq SimpleAggregateFunction(max, UInt64),
        taken_at_millis SimpleAggregateFunction(max, UInt64),
        closed SimpleAggregateFunction(max, UInt8)
    ) ENGINE = AggregatingMergeTree ORDER BY (reporter, epoch)",
    "CREATE TABLE IF NOT EXISTS blobaccess_reported (
        reporter String,
        epoch String,
        storage_type LowCardinality(String),
        account_name String,
        class UInt8,
        objects SimpleAggregateFunction(max, UInt64),
        stored_bytes SimpleAggregateFunction(max, UInt64),
        logical_bytes SimpleAggregateFunction(max, UInt64),
        unsized_bytes SimpleAggregateFunction(max, UInt64),
        old_bytes SimpleAggregateFunction(max, UInt64)
    ) ENGINE = AggregatingMergeTree ORDER BY (account_name, storage_type, class, reporter, epoch)",
    "CREATE TABLE IF NOT EXISTS blobaccess_adjustments (
        scan_id String,
        storage_type LowCardinality(String),
        account_name String,
        delta_bytes Int64,
        drift_low_bytes Int64,
        drift_high_bytes Int64,
        made_at_millis UInt64
    ) ENGINE = MergeTree ORDER BY (scan_id, account_name, storage_type, made_at_millis)",
    "ALTER TABLE blobaccess_lives ADD COLUMN IF NOT EXISTS retired_seq SimpleAggregateFunction(max, UInt64)",
];

/// The highest of each number in each life, and their sum, whatever was merged so far.
pub(crate) const TOTALS: &str = "
    SELECT storage_type, account_name, class, sum(o) AS objects, sum(s) AS stored_bytes, sum(l) AS logical_bytes,
        sum(u) AS unsized_bytes, sum(r) AS old_bytes
    FROM (
        SELECT toString(storage_type) AS storage_type, account_name, class, reporter, epoch, max(objects) AS o,
            max(stored_bytes) AS s, max(logical_bytes) AS l, max(unsized_bytes) AS u, max(old_bytes) AS r
        FROM blobaccess_reported WHERE ? OR account_name = ?
        GROUP BY storage_type, account_name, class, reporter, epoch
    )
    GROUP BY storage_type, account_name, class";

pub(crate) const LIVES: &str = "
    SELECT reporter, epoch, max(l.seq) AS seq, max(l.taken_at_millis) AS taken_at_millis, max(l.closed) AS closed,
        max(l.retired_seq) AS retired_seq
    FROM blobaccess_lives AS l GROUP BY reporter, epoch";

/// The uploads under way of lives that are not over. The classes are those of beginnings and of outcomes.
pub(crate) const IN_FLIGHT: &str = "
    SELECT reporter, epoch, storage_type, account_name, sumIf(o, class = 0) AS started, sumIf(o, class > 0) AS ended,
        sumIf(l, class = 0) AS started_bytes, sumIf(l, class > 0) AS ended_bytes
    FROM (
        SELECT reporter, epoch, toString(storage_type) AS storage_type, account_name, class, max(objects) AS o,
            max(logical_bytes) AS l
        FROM blobaccess_reported
        WHERE class <= 13 AND (reporter, epoch) NOT IN (
            SELECT reporter, epoch FROM blobaccess_lives WHERE closed = 1)
        GROUP BY reporter, epoch, storage_type, account_name, class
    )
    GROUP BY reporter, epoch, storage_type, account_name HAVING started > ended";

pub(crate) const ADJUSTMENTS: &str = "
    SELECT scan_id, toString(storage_type) AS storage_type, account_name, delta_bytes, drift_low_bytes, drift_high_bytes,
        made_at_millis
    FROM blobaccess_adjustments ORDER BY scan_id, account_name, storage_type, made_at_millis
    LIMIT 1 BY scan_id, account_name, storage_type";
