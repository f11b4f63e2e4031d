//! The speed of reading and writing a file without a store in between.

use std::fs::{File, OpenOptions};
use std::io::Result;
use std::os::unix::fs::FileExt;
use std::path::Path;

use blobaccess_testkit::Numbers;

/// A file that is allocated in full before anything is measured.
#[derive(Debug)]
pub struct ScratchFile {
    file: File,
    bytes: u64,
    at: u64,
}

/// The size of each write.
const PIECE_BYTES: usize = 1 << 20;

impl ScratchFile {
    /// Creates a file of `bytes` bytes at `path`, which are written and synced.
    ///
    /// # Errors
    ///
    /// If the disk is full, or `path` cannot be created.
    pub fn create(path: &Path, bytes: u64) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        let piece = vec![1; PIECE_BYTES];
        let bytes = bytes.next_multiple_of(1 << 20);
        for at in (0..bytes).step_by(PIECE_BYTES) {
            file.write_all_at(&piece, at)?;
        }
        file.sync_all()?;
        Ok(Self { file, bytes, at: 0 })
    }

    /// Overwrites `bytes` bytes in pieces of 1 MiB, through the page cache, and syncs.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    pub fn write_and_sync(&mut self, bytes: u64) -> Result<()> {
        let piece = vec![2; PIECE_BYTES];
        for _ in (0..bytes).step_by(PIECE_BYTES) {
            self.file.write_all_at(&piece, self.at)?;
            self.at = (self.at + (1 << 20)) % self.bytes;
        }
        self.file.sync_data()
    }

    /// Reads 4 KiB at a random place from the page cache.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    pub fn read_page(&self, numbers: &mut Numbers, to: &mut [u8; 4096]) -> Result<()> {
        let page = numbers.below(usize::try_from(self.bytes / 4096).unwrap_or(usize::MAX));
        self.file.read_exact_at(to, u64::try_from(page).unwrap_or_default() * 4096)
    }
}
