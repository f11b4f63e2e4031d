//! A ledger in a file, for a host with a ledger of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug, Formatter};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use blobaccess::{AccountName, Error, Result, blocking};
use redb::{Builder, Database, ReadableDatabase, ReadableTable, Table, TableDefinition, WriteTransaction};

use super::codec::{Bytes, put_account, put_tally, put_text};
use super::life::note_return;
use super::{Accumulator, Adjustment, Correction, InFlight, Ledger, Life, Movement, Statement, Total};
use crate::report::{from_unix_millis, unix_millis};
use crate::{Account, Epoch, Report, Reporter, Tally};

pub(crate) type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

const LIVES: Definition = TableDefinition::new("lives");
const REPORTED: Definition = TableDefinition::new("reported");
const CONSUMED: Definition = TableDefinition::new("consumed");
const ADJUSTMENTS: Definition = TableDefinition::new("adjustments");
const STATEMENTS: Definition = TableDefinition::new("statements");
const CORRECTIONS: Definition = TableDefinition::new("corrections");
const TABLES: [Definition; 6] = [LIVES, REPORTED, CONSUMED, ADJUSTMENTS, STATEMENTS, CORRECTIONS];

/// A [`Ledger`] in a file of its own, which one process has open at a time.
///
/// Every change is one transaction, and is durable when it is acknowledged. Transactions run on tokio's threads for
/// blocking work, if there is a runtime.
///
/// # Errors
///
/// `Unavailable` while the disk is full or fails. The file is then opened anew by the next call, so that the ledger goes on
/// as soon as the disk does. `DataLoss` if the file has rows that no ledger wrote.
///
/// # Memory
///
/// The [cache](RedbOptions::with_cache_bytes). The file takes some 100 bytes for each life and account, and 41 for each of
/// its classes. Reading the totals reads all of them.
///
/// # Cancel safety
///
/// A call that is dropped may still take effect.
#[derive(Clone)]
pub struct RedbLedger {
    file: Arc<LedgerFile>,
}

/// The settings of a [`RedbLedger`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedbOptions {
    cache_bytes: usize,
}

impl Default for RedbOptions {
    fn default() -> Self {
        Self { cache_bytes: 64 << 20 }
    }
}

impl RedbOptions {
    /// Returns the defaults: a cache of 64 MiB.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the size of the cache, in bytes. It is the most memory that the ledger takes.
    #[must_use]
    pub const fn with_cache_bytes(mut self, cache_bytes: usize) -> Self {
        self.cache_bytes = cache_bytes;
        self
    }
}

/// The file of a ledger, which is opened anew after it has failed.
pub(crate) struct LedgerFile {
    open: Box<dyn Fn() -> Result<Database, redb::Error> + Send + Sync>,
    /// The open file; `None` after it has failed.
    database: Mutex<Option<Arc<Database>>>,
}

