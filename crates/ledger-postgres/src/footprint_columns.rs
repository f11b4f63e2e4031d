//! The settings of a table of footprints: the names of the table and its columns.

use blobaccess::Result;

use crate::identifier::{check, quote, quote_table};

/// The settings of a [`PostgresFootprints`](crate::PostgresFootprints): the names of a site's table and its columns.
///
/// | column | default | type |
/// |---|---|---|
/// | the namespace | `namespace` | `text` or `varchar`, with an index; other types are compared as text, without their index |
/// | the footprint | `storage_footprint_bytes` | `bigint`, which may be `NULL` |
/// | the cursor | `last_ingested_at` | `timestamptz`, or `timestamp` in UTC, of any precision, which may be `NULL` |
///
/// # Examples
///
/// ```
/// use blobaccess_ledger_postgres::FootprintColumns;
///
/// let columns = FootprintColumns::default()
///     .with_table("build_caches")
///     .with_namespace("cache_name")
///     .with_active("state", "enabled");
/// columns.check().unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FootprintColumns {
    schema: Option<String>,
    table: String,
    namespace: String,
    footprint: String,
    cursor: String,
    active: Option<(String, String)>,
    counts_table: Option<String>,
}

impl Default for FootprintColumns {
    fn default() -> Self {
        Self {
            schema: None,
            table: "bazelre_cache_entries".to_owned(),
            namespace: "namespace".to_owned(),
            footprint: "storage_footprint_bytes".to_owned(),
            cursor: "last_ingested_at".to_owned(),
            active: None,
            counts_table: Some("blobaccess_footprint_counts".to_owned()),
        }
    }
}

impl FootprintColumns {
    /// Returns the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the schema of the tables: by default that of the connection.
    #[must_use]
    pub fn with_schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// Sets the table: `bazelre_cache_entries` by default.
    #[must_use]
    pub fn with_table(mut self, table: impl Into<String>) -> Self {
        self.table = table.into();
        self
    }

    /// Sets the column of the namespace.
    #[must_use]
    pub fn with_namespace(mut self, column: impl Into<String>) -> Self {
        self.namespace = column.into();
        self
    }

    /// Sets the column of the footprint.
    #[must_use]
    pub fn with_footprint(mut self, column: impl Into<String>) -> Self {
        self.footprint = column.into();
        self
    }

    /// Sets the column of the cursor.
    #[must_use]
    pub fn with_cursor(mut self, column: impl Into<String>) -> Self {
        self.cursor = column.into();
        self
    }

    /// Sets the condition of active rows: those whose `column`, as text, is `value`. By default all rows are active.
    #[must_use]
    pub fn with_active(mut self, column: impl Into<String>, value: impl Into<String>) -> Self {
        self.active = Some((column.into(), value.into()));
        self
    }

    /// Sets the table of counts, which [`create_tables`](crate::PostgresFootprints::create_tables) makes:
    /// `blobaccess_footprint_counts` by default.
    #[must_use]
    pub fn with_counts_table(mut self, table: impl Into<String>) -> Self {
        self.counts_table = Some(table.into());
        self
    }

    /// Keeps no counts. Then nothing is counted again, and a source of totals cannot be used.
    #[must_use]
    pub fn without_counts_table(mut self) -> Self {
        self.counts_table = None;
        self
    }

    /// Checks the names: they become parts of statements.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if a name is no identifier: a letter or `_`, then letters, digits and `_`, at most 63 in all, of
    /// ASCII.
    pub fn check(&self) -> Result<()> {
        if let Some(schema) = &self.schema {
            check("a schema", schema)?;
        }
        for table in self.counts_table.iter().chain([&self.table]) {
            check("a table", table)?;
        }
        let active = self.active.as_ref().map(|(column, _)| column);
        for column in [&self.namespace, &self.footprint, &self.cursor].into_iter().chain(active) {
            check("a column", column)?;
        }
        Ok(())
    }

    pub(crate) const fn keeps_counts(&self) -> bool {
        self.counts_table.is_some()
    }

    pub(crate) fn active_value(&self) -> Option<&str> {
        self.active.as_ref().map(|(_, value)| value.as_str())
    }
}

/// The statements about a table of footprints.
#[derive(Debug)]
pub(crate) struct FootprintSql {
    /// Active rows. Parameters: the active value, the limit, the index of the shard, the number of shards.
    pub(crate) first_page: String,
    /// The same after a name, which is the fifth parameter.
    pub(crate) next_page: String,
    /// A row, which is locked. Parameters: the active value, the name.
    pub(crate) lock: String,
    /// The count of a name, unless no counts are kept.
    pub(crate) count: Option<String>,
    /// Parameters: the active value, the name, the bytes that are added, the cursor.
    pub(crate) add: String,
    /// Parameters: the active value, the name, the footprint or null, the cursor.
    pub(crate) import: String,
    pub(crate) set_count: Option<String>,
    /// Rows, which are locked. Parameters: the active value, the names.
    pub(crate) lock_all: String,
    /// The counts of names, unless no counts are kept.
    pub(crate) count_all: Option<String>,
    /// Parameters: the active value, the names, the bytes that are added, the cursors.
    pub(crate) add_all: String,
    pub(crate) set_counts: Option<String>,
    pub(crate) create: String,
}

