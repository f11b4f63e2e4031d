//! A device that stays failed once it has failed to write, and whose failures to read are told apart: damage of a range
//! from an outage.

use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use blobaccess::{Error, Result};

use super::{Device, SECTOR_BYTES};
use crate::machine::casts;

/// The number of sectors that are remembered to be good.
const WITNESSES: usize = 8;

/// No sector.
const NONE: u64 = u64::MAX;

/// The filler of a sector that cannot be read. No superblock, label, entry or touch proves right with it, and it is no
/// blank either.
const UNREADABLE: u8 = 0xff;

/// A device that stays failed once a write or a sync has failed: nobody knows then what is on the disk, and a later
/// sync that returns without an error proves nothing. Reading goes on.
///
/// A range that cannot be read, while another one can, is damaged: `DataLoss`. If nothing can be read, the device is
/// out: `Unavailable`.
#[derive(Debug)]
pub(crate) struct LatchedDevice {
    inner: Arc<dyn Device>,
    failure: Arc<OnceLock<Error>>,
    /// Sectors that were read or written. Whether they can be read tells damage from an outage.
    witnesses: [AtomicU64; WITNESSES],
    /// Whether the device has said that it never knows whether a read would wait.
    always_waits: AtomicBool,
}

impl LatchedDevice {
    pub(crate) fn new(inner: Arc<dyn Device>) -> Self {
        Self::latching(inner, Arc::default())
    }

    /// Wraps another device of the same store: if one fails, both have failed.
    pub(crate) fn beside(&self, inner: Arc<dyn Device>) -> Self {
        Self::latching(inner, Arc::clone(&self.failure))
    }

    fn latching(inner: Arc<dyn Device>, failure: Arc<OnceLock<Error>>) -> Self {
        let witnesses = std::array::from_fn(|_| AtomicU64::new(NONE));
        Self { inner, failure, witnesses, always_waits: AtomicBool::new(false) }
    }

    /// Returns the error of a device that has failed.
    pub(crate) fn check(&self) -> Result<()> {
        self.failure.get().map_or(Ok(()), |failure| Err(failure.clone()))
    }

    /// Returns the size of the device, in bytes.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn latch(&self, what: &str, error: io::Error) -> Error {
        let message = format!("the device failed to {what}: the store takes no more until it is opened anew");
        let failure = Error::unavailable(message).with_retryable(false).with_source(error);
        // Once, however many writes were under way.
        let latched = self.failure.get_or_init(|| {
            tracing::error!("{failure:?}");
            failure
        });
        latched.clone()
    }

    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.check()?;
        self.inner.write_at(offset, bytes).map_err(|error| self.latch("write", error))?;
        self.note_good(offset);
        Ok(())
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

    /// Reads a range.
    ///
    /// # Errors
    ///
    /// `DataLoss` if this range cannot be read, by two attempts, while another one can. `Unavailable` if none can, or
    /// the device has failed before.
    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let Err(error) = self.inner.read_at(offset, buffer) else {
            self.note_good(offset);
            return Ok(());
        };
        let range = offset..offset.saturating_add(casts::on_device(buffer.len()));
        // The device answers before the second attempt, and after it: it was there meanwhile.
        if self.check().is_err() || !self.is_there(&range) {
            return Err(outage(&range, error));
        }
        let Err(error) = self.inner.read_at(offset, buffer) else { return Ok(()) };
        if !self.is_there(&range) {
            return Err(outage(&range, error));
        }
        let message = format!("the device cannot read {} bytes at {offset}, while it reads others", buffer.len());
        Err(Error::data_loss(message).with_source(error))
    }

    /// Reads whole sectors. One that cannot be read, while another one can, is filled with bytes that prove nothing.
    ///
    /// # Errors
    ///
    /// `Unavailable` if nothing can be read.
    pub(crate) fn read_sectors(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let Err(error) = self.inner.read_at(offset, buffer) else {
            self.note_good(offset);
            return Ok(());
        };
        let whole = offset..offset.saturating_add(casts::on_device(buffer.len()));
        let (mut at, mut good, mut unreadable) = (offset, None, 0_u64);
        for sector in buffer.chunks_mut(casts::in_memory(SECTOR_BYTES)) {
            if self.inner.read_at(at, sector).or_else(|_| self.inner.read_at(at, sector)).is_ok() {
                good = Some(at);
            } else {
                sector.fill(UNREADABLE);
                unreadable += 1;
            }
            at += SECTOR_BYTES;
        }
        if unreadable == 0 {
            return Ok(());
        }
        let is_there = good.is_some_and(|good| self.can_read(good)) || self.is_there(&whole);
        if self.check().is_err() || !is_there {
            return Err(outage(&whole, error));
        }
        if let Some(good) = good {
            self.note_good(good);
        }
        tracing::error!(
            %error,
            unreadable,
            "the device cannot read some sectors of {} bytes at {offset}: what they held is lost",
            buffer.len()
        );
        Ok(())
    }

    /// Notes that the sector at `offset` is there, unless enough are known.
    fn note_good(&self, offset: u64) {
        let sector = offset / SECTOR_BYTES;
        let Some(witness) = self.witnesses.get(casts::in_memory(sector) % WITNESSES) else { return };
        if witness.load(Ordering::Relaxed) == NONE {
            witness.store(sector * SECTOR_BYTES, Ordering::Relaxed);
        }
    }

    /// Returns whether a sector outside `range` can be read that was there before.
    fn is_there(&self, range: &Range<u64>) -> bool {
        let is_beside = |sector: u64| sector != NONE && (sector + SECTOR_BYTES <= range.start || sector >= range.end);
        let witnesses = self.witnesses.iter().map(|witness| witness.load(Ordering::Relaxed));
        witnesses.filter(|sector| is_beside(*sector)).any(|sector| self.can_read(sector))
    }

    fn can_read(&self, sector: u64) -> bool {
        let length = self.inner.size_bytes().saturating_sub(sector).min(SECTOR_BYTES);
        self.inner.read_from_disk(sector, &mut vec![0; casts::in_memory(length)]).is_ok()
    }

    /// Returns the mappable file as [`Device::mappable`] does.
    pub(crate) fn mappable(&self) -> Option<BorrowedFd<'_>> {
        self.inner.mappable()
    }

    /// Returns whether the device can tell whether a read would wait, as far as is known.
    pub(crate) fn may_read_at_once(&self) -> bool {
        !self.always_waits.load(Ordering::Relaxed)
    }

    /// Reads as [`Device::read_at_once`] does. A failure shows when the range is read otherwise.
    pub(crate) fn read_at_once(&self, offset: u64, buffer: &mut [u8]) -> bool {
        match self.inner.read_at_once(offset, buffer) {
            Ok(is_read) => is_read,
            Err(error) => {
                if error.kind() == io::ErrorKind::Unsupported {
                    self.always_waits.store(true, Ordering::Relaxed);
                }
                false
            }
        }
    }
}

fn outage(range: &Range<u64>, error: io::Error) -> Error {
    let length = range.end - range.start;
    Error::unavailable(format!("the device failed to read {length} bytes at {}", range.start)).with_source(error)
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
