//! The journals of lives that ended before all their uploads had an outcome.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use blobaccess::{Error, Result};

use super::{Record, SUFFIX, State};
use crate::{Outcome, Report};

/// The number of the last report of a life that its successor ends: higher than any that the life sent itself, and within
/// the signed numbers of databases.
const LAST_SEQ: u64 = i64::MAX.unsigned_abs();

/// The journal of a life that is over: its owner no longer holds the lock, and this process does.
#[derive(Debug)]
pub(crate) struct Dead {
    path: PathBuf,
    file: File,
    pub(crate) state: State,
}

impl Dead {
    /// Opens every journal in `directory` that no other process holds.
    pub(crate) fn all(directory: &Path) -> Result<Vec<Self>> {
        let failed = |error: std::io::Error| {
            Error::failed_precondition(format!("cannot read the journals in {}: {error}", directory.display()))
                .with_source(error)
        };
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut dead = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == SUFFIX) {
                dead.extend(Self::open(path).map_err(failed)?);
            }
        }
        dead.sort_by_key(|dead| dead.state.epoch);
        Ok(dead)
    }

    fn open(path: PathBuf) -> std::io::Result<Option<Self>> {
        let mut file = OpenOptions::new().read(true).append(true).open(&path)?;
        // Its owner lives, or has just replaced the file.
        if file.try_lock().is_err() || !is_at(&file, &path) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let Some((state, length)) = State::read(&bytes) else {
            // The file was complete before it got its name, so it is damaged or of another version. It stays, as it may
            // matter to somebody.
            tracing::error!(journal = %path.display(), "skipping a file that is no journal of uploads of this version");
            return Ok(None);
        };
        file.set_len(u64::try_from(length).unwrap_or(u64::MAX))?;
        let mut dead = Self { path, file, state };
        for unsent in dead.state.unsent() {
            dead.append(&unsent)?;
        }
        Ok(Some(dead))
    }

    fn append(&mut self, record: &Record) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        record.put(&mut bytes);
        self.file.write_all(&bytes)?;
        self.state.apply(record);
        Ok(())
    }

    /// Records the outcome of an upload, so that the store is not asked again after another crash.
    pub(crate) fn end(&mut self, number: u64, outcome: Outcome) -> Result<()> {
        self.append(&Record::End { number, outcome }).map_err(|error| {
            Error::unavailable(format!("cannot write to the journal {}: {error}", self.path.display()))
                .with_source(error)
        })
    }

    /// Makes the report of this life: its last one, once no upload is open.
    pub(crate) fn report(&self, now: SystemTime) -> Report {
        let (reporter, epoch) = (self.state.reporter.clone(), self.state.epoch);
        if self.state.intents().is_empty() {
            Report::new(reporter, epoch, LAST_SEQ, now, self.state.totals()).closing()
        } else {
            Report::new(reporter, epoch, LAST_SEQ - 1, now, self.state.totals())
        }
    }

    /// Makes the records durable, before they are reported.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|error| {
            Error::unavailable(format!("cannot sync the journal {}: {error}", self.path.display())).with_source(error)
        })
    }

    /// Deletes the journal, once its last report was acknowledged.
    pub(crate) fn remove(&self) -> Result<()> {
        std::fs::remove_file(&self.path).map_err(|error| {
            Error::unavailable(format!("cannot delete the journal {}: {error}", self.path.display())).with_source(error)
        })
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(held), Ok(there)) => (held.dev(), held.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}
