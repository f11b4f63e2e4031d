//! A device that stays failed once it has failed.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, OnceLock};

use blobaccess::{Error, Result};

use super::Device;

/// A device that stays failed once a write or a sync has failed: nobody knows then what is on the disk, and a later
/// sync that returns without an error proves nothing. Reading goes on.
#[derive(Debug)]
pub(crate) struct LatchedDevice {
    inner: Arc<dyn Device>,
    failure: Arc<OnceLock<Error>>,
}

impl LatchedDevice {
    pub(crate) fn new(inner: Arc<dyn Device>) -> Self {
        Self { inner, failure: Arc::default() }
    }

    /// Wraps another device of the same store: if one fails, both have failed.
    pub(crate) fn beside(&self, inner: Arc<dyn Device>) -> Self {
        Self { inner, failure: Arc::clone(&self.failure) }
    }

    /// Returns the error of a device that has failed.
    pub(crate) fn check(&self) -> Result<()> {
        self.failure.get().map_or(Ok(()), |failure| Err(failure.clone()))
    }

    fn latch(&self, what: &str, error: io::Error) -> Error {
        let message = format!("the device failed to {what}: the store takes no more until it is opened anew");
        let failure = Error::unavailable(message).with_retryable(false).with_source(error);
        tracing::error!("{failure:?}");
        self.failure.get_or_init(|| failure).clone()
    }

    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.check()?;
        self.inner.write_at(offset, bytes).map_err(|error| self.latch("write", error))
    }

    /// Begins to write back as [`Device::begin_write_back`] does.
    pub(crate) fn begin_write_back(&self, offset: u64, length: u64) {
        self.inner.begin_write_back(offset, length);
    }

    pub(crate) fn sync(&self) -> Result<()> {
        self.check()?;
        self.inner.sync().map_err(|error| self.latch("sync", error))?;
        // Another thread's write may have failed meanwhile, and this sync may have swallowed its error.
        self.check()
    }

    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.inner.read_at(offset, buffer).map_err(|error| {
            Error::unavailable(format!("the device failed to read {} bytes at {offset}", buffer.len()))
                .with_source(error)
        })
    }

    /// Returns the mappable file as [`Device::mappable`] does.
    pub(crate) fn mappable(&self) -> Option<BorrowedFd<'_>> {
        self.inner.mappable()
    }

    /// Reads as [`Device::read_at_once`] does. A failure shows when the range is read otherwise.
    pub(crate) fn read_at_once(&self, offset: u64, buffer: &mut [u8]) -> bool {
        self.inner.read_at_once(offset, buffer).unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::MemoryDevice;

    #[derive(Debug)]
    struct Failing {
        inner: MemoryDevice,
        fails: AtomicBool,
    }

    impl Device for Failing {
        fn size_bytes(&self) -> u64 {
            self.inner.size_bytes()
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            self.inner.read_at(offset, buffer)
        }

        fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            if self.fails.load(Ordering::Relaxed) {
                return Err(io::Error::other("disk on fire"));
            }
            self.inner.write_at(offset, bytes)
        }

        fn sync(&self) -> io::Result<()> {
            if self.fails.load(Ordering::Relaxed) { Err(io::Error::other("disk on fire")) } else { Ok(()) }
        }
    }

    #[test]
    fn a_device_that_failed_stays_failed_and_can_be_read() {
        for sync in [false, true] {
            let failing = Arc::new(Failing { inner: MemoryDevice::new(100), fails: AtomicBool::new(false) });
            let device = LatchedDevice::new(Arc::<Failing>::clone(&failing));
            device.write_at(0, b"hello").unwrap();
            failing.fails.store(true, Ordering::Relaxed);
            let result = if sync { device.sync() } else { device.write_at(0, b"x") };
            assert!(!result.unwrap_err().is_retryable());
            failing.fails.store(false, Ordering::Relaxed);
            assert!(device.write_at(0, b"x").is_err());
            assert!(device.sync().is_err());
            assert!(device.check().is_err());
            let mut buffer = [0; 5];
            device.read_at(0, &mut buffer).unwrap();
            assert_eq!(&buffer, b"hello");
        }
    }
}
