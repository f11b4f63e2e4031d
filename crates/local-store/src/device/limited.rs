//! A device that is written by so many threads at once, and no more.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, PoisonError};

use super::Device;
use crate::machine::concurrency::locks::{Condvar, Mutex, MutexGuard};

/// A device that is written by so many threads at once, and no more. Reads and syncs go on beside them.
#[derive(Debug)]
pub(super) struct LimitedDevice {
    inner: Arc<dyn Device>,
    most: u32,
    writing: Mutex<u32>,
    ended: Condvar,
}

impl LimitedDevice {
    /// Limits `device` to `most` concurrent writes, at least 1.
    pub(super) fn new(inner: Arc<dyn Device>, most: u32) -> Self {
        Self { inner, most: most.max(1), writing: Mutex::new(0), ended: Condvar::new() }
    }

    fn writing(&self) -> MutexGuard<'_, u32> {
        // A number, which is changed in one step.
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) -> Writing<'_> {
        let waited = self.ended.wait_while(self.writing(), |writing| *writing >= self.most);
        *waited.unwrap_or_else(PoisonError::into_inner) += 1;
        Writing(self)
    }
}

/// A write that is under way, until this is dropped.
struct Writing<'a>(&'a LimitedDevice);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        *self.0.writing() -= 1;
        self.0.ended.notify_one();
    }
}

impl Device for LimitedDevice {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(offset, buffer)
    }

    fn read_at_once(&self, offset: u64, buffer: &mut [u8]) -> io::Result<bool> {
        self.inner.read_at_once(offset, buffer)
    }

    fn read_from_disk(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.inner.read_from_disk(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let _writing = self.begin();
        self.inner.write_at(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }

    fn begin_write_back(&self, offset: u64, length: u64) {
        self.inner.begin_write_back(offset, length);
    }

    fn mappable(&self) -> Option<BorrowedFd<'_>> {
        self.inner.mappable()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Counts who writes; each write waits for another beside it, if there may be one.
    #[derive(Debug)]
    struct Counting {
        writing: AtomicU32,
        highest: AtomicU32,
        together: Barrier,
    }

    impl Device for Counting {
        fn size_bytes(&self) -> u64 {
            0
        }

        fn read_at(&self, _offset: u64, _buffer: &mut [u8]) -> io::Result<()> {
            Ok(())
        }

        fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
            let writing = self.writing.fetch_add(1, Ordering::SeqCst) + 1;
            self.highest.fetch_max(writing, Ordering::SeqCst);
            self.together.wait();
            self.writing.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }

        fn sync(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn as_many_write_at_once_as_may_and_no_more() {
        for most in [1, 2, 3] {
            let counting = Arc::new(Counting {
                writing: AtomicU32::new(0),
                highest: AtomicU32::new(0),
                together: Barrier::new(usize::try_from(most).unwrap()),
            });
            let device = LimitedDevice::new(Arc::<Counting>::clone(&counting), most);
            std::thread::scope(|scope| {
                // Twelve writes, in which each number that may be at once goes without a rest.
                for _ in 0..12 {
                    scope.spawn(|| device.write_at(0, b"x").unwrap());
                }
            });
            assert_eq!(counting.highest.load(Ordering::SeqCst), most);
        }
    }
}
