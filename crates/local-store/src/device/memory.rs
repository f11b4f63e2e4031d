//! A device in memory, for tests and for state that need not outlive the process.

use std::fmt::{self, Debug, Formatter};
use std::io;
use std::sync::PoisonError;

use super::Device;
use crate::machine::casts;
use crate::machine::concurrency::locks::{Mutex, MutexGuard};

/// A device in memory.
pub struct MemoryDevice(Mutex<Vec<u8>>);

impl MemoryDevice {
    /// Makes a device of this size, all zeros.
    #[must_use]
    pub fn new(size_bytes: u64) -> Self {
        Self::from_image(vec![0; casts::in_memory(size_bytes)])
    }

    /// Makes a device with these contents.
    #[must_use]
    pub fn from_image(image: Vec<u8>) -> Self {
        Self(Mutex::new(image))
    }

    /// Returns a copy of the contents.
    #[must_use]
    pub fn image(&self) -> Vec<u8> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        // Nothing panics while bytes are copied.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Device for MemoryDevice {
    fn size_bytes(&self) -> u64 {
        casts::on_device(self.lock().len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let image = self.lock();
        let from = casts::in_memory(offset);
        let bytes = from.checked_add(buffer.len()).and_then(|to| image.get(from..to));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn read_at_once(&self, offset: u64, buffer: &mut [u8]) -> io::Result<bool> {
        self.read_at(offset, buffer).map(|()| true)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut image = self.lock();
        let from = casts::in_memory(offset);
        let place = from.checked_add(bytes.len()).and_then(|to| image.get_mut(from..to));
        place.ok_or(io::ErrorKind::WriteZero)?.copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Debug for MemoryDevice {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDevice").field("size_bytes", &self.size_bytes()).finish()
    }
}
