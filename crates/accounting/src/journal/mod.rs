//! The journal: uploads are recorded before their first byte, so that a crash changes no count.

mod dead;
mod directory;
mod found;
mod record;
mod state;

use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use blobaccess::{Clock, Digest, Error, InstanceName, Result, StoredSize};
use tokio::sync::Notify;

pub(crate) use self::dead::Dead;
pub(crate) use self::found::Found;
pub(crate) use self::record::{Opened, Owner, Record};
pub(crate) use self::state::State;
use crate::{Account, Amounts, Class, Epoch, Outcome};

/// The extension of journals; their name is the epoch.
const SUFFIX: &str = "journal";

/// The extension of a journal that is being written.
const NEW_SUFFIX: &str = "new";

/// The size at which a journal is rewritten with only the records that are needed, in bytes.
const COMPACT_AT_BYTES: u64 = 16 << 20;

/// The factor of that size at which an upload rewrites the journal, if nobody else has.
const OVERDUE: u64 = 4;

/// The number of names that are remembered before unused ones are forgotten.
const MAX_NAMES: usize = 16_384;

/// The shortest and the longest time between two attempts to write a journal again.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The journal of one life: a file that is only ever appended to.
///
/// A written record outlives the process; [`sync`](Self::sync) makes it outlive a crash of the machine. The sum of the
/// records is kept in memory too, so that the file can be rewritten when it has grown, or after a write failed.
///
/// A journal that cannot be written fails no upload, and costs uploads nothing. It is rewritten from memory by
/// [`maintain`](Self::maintain) and `sync`, after a pause that doubles with each failure. Only a crash in between loses
/// counts.
pub(crate) struct Journal {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
    /// One rewriting at a time. Uploads do not take this lock.
    maintaining: Mutex<()>,
    /// Notified when the file should be rewritten.
    wanted: Notify,
}

struct Inner {
    /// The file; `None` if it could not be made yet.
    file: Option<File>,
    length: u64,
    state: State,
    /// The numbers that stand for accounts and instance names in the file.
    names: HashMap<(Account, InstanceName), u32>,
    next_name: u32,
    buffer: Vec<u8>,
    /// The records that were written while the file is being rewritten.
    shadow: Option<Vec<u8>>,
    first_compact_at: u64,
    compact_at: u64,
    /// Whether the file lacks records that the state has, or may lose them as they could not be synced.
    lacking: bool,
    /// Whether a crash of the machine may bring back the file before the last rewriting, as the folder was not synced since.
    folder_unsynced: bool,
    retry_at: Option<Instant>,
    pause: Duration,
    failures: u64,
}

/// The condition of a journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Condition {
    /// The number of open uploads.
    pub(crate) open: usize,
    /// The number of failures to write.
    pub(crate) failures: u64,
    /// The size of the file, in bytes.
    pub(crate) bytes: u64,
    /// Whether the file lacks records.
    pub(crate) lacking: bool,
}

