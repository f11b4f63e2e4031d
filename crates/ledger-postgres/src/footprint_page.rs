//! Additions to several footprints in one transaction.

use std::collections::{BTreeMap, HashMap};

use blobaccess_accounting::{Counted, FootprintAddition, FootprintMark, IngestionTime};
use tokio_postgres::{Client, Transaction};

use crate::footprint_columns::FootprintSql;
use crate::footprint_table::{Fault, counted, mark, time};
use crate::rows::{get, signed};

/// Additions to several footprints, in one transaction.
#[derive(Debug)]
pub(crate) struct FootprintPage {
    pub(crate) active_value: Option<String>,
    /// By the names, which are all different.
    pub(crate) additions: BTreeMap<String, FootprintAddition>,
}

/// The names of rows that were changed, and of those that have another mark than was expected.
#[derive(Debug, Default)]
pub(crate) struct PageDone {
    pub(crate) added: HashMap<String, bool>,
}

impl FootprintPage {
    /// Makes the additions. Rows that are not there, or several times, are left out; so is everything if the server refuses
    /// one of them, or would round a cursor: `None`.
    pub(crate) async fn make(&self, client: &mut Client, sql: &FootprintSql) -> Result<Option<PageDone>, Fault> {
        let transaction = client.transaction().await?;
        transaction.batch_execute("SET LOCAL TIME ZONE 'UTC'").await?;
        let mut done = PageDone::default();
        let mut ready = Vec::new();
        for (name, mark) in self.lock(&transaction, sql).await? {
            let Some(addition) = self.additions.get(&name) else { continue };
            let is_expected = mark == addition.expected;
            if is_expected {
                ready.push(addition);
            }
            done.added.insert(name, is_expected);
        }
        if ready.is_empty() {
            transaction.rollback().await?;
            return Ok(Some(done));
        }
        let is_exact = match self.write(&transaction, sql, &ready).await {
            Ok(is_exact) => is_exact,
            Err(error) if crate::ledger::refuses_contents(&error) => false,
            Err(error) => return Err(error.into()),
        };
        if is_exact {
            transaction.commit().await?;
            Ok(Some(done))
        } else {
            transaction.rollback().await?;
            Ok(None)
        }
    }

    /// Locks the rows, and returns the names of those that are there once, with their marks.
    async fn lock(
        &self,
        transaction: &Transaction<'_>,
        sql: &FootprintSql,
    ) -> Result<HashMap<String, Option<FootprintMark>>, Fault> {
        let names: Vec<_> = self.additions.keys().collect();
        let mut found: HashMap<String, Vec<Option<IngestionTime>>> = HashMap::new();
        for row in transaction.query(&sql.lock_all, &[&self.active_value, &names]).await? {
            found.entry(get(&row, 0)?).or_default().push(time(&row, 1)?);
        }
        // Read after the lock, by a statement of its own: the one that waited for locks would not see what came first.
        let mut counts = HashMap::new();
        if let Some(statement) = &sql.count_all {
            for row in transaction.query(statement, &[&names]).await? {
                counts.insert(get::<String>(&row, 0)?, row);
            }
        }
        let mut marks = HashMap::new();
        for (name, cursors) in found {
            let [cursor] = cursors.as_slice() else { continue };
            let counted = match (cursor, counts.get(&name)) {
                (Some(cursor), Some(row)) => counted(row, 1, *cursor)?,
                _ => None,
            };
            marks.insert(name, mark(*cursor, counted));
        }
        Ok(marks)
    }

    /// Writes the additions, and returns whether each cursor was kept as it is.
    async fn write(
        &self,
        transaction: &Transaction<'_>,
        sql: &FootprintSql,
        ready: &[&FootprintAddition],
    ) -> Result<bool, tokio_postgres::Error> {
        let names: Vec<_> = ready.iter().map(|addition| addition.name.as_str()).collect();
        let deltas: Vec<_> = ready.iter().map(|addition| addition.delta_bytes).collect();
        let cursors: Vec<_> = ready.iter().map(|addition| signed(addition.next.cursor.micros())).collect();
        let written = transaction.query(&sql.add_all, &[&self.active_value, &names, &deltas, &cursors]).await?;
        let mut is_exact = written.len() == ready.len();
        for row in &written {
            is_exact &= row.try_get::<_, Option<i64>>(0)? == row.try_get::<_, Option<i64>>(1)?;
        }
        if let Some(statement) = &sql.set_counts {
            let counted: Vec<_> = ready.iter().map(|addition| count_of(&addition.next)).collect();
            let column = |of: fn(&(i64, Counted)) -> i64| counted.iter().map(of).collect::<Vec<_>>();
            let (cursors, since) = (column(|(of, _)| *of), column(|(_, counted)| signed(counted.since.micros())));
            let (rows, bytes) = (column(|(_, counted)| counted.rows), column(|(_, counted)| counted.bytes));
            transaction.execute(statement, &[&names, &cursors, &since, &rows, &bytes]).await?;
        }
        Ok(is_exact)
    }
}

/// Returns the count of a mark, and the cursor that it is for. Without a count, that of no cursor says that there is none.
pub(crate) fn count_of(mark: &FootprintMark) -> (i64, Counted) {
    match mark.counted {
        Some(counted) => (signed(mark.cursor.micros()), counted),
        None => (-1, Counted::nothing_since(IngestionTime::START)),
    }
}