impl LedgerFile {
    /// Opens the file, and makes the tables, so that they can be read.
    pub(crate) fn open(
        tables: &[Definition],
        open: impl Fn() -> Result<Database, redb::Error> + Send + Sync + 'static,
    ) -> Result<Self, redb::Error> {
        let file = Self { open: Box::new(open), database: Mutex::new(None) };
        let database = file.database()?;
        let transaction = database.begin_write()?;
        for table in tables {
            drop(transaction.open_table(*table)?);
        }
        transaction.commit()?;
        Ok(file)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Database>>> {
        // A panic cannot leave it half changed.
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn database(&self) -> Result<Arc<Database>, redb::Error> {
        let mut database = self.lock();
        if let Some(database) = &*database {
            return Ok(Arc::clone(database));
        }
        let opened = Arc::new((self.open)()?);
        *database = Some(Arc::clone(&opened));
        Ok(opened)
    }

    pub(crate) fn run<T>(&self, work: impl FnOnce(&Database) -> Result<T, Fault>) -> Result<T, Fault> {
        let database = self.database()?;
        let result = work(&database);
        // The library takes no more after the first failure of a file.
        if let Err(Fault::Database(error)) = &result
            && is_of_disk(error)
        {
            let mut open = self.lock();
            open.take_if(|open| Arc::ptr_eq(open, &database));
        }
        result
    }
}

/// Returns whether the disk failed, or the file was not closed since.
pub(crate) const fn is_of_disk(error: &redb::Error) -> bool {
    matches!(
        error,
        redb::Error::Io(_)
            | redb::Error::PreviousIo
            | redb::Error::DatabaseClosed
            | redb::Error::LockPoisoned(_)
            | redb::Error::DatabaseAlreadyOpen
    )
}

impl RedbLedger {
    /// Opens the ledger in the file at `path`, which is made if it is missing.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be opened, is no ledger, or is open in another process.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, &RedbOptions::new())
    }

    /// Opens the ledger as [`open`](Self::open) does, with other settings.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with(path: impl AsRef<Path>, options: &RedbOptions) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let shown = path.display().to_string();
        let cache_bytes = options.cache_bytes;
        let open = move || Ok(Builder::new().set_cache_size(cache_bytes).create(&path)?);
        let file = LedgerFile::open(&TABLES, open).map_err(|error| {
            Error::failed_precondition(format!("cannot open the ledger {shown}: {error}")).with_source(error)
        })?;
        Ok(Self { file: Arc::new(file) })
    }

    async fn run<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Database) -> Result<T, Fault> + Send + 'static,
    {
        let file = Arc::clone(&self.file);
        blocking(move || file.run(work).map_err(Error::from)).await
    }

    async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&WriteTransaction) -> Result<T, Fault> + Send + 'static,
    {
        self.run(|database| {
            let transaction = database.begin_write()?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })
        .await
    }

    /// Reads every row of `table`, as `decode` decodes it.
    async fn rows<T, F>(&self, table: Definition, decode: F) -> Result<Vec<T>>
    where
        T: Send + 'static,
        F: Fn(Bytes<'_>, Bytes<'_>) -> Option<T> + Send + 'static,
    {
        self.run(move |database| {
            let table = database.begin_read()?.open_table(table)?;
            let mut rows = Vec::new();
            for row in table.iter()? {
                let (key, value) = row?;
                rows.push(decode(Bytes(key.value()), Bytes(value.value())).ok_or(Fault::Malformed)?);
            }
            Ok(rows)
        })
        .await
    }
}

/// The failure of a transaction.
pub(crate) enum Fault {
    Database(redb::Error),
    Malformed,
}

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Database(error.into())
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Database(error) if is_of_disk(&error) => {
                Self::unavailable(format!("ledger: {error}")).with_source(error)
            }
            Fault::Database(error) => Self::internal(format!("ledger: {error}")).with_source(error),
            Fault::Malformed => Self::data_loss("the ledger has a row that no ledger wrote"),
        }
    }
}

fn life_key(reporter: &Reporter, epoch: Epoch) -> Vec<u8> {
    let mut key = epoch.as_bytes().to_vec();
    put_text(&mut key, reporter.as_str());
    key
}

fn read_life(mut key: Bytes<'_>, mut value: Bytes<'_>) -> Option<Life> {
    let epoch = Epoch::from_bytes(key.array()?);
    let (seq, taken_at, closed) = (value.u64()?, value.u64()?, value.byte()?);
    // Rows from before lives could be retired end here.
    let retired_seq = if value.is_empty() { 0 } else { value.u64()? };
    let life = Life::new(Reporter::new(key.text()?), epoch, seq, from_unix_millis(taken_at));
    Some(life.with_closed(closed != 0).with_retired_seq(retired_seq))
}

fn get_life(table: &Table<'_, &[u8], &[u8]>, key: &[u8]) -> Result<Option<Life>, Fault> {
    match table.get(key)? {
        None => Ok(None),
        Some(value) => read_life(Bytes(key), Bytes(value.value())).ok_or(Fault::Malformed).map(Some),
    }
}

