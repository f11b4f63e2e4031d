//! The tables of a ledger.

/// The statements that make the tables. Numbers beyond `i64` cannot be kept; in bytes, that is 9 exabytes.
pub(crate) const SCHEMA: &str = "
SELECT pg_advisory_xact_lock(hashtext('blobaccess_tables'));
CREATE TABLE IF NOT EXISTS blobaccess_lives (
    reporter text NOT NULL,
    epoch bytea NOT NULL,
    seq bigint NOT NULL,
    taken_at_millis bigint NOT NULL,
    closed boolean NOT NULL,
    folded boolean NOT NULL DEFAULT false,
    retired_seq bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (reporter, epoch)
);
ALTER TABLE blobaccess_lives ADD COLUMN IF NOT EXISTS folded boolean NOT NULL DEFAULT false;
ALTER TABLE blobaccess_lives ADD COLUMN IF NOT EXISTS retired_seq bigint NOT NULL DEFAULT 0;
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
CREATE TABLE IF NOT EXISTS blobaccess_corrections (
    correction_id text NOT NULL,
    storage_type text NOT NULL,
    account_name text NOT NULL,
    byte_millis numeric NOT NULL,
    made_at_millis bigint NOT NULL,
    PRIMARY KEY (correction_id, storage_type, account_name)
);
CREATE TABLE IF NOT EXISTS blobaccess_cursor (id smallint PRIMARY KEY, as_of_millis bigint);
ALTER TABLE blobaccess_cursor ADD COLUMN IF NOT EXISTS as_of_millis bigint;
INSERT INTO blobaccess_cursor (id) VALUES (1) ON CONFLICT DO NOTHING;
";

pub(crate) const UPSERT_LIFE: &str = "
INSERT INTO blobaccess_lives (reporter, epoch, seq, taken_at_millis, closed) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (reporter, epoch) DO UPDATE SET
    seq = GREATEST(blobaccess_lives.seq, EXCLUDED.seq),
    taken_at_millis = CASE
        WHEN EXCLUDED.seq > blobaccess_lives.seq THEN EXCLUDED.taken_at_millis
        WHEN EXCLUDED.seq < blobaccess_lives.seq THEN blobaccess_lives.taken_at_millis
        ELSE GREATEST(blobaccess_lives.taken_at_millis, EXCLUDED.taken_at_millis) END,
    closed = blobaccess_lives.closed OR EXCLUDED.closed
RETURNING folded, EXISTS (
    SELECT 1 FROM blobaccess_lives AS known WHERE known.reporter = $1 AND known.epoch = $2 AND NOT known.closed
        AND known.retired_seq > 0 AND known.seq <= known.retired_seq AND known.retired_seq < $3)";

pub(crate) const RETIRE: &str = "
UPDATE blobaccess_lives SET retired_seq = GREATEST(retired_seq, s)
FROM UNNEST($1::text[], $2::bytea[], $3::bigint[]) AS gone (r, e, s) WHERE reporter = r AND epoch = e";

/// The uploads under way of lives that are not over. The classes are those of beginnings and of outcomes.
pub(crate) const IN_FLIGHT: &str = "
SELECT * FROM (
    SELECT reporter, epoch, storage_type, account_name,
        GREATEST(COALESCE(SUM(r.objects) FILTER (WHERE class = 0), 0)
            - COALESCE(SUM(r.objects) FILTER (WHERE class <> 0), 0), 0)::bigint AS objects,
        GREATEST(COALESCE(SUM(r.logical_bytes) FILTER (WHERE class = 0), 0)
            - COALESCE(SUM(r.logical_bytes) FILTER (WHERE class <> 0), 0), 0)::bigint AS logical_bytes
    FROM blobaccess_reported AS r JOIN blobaccess_lives USING (reporter, epoch)
    WHERE NOT closed AND class BETWEEN 0 AND 13
    GROUP BY reporter, epoch, storage_type, account_name
) AS under_way WHERE objects > 0";

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
    old_bytes = GREATEST(blobaccess_reported.old_bytes, EXCLUDED.old_bytes)
WHERE EXCLUDED.objects > blobaccess_reported.objects OR EXCLUDED.stored_bytes > blobaccess_reported.stored_bytes
    OR EXCLUDED.logical_bytes > blobaccess_reported.logical_bytes
    OR EXCLUDED.unsized_bytes > blobaccess_reported.unsized_bytes
    OR EXCLUDED.old_bytes > blobaccess_reported.old_bytes";

