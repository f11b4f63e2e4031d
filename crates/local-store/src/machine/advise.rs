//! Hints about memory and files, to the system and to the processor, which there is no safe way to give.
//!
//! No hint changes any contents. `docs/safety.md` says how much each gains.

use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd as _;
use std::os::fd::BorrowedFd;

/// The size of a huge page, in bytes.
const HUGE_BYTES: usize = 2 << 20;

/// Makes a boxed slice of this length, on huge pages if the system has any to give.
///
/// A slice smaller than a few huge pages is not worth asking for.
pub(crate) fn boxed_slice<T: Default>(length: usize) -> Box<[T]> {
    let mut items = Vec::with_capacity(length);
    // Before the memory is touched for the first time, as it keeps the pages that it gets then.
    if length.saturating_mul(size_of::<T>()) >= 4 * HUGE_BYTES {
        advise(items.spare_capacity_mut());
    }
    items.resize_with(length, T::default);
    items.into_boxed_slice()
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "`madvise` is the only way to ask, and takes a pointer; it changes no contents")]
fn advise<T>(memory: &mut [T]) {
    let range = memory.as_mut_ptr_range();
    let begin = range.start.addr().next_multiple_of(HUGE_BYTES);
    let Some(length) = (range.end.addr() / HUGE_BYTES * HUGE_BYTES).checked_sub(begin) else { return };
    let begin = range.start.with_addr(begin).cast();
    // SAFETY: The range lies within `memory`, which is borrowed exclusively, and the advice concerns nothing but the
    // size of the pages that it is kept in.
    let advised = unsafe { rustix::mm::madvise(begin, length, rustix::mm::Advice::LinuxHugepage) };
    if let Err(error) = advised {
        tracing::debug!(%error, "no huge pages");
    }
}

/// Does nothing: other systems choose the size of pages themselves.
#[cfg(not(target_os = "linux"))]
fn advise<T>(_memory: &mut [T]) {}

/// Fetches the cache line in which `item` begins, which is needed soon. Nothing waits for it: a load that is not needed
/// yet would hold up later ones once the processor's window is full.
#[inline]
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "there is no safe way to ask for a line without waiting for it")]
pub(crate) fn prefetch<T>(item: &T) {
    use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: A prefetch reads nothing that the program could see, and does not fault, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(item).cast()) };
}

/// Fetches the cache line at `item`, as one of many that are needed in a while. The line goes to the second level of
/// the caches, where far more can be on their way: 6 to 9 ns a line, against 10 to 12 for the first level.
#[inline]
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "there is no safe way to ask for a line without waiting for it")]
pub(crate) fn prefetch_one_of_many<T>(item: *const T) {
    use core::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
    // SAFETY: As in `prefetch`.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(item.cast()) };
}

/// Does nothing: other processors overlap loads by themselves.
#[inline]
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn prefetch<T>(_item: &T) {}

/// Does nothing: other processors overlap loads by themselves.
#[inline]
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn prefetch_one_of_many<T>(_item: *const T) {}

/// Begins to write a range of a file to its disk. The call waits for nothing, and takes no error away from the next
/// sync, as it does not wait for earlier writes.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the only way to ask for it")]
pub(crate) fn begin_write_back(file: BorrowedFd<'_>, offset: u64, length: u64) -> io::Result<()> {
    let beyond = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let (offset, length) = (i64::try_from(offset).map_err(beyond)?, i64::try_from(length).map_err(beyond)?);
    // SAFETY: The descriptor is borrowed, so it is open; it takes no pointer.
    match unsafe { libc::sync_file_range(file.as_raw_fd(), offset, length, libc::SYNC_FILE_RANGE_WRITE) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Does nothing: other systems offer no such call, so writing begins with the next sync.
#[cfg(not(target_os = "linux"))]
pub(crate) fn begin_write_back(_file: BorrowedFd<'_>, _offset: u64, _length: u64) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn slices_of_all_lengths_have_their_items() {
        for length in [0, 1, 1000, 3 << 20] {
            let slice: Box<[u64]> = boxed_slice(length);
            assert_eq!(slice.len(), length);
            assert!(slice.iter().all(|item| *item == 0));
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn writing_begins_where_there_is_something_to_write_to() {
        let file = tempfile::tempfile().unwrap();
        begin_write_back(file.as_fd(), 0, 1 << 20).unwrap();
        let beyond = begin_write_back(file.as_fd(), u64::MAX, 1).unwrap_err();
        assert_eq!(beyond.kind(), io::ErrorKind::InvalidInput);
        let (pipe, _) = io::pipe().unwrap();
        assert!(begin_write_back(pipe.as_fd(), 0, 1).is_err());
    }

    #[test]
    fn prefetching_changes_nothing() {
        let items = [1_u64, 2, 3];
        for item in &items {
            prefetch(item);
            prefetch_one_of_many(item);
        }
        assert_eq!(items, [1, 2, 3]);
    }
}
