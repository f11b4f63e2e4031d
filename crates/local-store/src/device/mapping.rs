//! A device's contents as memory, which is copied from and nothing else.
//!
//! `docs/safety.md`, section 5, says why that is sound, and what it buys.

#![expect(unsafe_code, reason = "a mapping is memory that the language knows nothing about")]

use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering, fence};

use rustix::mm::{MapFlags, ProtFlags};

use crate::machine::casts;

/// The first bytes of a file or block device, mapped for as long as this lives.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<AtomicU8>,
    length: usize,
}

// SAFETY: The memory is bound to no thread, and it is unmapped when nobody borrows it any more.
unsafe impl Send for Mapping {}
// SAFETY: Shared, it is read by atomic loads alone.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `length` bytes of a file, which must be there for as long as this lives: a read beyond the end
    /// of a file raises SIGBUS, as does one that the disk fails.
    pub(crate) fn new(file: BorrowedFd<'_>, length: u64) -> io::Result<Self> {
        let length = casts::in_memory(length);
        // SAFETY: The system chooses a place where nothing is.
        let start = unsafe { rustix::mm::mmap(null_mut(), length, ProtFlags::READ, MapFlags::SHARED, file, 0)? };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, length })
    }

    fn bytes(&self) -> &[AtomicU8] {
        // SAFETY: So many bytes are mapped there while this lives. Nobody has any other reference into them, and they
        // have no invalid values. That they cannot be written is no matter to those who only load, relaxed and no
        // wider than a register, which is what the standard library permits for memory that is read-only.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    /// Copies what lies at `offset`. Whoever writes there meanwhile makes this any mixture of the old and the new
    /// bytes: what is loaded after this returns tells whether that may have been.
    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let from = casts::in_memory(offset);
        let bytes = from.checked_add(buffer.len()).and_then(|to| self.bytes().get(from..to));
        // SAFETY: Eight atomic bytes are as long as an atomic word, which may have any value. Both are loaded only, and
        // loads of different widths do not conflict. Those who write do so by system calls, outside the language.
        let (head, words, tail) = unsafe { bytes.ok_or(io::ErrorKind::UnexpectedEof)?.align_to::<AtomicU64>() };
        let (to_head, rest) = buffer.split_at_mut(head.len());
        let (to_words, to_tail) = rest.as_chunks_mut::<8>();
        copy_bytes(head, to_head);
        for (word, to) in words.iter().zip(to_words) {
            // As the bytes lie in memory, whatever the order of a machine.
            *to = u64::from_le(word.load(Ordering::Relaxed)).to_le_bytes();
        }
        copy_bytes(tail, to_tail);
        // What comes after is loaded after.
        fence(Ordering::Acquire);
        Ok(())
    }
}

fn copy_bytes(from: &[AtomicU8], to: &mut [u8]) {
    for (byte, to) in from.iter().zip(to) {
        *to = byte.load(Ordering::Relaxed);
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: It is the range that was mapped, which nobody can borrow any more.
        let unmapped = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.length) };
        if let Err(error) = unmapped {
            tracing::warn!(%error, "a device stays mapped");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::FileExt as _;

    use super::*;

    #[test]
    fn ranges_of_all_alignments_are_copied_and_later_writes_are_seen() {
        let file = tempfile::tempfile().unwrap();
        let mut image: Vec<u8> = (0..10_000_u32).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect();
        file.write_all_at(&image, 0).unwrap();
        let mapping = Mapping::new(file.as_fd(), 10_000).unwrap();
        for round in 0..2 {
            for (from, length) in (0..17).flat_map(|from| [0, 1, 7, 8, 9, 64, 4104].map(|length| (from, length))) {
                let mut buffer = vec![0xee; length];
                mapping.read_at(casts::on_device(from), &mut buffer).unwrap();
                assert_eq!(buffer, image[from..from + length], "{length} bytes at {from}, round {round}");
            }
            image[3..4000].fill(7);
            file.write_all_at(&image[3..4000], 3).unwrap();
        }
    }

    #[test]
    fn nothing_beyond_the_end_is_read() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8192).unwrap();
        let mapping = Mapping::new(file.as_fd(), 8192).unwrap();
        assert!(mapping.read_at(8190, &mut [0; 2]).is_ok());
        for offset in [8191, 8192, u64::MAX] {
            assert_eq!(mapping.read_at(offset, &mut [0; 2]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
