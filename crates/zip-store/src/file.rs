//! The file of an archive: positional reads and writes, and what a system call's failure means.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use blobaccess::{Error, Result};
use rustix::io::Errno;

/// Whether a read may wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The bytes are read if they are in the page cache. The thread may be that of an executor.
    AtOnce,
    /// The thread may wait.
    Waiting,
}

/// The file of an archive, shared by its readers and its writer.
#[derive(Clone, Debug)]
pub(crate) struct ArchiveFile {
    file: Arc<File>,
    path: Arc<Path>,
}

impl ArchiveFile {
    /// Creates a file for writing.
    ///
    /// # Errors
    ///
    /// `FailedPrecondition` if there is one at `path`, `Unavailable` if it cannot be created.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path);
        let file = file.map_err(|error| {
            if error.kind() == io::ErrorKind::AlreadyExists {
                let path = path.display();
                Error::failed_precondition(format!("archive {path} exists: append to it, or remove it"))
            } else {
                cannot_open(path, error)
            }
        })?;
        Self { file: Arc::new(file), path: path.into() }.locked()
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// `Unavailable` if it cannot be opened.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| cannot_open(path, error))?;
        Ok(Self { file: Arc::new(file), path: path.into() })
    }

    /// Opens a file for writing.
    ///
    /// # Errors
    ///
    /// `Unavailable` if it cannot be opened, `FailedPrecondition` if another writer has it open.
    pub(crate) fn open_to_write(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.map_err(|error| cannot_open(path, error))?;
        Self { file: Arc::new(file), path: path.into() }.locked()
    }

    /// Locks the file against other writers, for as long as it is open.
    fn locked(self) -> Result<Self> {
        match self.file.try_lock() {
            Ok(()) => Ok(self),
            Err(TryLockError::WouldBlock) => {
                let path = self.path.display();
                Err(Error::failed_precondition(format!("archive {path} is open for writing elsewhere")))
            }
            Err(TryLockError::Error(error)) => Err(cannot_open(&self.path, error)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn size_bytes(&self) -> Result<u64> {
        self.file.metadata().map(|metadata| metadata.len()).map_err(|error| self.failed("read", error))
    }

    /// Reads as many bytes as `buffer` takes, from `offset` on.
    ///
    /// # Errors
    ///
    /// `DataLoss` if the file ends before that.
    pub(crate) fn read_exact(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.file.read_exact_at(buffer, offset).map_err(|error| self.failed("read", error))
    }

    /// Reads as [`read_exact`](Self::read_exact) does, if `mode` allows it. Returns whether it has read.
    pub(crate) fn read(&self, buffer: &mut [u8], offset: u64, mode: Mode) -> Result<bool> {
        match mode {
            Mode::AtOnce => self.read_at_once(buffer, offset),
            Mode::Waiting => self.read_exact(buffer, offset).map(|()| true),
        }
    }

    #[cfg(target_os = "linux")]
    fn read_at_once(&self, buffer: &mut [u8], offset: u64) -> Result<bool> {
        use rustix::io::ReadWriteFlags;

        let length = buffer.len();
        let buffers = &mut [io::IoSliceMut::new(buffer)];
        match rustix::io::preadv2(&self.file, buffers, offset, ReadWriteFlags::NOWAIT) {
            Ok(read) => Ok(read == length),
            // Not in the page cache, or a file system that cannot tell.
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR | Errno::INVAL) => Ok(false),
            Err(error) => Err(self.failed("read", error.into())),
        }
    }

    /// Returns `false`: other systems cannot read without perhaps waiting for the disk.
    #[cfg(not(target_os = "linux"))]
    fn read_at_once(&self, _buffer: &mut [u8], _offset: u64) -> Result<bool> {
        Ok(false)
    }

    pub(crate) fn write_all(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.file.write_all_at(bytes, offset).map_err(|error| self.failed("written", error))
    }

    /// Ends the file at `size_bytes`.
    pub(crate) fn set_size(&self, size_bytes: u64) -> Result<()> {
        self.file.set_len(size_bytes).map_err(|error| self.failed("resized", error))
    }

    /// Waits until the disk has the file.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(|error| self.failed("synced", error))
    }

    /// Waits until the disk has the file under its name. Does nothing where directories cannot be opened or synced.
    pub(crate) fn sync_name(&self) -> Result<()> {
        // Where the file is, not where a link to it is.
        let path = self.path.canonicalize().map_err(|error| self.failed("synced", error))?;
        let Some(directory) = path.parent() else { return Ok(()) };
        match File::open(directory).and_then(|directory| directory.sync_all()) {
            Ok(()) => Ok(()),
            Err(error) if is_no_support(&error) => Ok(()),
            Err(error) => Err(self.failed("synced", error)),
        }
    }

    /// Lets other writers open the file.
    pub(crate) fn unlock(&self) -> Result<()> {
        self.file.unlock().map_err(|error| self.failed("unlocked", error))
    }

    /// Makes the error of a failed system call. A full disk is told from a broken one.
    fn failed(&self, verb: &str, error: io::Error) -> Error {
        let message = format!("archive {} cannot be {verb}: {error}", self.path.display());
        let is_full = matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        );
        if error.kind() == io::ErrorKind::UnexpectedEof {
            Error::data_loss(format!("archive {} ends too early", self.path.display()))
        } else if is_full {
            Error::resource_exhausted(message).with_source(error)
        } else {
            Error::internal(message).with_source(error)
        }
    }
}

/// Returns whether a directory cannot be opened or synced here, rather than now.
fn is_no_support(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
        || Errno::from_io_error(error)
            .is_some_and(|error| [Errno::INVAL, Errno::OPNOTSUPP, Errno::NOTSUP].contains(&error))
}

/// Makes the error of a file that cannot be opened.
fn cannot_open(path: &Path, error: io::Error) -> Error {
    let message = format!("archive {} cannot be opened: {error}", path.display());
    Error::unavailable(message).with_retryable(false).with_source(error)
}
