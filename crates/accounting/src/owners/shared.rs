//! The state that all handles of an index share: its file, its figures, and the notes that it has not taken.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use blobaccess::{Clock, DeleteBlob, Digest, Error, InventoryEntry, Result, StorageType, UploadToken, blocking};
use futures::future::{Either, select};
use redb::backends::InMemoryBackend;
use redb::{
    Builder, Database, DatabaseError, MultimapTableHandle, ReadTransaction, ReadableDatabase, ReadableTable,
    TableHandle,
};
use tokio::sync::Notify;

use super::changes::{
    ACCOUNTS, APPLIED, CHANGES, COUNTS, Change, Changes, ENTRIES, GONE, GONE_BY_MARK, Gone, META, SOURCE, TABLES,
    VERSION, get_entry, read_number,
};
use super::entry::{Entry, Key, Mark, OwnerId};
use super::figures::{Counts, Figures, Held};
use super::notes::{Log, Note, Notes};
use super::{OwnerIndexOptions, OwnerIndexSnapshot, Stores};
use crate::drift::Owner;
use crate::ledger::codec::Bytes;
use crate::ledger::redb::{Fault, LedgerFile, is_of_disk};
use crate::{Account, Epoch, Outcome, Report, Reporter};

/// The extension of the log of notes beside the file.
const LOG_SUFFIX: &str = "notes";

/// The state of an index.
pub(super) struct Shared {
    file: LedgerFile,
    /// One writer at a time.
    writing: Mutex<()>,
    notes: Mutex<Notes>,
    figures: Mutex<Figures>,
    wanted: Notify,
    stores: Stores,
    clock: Arc<dyn Clock>,
    /// Whether the next transaction fails, for tests.
    #[cfg(test)]
    failing: std::sync::atomic::AtomicBool,
}

/// A page of entries, in the order of their keys.
pub(super) type Page = Vec<(Key, Entry)>;

impl Shared {
    pub(super) fn open(
        path: &Path,
        options: &OwnerIndexOptions,
        stores: Stores,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let (opened, cache_bytes) = (path.to_owned(), options.cache_bytes);
        let refuse = |error: &dyn std::fmt::Display| {
            Error::failed_precondition(format!("cannot open the index of owners {}: {error}", path.display()))
        };
        match find_misfit(path, cache_bytes) {
            Ok(None) => {}
            Ok(Some(misfit)) => return Err(refuse(&misfit)),
            Err(Fault::Malformed) => return Err(refuse(&"its version is no number")),
            Err(Fault::Database(error)) => return Err(refuse(&error).with_source(error)),
        }
        let file = LedgerFile::open(&TABLES, move || Ok(Builder::new().set_cache_size(cache_bytes).create(&opened)?))
            .map_err(|error| refuse(&error).with_source(error))?;
        let log = path.with_extension(LOG_SUFFIX);
        let has_log = options.log || log.exists();
        let log =
            if has_log { Some(Log::open(&log).map_err(|error| refuse(&error).with_source(error))?) } else { None };
        Self::with_file(file, log, stores, clock)
    }

    pub(super) fn open_in_memory(options: &OwnerIndexOptions, stores: Stores, clock: Arc<dyn Clock>) -> Result<Self> {
        let cache_bytes = options.cache_bytes;
        let open = move || Ok(Builder::new().set_cache_size(cache_bytes).create_with_backend(InMemoryBackend::new())?);
        let file = LedgerFile::open(&TABLES, open).map_err(|error| fault(error.into()))?;
        Self::with_file(file, None, stores, clock)
    }