fn put_life(table: &mut Table<'_, &[u8], &[u8]>, key: &[u8], life: &Life) -> Result<(), Fault> {
    let mut value = life.seq.to_le_bytes().to_vec();
    value.extend(unix_millis(life.taken_at).to_le_bytes());
    value.push(u8::from(life.closed));
    value.extend(life.retired_seq.to_le_bytes());
    table.insert(key, value.as_slice())?;
    Ok(())
}

/// Reads the life and the account of a row that belongs to a life.
fn read_reported(mut key: Bytes<'_>, mut value: Bytes<'_>) -> Option<(Epoch, Reporter, Account, Tally)> {
    let epoch = Epoch::from_bytes(key.array()?);
    Some((epoch, Reporter::new(key.text()?), key.account()?, value.tally()?))
}

/// Reads the account at the end of the key of a row that belongs to a life.
fn reported_account(mut key: Bytes<'_>) -> Option<Account> {
    key.array::<16>()?;
    key.text()?;
    key.account()
}

/// Reads an adjustment, and whether it was consumed.
fn read_adjustment(mut key: Bytes<'_>, mut value: Bytes<'_>) -> Option<(Adjustment, bool)> {
    let scan_id = key.text()?;
    let consumed = value.byte()? != 0;
    let (delta, low, high) = (value.i64()?, value.i64()?, value.i64()?);
    let made_at = from_unix_millis(value.u64()?);
    Some((Adjustment::new(scan_id, key.account()?, delta, (low, high), made_at), consumed))
}

fn put_adjustment(table: &mut Table<'_, &[u8], &[u8]>, adjustment: &Adjustment, consumed: bool) -> Result<(), Fault> {
    let mut key = Vec::new();
    put_text(&mut key, &adjustment.scan_id);
    put_account(&mut key, &adjustment.account);
    let mut value = vec![u8::from(consumed)];
    for number in [adjustment.delta_bytes, adjustment.drift_low_bytes, adjustment.drift_high_bytes] {
        value.extend(number.to_le_bytes());
    }
    value.extend(unix_millis(adjustment.made_at).to_le_bytes());
    table.insert(key.as_slice(), value.as_slice())?;
    Ok(())
}

fn read_correction(mut key: Bytes<'_>, mut value: Bytes<'_>) -> Option<Correction> {
    let correction_id = key.text()?;
    let (byte_millis, made_at) = (value.i128()?, from_unix_millis(value.u64()?));
    Some(Correction::new(correction_id, key.account()?, byte_millis, made_at))
}

fn read_statement(mut key: Bytes<'_>, mut value: Bytes<'_>) -> Option<Statement> {
    let account = key.account()?;
    let (byte_millis, adjusted_bytes, as_of) = (value.i128()?, value.i64()?, value.u64()?);
    let tally = value.tally()?;
    let statement = Statement::new(account, from_unix_millis(as_of)).with_byte_millis(byte_millis);
    Some(Statement { tally, adjusted_bytes, ..statement })
}

fn put_statement(table: &mut Table<'_, &[u8], &[u8]>, statement: &Statement) -> Result<(), Fault> {
    let mut key = Vec::new();
    put_account(&mut key, &statement.account);
    let mut value = statement.byte_millis.to_le_bytes().to_vec();
    value.extend(statement.adjusted_bytes.to_le_bytes());
    value.extend(unix_millis(statement.as_of).to_le_bytes());
    put_tally(&mut value, &statement.tally);
    table.insert(key.as_slice(), value.as_slice())?;
    Ok(())
}

fn get_tally(table: &Table<'_, &[u8], &[u8]>, key: &[u8]) -> Result<Tally, Fault> {
    match table.get(key)? {
        None => Ok(Tally::new()),
        Some(value) => Bytes(value.value()).tally().ok_or(Fault::Malformed),
    }
}

fn put_tally_at(table: &mut Table<'_, &[u8], &[u8]>, key: &[u8], tally: &Tally) -> Result<(), Fault> {
    let mut value = Vec::new();
    put_tally(&mut value, tally);
    table.insert(key, value.as_slice())?;
    Ok(())
}

