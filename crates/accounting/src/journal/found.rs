//! The journals in a folder: those to take up, and those of others.

use std::fs::{DirEntry, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use blobaccess::{Error, Result};

use super::dead::Opening;
use super::{Dead, NEW_SUFFIX, Owner, SUFFIX};

/// The age from which a file that was to become a journal counts as left behind.
const LEFT_BEHIND: Duration = Duration::from_mins(1);

/// The journals in a folder that no living process holds.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The lives of the owner that are over.
    pub(crate) dead: Vec<Dead>,
    /// The number of journals of other reporters and stores.
    pub(crate) foreign: u64,
    /// The number of files that are no journal of a version that is known, or cannot be read now.
    pub(crate) unreadable: u64,
    /// The number of records that cannot be read.
    pub(crate) damaged: u64,
}

impl Found {
    /// Opens every journal of `owner` in `directory` that no other process holds, and removes what an interrupted rewriting
    /// left there.
    ///
    /// A journal is for its owner only: another store cannot tell what became of an upload.
    pub(crate) fn in_directory(directory: &Path, owner: &Owner, now: SystemTime) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::failed_precondition(format!("cannot read the journals in {}: {error}", directory.display()))
                .with_source(error)
        };
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(failed(error)),
        };
        let mut found = Self::default();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == SUFFIX) {
                found.open(&path, owner);
            } else if path.extension().is_some_and(|extension| extension == NEW_SUFFIX) && is_left(&entry, now) {
                // A file that is gone is as good as removed.
                drop(std::fs::remove_file(path));
            }
        }
        found.dead.sort_by_key(|dead| dead.state.epoch);
        Ok(found)
    }

    fn open(&mut self, path: &Path, owner: &Owner) {
        match Dead::open(path, owner) {
            Ok(Opening::Held) => {}
            Ok(Opening::Dead(dead)) => {
                self.damaged += dead.damaged;
                self.dead.push(*dead);
            }
            Ok(Opening::Foreign(other)) => {
                let (reporter, store) = (&other.reporter, &other.store);
                tracing::info!(journal = %path.display(), %reporter, store, "leaving a journal to its owner");
                self.foreign += 1;
            }
            Ok(Opening::Unknown) => {
                // The file was complete before it got its name, so it is damaged or of another version. It stays, as it may
                // matter to somebody.
                tracing::error!(journal = %path.display(), "skipping a file that is no journal of a version that is known");
                self.unreadable += 1;
            }
            Err(error) => {
                tracing::error!(journal = %path.display(), %error, "skipping a journal that cannot be read");
                self.unreadable += 1;
            }
        }
    }
}

/// Returns whether the file of an interrupted rewriting is old and nobody writes it.
fn is_left(entry: &DirEntry, now: SystemTime) -> bool {
    let modified = entry.metadata().and_then(|metadata| metadata.modified());
    let is_old = modified.is_ok_and(|modified| now.duration_since(modified).is_ok_and(|age| age >= LEFT_BEHIND));
    is_old && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok())
}
