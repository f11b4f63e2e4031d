//! The folders of a directory's objects, which are made when the first object of each is put.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{self, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The number of folders that are known to be on the disk. If there are more, they are synced again.
const MAX_KNOWN: usize = 1 << 14;

/// The folders below a root.
///
/// If they are to be durable, each is synced into the folder above it before an object is put there.
#[derive(Clone, Debug)]
pub(super) struct Folders {
    root: Arc<Path>,
    durable: bool,
    /// The folders that were synced. Who made another may have been killed before that, or be about to.
    synced: Arc<Mutex<HashSet<PathBuf>>>,
    sync: fn(&Path) -> io::Result<()>,
}

impl Folders {
    pub(super) fn new(root: Arc<Path>, durable: bool) -> Self {
        Self { root, durable, synced: Arc::default(), sync }
    }

    /// Syncs folders by `sync` instead.
    #[cfg(test)]
    pub(super) fn with_sync(self, sync: fn(&Path) -> io::Result<()>) -> Self {
        Self { sync, ..self }
    }

    /// Returns the directory that has the folders.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the folder of `file` and those above it, unless they are there.
    pub(super) fn make_for(&self, file: &Path) -> io::Result<()> {
        match file.parent() {
            Some(folder) => self.make(folder, self.sync),
            None => Ok(()),
        }
    }

    fn make(&self, folder: &Path, mut sync: impl FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
        if !self.durable {
            return fs::create_dir_all(folder);
        }
        if self.synced().contains(folder) && folder.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(folder)?;
        // An entry is in the folder above it.
        folder.ancestors().skip(1).take_while(|above| above.starts_with(&self.root)).try_for_each(&mut sync)?;
        let mut synced = self.synced();
        if synced.len() >= MAX_KNOWN {
            synced.clear();
        }
        synced.insert(folder.to_owned());
        Ok(())
    }

    /// Syncs the folder of `file`, whose entry was made, if folders are to be durable.
    pub(super) fn sync_entry(&self, file: &Path) -> io::Result<()> {
        match file.parent() {
            Some(folder) if self.durable => (self.sync)(folder),
            Some(_) | None => Ok(()),
        }
    }

    fn synced(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.synced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the directory of a bucket and those above it that are not there. With `durable`, each is synced into the one above.
pub(super) fn make_root(root: &Path, durable: bool) -> io::Result<()> {
    make_root_and(root, durable, sync)
}

fn make_root_and(root: &Path, durable: bool, sync: impl FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    let whole = path::absolute(root)?;
    let made = whole.ancestors().take_while(|above| !above.exists()).count();
    fs::create_dir_all(root)?;
    if durable { whole.ancestors().skip(1).take(made).try_for_each(sync) } else { Ok(()) }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a folder, and returns the names of those that were synced, below `top`.
    fn synced(top: &Path, make: impl FnOnce(&mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()>) -> Vec<String> {
        let mut synced = Vec::new();
        make(&mut |folder| {
            synced.push(folder.strip_prefix(top).unwrap().display().to_string());
            sync(folder)
        })
        .unwrap();
        synced
    }

    #[test]
    fn a_folder_is_synced_into_each_above_it_once() {
        let root = tempfile::tempdir().unwrap();
        let folders = Folders::new(Arc::from(root.path()), true);
        let make =
            |folders: &Folders, name: &str| synced(root.path(), |sync| folders.make(&root.path().join(name), sync));
        assert_eq!(make(&folders, "a/b/c"), ["a/b", "a", ""]);
        assert!(make(&folders, "a/b/c").is_empty());
        assert_eq!(make(&folders, "a/b"), ["a", ""]);
        assert!(make(&folders, "").is_empty());
        // Nobody knows what an earlier process synced.
        assert_eq!(make(&Folders::new(Arc::from(root.path()), true), "a/b/c"), ["a/b", "a", ""]);
        assert!(make(&Folders::new(Arc::from(root.path()), false), "a/d").is_empty());
        fs::remove_dir(root.path().join("a/b/c")).unwrap();
        assert_eq!(make(&folders, "a/b/c"), ["a/b", "a", ""], "it was made anew");
    }

    #[test]
    fn a_folder_that_could_not_be_synced_is_synced_by_the_next_put() {
        let root = tempfile::tempdir().unwrap();
        let folders = Folders::new(Arc::from(root.path()), true);
        let folder = root.path().join("a");
        assert!(folders.make(&folder, |_| Err(io::Error::other("a broken disk"))).is_err());
        assert_eq!(synced(root.path(), |sync| folders.make(&folder, sync)), [""]);
    }

    #[test]
    fn the_directory_of_a_bucket_is_synced_into_those_above_it_that_were_made() {
        let top = tempfile::tempdir().unwrap();
        let root = top.path().join("a/b");
        assert_eq!(synced(top.path(), |sync| make_root_and(&root, true, sync)), ["a", ""]);
        assert!(synced(top.path(), |sync| make_root_and(&root, true, sync)).is_empty());
        assert!(synced(top.path(), |sync| make_root_and(&top.path().join("c"), false, sync)).is_empty());
    }
}