fn apply(transaction: &WriteTransaction, report: &Report) -> Result<(), Fault> {
    let key = life_key(&report.reporter, report.epoch);
    let mut lives = transaction.open_table(LIVES)?;
    let known = get_life(&lives, &key)?;
    let mut life = Life::new(report.reporter.clone(), report.epoch, report.seq, report.taken_at);
    life.closed = report.closed;
    if let Some(known) = known {
        if known.is_retired() && report.seq > known.retired_seq {
            note_return(&known.reporter, known.epoch);
        }
        // The time of the latest report, so that a clock that was ahead and is right again is seen to be right.
        let latest = (life.seq, unix_millis(life.taken_at)).max((known.seq, unix_millis(known.taken_at)));
        (life.seq, life.taken_at) = (latest.0, from_unix_millis(latest.1));
        life = life.with_closed(report.closed || known.closed).with_retired_seq(known.retired_seq);
    }
    put_life(&mut lives, &key, &life)?;
    let mut reported = transaction.open_table(REPORTED)?;
    for (account, tally) in &report.accounts {
        let mut key = key.clone();
        put_account(&mut key, account);
        let mut known = get_tally(&reported, &key)?;
        known.raise(tally);
        put_tally_at(&mut reported, &key, &known)?;
    }
    Ok(())
}

fn consume(transaction: &WriteTransaction, now: SystemTime) -> Result<Vec<Movement>, Fault> {
    let mut moved: BTreeMap<Account, Movement> = BTreeMap::new();
    let mut movement = |account: Account, tally: &Tally, adjusted: i64| {
        let movement = moved.entry(account.clone()).or_insert_with(|| Movement::new(account, Tally::new(), 0));
        movement.tally.add_all(tally);
        movement.adjusted_bytes = movement.adjusted_bytes.saturating_add(adjusted);
    };
    let reported = transaction.open_table(REPORTED)?;
    let mut consumed = transaction.open_table(CONSUMED)?;
    for row in reported.iter()? {
        let (key, value) = row?;
        let account = reported_account(Bytes(key.value())).ok_or(Fault::Malformed)?;
        let tally = Bytes(value.value()).tally().ok_or(Fault::Malformed)?;
        let before = get_tally(&consumed, key.value())?;
        movement(account, &tally.beyond(&before), 0);
        if tally != before {
            put_tally_at(&mut consumed, key.value(), &tally)?;
        }
    }
    let mut adjustments = transaction.open_table(ADJUSTMENTS)?;
    let mut new = Vec::new();
    for row in adjustments.iter()? {
        let (key, value) = row?;
        let (adjustment, consumed) =
            read_adjustment(Bytes(key.value()), Bytes(value.value())).ok_or(Fault::Malformed)?;
        if !consumed {
            new.push(adjustment);
        }
    }
    for adjustment in new {
        movement(adjustment.account.clone(), &Tally::new(), adjustment.delta_bytes);
        put_adjustment(&mut adjustments, &adjustment, true)?;
    }
    let mut statements = transaction.open_table(STATEMENTS)?;
    for (account, movement) in &moved {
        let mut key = Vec::new();
        put_account(&mut key, account);
        let known = match statements.get(key.as_slice())? {
            None => Statement::new(account.clone(), now),
            Some(value) => read_statement(Bytes(&key), Bytes(value.value())).ok_or(Fault::Malformed)?,
        };
        let mut statement = known;
        statement.advance(statement.next_time(now), movement);
        put_statement(&mut statements, &statement)?;
    }
    Ok(moved.into_values().filter(|movement| !movement.tally.is_zero() || movement.adjusted_bytes != 0).collect())
}

#[async_trait]
impl Ledger for RedbLedger {
    async fn apply(&self, reports: &[Report]) -> Result<()> {
        let reports = reports.to_vec();
        self.write(move |transaction| reports.iter().try_for_each(|report| apply(transaction, report))).await
    }

