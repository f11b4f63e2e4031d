//! Stores in files of a folder: where the folder is, how large the files are, and what follows from that.

use std::fs::{self, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use blobaccess::{Ac, Cas, Error, ErrorKind, Fsac, Iscc, Kind, Observer};
use blobaccess_local_store::{Environment, LocalStore, Options, Sizes};

use crate::Result;
use crate::flags::Flags;
use crate::units::{exact, human};

/// The size of the file of contents, in bytes, where the disk has room for it.
const DEFAULT_CAS: u64 = 10 << 30;
/// The size of the file of action results, in bytes.
pub(crate) const DEFAULT_AC: u64 = 64 << 20;
/// The sizes of the files of initial size classes and of file system access profiles, in bytes.
pub(crate) const DEFAULT_OTHERS: u64 = 16 << 20;

/// Up to this size, in bytes, a file has few blocks, so that each can hold a large blob.
const FEW_BLOCKS_UP_TO: u64 = 8 << 30;

/// One of the files.
#[derive(Debug)]
struct StoreFile {
    path: PathBuf,
    /// The length of the file now, in bytes; 0 if there is none.
    length: u64,
    /// The length that the file is to have, in bytes.
    size_bytes: u64,
    /// The part of that length that is allocated on the disk already, in bytes.
    taken_bytes: u64,
    /// The flag that sets the size.
    flag: &'static str,
}

/// The stores in files of a folder.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) directory: PathBuf,
    pub(crate) cas: LocalStore<Cas>,
    pub(crate) ac: LocalStore<Ac>,
    pub(crate) iscc: LocalStore<Iscc>,
    pub(crate) fsac: LocalStore<Fsac>,
}

/// Opens all stores, and makes their folder if there is none. Prints what follows from the sizes first.
pub(crate) async fn open(flags: &Flags, observer: &Arc<dyn Observer>) -> Result<Files> {
    let directory = flags.directory.clone().unwrap_or_else(default_directory);
    fs::create_dir_all(&directory).map_err(|error| in_directory(&directory, &error))?;
    let free = free_bytes(&directory).map_err(|error| in_directory(&directory, &error))?;
    let file = |name, flag, asked, default| StoreFile::new(directory.join(name), flag, asked, default);
    let cas = file("cas", "--cas-size", flags.cas_size, DEFAULT_CAS.min(free / 4));
    let ac = file("ac", "--ac-size", flags.ac_size, DEFAULT_AC);
    let iscc = file("iscc", "--iscc-size", flags.iscc_size, DEFAULT_OTHERS);
    let fsac = file("fsac", "--fsac-size", flags.fsac_size, DEFAULT_OTHERS);
    check_room(&directory, free, &[&cas, &ac, &iscc, &fsac])?;
    println!("files in:        {} (to free the disk, stop this server and delete them)", directory.display());
    let cas = cas.open(flags, observer).await?;
    let ac = ac.open(flags, observer).await?;
    let iscc = iscc.open(flags, observer).await?;
    let fsac = fsac.open(flags, observer).await?;
    Ok(Files { directory, cas, ac, iscc, fsac })
}

impl StoreFile {
    /// Describes the file at `path`. Its size is the one `asked` for, else that of the existing file, else the
    /// `default`.
    fn new(path: PathBuf, flag: &'static str, asked: Option<u64>, default: u64) -> Self {
        let known = fs::metadata(&path).ok().filter(fs::Metadata::is_file);
        let (length, taken) = known.map_or((0, 0), |known| (known.len(), known.blocks().saturating_mul(512)));
        let size_bytes = asked.unwrap_or(if length > 0 { length } else { default });
        Self { path, length, size_bytes, taken_bytes: taken.min(size_bytes), flag }
    }

    fn options(&self, flags: &Flags) -> Options {
        let options = Options::in_file(&self.path, self.size_bytes).persistent(flags.sync).discarding(flags.discard);
        let options = options.with_mapped_reads(flags.map_files);
        if self.size_bytes < FEW_BLOCKS_UP_TO { options.with_blocks(2, 6, 1) } else { options }
    }