pub(crate) const INSERT_ADJUSTMENT: &str = "
INSERT INTO blobaccess_adjustments
    (scan_id, storage_type, account_name, delta_bytes, drift_low_bytes, drift_high_bytes, made_at_millis)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";

pub(crate) const TOTALS: &str = "
SELECT storage_type, account_name, class, LEAST(SUM(objects), 9223372036854775807)::bigint, LEAST(SUM(stored_bytes), 9223372036854775807)::bigint, LEAST(SUM(logical_bytes), 9223372036854775807)::bigint,
    LEAST(SUM(unsized_bytes), 9223372036854775807)::bigint, LEAST(SUM(old_bytes), 9223372036854775807)::bigint
FROM blobaccess_reported WHERE $1::text IS NULL OR account_name = $1 GROUP BY storage_type, account_name, class";

pub(crate) const ADJUSTED: &str = "
SELECT storage_type, account_name, GREATEST(LEAST(SUM(delta_bytes), 9223372036854775807), -9223372036854775808)::bigint
FROM blobaccess_adjustments WHERE $1::text IS NULL OR account_name = $1 GROUP BY storage_type, account_name";

pub(crate) const LIVES: &str = "
SELECT reporter, epoch, seq, taken_at_millis, closed, retired_seq FROM blobaccess_lives";

pub(crate) const ADJUSTMENTS: &str = "
SELECT scan_id, storage_type, account_name, delta_bytes, drift_low_bytes, drift_high_bytes, made_at_millis
FROM blobaccess_adjustments ORDER BY scan_id, account_name, storage_type";

pub(crate) const CONSUMED: &str = "
SELECT storage_type, account_name, class, LEAST(SUM(consumed_objects), 9223372036854775807)::bigint,
    LEAST(SUM(consumed_stored_bytes), 9223372036854775807)::bigint,
    LEAST(SUM(consumed_logical_bytes), 9223372036854775807)::bigint,
    LEAST(SUM(consumed_unsized_bytes), 9223372036854775807)::bigint,
    LEAST(SUM(consumed_old_bytes), 9223372036854775807)::bigint
FROM blobaccess_reported WHERE $1::text[] IS NULL OR account_name = ANY ($1)
GROUP BY storage_type, account_name, class";

pub(crate) const CONSUMED_ADJUSTMENTS: &str = "
SELECT storage_type, account_name,
    GREATEST(LEAST(SUM(delta_bytes), 9223372036854775807), -9223372036854775808)::bigint
FROM blobaccess_adjustments WHERE consumed AND ($1::text[] IS NULL OR account_name = ANY ($1))
GROUP BY storage_type, account_name";

pub(crate) const STATEMENTS: &str = "
SELECT storage_type, account_name, byte_millis::text, as_of_millis FROM blobaccess_statements
WHERE $1::text[] IS NULL OR account_name = ANY ($1)";

/// The time until which statements were consumed. Before there was a column for it, all statements had it.
pub(crate) const AS_OF: &str = "
SELECT COALESCE(as_of_millis, (SELECT MAX(as_of_millis) FROM blobaccess_statements)) FROM blobaccess_cursor WHERE id = 1";

/// The row that a consumer locks: one consumer at a time.
pub(crate) const LOCK: &str = "SELECT id FROM blobaccess_cursor WHERE id = 1 FOR UPDATE";

pub(crate) const SET_AS_OF: &str = "UPDATE blobaccess_cursor SET as_of_millis = $1 WHERE id = 1";

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

pub(crate) const UNCONSUMED_ADJUSTMENTS: &str = "
SELECT storage_type, account_name FROM blobaccess_adjustments WHERE NOT consumed FOR UPDATE";

pub(crate) const CONSUME_ADJUSTMENTS: &str = "
UPDATE blobaccess_adjustments SET consumed = true WHERE NOT consumed AND account_name = ANY ($1)
RETURNING storage_type, account_name, delta_bytes";

pub(crate) const UPSERT_STATEMENT: &str = "
INSERT INTO blobaccess_statements (storage_type, account_name, byte_millis, as_of_millis)
SELECT s, n, b::numeric, a FROM UNNEST($1::text[], $2::text[], $3::text[], $4::bigint[]) AS new (s, n, b, a)
ON CONFLICT (account_name, storage_type) DO UPDATE SET
    byte_millis = EXCLUDED.byte_millis, as_of_millis = EXCLUDED.as_of_millis";

