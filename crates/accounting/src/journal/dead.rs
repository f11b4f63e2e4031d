//! The journal of a life that ended before all its uploads had an outcome.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use blobaccess::{Error, Result};

use super::state::{Intent, Replayed};
use super::{Owner, Record, State, encode, publish, sync_directory, write_new};
use crate::rows::PlannedRows;
use crate::{Outcome, Report, unix_millis};

/// The number of the last report of a life that its successor ends: higher than any that the life sent itself, and within
/// the signed numbers of databases.
const LAST_SEQ: u64 = i64::MAX.unsigned_abs();

/// The length of the beginning of a journal that says whose it is, in bytes.
const HEAD_BYTES: u64 = 64 << 10;

/// The extension of a second name of a journal with damaged records, which stays when the journal is reported.
const DAMAGED_SUFFIX: &str = "damaged";

/// The journal of a life that is over: its owner no longer holds the lock, and this process does.
///
/// Nothing is written before [`sync`](Self::sync), so that a full disk keeps nobody from starting.
#[derive(Debug)]
pub(crate) struct Dead {
    path: PathBuf,
    file: File,
    pub(crate) state: State,
    /// The number of records that cannot be read.
    pub(super) damaged: u64,
    /// The length of the whole records in the file, in bytes.
    length: u64,
    /// The records that are to be written.
    pending: Vec<u8>,
    /// Whether the file is to be written anew: it is of an earlier version, or could not be synced.
    outdated: bool,
    /// The number of the upload from which on the store is asked next.
    pub(crate) next_asked: u64,
}

/// The end of an attempt to open a journal.
#[derive(Debug)]
pub(super) enum Opening {
    /// The journal is taken up.
    Dead(Box<Dead>),
    /// Its owner lives.
    Held,
    /// It has another owner.
    Foreign(Owner),
    /// It is no journal of a version that is known.
    Unknown,
}

impl Dead {
    pub(super) fn open(path: &Path, owner: &Owner) -> std::io::Result<Opening> {
        // The owner of another journal may be about to take it up, so its lock is not touched.
        let mut begin = Vec::new();
        File::open(path)?.take(HEAD_BYTES).read_to_end(&mut begin)?;
        if let Some(Replayed { state, .. }) = State::read(&begin)
            && !owner.takes_up(&state.owner)
        {
            return Ok(Opening::Foreign(state.owner));
        }
        let mut file = OpenOptions::new().read(true).append(true).open(path)?;
        // Its owner lives, or has just replaced the file.
        if file.try_lock().is_err() || !is_at(&file, path) {
            return Ok(Opening::Held);
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let Some(Replayed { state, outdated, length, damaged }) = State::read(&bytes) else {
            return Ok(Opening::Unknown);
        };
        if !owner.takes_up(&state.owner) {
            return Ok(Opening::Foreign(state.owner));
        }
        let torn = bytes.len().saturating_sub(length);
        if torn > 0 {
            tracing::warn!(journal = %path.display(), bytes = torn, "the last record of a journal was torn");
        }
        if damaged > 0 {
            let kept = path.with_extension(DAMAGED_SUFFIX);
            tracing::error!(journal = %path.display(), damaged, kept = %kept.display(), "a journal has damaged records");
            // It may be there from an earlier start.
            drop(std::fs::hard_link(path, kept));
        }
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        let path = path.to_owned();
        let mut dead = Self { path, file, state, damaged, length, pending: Vec::new(), outdated, next_asked: 0 };
        for unsent in dead.state.unsent() {
            dead.append(&unsent);
        }
        Ok(Opening::Dead(Box::new(dead)))
    }

    fn append(&mut self, record: &Record) {
        record.put(&mut self.pending);
        self.state.apply(record);
    }

    /// Returns the open uploads, those first that were not asked about lately.
    pub(crate) fn questions(&self) -> Vec<(u64, Intent)> {
        let open = self.state.intents();
        let ordered = open.range(self.next_asked..).chain(open.range(..self.next_asked));
        ordered.map(|(number, intent)| (*number, intent.clone())).collect()
    }

    /// Records the outcome of an upload, so that the store is not asked again after another crash.
    pub(crate) fn end(&mut self, number: u64, outcome: Outcome) {
        self.append(&Record::End { number, outcome });
    }

    /// Plans batches of all rows that are in none yet, and returns their numbers. They are written by [`sync`](Self::sync).
    pub(crate) fn plan_rows(&mut self, now: SystemTime, max_rows: usize) -> Vec<u64> {
        let planned = self.state.rows.plan(&self.state.totals(), unix_millis(now), max_rows);
        for record in &planned {
            self.append(record);
        }
        PlannedRows::numbers(&planned).collect()
    }

    /// Records that a batch of rows was acknowledged.
    pub(crate) fn delivered(&mut self, number: u64) {
        self.append(&Record::Delivered { number });
    }

    /// Makes the report of this life: its last one, once no upload is open.
    pub(crate) fn report(&self, now: SystemTime) -> Report {
        let (reporter, epoch) = (self.state.owner.reporter.clone(), self.state.epoch);
        if self.state.intents().is_empty() {
            Report::new(reporter, epoch, LAST_SEQ, now, self.state.totals()).closing()
        } else {
            Report::new(reporter, epoch, LAST_SEQ - 1, now, self.state.totals())
        }
    }

    /// Writes the records and makes them durable, before they are reported. This blocks.
    ///
    /// # Errors
    ///
    /// `Unavailable` if that fails. The records stay in memory, and are written next time.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.write().map_err(|error| {
            Error::unavailable(format!("cannot write the journal {}: {error}", self.path.display())).with_source(error)
        })
    }

    fn write(&mut self) -> std::io::Result<()> {
        if self.outdated {
            let bytes = encode(&self.state.compacted());
            let file = write_new(&self.path, &bytes)?;
            publish(&self.path)?;
            self.length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            (self.file, self.outdated) = (file, false);
            self.pending.clear();
            return sync_directory(&self.path);
        }
        if !self.pending.is_empty() {
            // What is behind the whole records was torn, by the owner or by an attempt of this life.
            self.file.set_len(self.length)?;
            self.file.write_all(&self.pending)?;
            self.length = self.length.saturating_add(u64::try_from(self.pending.len()).unwrap_or(u64::MAX));
            self.pending.clear();
        }
        // The system may have dropped pages that it could not write, and say so only once.
        self.file.sync_data().inspect_err(|_| self.outdated = true)
    }

    /// Deletes the journal, once its last report was acknowledged.
    pub(crate) fn remove(&self) -> Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let path = self.path.display();
                Err(Error::unavailable(format!("cannot delete the journal {path}: {error}")).with_source(error))
            }
            _ => Ok(()),
        }
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(held), Ok(there)) => (held.dev(), held.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}