    async fn open<K: Kind>(self, flags: &Flags, observer: &Arc<dyn Observer>) -> Result<LocalStore<K>> {
        let options = self.options(flags);
        let sizes = Sizes::derive(&options, K::STORAGE_TYPE).map_err(|error| self.failed(&error))?;
        println!("{}", self.describe(&sizes));
        let environment = Environment::default().with_observer(Arc::clone(observer));
        let opened = LocalStore::open_in(options, environment).await;
        Ok(opened.map_err(|error| {
            self.shrink();
            self.failed(&error)
        })?)
    }

    /// Describes what follows from the size of the file, for whoever starts the server.
    fn describe(&self, sizes: &Sizes) -> String {
        let (path, flag) = (self.path.display(), self.flag);
        let largest = human(sizes.max_blob_size_bytes());
        format!(
            "{path}: {} ({flag})\n    largest blob {largest}; raise {flag} to store larger ones\n    memory up to {}\n    a \
             blob in use stays for {} of further uploads",
            exact(self.size_bytes),
            human(sizes.memory_bytes()),
            human(sizes.promised_bytes()),
        )
    }

    /// Shrinks a file that was refused to its former length, so that its size is still known.
    fn shrink(&self) {
        let grown = fs::metadata(&self.path).is_ok_and(|now| now.is_file() && now.len() > self.length);
        if grown {
            // If that fails, the former size has to be given by the flag.
            drop(OpenOptions::new().write(true).open(&self.path).map(|file| file.set_len(self.length)));
        }
    }

    /// Returns whether another process, or another store of this one, has the file open as a store.
    fn is_locked(&self) -> bool {
        let file = OpenOptions::new().read(true).open(&self.path);
        file.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
    }

    /// Describes a failure, and names the flag that may help.
    fn failed(&self, error: &Error) -> String {
        let (path, flag) = (self.path.display(), self.flag);
        let kind = error.kind();
        if kind == ErrorKind::FailedPrecondition && self.is_locked() {
            return format!(
                "{path}: {error}, such as a second remote_cache: stop that one, or name another folder by --directory"
            );
        }
        if kind == ErrorKind::InvalidArgument {
            format!("{flag}: {path}: {error}")
        } else if kind == ErrorKind::ResourceExhausted {
            format!("{flag}: {path}: {error}; ask for less by {flag}")
        } else if kind == ErrorKind::FailedPrecondition {
            format!(
                "{path}: {error}; name another folder by --directory, the former size by {flag}, or discard the \
                 contents of the file by --discard"
            )
        } else {
            format!("{path}: {error}")
        }
    }
}

/// Refuses files that the disk has no room for, before any of them is written.
fn check_room(directory: &Path, free: u64, files: &[&StoreFile]) -> Result<()> {
    let needed: u64 = files.iter().map(|file| file.size_bytes - file.taken_bytes).fold(0, u64::saturating_add);
    if needed <= free {
        return Ok(());
    }
    let asked: Vec<String> = files.iter().map(|file| format!("{} {} B", file.flag, file.size_bytes)).collect();
    Err(format!(
        "{} takes {needed} bytes more of the disk of {}, which has {free} bytes free: ask for less, or name a folder \
         on another disk by --directory",
        asked.join(" with "),
        directory.display()
    )
    .into())
}

fn in_directory(directory: &Path, error: &io::Error) -> String {
    format!("--directory: {}: {error}", directory.display())
}

