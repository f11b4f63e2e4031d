//! Converts numbers between widths: sizes in memory, on a device and in records.
//!
//! This crate is for machines whose addresses have 64 bits; on any other, a size that does not fit becomes the largest.

/// Converts a size on a device to one in memory.
#[inline]
pub(crate) fn in_memory(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Converts a size in memory to one on a device.
#[inline]
pub(crate) fn on_device(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Converts a number of items in memory to a narrow one.
#[inline]
pub(crate) fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Converts a narrow number to an index.
#[inline]
pub(crate) fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Returns the lower 32 bits.
#[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "it is what this is for")]
#[inline]
pub(crate) const fn low(word: u64) -> u32 {
    word as u32
}

/// Returns the upper 32 bits.
#[inline]
pub(crate) const fn high(word: u64) -> u32 {
    low(word >> 32)
}

/// Returns the lower 64 bits.
#[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "it is what this is for")]
#[inline]
pub(crate) const fn low_64(word: u128) -> u64 {
    word as u64
}