/// Sums up the rows of lives that are over, consumed or not, as one life without a name. Reports of such a life change
/// nothing any more: its last one said everything. Lives that are being reported wait for the next time.
pub(crate) const FOLD: &str = "
WITH gone AS (
    SELECT reporter, epoch FROM blobaccess_lives WHERE closed AND NOT folded
    ORDER BY reporter, epoch LIMIT 1000 FOR UPDATE SKIP LOCKED
), taken AS (
    DELETE FROM blobaccess_reported r USING gone WHERE r.reporter = gone.reporter AND r.epoch = gone.epoch RETURNING r.*
), summed AS (
    INSERT INTO blobaccess_reported AS t
        (reporter, epoch, storage_type, account_name, class, objects, stored_bytes, logical_bytes, unsized_bytes, old_bytes,
        consumed_objects, consumed_stored_bytes, consumed_logical_bytes, consumed_unsized_bytes, consumed_old_bytes)
    SELECT '', ''::bytea, storage_type, account_name, class,
        LEAST(SUM(objects), 9223372036854775807)::bigint, LEAST(SUM(stored_bytes), 9223372036854775807)::bigint,
        LEAST(SUM(logical_bytes), 9223372036854775807)::bigint, LEAST(SUM(unsized_bytes), 9223372036854775807)::bigint,
        LEAST(SUM(old_bytes), 9223372036854775807)::bigint,
        LEAST(SUM(consumed_objects), 9223372036854775807)::bigint,
        LEAST(SUM(consumed_stored_bytes), 9223372036854775807)::bigint,
        LEAST(SUM(consumed_logical_bytes), 9223372036854775807)::bigint,
        LEAST(SUM(consumed_unsized_bytes), 9223372036854775807)::bigint,
        LEAST(SUM(consumed_old_bytes), 9223372036854775807)::bigint
    FROM taken GROUP BY storage_type, account_name, class
    ON CONFLICT (reporter, epoch, storage_type, account_name, class) DO UPDATE SET
        objects = LEAST(t.objects::numeric + EXCLUDED.objects, 9223372036854775807)::bigint,
        stored_bytes = LEAST(t.stored_bytes::numeric + EXCLUDED.stored_bytes, 9223372036854775807)::bigint,
        logical_bytes = LEAST(t.logical_bytes::numeric + EXCLUDED.logical_bytes, 9223372036854775807)::bigint,
        unsized_bytes = LEAST(t.unsized_bytes::numeric + EXCLUDED.unsized_bytes, 9223372036854775807)::bigint,
        old_bytes = LEAST(t.old_bytes::numeric + EXCLUDED.old_bytes, 9223372036854775807)::bigint,
        consumed_objects = LEAST(t.consumed_objects::numeric + EXCLUDED.consumed_objects, 9223372036854775807)::bigint,
        consumed_stored_bytes =
            LEAST(t.consumed_stored_bytes::numeric + EXCLUDED.consumed_stored_bytes, 9223372036854775807)::bigint,
        consumed_logical_bytes =
            LEAST(t.consumed_logical_bytes::numeric + EXCLUDED.consumed_logical_bytes, 9223372036854775807)::bigint,
        consumed_unsized_bytes =
            LEAST(t.consumed_unsized_bytes::numeric + EXCLUDED.consumed_unsized_bytes, 9223372036854775807)::bigint,
        consumed_old_bytes =
            LEAST(t.consumed_old_bytes::numeric + EXCLUDED.consumed_old_bytes, 9223372036854775807)::bigint
)
UPDATE blobaccess_lives l SET folded = true FROM gone WHERE l.reporter = gone.reporter AND l.epoch = gone.epoch";

pub(crate) const INSERT_CORRECTIONS: &str = "
INSERT INTO blobaccess_corrections (correction_id, storage_type, account_name, byte_millis, made_at_millis)
SELECT i, s, n, b::numeric, m FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[]) AS new (i, s, n, b, m)
ON CONFLICT DO NOTHING";

pub(crate) const CORRECTIONS: &str = "
SELECT correction_id, storage_type, account_name, byte_millis::text, made_at_millis FROM blobaccess_corrections
ORDER BY correction_id, account_name, storage_type";

pub(crate) const SERVER_TIME: &str = "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::bigint";