    fn with_file(
        file: LedgerFile,
        log: Option<(Log, Vec<Note>)>,
        stores: Stores,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let source = Epoch::random()?;
        let figures = file.run(|database| load(database, source)).map_err(fault)?;
        let applied = file.run(|database| number(database, APPLIED)).map_err(fault)?;
        let (log, read) = log.unzip();
        let next = read.iter().flatten().map(|note| note.number).fold(applied, u64::max).saturating_add(1);
        let mut notes = Notes::new(next, log);
        // Those that the index has taken already are only still in the log.
        notes.put_back(read.into_iter().flatten().filter(|note| note.number > applied).collect());
        let shared = Self {
            file,
            writing: Mutex::new(()),
            notes: Mutex::new(notes),
            figures: Mutex::new(figures),
            wanted: Notify::new(),
            stores,
            clock,
            #[cfg(test)]
            failing: false.into(),
        };
        shared.change_blocking(&[])?;
        Ok(shared)
    }

    #[cfg(test)]
    #[cfg(not(loom))]
    pub(super) fn fail_next_change(&self) {
        self.failing.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    pub(super) const fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Returns the seconds since 1970, by the clock of the host.
    pub(super) fn now(&self) -> u32 {
        let since = self.clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
    }

    pub(super) fn store(&self, storage_type: StorageType) -> Option<&Arc<dyn DeleteBlob>> {
        self.stores.get(usize::from(Account::storage_code(storage_type)))?.as_ref()
    }

    /// Returns the key of a blob: that of the digest which listings show.
    pub(super) fn key(&self, storage_type: StorageType, digest: &Digest) -> Key {
        match self.store(storage_type) {
            Some(store) => Key::new(storage_type, &store.listed_digest(digest)),
            None => Key::new(storage_type, digest),
        }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        // A panic can lose a note, as a crash at the same place does.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn figures(&self) -> MutexGuard<'_, Figures> {
        // They are replaced one by one, and read from the file at the next start.
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(
        &self,
        account: &Account,
        digest: &Digest,
        token: UploadToken,
        outcome: Outcome,
        logical_bytes: u64,
    ) {
        let mut notes = self.notes();
        let is_first = notes.waiting() == 0;
        let is_wanted = notes.push(account, digest, token, outcome, logical_bytes);
        drop(notes);
        if is_first || is_wanted {
            self.wanted.notify_one();
        }
    }

    /// Waits until there are notes, and then for more: for a while, or until there are many.
    pub(super) async fn wants_flush(&self, gathering: Duration) {
        while self.notes().waiting() == 0 {
            self.wanted.notified().await;
        }
        let end = self.clock.sleep_until(self.clock.monotonic() + gathering);
        let many = std::pin::pin!(async {
            while self.notes().waiting() < super::notes::WANTED {
                self.wanted.notified().await;
            }
        });
        match select(end, many).await {
            Either::Left(_) | Either::Right(_) => {}
        }
    }

    /// Takes the notes, and then makes changes to entries of a kind of store, in one transaction. Returns which of them
    /// changed anything.
    pub(super) async fn change(self: &Arc<Self>, changes: Vec<(StorageType, Change)>) -> Result<Vec<bool>> {
        if changes.is_empty() && self.notes().waiting() == 0 {
            return Ok(Vec::new());
        }
        let shared = Arc::clone(self);
        blocking(move || shared.change_blocking(&changes)).await
    }

    fn change_blocking(&self, changes: &[(StorageType, Change)]) -> Result<Vec<bool>> {
        // A panic in a transaction leaves the file as it was.
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let notes = self.notes().take();
        let result = self.file.run(|database| self.write(database, &notes, changes));
        match result {
            Ok((counts, done)) => {
                self.figures().take(counts);
                self.notes().taken();
                Ok(done)
            }
            Err(error) => {
                self.notes().put_back(notes);
                Err(fault(error))
            }
        }
    }

    fn write(
        &self,
        database: &Database,
        notes: &[Note],
        changes: &[(StorageType, Change)],
    ) -> Result<(super::changes::Changed, Vec<bool>), Fault> {
        let transaction = database.begin_write()?;
        #[cfg(test)]
        if self.failing.swap(false, std::sync::atomic::Ordering::Relaxed) {
            return Err(std::io::Error::from(std::io::ErrorKind::StorageFull).into());
        }
        let mut writing = Changes::begin(&transaction, self.now())?;
        for note in notes {
            let key = self.key(note.account.storage_type(), &note.digest);
            writing.note(note, &key)?;
        }
        if let Some(last) = notes.last() {
            writing.set_number(APPLIED, last.number)?;
        }
        let mut done = Vec::with_capacity(changes.len());
        for (storage_type, change) in changes {
            done.push(writing.apply(*storage_type, change)?);
        }
        let counts = writing.finish()?;
        transaction.commit()?;
        Ok((counts, done))
    }

    async fn read<T, F>(self: &Arc<Self>, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Database) -> Result<T, Fault> + Send + 'static,
    {
        let shared = Arc::clone(self);
        blocking(move || shared.file.run(work).map_err(fault)).await
    }

    /// Returns the entry of a blob, after the notes so far were taken.
    pub(super) async fn entry(self: &Arc<Self>, key: &Key) -> Result<Option<Entry>> {
        self.change(Vec::new()).await?;
        let key = key.clone();
        self.read(move |database| get_entry(&database.begin_read()?.open_table(ENTRIES)?, &key)).await
    }

    /// Returns up to `limit` entries with keys from `begin` on, before `end`.
    pub(super) async fn page(self: &Arc<Self>, begin: Vec<u8>, end: Vec<u8>, limit: usize) -> Result<Page> {
        self.read(move |database| {
            let entries = database.begin_read()?.open_table(ENTRIES)?;
            let mut page = Vec::new();
            for row in entries.range::<&[u8]>(begin.as_slice()..end.as_slice())?.take(limit) {
                let (key, value) = row?;
                let entry = Entry::from_bytes(value.value()).ok_or(Fault::Malformed)?;
                page.push((Key(key.value().to_vec()), entry));
            }
            Ok(page)
        })
        .await
    }

    /// Returns the size of the blob that the upload with this token stored, also if it is gone by now.
    pub(super) async fn upload(self: &Arc<Self>, key: &Key, token: &UploadToken) -> Result<Option<u64>> {
        let mark = Mark::of_token(Some(token));
        if let Some(entry) = self.entry(key).await?.filter(|entry| entry.mark == mark) {
            return Ok(Some(entry.stored_bytes));
        }
        self.read(move |database| {
            let reading = database.begin_read()?;
            let by_mark = reading.open_table(GONE_BY_MARK)?;
            let Some(name) = by_mark.get(mark.0.to_le_bytes().as_slice())? else { return Ok(None) };
            match reading.open_table(GONE)?.get(name.value())? {
                None => Ok(None),
                Some(value) => Ok(Some(Gone::from_bytes(value.value()).ok_or(Fault::Malformed)?.stored_bytes)),
            }
        })
        .await
    }

    pub(super) async fn owners(
        self: &Arc<Self>,
        storage_type: StorageType,
        entries: &[InventoryEntry],
    ) -> Result<Vec<Owner>> {
        let keys: Vec<_> = entries.iter().map(|entry| self.key(storage_type, &entry.digest)).collect();
        let found = self
            .read(move |database| {
                let entries = database.begin_read()?.open_table(ENTRIES)?;
                keys.iter().map(|key| get_entry(&entries, key)).collect::<Result<Vec<_>, _>>()
            })
            .await?;
        let figures = self.figures();
        Ok(found.into_iter().map(|entry| entry.map_or(Owner::Unknown, |entry| figures.owner(entry.owner))).collect())
    }

    /// Returns the owner with this number.
    pub(super) fn owner(&self, owner: OwnerId) -> Owner {
        self.figures().owner(owner)
    }

    pub(super) fn report(&self, reporter: Reporter) -> Report {
        let figures = self.figures();
        let counted = figures.accounts().filter(|(_, counts)| !counts.tally.is_zero());
        let mut accounts: Vec<_> = counted.map(|(account, counts)| (account.clone(), counts.tally.clone())).collect();
        accounts.sort_by(|(a, _), (b, _)| a.cmp(b));
        // Within the signed numbers of databases.
        let seq = figures.changes.saturating_add(1).min(i64::MAX.unsigned_abs());
        Report::new(reporter, Epoch::from_bytes(figures.source), seq, self.clock.now(), accounts)
    }

    pub(super) fn snapshot(&self) -> OwnerIndexSnapshot {
        let (waiting, lost, log_failures) = {
            let notes = self.notes();
            (notes.waiting(), notes.lost, notes.failures())
        };
        let figures = self.figures();
        let by_kind = |held: &dyn Fn(StorageType) -> Held| {
            let kinds = (0..5).filter_map(Account::storage_type_from_code);
            kinds.map(|kind| (kind, held(kind))).filter(|(_, held)| *held != Held::default()).collect()
        };
        OwnerIndexSnapshot {
            owned: by_kind(&|kind| figures.held_by_accounts(kind)),
            adopted: by_kind(&|kind| figures.held(OwnerId::adopted(kind))),
            foreign: by_kind(&|kind| figures.held(OwnerId::foreign(kind))),
            waiting,
            lost,
            log_failures,
        }
    }
}

/// The version of the tables. A file of another one is not touched.
const FORMAT: u64 = 1;

/// Returns why the file at `path` is not to be opened, if it is no index, or one of another version.
///
/// Nothing is written into it, but for the repair of a file that was not closed.
fn find_misfit(path: &Path, cache_bytes: usize) -> Result<Option<String>, Fault> {
    // An empty file becomes an index. If nothing can be told of it, opening it tells why.
    if std::fs::metadata(path).map_or(0, |metadata| metadata.len()) == 0 {
        return Ok(None);
    }
    let mut builder = Builder::new();
    builder.set_cache_size(cache_bytes);
    match builder.open_read_only(path) {
        Err(DatabaseError::RepairAborted) => find_misfit_in(&builder.open(path)?.begin_read()?),
        opened => find_misfit_in(&opened?.begin_read()?),
    }
}

fn find_misfit_in(reading: &ReadTransaction) -> Result<Option<String>, Fault> {
    let mut names: BTreeSet<String> = reading.list_tables()?.map(|table| table.name().to_owned()).collect();
    names.extend(reading.list_multimap_tables()?.map(|table| table.name().to_owned()));
    if names.is_empty() {
        return Ok(None);
    }
    if let Some(foreign) = names.iter().find(|name| TABLES.iter().all(|table| table.name() != name.as_str())) {
        return Ok(Some(format!("it has a table `{foreign}`, which no index of version {FORMAT} has")));
    }
    if !names.contains(META.name()) {
        return Ok(Some(format!("it lacks the table `{}`", META.name())));
    }
    Ok(match read_number(&reading.open_table(META)?, VERSION)? {
        // The writer was interrupted before it had written the version.
        0 | FORMAT => None,
        other => Some(format!("it is of version {other}, and this build reads version {FORMAT}")),
    })
}

/// Reads the figures, and makes the identifier of the index if it has none.
fn load(database: &Database, new: Epoch) -> Result<Figures, Fault> {
    let transaction = database.begin_write()?;
    let source = {
        let mut meta = transaction.open_table(META)?;
        match read_number(&meta, VERSION)? {
            0 => drop(meta.insert(VERSION, FORMAT.to_le_bytes().as_slice())?),
            FORMAT => {}
            _ => return Err(Fault::Malformed),
        }
        let known = meta.get(SOURCE)?.map(|value| Bytes(value.value()).array::<16>().ok_or(Fault::Malformed));
        if let Some(source) = known {
            source?
        } else {
            meta.insert(SOURCE, new.as_bytes().as_slice())?;
            *new.as_bytes()
        }
    };
    transaction.commit()?;
    let reading = database.begin_read()?;
    let accounts = reading.open_table(ACCOUNTS)?;
    let mut changed = Vec::new();
    for row in reading.open_table(COUNTS)?.iter()? {
        let (key, value) = row?;
        let owner = OwnerId(u32::from_be_bytes(Bytes(key.value()).array().ok_or(Fault::Malformed)?));
        let account = match accounts.get(key.value())? {
            None => None,
            Some(value) => Some(Bytes(value.value()).account().ok_or(Fault::Malformed)?),
        };
        changed.push((owner, account, Counts::from_bytes(value.value()).ok_or(Fault::Malformed)?));
    }
    let mut figures = Figures::new(source);
    figures.take(changed);
    figures.changes = read_number(&reading.open_table(META)?, CHANGES)?;
    Ok(figures)
}

fn number(database: &Database, name: &[u8]) -> Result<u64, Fault> {
    read_number(&database.begin_read()?.open_table(META)?, name)
}

fn fault(fault: Fault) -> Error {
    match fault {
        Fault::Database(error) if is_of_disk(&error) => {
            Error::unavailable(format!("index of owners: {error}")).with_source(error)
        }
        Fault::Database(error) => Error::internal(format!("index of owners: {error}")).with_source(error),
        Fault::Malformed => Error::data_loss("the index of owners has a row that no index wrote"),
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use blobaccess::ErrorKind;
    use redb::TableDefinition;

    use super::*;
    use crate::ledger::Definition;
    use crate::{OwnerIndex, OwnerIndexOptions, RedbLedger};

    fn open(path: &Path) -> Result<OwnerIndex> {
        OwnerIndex::builder(OwnerIndexOptions::default()).open(path)
    }

    /// Expects that the file is refused with this message, and that it stays as it is.
    fn expect_refusal(path: &Path, message: &str) {
        let before = std::fs::read(path).unwrap();
        let error = open(path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error}");
        assert!(error.to_string().contains(message), "{error}");
        assert!(before == std::fs::read(path).unwrap(), "{message}: the file was written into");
        assert!(!path.with_extension(LOG_SUFFIX).exists(), "{message}");
    }

    fn write(path: &Path, table: Definition, key: &[u8], value: &[u8]) {
        let database = Database::create(path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(table).unwrap().insert(key, value).unwrap();
        transaction.commit().unwrap();
    }

    #[test]
    fn a_file_that_is_no_index_is_refused_and_not_written_into() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger");
        drop(RedbLedger::open(&path).unwrap());
        expect_refusal(&path, "it has a table `adjustments`");
        let path = directory.path().join("entries");
        write(&path, ENTRIES, b"a", b"b");
        expect_refusal(&path, "it lacks the table `meta`");
        let path = directory.path().join("numbers");
        let database = Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(TableDefinition::<u64, u64>::new("meta")).unwrap().insert(1, 2).unwrap();
        transaction.commit().unwrap();
        drop(database);
        expect_refusal(&path, "meta");
        let path = directory.path().join("text");
        std::fs::write(&path, "not a database").unwrap();
        expect_refusal(&path, "Not a redb database");
    }

    #[test]
    fn an_index_of_another_version_is_refused_and_not_written_into() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("later");
        write(&path, META, VERSION, &7_u64.to_le_bytes());
        expect_refusal(&path, "it is of version 7, and this build reads version 1");
        write(&path, META, VERSION, b"seven");
        expect_refusal(&path, "its version is no number");
    }

    #[test]
    fn an_index_is_opened_again_and_so_is_an_empty_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("index");
        std::fs::write(&path, "").unwrap();
        let index = open(&path).unwrap();
        assert_eq!(open(&path).unwrap_err().kind(), ErrorKind::FailedPrecondition);
        // The copy is a file that was not closed.
        let copy = directory.path().join("copy");
        std::fs::copy(&path, &copy).unwrap();
        drop(index);
        drop(open(&path).unwrap());
        drop(open(&copy).unwrap());
    }
}