impl Journal {
    /// Makes a journal in `directory`, which is made if it is missing.
    ///
    /// If it cannot be made and `optional` is set, the journal begins without a file, and is written when that works.
    pub(crate) fn create(
        directory: &Path,
        owner: Owner,
        epoch: Epoch,
        clock: Arc<dyn Clock>,
        optional: bool,
    ) -> Result<Self> {
        let path = directory.join(format!("{epoch}.{SUFFIX}"));
        let mut state = State::new(owner, epoch);
        let made = directory::make(directory).and_then(|()| {
            let file = write_new(&path, &encode(&state.compacted()))?;
            publish(&path)?;
            sync_directory(&path)?;
            Ok(file)
        });
        let mut inner = Inner {
            file: None,
            length: 0,
            state,
            names: HashMap::new(),
            next_name: 0,
            buffer: Vec::new(),
            shadow: None,
            first_compact_at: COMPACT_AT_BYTES,
            compact_at: COMPACT_AT_BYTES,
            lacking: false,
            folder_unsynced: false,
            retry_at: None,
            pause: PAUSES.0,
            failures: 0,
        };
        match made {
            Ok(file) => {
                inner.length = file.metadata().map_or(0, |metadata| metadata.len());
                inner.file = Some(file);
            }
            Err(error) if optional => inner.fail(&path, clock.as_ref(), &error, true),
            Err(error) => {
                let message = format!("cannot make a journal in {}: {error}", directory.display());
                return Err(Error::failed_precondition(message).with_source(error));
            }
        }
        Ok(Self { path, clock, inner: Mutex::new(inner), maintaining: Mutex::new(()), wanted: Notify::new() })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic can leave a record in the state that is missing or torn in the file, as a crash at the same place does.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that an upload is about to begin, of a blob that would take `size` in the store.
    pub(crate) fn open(&self, account: &Account, number: u64, digest: &Digest, logical_bytes: u64, size: StoredSize) {
        let mut inner = self.inner();
        let name = inner.name(account, digest.instance_name());
        let digest = digest.clone();
        let opened = Opened { number, name, digest, logical_bytes, size, token: None, sent: false, counted: false };
        self.append(inner, &Record::Open(opened));
    }

    /// Records that the first byte is about to be sent.
    pub(crate) fn sent(&self, number: u64) {
        self.append(self.inner(), &Record::Sent { number });
    }

    /// Records the outcome of an upload.
    pub(crate) fn end(&self, number: u64, outcome: Outcome) {
        self.append(self.inner(), &Record::End { number, outcome });
    }

    /// Records deletions.
    pub(crate) fn deleted(&self, account: &Account, class: Class, amounts: Amounts) {
        self.append(self.inner(), &Record::Deleted { account: account.clone(), class, amounts });
    }

    /// Records that the counts of an account go to `__other__` of its kind.
    pub(crate) fn folded(&self, account: &Account) {
        self.append(self.inner(), &Record::Folded { account: account.clone() });
    }

    /// Records what becomes of rows.
    pub(crate) fn record(&self, records: &[Record]) {
        if !records.is_empty() {
            self.append_all(self.inner(), records);
        }
    }

    fn append(&self, inner: MutexGuard<'_, Inner>, record: &Record) {
        self.append_all(inner, std::slice::from_ref(record));
    }

    fn append_all(&self, mut inner: MutexGuard<'_, Inner>, records: &[Record]) {
        inner.append(&self.path, self.clock.as_ref(), records);
        let is_wanted = inner.lacking || inner.length > inner.compact_at;
        let is_overdue = !inner.lacking && inner.length > inner.compact_at.saturating_mul(OVERDUE);
        drop(inner);
        if is_overdue {
            self.maintain();
        } else if is_wanted {
            self.wanted.notify_one();
        }
    }

    /// Waits until the journal should be rewritten.
    pub(crate) async fn wants_maintenance(&self) {
        loop {
            self.wanted.notified().await;
            let retry_at = self.inner().retry_at;
            if let Some(retry_at) = retry_at {
                self.clock.sleep_until(retry_at).await;
            }
            if self.is_due() {
                return;
            }
        }
    }

    fn is_due(&self) -> bool {
        let inner = self.inner();
        let is_wanted = inner.lacking || inner.length > inner.compact_at;
        is_wanted && inner.retry_at.is_none_or(|retry_at| retry_at <= self.clock.monotonic())
    }

    /// Rewrites the file with only the records that are needed, if it lacks records or has grown, unless that has failed a
    /// short time ago. This blocks, while uploads go on.
    pub(crate) fn maintain(&self) {
        // A panic leaves nothing half done that the next rewriting would not make up for.
        let _turn = self.maintaining.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_due() {
            return;
        }
        let bytes = self.inner().begin_rewriting();
        let written = match write_new(&self.path, &bytes) {
            // The folder may have been missing, or be gone.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.path.parent().map_or(Ok(()), directory::make).and_then(|()| write_new(&self.path, &bytes))
            }
            written => written,
        };
        let mut inner = self.inner();
        let shadow = inner.shadow.take().unwrap_or_default();
        let published = written.and_then(|mut file| {
            file.write_all(&shadow)?;
            publish(&self.path)?;
            Ok(file)
        });
        let published = published.map(|file| inner.replace(&self.path, file, bytes.len().saturating_add(shadow.len())));
        drop(inner);
        if let Err(error) = published.and_then(|()| self.sync_folder()) {
            // What is half written takes room that is lacking.
            drop(std::fs::remove_file(self.path.with_extension(NEW_SUFFIX)));
            let mut inner = self.inner();
            let lacking = inner.lacking;
            inner.fail(&self.path, self.clock.as_ref(), &error, lacking);
            drop(inner);
            self.wanted.notify_one();
        }
    }

    /// Makes the records so far durable. This blocks.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the file lacks records, or could not be synced. It is then written anew before the next success.
    pub(crate) fn sync(&self) -> Result<()> {
        self.maintain();
        let file = {
            let inner = self.inner();
            match &inner.file {
                Some(file) if !inner.lacking => file.try_clone(),
                _ => {
                    let message = format!("the journal {} lacks records: it could not be written", self.path.display());
                    return Err(Error::unavailable(message));
                }
            }
        };
        if let Err(error) = self.sync_folder() {
            let message = format!("cannot sync the folder of the journal {}: {error}", self.path.display());
            return Err(Error::unavailable(message).with_source(error));
        }
        file.and_then(|file| file.sync_data()).map_err(|error| {
            // The system may have dropped pages that it could not write, and say so only once.
            self.inner().fail(&self.path, self.clock.as_ref(), &error, true);
            self.wanted.notify_one();
            Error::unavailable(format!("cannot sync the journal {}: {error}", self.path.display())).with_source(error)
        })
    }

    /// Syncs the folder, if that was not done since the file was replaced last.
    fn sync_folder(&self) -> std::io::Result<()> {
        if !std::mem::take(&mut self.inner().folder_unsynced) {
            return Ok(());
        }
        sync_directory(&self.path).inspect_err(|_| self.inner().folder_unsynced = true)
    }

    /// Returns the condition.
    pub(crate) fn condition(&self) -> Condition {
        let inner = self.inner();
        Condition {
            open: inner.state.intents().len(),
            failures: inner.failures,
            bytes: inner.length,
            lacking: inner.lacking,
        }
    }

