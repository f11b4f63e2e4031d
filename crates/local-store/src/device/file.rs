//! A file or a block device.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use blobaccess::{Error, Result};
use rustix::io::Errno;

use super::Device;
use super::allocation::{allocate, extend, is_unsupported};
use crate::machine::advise;

/// A file, or a block device. It is locked while this is open, so that no other process writes it.
#[derive(Debug)]
pub struct FileDevice {
    file: File,
    path: PathBuf,
    size_bytes: u64,
    at_once: AtOnce,
    /// Whether it is a file that somebody could delete.
    has_name: bool,
}

impl FileDevice {
    /// Opens what lies at `path`, of which `size_bytes` are used. A file is created if it is not there, and allocated
    /// in full: what it has already is not asked for again. Its directory and those above it are synced, so that the file is
    /// there after a power cut as well. On btrfs, a new file is not copied on write.
    ///
    /// # Errors
    ///
    /// `FailedPrecondition` if another process has it open, or a block device is smaller, mounted, or a part of something
    /// else. `ResourceExhausted` if the disk is full; the file is as long as before then. `Internal` for whatever else keeps it from being opened.
    pub fn open(path: impl AsRef<Path>, size_bytes: u64) -> Result<Self> {
        Self::open_and(path.as_ref(), size_bytes, allocate, sync_directories)
    }

    /// Opens what lies at `path` as [`open`](Self::open) does, but gives a file its size without allocating it: it takes
    /// space on the disk as it is written, and a full disk shows then.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), except that a full disk does not keep it from being opened.
    pub fn open_sparse(path: impl AsRef<Path>, size_bytes: u64) -> Result<Self> {
        Self::open_and(path.as_ref(), size_bytes, extend, sync_directories)
    }

    fn open_and(
        path: &Path,
        size_bytes: u64,
        make_room: impl Fn(&File, u64) -> io::Result<()>,
        sync_directories: impl Fn(&Path) -> io::Result<()>,
    ) -> Result<Self> {
        let failed = |what: &str, error: io::Error| {
            Error::internal(format!("failed to {what} {}", path.display())).with_source(error)
        };
        let mut file = open_alone(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = format!("{} is in use by another store", path.display());
                return Err(Error::failed_precondition(message));
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock", error)),
        }
        let metadata = file.metadata().map_err(|error| failed("inspect", error))?;
        if metadata.file_type().is_block_device() {
            let available = file.seek(SeekFrom::End(0)).map_err(|error| failed("measure", error))?;
            if available < size_bytes {
                let message =
                    format!("{} has {available} bytes, while {size_bytes} bytes are to be used", path.display());
                return Err(Error::failed_precondition(message));
            }
        } else {
            keep_in_place(&file, path);
            make_room(&file, size_bytes).map_err(|error| {
                if error.kind() != io::ErrorKind::StorageFull {
                    return failed("allocate", error);
                }
                let message = format!("no space for the {size_bytes} bytes of {}", path.display());
                Error::resource_exhausted(message).with_source(error)
            })?;
            // Not only if it was created now: who created it may have been killed before this.
            sync_directories(path).map_err(|error| failed("sync the directories of", error))?;
        }
        forget_reads(&file);
        let at_once = find_at_once(&file, path);
        let has_name = metadata.is_file() && metadata.nlink() > 0;
        Ok(Self { file, path: path.to_owned(), size_bytes, at_once, has_name })
    }