    async fn adjust(&self, adjustments: &[Adjustment]) -> Result<()> {
        let adjustments = adjustments.to_vec();
        self.write(move |transaction| {
            let mut table = transaction.open_table(ADJUSTMENTS)?;
            for adjustment in &adjustments {
                let mut key = Vec::new();
                put_text(&mut key, &adjustment.scan_id);
                put_account(&mut key, &adjustment.account);
                let known = table.get(key.as_slice())?.is_some();
                if !known {
                    put_adjustment(&mut table, adjustment, false)?;
                }
            }
            Ok(())
        })
        .await
    }

    async fn totals(&self, account_name: Option<&AccountName>) -> Result<Vec<Total>> {
        let mut totals: BTreeMap<Account, (Tally, i64)> = BTreeMap::new();
        let reported = |key: Bytes<'_>, mut value: Bytes<'_>| Some((reported_account(key)?, value.tally()?));
        for (account, tally) in self.rows(REPORTED, reported).await? {
            totals.entry(account).or_default().0.add_all(&tally);
        }
        for (adjustment, _) in self.rows(ADJUSTMENTS, read_adjustment).await? {
            let adjusted = &mut totals.entry(adjustment.account).or_default().1;
            *adjusted = adjusted.saturating_add(adjustment.delta_bytes);
        }
        let wanted = |account: &Account| account_name.is_none_or(|account_name| account.account_name() == account_name);
        let totals = totals.into_iter().filter(|(account, _)| wanted(account));
        Ok(totals.map(|(account, (tally, adjusted))| Total::new(account, tally, adjusted)).collect())
    }

    async fn lives(&self) -> Result<Vec<Life>> {
        let mut lives = self.rows(LIVES, read_life).await?;
        lives.sort();
        Ok(lives)
    }

    async fn retire(&self, lives: &[Life]) -> Result<()> {
        let retired = lives.to_vec();
        self.write(move |transaction| {
            let mut lives = transaction.open_table(LIVES)?;
            for life in &retired {
                let key = life_key(&life.reporter, life.epoch);
                if let Some(known) = get_life(&lives, &key)? {
                    let retired_seq = known.retired_seq.max(life.seq);
                    put_life(&mut lives, &key, &known.with_retired_seq(retired_seq))?;
                }
            }
            Ok(())
        })
        .await
    }

    async fn in_flight(&self) -> Result<Vec<InFlight>> {
        let open = self.lives().await?.into_iter().filter(|life| !life.closed).map(|life| (life.epoch, life.reporter));
        let open: BTreeSet<_> = open.collect();
        let mut in_flight = Vec::new();
        for (epoch, reporter, account, tally) in self.rows(REPORTED, read_reported).await? {
            let life = (epoch, reporter);
            if open.contains(&life) {
                in_flight.extend(InFlight::from_tally(&life.1, life.0, &account, &tally));
            }
        }
        in_flight.sort();
        Ok(in_flight)
    }

    async fn adjustments(&self) -> Result<Vec<Adjustment>> {
        let all = self.rows(ADJUSTMENTS, read_adjustment).await?;
        Ok(all.into_iter().map(|(adjustment, _)| adjustment).collect())
    }
}

#[async_trait]
impl Accumulator for RedbLedger {
    async fn consume(&self, now: SystemTime) -> Result<Vec<Movement>> {
        // There is one writer at a time: the transaction is the lock.
        self.write(move |transaction| consume(transaction, now)).await
    }

    async fn statements(&self) -> Result<Vec<Statement>> {
        let mut statements = self.rows(STATEMENTS, read_statement).await?;
        statements.sort_by(|a, b| a.account.cmp(&b.account));
        Correction::add_all(&self.corrections().await?, &mut statements);
        Ok(statements)
    }

