//! A table of footprints in a file.

use std::fmt::{self, Debug, Formatter};
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{Error, Result, blocking};
use redb::{Builder, Database, ReadableDatabase, ReadableTable, Table, TableDefinition};
use xxhash_rust::xxh3::xxh3_64;

use super::memory::{added, no_row};
use super::{Counted, FootprintAddition, FootprintMark, FootprintRow, FootprintShard, FootprintTable, IngestionTime};
use crate::ledger::codec::Bytes;
use crate::ledger::{Definition, Fault, LedgerFile};

const FOOTPRINTS: Definition = TableDefinition::new("footprints");

/// A [`FootprintTable`] in a file of its own, which one process has open at a time. All its rows are active.
///
/// Every change is one transaction, and is durable when it is acknowledged. There is one writer at a time. Transactions run
/// on tokio's threads for blocking work, if there is a runtime.
///
/// # Errors
///
/// `Unavailable` while the disk is full or fails. The file is then opened anew by the next call. `DataLoss` if the file has
/// rows that no table of footprints wrote.
///
/// # Memory
///
/// A cache of up to 16 MiB. The file takes some 80 bytes for each row, and its name.
///
/// # Cancel safety
///
/// A call that is dropped may still take effect, as a whole.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("footprints.redb");
/// use blobaccess_accounting::{FootprintShard, FootprintTable, RedbFootprints};
///
/// let table = RedbFootprints::open(path)?;
/// table.insert(["acme", "other"]).await?;
/// assert_eq!(table.active(FootprintShard::ALL, None, 10).await?.len(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedbFootprints {
    file: Arc<LedgerFile>,
}

type Rows<'a> = Table<'a, &'static [u8], &'static [u8]>;

impl RedbFootprints {
    /// The size of the cache, in bytes.
    const CACHE_BYTES: usize = 16 << 20;

    /// Opens the table in the file at `path`, which is made if it is missing.
    ///
    /// # Errors
    ///
    /// `FailedPrecondition` if the file cannot be opened, is none of this kind, or is open in another process.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let shown = path.display().to_string();
        let open = move || Ok(Builder::new().set_cache_size(Self::CACHE_BYTES).create(&path)?);
        let file = LedgerFile::open(&[FOOTPRINTS], open).map_err(|error| {
            Error::failed_precondition(format!("cannot open the footprints {shown}: {error}")).with_source(error)
        })?;
        Ok(Self { file: Arc::new(file) })
    }

    /// Adds rows, except those that are there. Returns the number of rows that were added.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the file cannot be changed now.
    pub async fn insert<N: Into<String>>(&self, names: impl IntoIterator<Item = N>) -> Result<u64> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        self.write(move |rows| {
            let mut inserted = 0_u64;
            for name in names {
                if read_row(rows, &name)?.is_none() {
                    write_row(rows, &FootprintRow::new(name, 0, None))?;
                    inserted = inserted.saturating_add(1);
                }
            }
            Ok(Ok(inserted))
        })
        .await
    }

    /// Removes the row of this name. Returns whether it was there.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the file cannot be changed now.
    pub async fn remove(&self, name: &str) -> Result<bool> {
        let name = name.to_owned();
        self.write(move |rows| Ok(Ok(rows.remove(name.as_bytes())?.is_some()))).await
    }

    async fn run<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Database) -> Result<T, Fault> + Send + 'static,
    {
        let file = Arc::clone(&self.file);
        blocking(move || file.run(work).map_err(|fault| Error::from(fault).at("footprints"))).await
    }

    /// Runs `work` in a transaction, which is committed if the work itself succeeds.
    async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Rows<'_>) -> Result<Result<T>, Fault> + Send + 'static,
    {
        self.run(|database| {
            let transaction = database.begin_write()?;
            let done = work(&mut transaction.open_table(FOOTPRINTS)?)?;
            match done {
                Ok(_) => transaction.commit()?,
                Err(_) => transaction.abort()?,
            }
            Ok(done)
        })
        .await?
    }
}

fn decode_mark(value: &mut Bytes<'_>) -> Option<FootprintMark> {
    let mark = FootprintMark::new(IngestionTime::from_micros(value.u64()?));
    if value.byte()? == 0 {
        return Some(mark);
    }
    let since = IngestionTime::from_micros(value.u64()?);
    Some(mark.with_counted(Counted::new(since, value.i64()?, value.i64()?)))
}

