//! A file or a block device that is only read.

use std::fs::File;
use std::io::{self, ErrorKind, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _};
use std::path::Path;

use blobaccess::{Error, Result};

use super::Device;

/// A file or a block device that is only read, whatever else has it open. A file that is not there, or is shorter than a
/// store would make it, has zeros there.
#[derive(Debug)]
pub(crate) struct ReadingDevice {
    file: Option<File>,
    size_bytes: u64,
}

impl ReadingDevice {
    /// Opens what lies at `path`, of which `size_bytes` are to be used. Nothing is created.
    ///
    /// # Errors
    ///
    /// `Internal` if it is there and cannot be opened.
    pub(crate) fn open(path: &Path, size_bytes: u64) -> Result<Self> {
        let failed =
            |error: io::Error| Error::internal(format!("failed to read {}", path.display())).with_source(error);
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self { file: None, size_bytes }),
            Err(error) => return Err(failed(error)),
        };
        let is_block_device = file.metadata().map_err(failed)?.file_type().is_block_device();
        let size_bytes = if is_block_device { file.seek(SeekFrom::End(0)).map_err(failed)? } else { size_bytes };
        Ok(Self { file: Some(file), size_bytes })
    }
}

impl Device for ReadingDevice {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let Some(file) = &self.file else {
            buffer.fill(0);
            return Ok(());
        };
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let at = offset.saturating_add(u64::try_from(filled).unwrap_or(u64::MAX));
            match file.read_at(rest, at) {
                Ok(0) => rest.fill(0),
                Ok(read) => {
                    filled += read;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            break;
        }
        Ok(())
    }

    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Err(ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Err(ErrorKind::ReadOnlyFilesystem.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_short_or_absent_has_zeros_and_is_not_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("blocks");
        let mut buffer = [1; 7];
        let absent = ReadingDevice::open(&path, 4096).unwrap();
        absent.read_at(4090, &mut buffer).unwrap();
        assert_eq!(buffer, [0; 7]);
        assert!(absent.write_at(0, b"x").is_err() && absent.sync().is_err());
        assert!(!path.exists());
        std::fs::write(&path, b"hello").unwrap();
        let short = ReadingDevice::open(&path, 4096).unwrap();
        buffer = [1; 7];
        short.read_at(2, &mut buffer).unwrap();
        assert_eq!((&buffer, short.size_bytes()), (b"llo\0\0\0\0", 4096));
        assert!(ReadingDevice::open(&path.join("beneath"), 4096).is_err());
    }
}