impl FootprintSql {
    pub(crate) fn new(columns: &FootprintColumns) -> Self {
        let schema = columns.schema.as_deref();
        let table = quote_table(schema, &columns.table);
        let (name, footprint, cursor) = (quote(&columns.namespace), quote(&columns.footprint), quote(&columns.cursor));
        // A cursor that is no time, such as infinity, is none.
        let micros =
            format!("CASE WHEN isfinite(t.{cursor}) THEN (EXTRACT(EPOCH FROM t.{cursor}) * 1000000)::bigint END");
        let active = match &columns.active {
            Some((column, _)) => format!("t.{}::text = $1::text", quote(column)),
            None => "$1::text IS NULL".to_owned(),
        };
        let counts = columns.counts_table.as_ref().map(|counts| quote_table(schema, counts));
        let (counted, join) = match &counts {
            Some(counts) => (
                "k.cursor_micros, k.since_micros, k.rows, k.bytes",
                format!("LEFT JOIN {counts} k ON k.name = t.{name}::text"),
            ),
            None => ("NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint", String::new()),
        };
        let hash = format!("sha256(convert_to(t.{name}::text, 'UTF8'))");
        let page = |after: &str| {
            format!(
                "SELECT t.{name}::text, COALESCE(t.{footprint}, 0)::bigint, {micros}, {counted} FROM {table} t {join}
                WHERE t.{name} IS NOT NULL AND {active} AND ($4::int = 1 OR
                    (get_byte({hash}, 0) * 256 + get_byte({hash}, 1)) % $4::int = $3::int) {after}
                ORDER BY t.{name}::text LIMIT $2::bigint"
            )
        };
        let row = format!("t.{name}::text = $2::text AND {active}");
        let rows = format!("t.{name}::text = ANY ($2::text[]) AND {active}");
        let time = "TIMESTAMP 'epoch' + $4::bigint * INTERVAL '1 microsecond'";
        Self {
            first_page: page(""),
            next_page: page(&format!("AND t.{name}::text > $5::text")),
            lock: format!("SELECT COALESCE(t.{footprint}, 0)::bigint, {micros} FROM {table} t WHERE {row} FOR UPDATE"),
            count: counts.as_ref().map(|counts| {
                format!("SELECT cursor_micros, since_micros, rows, bytes FROM {counts} WHERE name = $1::text")
            }),
            add: format!(
                "UPDATE {table} t SET {footprint} = COALESCE(t.{footprint}, 0) + $3::bigint, {cursor} = {time}
                WHERE {row} RETURNING {micros}"
            ),
            import: format!(
                "UPDATE {table} t SET {footprint} = COALESCE($3::bigint, t.{footprint}, 0), {cursor} = {time}
                WHERE {row} RETURNING {micros}"
            ),
            set_count: counts.as_ref().map(|counts| {
                format!(
                    "INSERT INTO {counts} AS k (name, cursor_micros, since_micros, rows, bytes)
                    VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name) DO UPDATE SET cursor_micros = EXCLUDED.cursor_micros,
                        since_micros = EXCLUDED.since_micros, rows = EXCLUDED.rows, bytes = EXCLUDED.bytes"
                )
            }),
            // In the order of names, so that two of these do not wait for each other.
            lock_all: format!(
                "SELECT t.{name}::text, {micros} FROM {table} t WHERE {rows} ORDER BY t.{name}::text FOR UPDATE"
            ),
            count_all: counts.as_ref().map(|counts| {
                format!(
                    "SELECT name, cursor_micros, since_micros, rows, bytes FROM {counts} WHERE name = ANY ($1::text[])"
                )
            }),
            add_all: format!(
                "UPDATE {table} t SET {footprint} = COALESCE(t.{footprint}, 0) + w.delta,
                    {cursor} = TIMESTAMP 'epoch' + w.cursor * INTERVAL '1 microsecond'
                FROM UNNEST($2::text[], $3::bigint[], $4::bigint[]) AS w (name, delta, cursor)
                WHERE t.{name}::text = w.name AND {active} RETURNING w.cursor, {micros}"
            ),
            set_counts: counts.as_ref().map(|counts| {
                format!(
                    "INSERT INTO {counts} AS k (name, cursor_micros, since_micros, rows, bytes)
                    SELECT * FROM UNNEST($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
                    ON CONFLICT (name) DO UPDATE SET cursor_micros = EXCLUDED.cursor_micros,
                        since_micros = EXCLUDED.since_micros, rows = EXCLUDED.rows, bytes = EXCLUDED.bytes"
                )
            }),
            create: counts.map_or_else(String::new, |counts| {
                format!(
                    "SELECT pg_advisory_xact_lock(hashtext('blobaccess_tables'));
                    CREATE TABLE IF NOT EXISTS {counts} (
                        name text PRIMARY KEY,
                        cursor_micros bigint NOT NULL,
                        since_micros bigint NOT NULL,
                        rows bigint NOT NULL,
                        bytes bigint NOT NULL
                    );"
                )
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use blobaccess::ErrorKind;

    use super::*;

    #[test]
    fn names_that_are_no_identifiers_are_refused() {
        let columns = FootprintColumns::new;
        for name in ["", "a b", "a\"; DROP TABLE b", "a.b"] {
            for columns in [
                columns().with_schema(name),
                columns().with_table(name),
                columns().with_namespace(name),
                columns().with_footprint(name),
                columns().with_cursor(name),
                columns().with_active(name, "value"),
                columns().with_counts_table(name),
            ] {
                assert_eq!(columns.check().unwrap_err().kind(), ErrorKind::InvalidArgument, "{columns:?}");
            }
        }
        columns().with_schema("web").with_active("state", "'; --").without_counts_table().check().unwrap();
    }
}