fn decode_row(key: &[u8], value: &[u8]) -> Result<FootprintRow, Fault> {
    let decode = || {
        let mut value = Bytes(value);
        let footprint_bytes = value.i64()?;
        let mark = if value.byte()? == 0 { None } else { Some(decode_mark(&mut value)?) };
        let name = std::str::from_utf8(key).ok()?;
        value.is_empty().then(|| FootprintRow::new(name, footprint_bytes, mark))
    };
    decode().ok_or(Fault::Malformed)
}

fn read_row(rows: &Rows<'_>, name: &str) -> Result<Option<FootprintRow>, Fault> {
    rows.get(name.as_bytes())?.map(|value| decode_row(name.as_bytes(), value.value())).transpose()
}

fn write_row(rows: &mut Rows<'_>, row: &FootprintRow) -> Result<(), Fault> {
    let mut value = row.footprint_bytes.to_le_bytes().to_vec();
    value.push(u8::from(row.mark.is_some()));
    if let Some(mark) = row.mark {
        value.extend(mark.cursor.micros().to_le_bytes());
        value.push(u8::from(mark.counted.is_some()));
        if let Some(Counted { since, rows, bytes }) = mark.counted {
            value.extend(since.micros().to_le_bytes());
            value.extend(rows.to_le_bytes());
            value.extend(bytes.to_le_bytes());
        }
    }
    rows.insert(row.name.as_bytes(), value.as_slice())?;
    Ok(())
}

#[async_trait]
impl FootprintTable for RedbFootprints {
    async fn active(&self, shard: FootprintShard, after: Option<&str>, limit: usize) -> Result<Vec<FootprintRow>> {
        let after = after.map(str::to_owned);
        self.run(move |database| {
            let table = database.begin_read()?.open_table(FOOTPRINTS)?;
            let begin = after.as_ref().map_or(Bound::Unbounded, |after| Bound::Excluded(after.as_bytes()));
            let mut rows = Vec::new();
            for row in table.range::<&[u8]>((begin, Bound::Unbounded))? {
                if rows.len() >= limit {
                    break;
                }
                let (key, value) = row?;
                if shard.has(xxh3_64(key.value())) {
                    rows.push(decode_row(key.value(), value.value())?);
                }
            }
            Ok(rows)
        })
        .await
    }

    async fn add(
        &self,
        name: &str,
        expected: Option<&FootprintMark>,
        delta_bytes: i64,
        next: &FootprintMark,
    ) -> Result<bool> {
        let (name, expected, next) = (name.to_owned(), expected.copied(), *next);
        self.write(move |rows| {
            let Some(row) = read_row(rows, &name)? else { return Ok(Err(no_row(&name))) };
            match added(&row, expected.as_ref(), delta_bytes, &next) {
                Ok(Some(row)) => write_row(rows, &row).map(|()| Ok(true)),
                Ok(None) => Ok(Ok(false)),
                Err(error) => Ok(Err(error)),
            }
        })
        .await
    }

    async fn add_all(&self, additions: &[FootprintAddition]) -> Vec<Result<bool>> {
        let count = additions.len();
        let additions = additions.to_vec();
        let added = self.write(move |rows| {
            let mut results = Vec::with_capacity(additions.len());
            for FootprintAddition { name, expected, delta_bytes, next } in &additions {
                let Some(row) = read_row(rows, name)? else {
                    results.push(Err(no_row(name)));
                    continue;
                };
                let changed = added(&row, expected.as_ref(), *delta_bytes, next);
                if let Ok(Some(row)) = &changed {
                    write_row(rows, row)?;
                }
                results.push(changed.map(|changed| changed.is_some()));
            }
            Ok(Ok(results))
        });
        match added.await {
            Ok(results) => results,
            Err(error) => vec![Err(error); count],
        }
    }

    async fn import(&self, name: &str, footprint_bytes: Option<i64>, mark: &FootprintMark) -> Result<bool> {
        let (name, mark) = (name.to_owned(), *mark);
        self.write(move |rows| {
            let row = read_row(rows, &name)?.unwrap_or_else(|| FootprintRow::new(name, 0, None));
            if row.mark.is_some() {
                return Ok(Ok(false));
            }
            let footprint_bytes = footprint_bytes.unwrap_or(row.footprint_bytes);
            write_row(rows, &FootprintRow { footprint_bytes, mark: Some(mark), ..row })?;
            Ok(Ok(true))
        })
        .await
    }
}

impl Debug for RedbFootprints {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbFootprints").finish_non_exhaustive()
    }
}
