//! The tables of a ledger.

/// The statements that make the tables. Numbers beyond `i64` cannot be kept; in bytes, that is 9 exabytes.
pub(crate) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS blobaccess_lives (
    reporter text NOT NULL,
    epoch bytea NOT NULL,
    seq bigint NOT NULL,
    taken_at_millis bigint NOT NULL,
    closed boolean NOT NULL,
    PRIMARY KEY (reporter, epoch)
);
CREATE TABLE IF NOT EXISTS blobaccess_reported (
    reporter text NOT NULL,
    epoch bytea NOT NULL,
    storage_type text NOT NULL,
    account_name text NOT NULL,
    class smallint NOT NULL,
    objects bigint NOT NULL,
    stored_bytes bigint NOT NULL,
    logical_bytes bigint NOT NULL,
    unsized_bytes bigint NOT NULL,
    old_bytes bigint NOT NULL,
    consumed_objects bigint NOT NULL DEFAULT 0,
    consumed_stored_bytes bigint NOT NULL DEFAULT 0,
    consumed_logical_bytes bigint NOT NULL DEFAULT 0,
    consumed_unsized_bytes bigint NOT NULL DEFAULT 0,
    consumed_old_bytes bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (reporter, epoch, storage_type, account_name, class)
);
CREATE INDEX IF NOT EXISTS blobaccess_reported_by_account ON blobaccess_reported (account_name, storage_type, class);
CREATE TABLE IF NOT EXISTS blobaccess_adjustments (
    scan_id text NOT NULL,
    storage_type text NOT NULL,
    account_name text NOT NULL,
    delta_bytes bigint NOT NULL,
    drift_low_bytes bigint NOT NULL,
    drift_high_bytes bigint NOT NULL,
    made_at_millis bigint NOT NULL,
    consumed boolean NOT NULL DEFAULT false,
    PRIMARY KEY (scan_id, storage_type, account_name)
);
CREATE TABLE IF NOT EXISTS blobaccess_statements (
    storage_type text NOT NULL,
    account_name text NOT NULL,
    byte_millis numeric NOT NULL,
    as_of_millis bigint NOT NULL,
    PRIMARY KEY (account_name, storage_type)
);
CREATE TABLE IF NOT EXISTS blobaccess_cursor (id smallint PRIMARY KEY);
INSERT INTO blobaccess_cursor (id) VALUES (1) ON CONFLICT DO NOTHING;
";

pub(crate) const UPSERT_LIFE: &str = "
INSERT INTO blobaccess_lives (reporter, epoch, seq, taken_at_millis, closed) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (reporter, epoch) DO UPDATE SET
    seq = GREATEST(blobaccess_lives.seq, EXCLUDED.seq),
    taken_at_millis = GREATEST(blobaccess_lives.taken_at_millis, EXCLUDED.taken_at_millis),
    closed = blobaccess_lives.closed OR EXCLUDED.closed";

pub(crate) const UPSERT_REPORTED: &str = "
INSERT INTO blobaccess_reported
    (reporter, epoch, storage_type, account_name, class, objects, stored_bytes, logical_bytes, unsized_bytes, old_bytes)
SELECT $1, $2, * FROM UNNEST(
    $3::text[], $4::text[], $5::smallint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[])
ON CONFLICT (reporter, epoch, storage_type, account_name, class) DO UPDATE SET
    objects = GREATEST(blobaccess_reported.objects, EXCLUDED.objects),
    stored_bytes = GREATEST(blobaccess_reported.stored_bytes, EXCLUDED.stored_bytes),
    logical_bytes = GREATEST(blobaccess_reported.logical_bytes, EXCLUDED.logical_bytes),
    unsized_bytes = GREATEST(blobaccess_reported.unsized_bytes, EXCLUDED.unsized_bytes),
    old_bytes = GREATEST(blobaccess_reported.old_bytes, EXCLUDED.old_bytes)";

pub(crate) const INSERT_ADJUSTMENT: &str = "
INSERT INTO blobaccess_adjustments
    (scan_id, storage_type, account_name, delta_bytes, drift_low_bytes, drift_high_bytes, made_at_millis)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";