    /// Returns the path of the file or block device.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Keeps reads from noting when the file was read last: that takes time on each, and a write now and then. It is a
/// right of the file's owner; for others, reads go on noting it.
#[cfg(target_os = "linux")]
fn forget_reads(file: &File) {
    let noted = rustix::fs::fcntl_getfl(file)
        .and_then(|flags| rustix::fs::fcntl_setfl(file, flags | rustix::fs::OFlags::NOATIME));
    if let Err(error) = noted {
        tracing::debug!(%error, "each read notes its time");
    }
}

/// Does nothing: other systems set this by mount, not by file.
#[cfg(not(target_os = "linux"))]
fn forget_reads(_file: &File) {}

/// Makes durable that a file is where it is, by its directory and those above it, which may have been made for it. It
/// does nothing where directories cannot be opened or synced.
fn sync_directories(path: &Path) -> io::Result<()> {
    // Where it is, not where a link to it is.
    for directory in path.canonicalize()?.ancestors().skip(1) {
        let directory = match File::open(directory) {
            Ok(directory) => directory,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => continue,
            Err(error) => return Err(error),
        };
        // By the standard library, which on macOS waits for the disk as well.
        if let Err(error) = directory.sync_all()
            && !Errno::from_io_error(&error).is_some_and(|error| error == Errno::INVAL || is_unsupported(error))
        {
            return Err(error);
        }
    }
    Ok(())
}

/// Opens what lies at `path`; a file is made if it is not there. A block device is opened for this process alone: not if
/// it is mounted, or is a part of something else.
fn open_alone(path: &Path) -> Result<File> {
    let is_block_device = std::fs::metadata(path).is_ok_and(|there| there.file_type().is_block_device());
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    if is_block_device {
        options.custom_flags(i32::try_from(rustix::fs::OFlags::EXCL.bits()).unwrap_or_default());
    } else {
        options.create(true).truncate(false);
    }
    options.open(path).map_err(|error| {
        if is_block_device && Errno::from_io_error(&error) == Some(Errno::BUSY) {
            let message = format!("{} is in use: it is mounted, or belongs to another program", path.display());
            return Error::failed_precondition(message).with_source(error);
        }
        Error::internal(format!("failed to open {}", path.display())).with_source(error)
    })
}

/// How a file is read without waiting for a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AtOnce {
    /// Any read: the file is in memory.
    Any,
    /// A read of what the page cache has.
    Cached,
    /// No read, as the system cannot tell what would wait.
    Never,
}

/// Numbers of file systems, as `statfs` has them.
#[cfg(target_os = "linux")]
mod file_systems {
    pub(super) const TMPFS: u64 = 0x0102_1994;
    pub(super) const RAMFS: u64 = 0x8584_58f6;
    pub(super) const BTRFS: u64 = 0x9123_683e;
}

#[cfg(target_os = "linux")]
fn file_system(file: &File) -> Option<u64> {
    rustix::fs::fstatfs(file).ok().and_then(|known| u64::try_from(known.f_type).ok())
}

/// Finds out how a file is read at once, and says so if it costs anything.
#[cfg(target_os = "linux")]
fn find_at_once(file: &File, path: &Path) -> AtOnce {
    use std::io::IoSliceMut;

    use rustix::io::ReadWriteFlags;

    if matches!(file_system(file), Some(file_systems::TMPFS | file_systems::RAMFS)) {
        tracing::info!("{} is in memory: it is read without another thread", path.display());
        return AtOnce::Any;
    }
    let tried = rustix::io::preadv2(file, &mut [IoSliceMut::new(&mut [0])], 0, ReadWriteFlags::NOWAIT);
    if matches!(tried, Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL)) {
        tracing::warn!(
            "the file system of {} cannot say what it would read from memory: each read takes another thread",
            path.display()
        );
        return AtOnce::Never;
    }
    AtOnce::Cached
}

/// Returns that no read is done at once: other systems cannot read without perhaps waiting for the disk.
#[cfg(not(target_os = "linux"))]
fn find_at_once(_file: &File, _path: &Path) -> AtOnce {
    AtOnce::Never
}

/// Has an empty file on btrfs overwritten in place. Otherwise each overwrite takes new space, which may not be there.
#[cfg(target_os = "linux")]
fn keep_in_place(file: &File, path: &Path) {
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

    if file_system(file) != Some(file_systems::BTRFS) {
        return;
    }
    let known = ioctl_getflags(file);
    if known.is_ok_and(|flags| flags.contains(IFlags::NOCOW)) {
        return;
    }
    let is_empty = file.metadata().is_ok_and(|metadata| metadata.len() == 0);
    let set =
        known.and_then(|flags| if is_empty { ioctl_setflags(file, flags | IFlags::NOCOW) } else { Err(Errno::PERM) });
    if let Err(error) = set {
        tracing::warn!(
            %error,
            "{} is copied on write: btrfs keeps no space for it, and a full disk shows when blobs are written. A new file is \
             not",
            path.display()
        );
    }
}

#[cfg(not(target_os = "linux"))]
fn keep_in_place(_file: &File, _path: &Path) {}

/// The alignment of what is read around the page cache, in bytes: at least that of any disk.
#[cfg(target_os = "linux")]
const DIRECT_BYTES: usize = 4096;

#[cfg(target_os = "linux")]
impl FileDevice {
    /// Returns whether the page cache has all that lies at `offset`; `None` if the system cannot tell.
    fn is_remembered(&self, offset: u64, length: usize) -> Option<bool> {
        use std::io::IoSliceMut;

        use rustix::io::ReadWriteFlags;

        let mut read = vec![0; length];
        match rustix::io::preadv2(&self.file, &mut [IoSliceMut::new(&mut read)], offset, ReadWriteFlags::NOWAIT) {
            Ok(_) => Some(true),
            Err(Errno::AGAIN) => Some(false),
            Err(_) => None,
        }
    }

