//! Devices in memory that record what is done to them.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use blobaccess_local_store::{Device, MemoryDevice};

/// A step of a device.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Write {
        offset: usize,
        bytes: Vec<u8>,
    },
    /// A write of this range.
    Sync(Range<usize>),
}

/// A device in memory that records what is done to it.
#[derive(Debug)]
pub(crate) struct Recorder {
    inner: MemoryDevice,
    /// A range that cannot be read until it is written.
    bad: Mutex<Range<u64>>,
    steps: Mutex<Vec<Step>>,
}

impl Recorder {
    pub(crate) fn new(size_bytes: u64) -> Self {
        Self { inner: MemoryDevice::new(size_bytes), bad: Mutex::new(0..0), steps: Mutex::default() }
    }

    pub(crate) fn from_image(image: Vec<u8>) -> Self {
        Self::with_bad_range(image, 0..0)
    }

    /// Makes a device with these contents, of which a range cannot be read.
    pub(crate) fn with_bad_range(image: Vec<u8>, bad: Range<u64>) -> Self {
        Self { inner: MemoryDevice::from_image(image), bad: Mutex::new(bad), steps: Mutex::default() }
    }

    fn check_bad(&self, offset: u64, length: usize) -> io::Result<()> {
        if self.has_bad(offset, length)? { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }

    fn has_bad(&self, offset: u64, length: usize) -> io::Result<bool> {
        let end = offset + u64::try_from(length).map_err(io::Error::other)?;
        let bad = self.bad.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(bad.start < end && offset < bad.end)
    }

    /// Returns the number of steps.
    pub(crate) fn position(&self) -> usize {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(crate) fn steps(&self) -> Vec<Step> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn record(&self, step: Step) {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).push(step);
    }
}

impl Device for Recorder {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.check_bad(offset, buffer.len())?;
        self.inner.read_at(offset, buffer)
    }

    fn read_at_once(&self, offset: u64, buffer: &mut [u8]) -> io::Result<bool> {
        self.check_bad(offset, buffer.len())?;
        self.inner.read_at_once(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.has_bad(offset, bytes.len())? {
            // A disk puts a sector elsewhere that is written.
            *self.bad.lock().unwrap_or_else(PoisonError::into_inner) = 0..0;
        }
        self.inner.write_at(offset, bytes)?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        self.record(Step::Write { offset, bytes: bytes.to_vec() });
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.record(Step::Sync(0..usize::MAX));
        Ok(())
    }
}

/// A part of a recorder, as a device of its own: what is synced of it is synced alone.
#[derive(Debug)]
pub(crate) struct Part {
    of: Arc<Recorder>,
    begin: u64,
    size_bytes: u64,
}

impl Part {
    pub(crate) fn new(of: &Arc<Recorder>, range: &Range<u64>) -> Arc<Self> {
        Arc::new(Self { of: Arc::clone(of), begin: range.start, size_bytes: range.end - range.start })
    }
}

impl Device for Part {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.of.read_at(self.begin + offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let length = u64::try_from(bytes.len()).map_err(io::Error::other)?;
        assert!(offset + length <= self.size_bytes, "a write beyond the end of a device");
        self.of.write_at(self.begin + offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        let at = |offset: u64| usize::try_from(offset).map_err(io::Error::other);
        self.of.record(Step::Sync(at(self.begin)?..at(self.begin + self.size_bytes)?));
        Ok(())
    }
}
