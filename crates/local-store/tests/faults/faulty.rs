//! A device that fails where it is told to.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use blobaccess_local_store::{Device, MemoryDevice};

/// A device that fails where it is told to.
#[derive(Debug)]
pub(crate) struct Faulty {
    pub(crate) inner: MemoryDevice,
    pub(crate) reads: AtomicBool,
    pub(crate) writes: AtomicBool,
    pub(crate) syncs: AtomicBool,
    /// The error of each failure.
    pub(crate) errno: AtomicI32,
}

const EIO: i32 = 5;
pub(crate) const ENOSPC: i32 = 28;

impl Faulty {
    pub(crate) fn new(image: Vec<u8>) -> Arc<Self> {
        let no = || AtomicBool::new(false);
        let inner = MemoryDevice::from_image(image);
        Arc::new(Self { inner, reads: no(), writes: no(), syncs: no(), errno: AtomicI32::new(EIO) })
    }

    fn failing(&self, fails: &AtomicBool) -> io::Result<()> {
        if !fails.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(io::Error::from_raw_os_error(self.errno.load(Ordering::Relaxed)))
    }
}

impl Device for Faulty {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.failing(&self.reads)?;
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.failing(&self.writes) {
            // A short write: a part of it is there.
            self.inner.write_at(offset, &bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.inner.write_at(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.failing(&self.syncs)
    }
}