    /// Reads around the page cache. What was written and not synced is written first, by the system.
    ///
    /// # Errors
    ///
    /// Whatever keeps the disk from being read or written; also if the file system reads through its memory alone, so that
    /// nobody can say whether the disk is there.
    fn read_directly(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        use std::os::fd::AsRawFd as _;

        use rustix::fs::{Mode, OFlags};

        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let direct = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECT | OFlags::CLOEXEC, Mode::empty())?;
        let aligned = u64::try_from(DIRECT_BYTES).unwrap_or(u64::MAX);
        let begin = offset / aligned * aligned;
        let skipped = usize::try_from(offset - begin).unwrap_or(usize::MAX);
        let length = (skipped + buffer.len()).next_multiple_of(DIRECT_BYTES);
        let mut memory = vec![0; length + DIRECT_BYTES];
        let shift = memory.as_ptr().align_offset(DIRECT_BYTES);
        let read = match memory.get_mut(shift..shift + length) {
            Some(into) => rustix::io::pread(&direct, into, begin)?,
            None => 0,
        };
        let wanted = memory.get(shift + skipped..shift + skipped + buffer.len());
        match wanted.filter(|_| read >= skipped + buffer.len()) {
            Some(wanted) => {
                buffer.copy_from_slice(wanted);
                Ok(())
            }
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Device for FileDevice {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    #[cfg(target_os = "linux")]
    fn read_from_disk(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if self.at_once == AtOnce::Any {
            // The file is in memory, and has no disk.
            return self.read_at(offset, buffer);
        }
        let length = std::num::NonZeroU64::new(u64::try_from(buffer.len()).unwrap_or(u64::MAX));
        if let Err(error) = rustix::fs::fadvise(&self.file, offset, length, rustix::fs::Advice::DontNeed) {
            tracing::debug!(%error, "a read may be answered from memory");
        }
        match self.is_remembered(offset, buffer.len()) {
            // The disk is asked. The check may have begun to read ahead: then it is asked for the same.
            Some(false) => self.read_at(offset, buffer),
            // It was written and not synced, so it stays; or nobody can tell.
            Some(true) | None => self.read_directly(offset, buffer),
        }
    }

    #[cfg(target_os = "linux")]
    fn read_at_once(&self, offset: u64, buffer: &mut [u8]) -> io::Result<bool> {
        use std::io::IoSliceMut;

        use rustix::io::ReadWriteFlags;

        match self.at_once {
            AtOnce::Any => return self.read_at(offset, buffer).map(|()| true),
            AtOnce::Never => return Err(io::ErrorKind::Unsupported.into()),
            AtOnce::Cached => {}
        }
        let length = buffer.len();
        let read = rustix::io::preadv2(&self.file, &mut [IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT);
        match read {
            Ok(read) => Ok(read == length),
            // Not in the page cache.
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR | Errno::INVAL) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn read_at_once(&self, _offset: u64, _buffer: &mut [u8]) -> io::Result<bool> {
        debug_assert_eq!(self.at_once, AtOnce::Never);
        Err(io::ErrorKind::Unsupported.into())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// Waits until the disk itself has what was written; on macOS the standard library asks for that with
    /// `F_FULLFSYNC`. It fails once the file was deleted, or another one was put in its place: nobody could open what is
    /// written to it.
    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()?;
        if self.has_name && self.file.metadata()?.nlink() == 0 {
            let message = format!("{} was deleted or replaced while it was open", self.path.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        Ok(())
    }

    fn begin_write_back(&self, offset: u64, length: u64) {
        if let Err(error) = advise::begin_write_back(self.file.as_fd(), offset, length) {
            tracing::debug!(%error, "writing begins with the next sync");
        }
    }

    fn mappable(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}

#[cfg(test)]
mod tests {
    use blobaccess::ErrorKind;

    use super::*;

    #[test]
    fn a_file_is_allocated_read_and_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("blocks");
        let device = FileDevice::open(&path, 1 << 20).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 1 << 20);
        device.write_at(4096, b"hello").unwrap();
        device.sync().unwrap();
        let mut buffer = [1; 7];
        device.read_at(4095, &mut buffer).unwrap();
        assert_eq!(&buffer, b"\0hello\0");
        if device.read_at_once(4096, &mut buffer[..5]).unwrap() {
            assert_eq!(&buffer[..5], b"hello");
        }
        assert!(device.read_at((1 << 20) - 3, &mut buffer).is_err());
    }

    #[test]
    fn a_sparse_file_takes_no_space_before_it_is_written() {
        use std::os::unix::fs::MetadataExt as _;

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("blocks");
        let device = FileDevice::open_sparse(&path, 1 << 30).unwrap();
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!((metadata.len(), metadata.blocks()), (1 << 30, 0));
        device.write_at((1 << 30) - 5, b"hello").unwrap();
        drop(device);
        assert_eq!(FileDevice::open_sparse(&path, 4096).unwrap().size_bytes(), 4096);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 1 << 30, "a file that is larger stays so");
    }

    #[test]
    fn the_directory_of_a_file_is_synced_once_the_file_has_its_size() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("blocks");
        for _ in 0..2 {
            let synced = std::cell::Cell::new(0);
            let device = FileDevice::open_and(&path, 4096, allocate, |of| {
                synced.set(std::fs::metadata(of)?.len());
                sync_directories(of)
            });
            assert_eq!((device.is_ok(), synced.get()), (true, 4096));
        }
        let refused = FileDevice::open_and(&path, 4096, allocate, |_| Err(Errno::IO.into())).unwrap_err();
        assert!(refused.to_string().contains("sync the directories of"), "{refused}");
    }

    #[test]
    fn directories_are_synced_by_any_path_that_leads_to_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("blocks");
        assert_eq!(sync_directories(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        File::create(&path).unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("blocks", &link).unwrap();
        for path in [&path, &link, &directory.path().join("./blocks")] {
            sync_directories(path).unwrap();
        }
        sync_directories(Path::new("Cargo.toml")).unwrap();
    }

    #[test]
    fn a_sync_fails_once_the_file_was_deleted_or_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("blocks");
        for is_replaced in [false, true] {
            let device = FileDevice::open(&path, 1 << 20).unwrap();
            device.sync().unwrap();
            if is_replaced {
                let other = directory.path().join("other");
                File::create(&other).unwrap();
                std::fs::rename(&other, &path).unwrap();
            } else {
                std::fs::remove_file(&path).unwrap();
            }
            let error = device.sync().unwrap_err();
            assert!(error.to_string().contains("was deleted or replaced"), "{error}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_file_in_memory_is_read_at_once() {
        let Ok(directory) = tempfile::tempdir_in("/dev/shm") else { return };
        let device = FileDevice::open(directory.path().join("blocks"), 1 << 20).unwrap();
        if file_system(&device.file) != Some(file_systems::TMPFS) {
            return;
        }
        device.write_at(5000, b"hello").unwrap();
        let mut buffer = [0; 5];
        assert!(device.read_at_once(5000, &mut buffer).unwrap());
        assert_eq!(&buffer, b"hello");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_is_not_synced_does_not_answer_for_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let device = FileDevice::open(directory.path().join("blocks"), 1 << 20).unwrap();
        if device.at_once != AtOnce::Cached {
            return;
        }
        let page = [7; 4096];
        device.write_at(8192, &page).unwrap();
        // Nothing but the page cache has it now, unless the system was very quick.
        assert_eq!(device.is_remembered(8192, page.len()), Some(true));
        let mut read = [0; 1000];
        match device.read_from_disk(9000, &mut read) {
            Ok(()) => assert_eq!(read, [7; 1000], "it was written first"),
            // A file system without reads around its memory cannot say that the disk is there.
            Err(error) => assert_eq!(error.raw_os_error(), Some(Errno::INVAL.raw_os_error()), "{error}"),
        }
        let mut read = [0; 4096];
        if device.read_directly(8192, &mut read).is_ok() {
            assert_eq!(read, page);
            assert!(device.read_directly((1 << 20) - 10, &mut [0; 20]).is_err(), "beyond the end");
            device.read_directly((1 << 20) - 10, &mut [0; 10]).unwrap();
        }
        device.sync().unwrap();
        device.read_from_disk(8192, &mut read).unwrap();
        assert_eq!(read, page);
    }

    #[test]
    fn a_file_is_open_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("blocks");
        let device = FileDevice::open(&path, 4096).unwrap();
        let error = FileDevice::open(&path, 4096).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
        drop(device);
        FileDevice::open(&path, 4096).unwrap();
    }

    #[test]
    fn a_full_disk_shows_when_the_file_is_opened() {
        let directory = tempfile::tempdir().unwrap();
        let opened = FileDevice::open(directory.path().join("blocks"), 1 << 60);
        let scratch = tempfile::tempfile_in(&directory).unwrap();
        if rustix::fs::fallocate(&scratch, rustix::fs::FallocateFlags::empty(), 0, 4096).is_err() {
            // The file system takes space only for what is written.
            return;
        }
        let error = opened.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::ResourceExhausted | ErrorKind::Internal), "{error:?}");
    }
}
