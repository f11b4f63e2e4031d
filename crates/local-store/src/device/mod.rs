//! Storage by offset: read, write, sync.

mod allocation;
mod buffers;
mod devices;
mod file;
mod latched;
mod limited;
mod mapping;
mod memory;
mod reading;
mod sector;

use std::fmt::Debug;
use std::io;
use std::os::fd::BorrowedFd;

pub(crate) use self::buffers::{ReadBuffer, ReadBuffers};
pub use self::devices::Devices;
pub use self::file::FileDevice;
pub(crate) use self::latched::LatchedDevice;
pub(crate) use self::mapping::Mapping;
pub use self::memory::MemoryDevice;
pub(crate) use self::reading::ReadingDevice;
pub(crate) use self::sector::SECTOR_BYTES;

/// Storage by offset, of fixed size.
///
/// All methods may block. They may be called from several threads at once; no two writes that overlap, nor a write and
/// a read whose result matters, are under way at the same time.
///
/// # Contract
///
/// * A write that has returned is seen by every later read.
/// * A sync that has returned without an error has made durable every write that had returned before it was called.
/// * Of a write that was not synced, any sectors may be lost in a crash, in any order.
pub trait Device: Debug + Send + Sync + 'static {
    /// Returns the size of the device, in bytes.
    fn size_bytes(&self) -> u64;

    /// Fills `buffer` with what lies at `offset`.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from reading all of it.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Reads the same, if that takes no waiting for a disk. Returns `false` if it would, or if the device cannot tell.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from reading. `Unsupported` says that the device never can tell, and is not to be asked again.
    fn read_at_once(&self, offset: u64, buffer: &mut [u8]) -> io::Result<bool> {
        let _: (u64, &mut [u8]) = (offset, buffer);
        Ok(false)
    }

    /// Fills `buffer` with what lies at `offset` on the disk itself, not with what is remembered of it: a disk that is gone
    /// must not seem to be there. It fails if nobody can say whether the disk was asked. The default reads as [`read_at`](Self::read_at) does.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from reading all of it.
    fn read_from_disk(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read_at(offset, buffer)
    }

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from writing all of it; a part may be written then.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes durable what was written.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from that; what is durable is not known then.
    fn sync(&self) -> io::Result<()>;

    /// Is told that what was written here is to be synced soon, so that the disk may begin with it meanwhile. A hint: it
    /// makes nothing durable, and what fails shows at the next sync.
    fn begin_write_back(&self, offset: u64, length: u64) {
        let _: (u64, u64) = (offset, length);
    }

    /// Returns the file or block device that has the contents of this device at the same offsets, if there is one that
    /// can be mapped: for [`Options::with_mapped_reads`](crate::Options::with_mapped_reads). It must see each write
    /// that has returned, so it must not be written around the page cache.
    fn mappable(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