/// Returns how many bytes of the disk of `directory` are free for this user.
fn free_bytes(directory: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(directory)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Returns the folder for caches of this user.
fn default_directory() -> PathBuf {
    directory_from(|name| std::env::var_os(name).map(PathBuf::from))
}

fn directory_from(variable: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    // The specification says that a relative path is to be ignored.
    let absolute = |name: &str| variable(name).filter(|path| path.is_absolute());
    if let Some(caches) = absolute("XDG_CACHE_HOME") {
        return caches.join("blobaccess");
    }
    match absolute("HOME") {
        Some(home) => home.join(".cache").join("blobaccess"),
        None => PathBuf::from("blobaccess-cache"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn the_folder_is_where_caches_go() {
        let directory = |xdg: Option<&str>, home: Option<&str>| {
            directory_from(|name| if name == "HOME" { home } else { xdg }.map(PathBuf::from))
        };
        assert_eq!(directory(Some("/x"), Some("/h")), Path::new("/x/blobaccess"));
        assert_eq!(directory(Some("relative"), Some("/h")), Path::new("/h/.cache/blobaccess"));
        assert_eq!(directory(None, None), Path::new("blobaccess-cache"));
    }

    #[test]
    fn a_file_keeps_its_size_unless_another_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cas");
        let size = |asked| StoreFile::new(path.clone(), "--cas-size", asked, 1000).size_bytes;
        assert_eq!(size(None), 1000);
        fs::write(&path, [0; 300]).unwrap();
        assert_eq!(size(None), 300);
        assert_eq!(size(Some(700)), 700);
    }

    #[tokio::test]
    async fn a_size_that_is_refused_leaves_the_file_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let observer: Arc<dyn Observer> = Arc::new(blobaccess::NoObserver);
        let open_with = async |more: &[&str]| {
            let directory = ["remote_cache", "--ac-size", "16MiB", "--directory", folder.path().to_str().unwrap()];
            open(&Flags::parse_from([&directory, more].concat()), &observer).await.map(|files| files.cas)
        };
        let sizes = *open_with(&["--cas-size", "16MiB"]).await.unwrap().sizes();
        let refused = open_with(&["--cas-size", "32MiB"]).await.unwrap_err().to_string();
        assert!(refused.contains("--cas-size") && refused.contains("--discard"), "{refused}");
        assert_eq!(*open_with(&[]).await.unwrap().sizes(), sizes);
        assert_ne!(*open_with(&["--cas-size", "32MiB", "--discard"]).await.unwrap().sizes(), sizes);
    }

    #[tokio::test]
    async fn a_second_server_in_one_folder_is_told_to_choose_another_and_not_to_discard() {
        let folder = tempfile::tempdir().unwrap();
        let observer: Arc<dyn Observer> = Arc::new(blobaccess::NoObserver);
        let directory = folder.path().to_str().unwrap();
        let sizes = ["remote_cache", "--cas-size", "16MiB", "--ac-size", "16MiB", "--directory", directory];
        let first = open(&Flags::parse_from(sizes), &observer).await.unwrap();
        let refused = open(&Flags::parse_from(sizes), &observer).await.unwrap_err().to_string();
        assert!(refused.contains("in use") && refused.contains("--directory"), "{refused}");
        assert!(!refused.contains("--discard"), "{refused}");
        drop(first);
        open(&Flags::parse_from(sizes), &observer).await.unwrap();
    }

    #[test]
    fn files_larger_than_the_disk_are_refused_with_the_flags_that_say_so() {
        let file = |flag, size_bytes, taken_bytes| StoreFile {
            path: PathBuf::new(),
            length: 0,
            size_bytes,
            taken_bytes,
            flag,
        };
        let (cas, ac) = (file("--cas-size", 1000, 0), file("--ac-size", 50, 50));
        assert!(check_room(Path::new("/d"), 1000, &[&cas, &ac]).is_ok());
        let refused = check_room(Path::new("/d"), 999, &[&cas, &ac]).unwrap_err().to_string();
        for part in ["--cas-size 1000 B", "--ac-size 50 B", "1000 bytes more", "/d", "999 bytes free", "--directory"] {
            assert!(refused.contains(part), "{refused}");
        }
    }
}