pub(crate) const TOTALS: &str = "
SELECT storage_type, account_name, class, SUM(objects)::bigint, SUM(stored_bytes)::bigint, SUM(logical_bytes)::bigint,
    SUM(unsized_bytes)::bigint, SUM(old_bytes)::bigint
FROM blobaccess_reported WHERE $1::text IS NULL OR account_name = $1 GROUP BY storage_type, account_name, class";

pub(crate) const ADJUSTED: &str = "
SELECT storage_type, account_name, SUM(delta_bytes)::bigint
FROM blobaccess_adjustments WHERE $1::text IS NULL OR account_name = $1 GROUP BY storage_type, account_name";

pub(crate) const LIVES: &str = "SELECT reporter, epoch, seq, taken_at_millis, closed FROM blobaccess_lives";

pub(crate) const ADJUSTMENTS: &str = "
SELECT scan_id, storage_type, account_name, delta_bytes, drift_low_bytes, drift_high_bytes, made_at_millis
FROM blobaccess_adjustments ORDER BY scan_id, account_name, storage_type";

pub(crate) const CONSUMED: &str = "
SELECT storage_type, account_name, class, SUM(consumed_objects)::bigint, SUM(consumed_stored_bytes)::bigint,
    SUM(consumed_logical_bytes)::bigint, SUM(consumed_unsized_bytes)::bigint, SUM(consumed_old_bytes)::bigint
FROM blobaccess_reported GROUP BY storage_type, account_name, class";

pub(crate) const CONSUMED_ADJUSTMENTS: &str = "
SELECT storage_type, account_name, SUM(delta_bytes)::bigint
FROM blobaccess_adjustments WHERE consumed GROUP BY storage_type, account_name";

pub(crate) const STATEMENTS: &str =
    "SELECT storage_type, account_name, byte_millis::text, as_of_millis FROM blobaccess_statements";

/// The row that a consumer locks: one consumer at a time.
pub(crate) const LOCK: &str = "SELECT id FROM blobaccess_cursor WHERE id = 1 FOR UPDATE";

/// The rows that were reported and not consumed. They are locked until they are marked, so reports wait.
pub(crate) const UNCONSUMED: &str = "
SELECT reporter, epoch, storage_type, account_name, class, objects, stored_bytes, logical_bytes, unsized_bytes, old_bytes,
    consumed_objects, consumed_stored_bytes, consumed_logical_bytes, consumed_unsized_bytes, consumed_old_bytes
FROM blobaccess_reported
WHERE (objects, stored_bytes, logical_bytes, unsized_bytes, old_bytes) IS DISTINCT FROM
    (consumed_objects, consumed_stored_bytes, consumed_logical_bytes, consumed_unsized_bytes, consumed_old_bytes)
ORDER BY reporter, epoch, storage_type, account_name, class FOR UPDATE";

pub(crate) const MARK_CONSUMED: &str = "
UPDATE blobaccess_reported SET consumed_objects = objects, consumed_stored_bytes = stored_bytes,
    consumed_logical_bytes = logical_bytes, consumed_unsized_bytes = unsized_bytes, consumed_old_bytes = old_bytes
FROM UNNEST($1::text[], $2::bytea[], $3::text[], $4::text[], $5::smallint[]) AS moved (r, e, s, n, c)
WHERE reporter = r AND epoch = e AND storage_type = s AND account_name = n AND class = c";

pub(crate) const CONSUME_ADJUSTMENTS: &str = "
UPDATE blobaccess_adjustments SET consumed = true WHERE NOT consumed RETURNING storage_type, account_name, delta_bytes";

pub(crate) const UPSERT_STATEMENT: &str = "
INSERT INTO blobaccess_statements (storage_type, account_name, byte_millis, as_of_millis)
SELECT s, n, b::numeric, a FROM UNNEST($1::text[], $2::text[], $3::text[], $4::bigint[]) AS new (s, n, b, a)
ON CONFLICT (account_name, storage_type) DO UPDATE SET
    byte_millis = EXCLUDED.byte_millis, as_of_millis = EXCLUDED.as_of_millis";