    /// Deletes the file unless an upload is open, and returns whether it did.
    pub(crate) fn remove_if_idle(&self) -> Result<bool> {
        let inner = self.inner();
        if !inner.state.intents().is_empty() {
            return Ok(false);
        }
        match std::fs::remove_file(&self.path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
            Err(error) => {
                let path = self.path.display();
                Err(Error::unavailable(format!("cannot delete the journal {path}: {error}")).with_source(error))
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn compact_at(&self, bytes: u64) {
        let mut inner = self.inner();
        (inner.first_compact_at, inner.compact_at) = (bytes, bytes);
    }

    /// Unlocks the file and writes to another one from here on.
    #[cfg(test)]
    #[cfg(not(loom))]
    pub(crate) fn abandon(&self) {
        let mut inner = self.inner();
        inner.file = Some(tempfile::tempfile().unwrap());
    }

    /// Fails once, as on a full disk.
    #[cfg(test)]
    #[cfg(not(loom))]
    pub(crate) fn fail_for_tests(&self, clock: &dyn Clock) {
        self.inner().fail(&self.path, clock, &std::io::Error::other("no room"), true);
    }

    #[cfg(test)]
    pub(crate) fn state(&self) -> State {
        self.inner().state.clone()
    }
}

impl Inner {
    /// Returns the number that stands for an account and an instance name, which is assigned if there is none.
    fn name(&mut self, account: &Account, instance_name: &InstanceName) -> u32 {
        let key = (account.clone(), instance_name.clone());
        if let Some(id) = self.names.get(&key) {
            return *id;
        }
        if self.names.len() >= MAX_NAMES {
            self.names.clear();
            self.state.forget_unused_names();
        }
        let id = self.next_name;
        self.next_name = self.next_name.wrapping_add(1);
        let record = Record::Name { id, account: key.0.clone(), instance_name: key.1.clone() };
        self.names.insert(key, id);
        self.state.apply(&record);
        // The record goes into the file together with the one that needs it.
        record.put(&mut self.buffer);
        id
    }

    fn append(&mut self, path: &Path, clock: &dyn Clock, records: &[Record]) {
        for record in records {
            record.put(&mut self.buffer);
            self.state.apply(record);
        }
        if let Some(shadow) = &mut self.shadow {
            shadow.extend_from_slice(&self.buffer);
        }
        // While records are lacking, the file is not touched before it is written anew.
        if !self.lacking
            && let Some(file) = &mut self.file
        {
            match file.write_all(&self.buffer) {
                Ok(()) => {
                    self.length = self.length.saturating_add(u64::try_from(self.buffer.len()).unwrap_or(u64::MAX));
                }
                Err(error) => {
                    // What was written in part is cut off. If that fails too, reading passes over it.
                    drop(file.set_len(self.length));
                    self.fail(path, clock, &error, true);
                }
            }
        }
        self.buffer.clear();
    }

    /// Returns the bytes of a file with only the records that are needed. Further records are kept for it as well.
    fn begin_rewriting(&mut self) -> Vec<u8> {
        // Numbers that no open upload uses will be gone from the file.
        self.names.clear();
        self.shadow = Some(Vec::new());
        encode(&self.state.compacted())
    }

    /// Takes a file with all records in place of the one before.
    fn replace(&mut self, path: &Path, file: File, length: usize) {
        if self.lacking {
            tracing::warn!(journal = %path.display(), failures = self.failures, "the journal of uploads is whole again");
        }
        self.file = Some(file);
        self.folder_unsynced = true;
        self.length = u64::try_from(length).unwrap_or(u64::MAX);
        // With many uploads under way, the file must not be rewritten for each of them.
        self.compact_at = self.first_compact_at.max(self.length.saturating_mul(2));
        self.lacking = false;
        (self.retry_at, self.pause) = (None, PAUSES.0);
    }

    /// Notes a failure, and sets the time of the next attempt. Only the first of several in a row is an error in the log.
    fn fail(&mut self, path: &Path, clock: &dyn Clock, error: &std::io::Error, lacking: bool) {
        self.failures += 1;
        if self.retry_at.is_none() {
            tracing::error!(journal = %path.display(), %error, "cannot write the journal of uploads");
        }
        self.lacking = lacking;
        self.retry_at = clock.monotonic().checked_add(self.pause);
        self.pause = self.pause.saturating_mul(2).min(PAUSES.1);
    }
}

fn encode(records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in records {
        record.put(&mut bytes);
    }
    bytes
}

/// Writes the file that is to replace the one at `path`, and locks it: while it is locked, its life is not over.
fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<File> {
    let new = path.with_extension(NEW_SUFFIX);
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(&new)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(std::io::Error::other("another process has its lock")),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    file.set_len(0)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(file)
}

/// Replaces the file at `path` by the one that was written for it.
fn publish(path: &Path) -> std::io::Result<()> {
    std::fs::rename(path.with_extension(NEW_SUFFIX), path)
}

fn sync_directory(path: &Path) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

impl Debug for Journal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
