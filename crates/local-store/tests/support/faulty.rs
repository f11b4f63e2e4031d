//! A device that fails where it is told to.

#![allow(dead_code, clippy::indexing_slicing, clippy::allow_attributes, reason = "each test uses what it needs of it")]

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use blobaccess_local_store::{Device, MemoryDevice};

/// A device that fails where it is told to.
#[derive(Debug)]
pub(crate) struct Faulty {
    pub(crate) inner: MemoryDevice,
    pub(crate) reads: AtomicBool,
    pub(crate) writes: AtomicBool,
    pub(crate) syncs: AtomicBool,
    /// The ranges that cannot be read until they are written.
    bad: Mutex<Vec<Range<u64>>>,
    /// The error of each failure.
    pub(crate) errno: AtomicI32,
}

const EIO: i32 = 5;
pub(crate) const ENOSPC: i32 = 28;

impl Faulty {
    pub(crate) fn new(image: Vec<u8>) -> Arc<Self> {
        let no = || AtomicBool::new(false);
        let inner = MemoryDevice::from_image(image);
        let bad = Mutex::default();
        Arc::new(Self { inner, reads: no(), writes: no(), syncs: no(), bad, errno: AtomicI32::new(EIO) })
    }

    /// Makes a device with these contents, of which a range cannot be read.
    pub(crate) fn with_bad_range(image: Vec<u8>, bad: Range<usize>) -> Arc<Self> {
        let device = Self::new(image);
        device.make_bad(bad);
        device
    }

    /// Makes a range unreadable until it is written.
    pub(crate) fn make_bad(&self, range: Range<usize>) {
        let at = |offset: usize| u64::try_from(offset).unwrap_or(u64::MAX);
        self.bad.lock().unwrap_or_else(PoisonError::into_inner).push(at(range.start)..at(range.end));
    }

    /// Changes a byte.
    pub(crate) fn garble(&self, at: usize) {
        let mut byte = [0];
        let at = u64::try_from(at).unwrap_or(u64::MAX);
        let read = self.inner.read_at(at, &mut byte);
        read.and_then(|()| self.inner.write_at(at, &byte.map(|byte| byte ^ 1))).unwrap_or_default();
    }

    fn check_bad(&self, offset: u64, length: usize) -> io::Result<()> {
        let end = offset + u64::try_from(length).map_err(io::Error::other)?;
        let bad = self.bad.lock().unwrap_or_else(PoisonError::into_inner);
        if bad.iter().any(|bad| bad.start < end && offset < bad.end) {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        Ok(())
    }

    /// Notes that a range is written: a disk puts it elsewhere then.
    fn heal(&self, offset: u64, length: usize) -> io::Result<()> {
        let end = offset + u64::try_from(length).map_err(io::Error::other)?;
        let mut bad = self.bad.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = bad.iter().flat_map(|bad| [bad.start..bad.end.min(offset), bad.start.max(end)..bad.end]);
        *bad = rest.filter(|rest| !rest.is_empty()).collect();
        Ok(())
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
        self.check_bad(offset, buffer.len())?;
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.failing(&self.writes) {
            // A short write: a part of it is there.
            self.inner.write_at(offset, &bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.heal(offset, bytes.len())?;
        self.inner.write_at(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.failing(&self.syncs)
    }
}