    async fn correct(&self, corrections: &[Correction]) -> Result<()> {
        let corrections = corrections.to_vec();
        self.write(move |transaction| {
            let mut table = transaction.open_table(CORRECTIONS)?;
            for correction in &corrections {
                let mut key = Vec::new();
                put_text(&mut key, &correction.correction_id);
                put_account(&mut key, &correction.account);
                let mut value = correction.byte_millis.to_le_bytes().to_vec();
                value.extend(unix_millis(correction.made_at).to_le_bytes());
                let is_known = table.get(key.as_slice())?.is_some();
                if !is_known {
                    table.insert(key.as_slice(), value.as_slice())?;
                }
            }
            Ok(())
        })
        .await
    }

    async fn corrections(&self) -> Result<Vec<Correction>> {
        self.rows(CORRECTIONS, read_correction).await
    }

    async fn rewind(&self, to: SystemTime) -> Result<()> {
        self.write(move |transaction| {
            let mut table = transaction.open_table(STATEMENTS)?;
            let mut beyond = Vec::new();
            for row in table.iter()? {
                let (key, value) = row?;
                let statement = read_statement(Bytes(key.value()), Bytes(value.value())).ok_or(Fault::Malformed)?;
                if statement.as_of > to {
                    beyond.push(statement);
                }
            }
            for mut statement in beyond {
                statement.rewind(to);
                put_statement(&mut table, &statement)?;
            }
            Ok(())
        })
        .await
    }
}

impl Debug for RedbLedger {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbLedger").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::io;
    use std::ops::Bound;
    use std::sync::atomic::{AtomicBool, Ordering};

    use blobaccess::{ErrorKind, StorageType};
    use redb::StorageBackend;

    use super::*;
    use crate::{Amounts, Class};

    /// A disk that can be full.
    #[derive(Clone, Debug, Default)]
    struct Disk {
        bytes: Arc<Mutex<Vec<u8>>>,
        is_full: Arc<AtomicBool>,
    }

    impl Disk {
        fn check(&self) -> io::Result<()> {
            if self.is_full.load(Ordering::Relaxed) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }
    }

    impl StorageBackend for Disk {
        fn len(&self) -> io::Result<u64> {
            Ok(u64::try_from(self.bytes.lock().unwrap().len()).unwrap())
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            let begin = usize::try_from(offset).unwrap();
            out.copy_from_slice(&self.bytes.lock().unwrap()[begin..begin + out.len()]);
            Ok(())
        }

        fn set_len(&self, length: u64) -> io::Result<()> {
            self.check()?;
            self.bytes.lock().unwrap().resize(usize::try_from(length).unwrap(), 0);
            Ok(())
        }

        fn sync_data(&self) -> io::Result<()> {
            self.check()
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.check()?;
            let begin = usize::try_from(offset).unwrap();
            self.bytes.lock().unwrap()[begin..begin + data.len()].copy_from_slice(data);
            Ok(())
        }

        fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, redb::BackendError> {
            Ok(true)
        }
    }

    #[tokio::test]
    async fn a_ledger_whose_disk_was_full_goes_on_once_there_is_room() {
        let disk = Disk::default();
        let opened = disk.clone();
        let file = LedgerFile::open(&TABLES, move || Ok(Builder::new().create_with_backend(opened.clone())?)).unwrap();
        let ledger = RedbLedger { file: Arc::new(file) };
        let report = |seq: u64| {
            let account = Account::new(AccountName::new("acme"), StorageType::Cas);
            let tally = [(Class::Created, Amounts::deleted(seq, seq))].into_iter().collect();
            let (reporter, epoch) = (Reporter::new("host"), Epoch::from_bytes([1; 16]));
            Report::new(reporter, epoch, seq, SystemTime::UNIX_EPOCH, vec![(account, tally)])
        };
        ledger.apply(&[report(1)]).await.unwrap();
        disk.is_full.store(true, Ordering::Relaxed);
        for _ in 0..3 {
            assert_eq!(ledger.apply(&[report(2)]).await.unwrap_err().kind(), ErrorKind::Unavailable);
        }
        disk.is_full.store(false, Ordering::Relaxed);
        ledger.apply(&[report(3)]).await.unwrap();
        assert_eq!(ledger.totals(None).await.unwrap()[0].tally.get(Class::Created).objects, 3);
    }
}
