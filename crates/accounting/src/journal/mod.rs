//! The journal: uploads are recorded before their first byte, so that a crash changes no count.

mod dead;
mod directory;
mod record;
mod state;

use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use blobaccess::{Digest, Error, InstanceName, Result, UploadToken};

pub(crate) use self::dead::Dead;
pub(crate) use self::record::{Opened, Record};
pub(crate) use self::state::State;
use crate::{Account, Amounts, Class, Epoch, Outcome, Reporter};

/// The extension of journals; their name is the epoch.
const SUFFIX: &str = "journal";

/// The size at which a journal is rewritten with only the records that are needed, in bytes.
const COMPACT_AT_BYTES: u64 = 16 << 20;

/// The journal of one life: a file that is only ever appended to.
///
/// A written record outlives the process; [`sync`](Self::sync) makes it outlive a crash of the machine. The sum of the
/// records is kept in memory too, so that the file can be rewritten when it has grown, or after a write failed.
///
/// A journal that cannot be written fails no upload. It counts the failure, and is rewritten from memory as soon as that
/// works. Only a crash in between loses counts.
pub(crate) struct Journal {
    path: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    file: File,
    length: u64,
    state: State,
    /// The numbers that stand for accounts and instance names in the file.
    names: HashMap<(Account, InstanceName), u32>,
    next_name: u32,
    buffer: Vec<u8>,
    compact_at: u64,
    /// Whether the file lacks records that the state has.
    lacking: bool,
    failures: u64,
}

impl Journal {
    /// Makes a journal in `directory`, which is made if it is missing.
    pub(crate) fn create(directory: &Path, reporter: Reporter, epoch: Epoch) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::failed_precondition(format!("cannot make a journal in {}: {error}", directory.display()))
                .with_source(error)
        };
        directory::make(directory).map_err(failed)?;
        let path = directory.join(format!("{epoch}.{SUFFIX}"));
        let mut state = State::new(reporter, epoch);
        let (file, length) = write_anew(&path, &state.compacted()).map_err(failed)?;
        let inner = Inner {
            file,
            length,
            state,
            names: HashMap::new(),
            next_name: 0,
            buffer: Vec::new(),
            compact_at: COMPACT_AT_BYTES,
            lacking: false,
            failures: 0,
        };
        Ok(Self { path, inner: Mutex::new(inner) })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic can leave a record in the state that is missing or torn in the file, as a crash at the same place does.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that an upload is about to begin.
    pub(crate) fn open(
        &self,
        account: &Account,
        number: u64,
        digest: &Digest,
        logical_bytes: u64,
        token: Option<UploadToken>,
    ) {
        let mut inner = self.inner();
        let name = inner.name(account, digest.instance_name());
        let digest = digest.clone();
        let opened = Opened { number, name, digest, logical_bytes, token, sent: false, counted: false };
        inner.append(&self.path, &Record::Open(opened));
    }

    /// Records that the first byte is about to be sent.
    pub(crate) fn sent(&self, number: u64) {
        self.inner().append(&self.path, &Record::Sent { number });
    }

    /// Records the outcome of an upload.
    pub(crate) fn end(&self, number: u64, outcome: Outcome) {
        self.inner().append(&self.path, &Record::End { number, outcome });
    }

    /// Records deletions.
    pub(crate) fn deleted(&self, account: &Account, class: Class, amounts: Amounts) {
        self.inner().append(&self.path, &Record::Deleted { account: account.clone(), class, amounts });
    }

    /// Makes the records so far durable.
    pub(crate) fn sync(&self) -> Result<()> {
        let file = {
            let mut inner = self.inner();
            if inner.lacking {
                inner.compact(&self.path);
            }
            inner.file.try_clone()
        };
        file.and_then(|file| file.sync_data()).map_err(|error| {
            Error::unavailable(format!("cannot sync the journal {}: {error}", self.path.display())).with_source(error)
        })
    }

    /// Returns the number of open uploads, the number of failed writes, and the size of the file in bytes.
    pub(crate) fn condition(&self) -> (usize, u64, u64) {
        let inner = self.inner();
        (inner.state.intents().len(), inner.failures, inner.length)
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
        self.inner().compact_at = bytes;
    }

    /// Unlocks the file and writes to another one from here on.
    #[cfg(test)]
    #[cfg(not(loom))]
    pub(crate) fn abandon(&self) {
        let mut inner = self.inner();
        inner.file = tempfile::tempfile().unwrap();
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
        let id = self.next_name;
        self.next_name = self.next_name.wrapping_add(1);
        let record = Record::Name { id, account: key.0.clone(), instance_name: key.1.clone() };
        self.names.insert(key, id);
        self.state.apply(&record);
        // The record goes into the file together with the one that needs it.
        record.put(&mut self.buffer);
        id
    }

    fn append(&mut self, path: &Path, record: &Record) {
        record.put(&mut self.buffer);
        self.state.apply(record);
        if self.lacking || self.length > self.compact_at {
            self.buffer.clear();
            self.compact(path);
            return;
        }
        match self.file.write_all(&self.buffer) {
            Ok(()) => self.length = self.length.saturating_add(u64::try_from(self.buffer.len()).unwrap_or(u64::MAX)),
            Err(error) => {
                tracing::error!(journal = %path.display(), %error, "cannot write to the journal of uploads");
                self.failures += 1;
                self.lacking = true;
            }
        }
        self.buffer.clear();
    }

    /// Rewrites the file with only the records that are needed.
    fn compact(&mut self, path: &Path) {
        match write_anew(path, &self.state.compacted()) {
            Ok((file, length)) => {
                self.file = file;
                self.length = length;
                // With many uploads under way, the file must not be rewritten for each of them.
                self.compact_at = self.compact_at.max(length.saturating_mul(2));
                self.lacking = false;
            }
            Err(error) => {
                tracing::error!(journal = %path.display(), %error, "cannot rewrite the journal of uploads");
                self.failures += 1;
                self.lacking = true;
            }
        }
        // Numbers that no open upload uses are gone from the file.
        self.names.clear();
    }
}

/// Replaces the file at `path` with one of these records, and locks it: while it is locked, its life is not over.
fn write_anew(path: &Path, records: &[Record]) -> std::io::Result<(File, u64)> {
    let new = path.with_extension("new");
    let mut bytes = Vec::new();
    for record in records {
        record.put(&mut bytes);
    }
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&new)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(std::io::Error::other("another process has its lock")),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    file.write_all(&bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok((file, u64::try_from(bytes.len()).unwrap_or(u64::MAX)))
}

impl Debug for Journal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
