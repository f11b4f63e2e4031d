//! The space of a file on its disk: taken in full, or given back if there is not enough.

use std::fs::File;
use std::io;
use std::ops::Range;

use rustix::io::Errno;

/// Takes the space of a file, so that it cannot run out later. Only what the file does not have yet is asked for, as some
/// file systems need space for what is asked for again. If there is not enough, the file gets back what it had.
///
/// Where a file system cannot do that, the file gets its size and no more.
#[cfg(target_os = "linux")]
pub(super) fn allocate(file: &File, size_bytes: u64) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;

    let before = file.metadata()?;
    let had = before.blocks().saturating_mul(512);
    if before.len() >= size_bytes && had >= size_bytes {
        return Ok(());
    }
    let ranges = missing_ranges(file, before.len(), size_bytes);
    // Space that is taken and not written yet looks missing, and so does what is compressed by the other measure.
    let missing: u64 = ranges.iter().map(|range| range.end - range.start).sum();
    let missing = missing.min(size_bytes.saturating_sub(had));
    if free_bytes(file).is_some_and(|free| free < missing) {
        return Err(Errno::NOSPC.into());
    }
    for range in &ranges {
        match take(file, range, had > 0) {
            Ok(()) => {}
            Err(error) if is_unsupported(error) || error == Errno::NOSYS => {
                tracing::warn!("this file system keeps no space for a file: a full disk shows when blobs are written");
                return extend(file, size_bytes);
            }
            Err(error) => {
                give_back(file, &ranges, before.len())?;
                return Err(error.into());
            }
        }
    }
    extend(file, size_bytes)
}

/// Takes the space of a file. The call allocates behind the end of the file, and cuts a file that is larger.
#[cfg(not(target_os = "linux"))]
pub(super) fn allocate(file: &File, size_bytes: u64) -> io::Result<()> {
    use rustix::fs::FallocateFlags;

    let before = file.metadata()?.len();
    if before >= size_bytes {
        return Ok(());
    }
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, size_bytes) {
        Ok(()) => Ok(()),
        Err(error) if is_unsupported(error) || error == Errno::NOSYS => extend(file, size_bytes),
        Err(error) => {
            file.set_len(before)?;
            Err(error.into())
        }
    }
}

/// Gives a file its size, unless it is larger.
pub(super) fn extend(file: &File, size_bytes: u64) -> io::Result<()> {
    if file.metadata()?.len() < size_bytes {
        file.set_len(size_bytes)?;
    }
    Ok(())
}

/// Returns whether a file system does not offer a call. Linux has one number for this, macOS two.
pub(super) fn is_unsupported(error: Errno) -> bool {
    [Errno::OPNOTSUPP, Errno::NOTSUP].contains(&error)
}

/// Returns the ranges of the first `size_bytes` of a file that hold nothing, or may hold nothing.
#[cfg(target_os = "linux")]
fn missing_ranges(file: &File, length: u64, size_bytes: u64) -> Vec<Range<u64>> {
    use rustix::fs::{SeekFrom, seek};

    let end = length.min(size_bytes);
    let (mut ranges, mut at) = (Vec::<Range<u64>>::new(), 0);
    while at < end {
        let begin = seek(file, SeekFrom::Hole(at)).unwrap_or(at).min(end);
        let data = if begin < end { seek(file, SeekFrom::Data(begin)) } else { Ok(end) };
        // Behind the last data there is a hole up to the end.
        at = data.map_or(end, |data| data.clamp(begin, end));
        if begin < at {
            ranges.push(begin..at);
        } else if begin < end {
            // Not a hole after all: a file system that cannot tell.
            ranges.push(begin..end);
            at = end;
        }
    }
    match ranges.last_mut() {
        Some(last) if last.end == length => last.end = size_bytes,
        _ if length < size_bytes => ranges.push(length..size_bytes),
        _ => {}
    }
    ranges
}

/// Takes the space of a range, piece by piece if there is not enough for all of it at once: a part `may_be_there`.
#[cfg(target_os = "linux")]
fn take(file: &File, range: &Range<u64>, may_be_there: bool) -> rustix::io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::retry_on_intr;

    /// The size of a piece, in bytes.
    const PIECE_BYTES: u64 = 1 << 20;

    let take = |begin: u64, end: u64| retry_on_intr(|| fallocate(file, FallocateFlags::empty(), begin, end - begin));
    match take(range.start, range.end) {
        Err(Errno::NOSPC) if may_be_there => {}
        taken => return taken,
    }
    let mut at = range.start;
    while at < range.end {
        let end = range.end.min(at + PIECE_BYTES);
        take(at, end)?;
        at = end;
    }
    Ok(())
}

/// Gives back the space of ranges that held nothing, and the size that the file had.
#[cfg(target_os = "linux")]
fn give_back(file: &File, ranges: &[Range<u64>], length: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};

    file.set_len(length)?;
    for range in ranges {
        let end = range.end.min(length);
        if range.start < end {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            fallocate(file, flags, range.start, end - range.start)?;
        }
    }
    Ok(())
}

/// Returns the free bytes of the file system of a file; `None` if it does not say.
#[cfg(target_os = "linux")]
fn free_bytes(file: &File) -> Option<u64> {
    let known = rustix::fs::fstatvfs(file).ok().filter(|known| known.f_blocks > 0)?;
    known.f_bfree.checked_mul(known.f_frsize)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::os::unix::fs::{FileExt as _, MetadataExt as _};

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn only_what_is_missing_is_taken_and_what_is_there_stays() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4 * MIB).unwrap();
        file.write_all_at(&vec![7; 1 << 16], MIB).unwrap();
        file.sync_data().unwrap();
        let ranges = missing_ranges(&file, 4 * MIB, 6 * MIB);
        assert_eq!(ranges.last().unwrap().end, 6 * MIB);
        assert!(ranges.iter().all(|range| !range.contains(&MIB)), "{ranges:?}");
        allocate(&file, 6 * MIB).unwrap();
        let metadata = file.metadata().unwrap();
        assert_eq!(metadata.len(), 6 * MIB);
        if metadata.blocks() * 512 >= 6 * MIB {
            allocate(&file, 6 * MIB).unwrap();
        }
        let mut byte = [0];
        file.read_exact_at(&mut byte, MIB).unwrap();
        assert_eq!(byte, [7]);
    }

    #[test]
    fn a_file_that_does_not_fit_gets_back_what_it_had() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(2 * MIB).unwrap();
        file.write_all_at(&vec![7; 1 << 16], 0).unwrap();
        file.sync_data().unwrap();
        let before = file.metadata().unwrap();
        let Some(free) = free_bytes(&file) else { return };
        let refused = allocate(&file, free.saturating_mul(2).saturating_add(4 * MIB)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
        give_back(&file, &missing_ranges(&file, 2 * MIB, 3 * MIB), 2 * MIB).unwrap();
        let after = file.metadata().unwrap();
        assert_eq!(after.len(), before.len());
        assert!(after.blocks() <= before.blocks());
        let mut byte = [0];
        file.read_exact_at(&mut byte, 65_535).unwrap();
        assert_eq!(byte, [7]);
    }
}
