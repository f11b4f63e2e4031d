//! Files and block devices that a local store lies in.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use crate::field_path::FieldPath;
use crate::reading::Reading;
use crate::section::Section;
use crate::used_path::UsedPath;

/// The unit in which sizes of files count, in bytes: they are rounded up to it.
const SECTOR_BYTES: u64 = 4096;

/// A file or a block device of a configuration.
#[derive(Clone, Debug)]
pub(super) struct BlockDevice {
    pub(super) used: UsedPath,
    /// The size in bytes, a multiple of a sector.
    pub(super) size_bytes: u64,
    /// The field that says how large it is, if it is a file.
    pub(super) size_field: Option<FieldPath>,
    /// The number of threads that may write at once, unless there is no limit.
    pub(super) write_concurrency: Option<u32>,
}

impl BlockDevice {
    /// Reads a `blockdevice.Configuration`. Returns `None` if a fault was noted.
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let limit = section.int("write_concurrency_limit");
        let write_concurrency = (limit > 0).then(|| u32::try_from(limit).unwrap_or(u32::MAX));
        if limit < 0 {
            section.notice_at("write_concurrency_limit", "is no limit");
        }
        match section.member("source") {
            Some("device_path") => {
                let path = PathBuf::from(section.required_text("device_path")?);
                match measure_device(&path) {
                    Ok(size_bytes) => Some(Self {
                        used: used_path(section, "device_path", path),
                        size_bytes: size_bytes / SECTOR_BYTES * SECTOR_BYTES,
                        size_field: None,
                        write_concurrency,
                    }),
                    Err(reason) => {
                        section.fault_at("device_path", reason);
                        None
                    }
                }
            }
            Some("file") => {
                let file = section.message("file")?;
                let size_bytes = read_size(&file);
                let path = PathBuf::from(file.required_file_path("path")?);
                if let Err(reason) = check_file(&path) {
                    file.fault_at("path", reason);
                    return None;
                }
                Some(Self {
                    used: used_path(&file, "path", path),
                    size_bytes: size_bytes?,
                    size_field: Some(file.path_of("size_bytes")),
                    write_concurrency,
                })
            }
            Some(_) | None => {
                section.fault("must have a devicePath or a file");
                None
            }
        }
    }

    /// Notes that something is wrong with the size.
    pub(super) fn fault_size(&self, reading: &Reading, message: impl Into<String>) {
        let path = self.size_field.as_ref().unwrap_or(&self.used.field);
        reading.note_fault(path, self.used.position.clone(), message.into());
    }

    /// Notes that the size is another than the configured one, or says something else than one may expect.
    pub(super) fn notice_size(&self, reading: &Reading, message: impl Into<String>) {
        let path = self.size_field.as_ref().unwrap_or(&self.used.field);
        reading.note_notice(path, self.used.position.clone(), message.into());
    }

    /// Returns whether it is a file, which can be made as large as need be.
    pub(super) fn is_file(&self) -> bool {
        self.size_field.is_some()
    }
}

/// Returns the path that the field `name` of `section` says.
pub(super) fn used_path(section: &Section<'_>, name: &str, path: PathBuf) -> UsedPath {
    UsedPath { path, field: section.path_of(name), position: section.position_of(name) }
}

/// Reads the size of a file in bytes, rounded up to sectors.
fn read_size(file: &Section<'_>) -> Option<u64> {
    let size = u64::try_from(file.int("size_bytes")).ok().filter(|size| *size > 0);
    let size = size.and_then(|size| size.checked_next_multiple_of(SECTOR_BYTES));
    // The largest file that Linux has ends at the largest offset.
    let size = size.filter(|size| i64::try_from(*size).is_ok());
    if size.is_none() {
        file.fault_at("size_bytes", if file.int("size_bytes") > 0 { "is too large" } else { "must be positive" });
    }
    size
}

/// Checks that a file can be opened or made at `path`, without doing either.
fn check_file(path: &Path) -> Result<(), String> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err("is a directory, while a file is needed".to_owned()),
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => Err("is no regular file: name a block device as devicePath".to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = parent.unwrap_or_else(|| Path::new("."));
            if parent.is_dir() {
                Ok(())
            } else {
                Err(format!("its directory {} does not exist: create it first", parent.display()))
            }
        }
        Err(error) => Err(format!("cannot be used: {error}")),
    }
}

/// Returns the size of a block device in bytes.
fn measure_device(path: &Path) -> Result<u64, String> {
    let open = || -> std::io::Result<(bool, u64)> {
        let is_device = fs::metadata(path)?.file_type().is_block_device();
        // What is no block device might wait for somebody to write.
        let size = if is_device { File::open(path)?.seek(SeekFrom::End(0))? } else { 0 };
        Ok((is_device, size))
    };
    match open() {
        Ok((true, size)) => Ok(size),
        Ok((false, _)) => Err("is no block device: name a file as file".to_owned()),
        Err(error) => Err(format!("cannot be used: {error}")),
    }
}
