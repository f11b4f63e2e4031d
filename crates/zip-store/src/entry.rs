//! An object in an archive, and the facts that reading it has brought.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// The place and form of an object in an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The place of the local header, in bytes from the beginning of the archive.
    pub(crate) header_offset: u64,
    /// The size of the contents.
    pub(crate) size_bytes: u64,
    /// The size of the contents as they lie in the archive.
    pub(crate) packed_bytes: u64,
    /// The checksum of the contents: CRC-32 of ISO-HDLC.
    pub(crate) crc32: u32,
    pub(crate) method: Method,
}

/// The form in which contents lie in an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Stored,
    Deflated,
    /// Another compression, by its number, or any one with encryption.
    Unsupported {
        number: u16,
        is_encrypted: bool,
    },
}

impl Method {
    pub(crate) const fn from_number(number: u16, is_encrypted: bool) -> Self {
        match (number, is_encrypted) {
            (0, false) => Self::Stored,
            (8, false) => Self::Deflated,
            (number, is_encrypted) => Self::Unsupported { number, is_encrypted },
        }
    }

    pub(crate) const fn number(self) -> u16 {
        match self {
            Self::Stored => 0,
            Self::Deflated => 8,
            Self::Unsupported { number, .. } => number,
        }
    }
}

/// Contents that were not verified yet.
const UNVERIFIED: u64 = 0;
/// Contents that were found wrong.
const WRONG: u64 = u64::MAX;

/// An entry of an open archive.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) name: Box<str>,
    pub(crate) entry: Entry,
    /// The number of bytes of the local header, which has fields of its own; 0 until it was read.
    header_bytes: AtomicU32,
    /// [`UNVERIFIED`], [`WRONG`], or 1 more than the time of the last verification, in milliseconds.
    verified: AtomicU64,
}

impl Known {
    pub(crate) fn new(name: &str, entry: Entry) -> Self {
        Self { name: name.into(), entry, header_bytes: AtomicU32::new(0), verified: AtomicU64::new(UNVERIFIED) }
    }

    /// Returns the place of the contents, if it is known.
    pub(crate) fn contents_offset(&self) -> Option<u64> {
        let header_bytes = self.header_bytes.load(Ordering::Relaxed);
        (header_bytes > 0).then(|| self.entry.header_offset.saturating_add(header_bytes.into()))
    }

    /// Notes the size of the local header.
    pub(crate) fn set_header_bytes(&self, bytes: u64) {
        // A header is shorter than 128 KiB and 30 bytes.
        self.header_bytes.store(u32::try_from(bytes).unwrap_or_default(), Ordering::Relaxed);
    }

    /// Notes the result of a verification at `now`, which is measured from when the archive was opened.
    pub(crate) fn set_verified(&self, is_right: bool, now: Duration) {
        let verified = if is_right { millis(now).saturating_add(1).min(WRONG - 1) } else { WRONG };
        self.verified.store(verified, Ordering::Relaxed);
    }

    /// Returns whether the contents passed a verification that is no older than `lifetime`.
    pub(crate) fn is_verified(&self, now: Duration, lifetime: Duration) -> bool {
        match self.verified.load(Ordering::Relaxed) {
            UNVERIFIED | WRONG => false,
            time => !lifetime.is_zero() && millis(now).saturating_sub(time - 1) <= millis(lifetime),
        }
    }

    /// Returns whether the contents were found wrong.
    pub(crate) fn is_wrong(&self) -> bool {
        self.verified.load(Ordering::Relaxed) == WRONG
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verification_counts_for_its_lifetime() {
        let entry = Entry { header_offset: 0, size_bytes: 0, packed_bytes: 0, crc32: 0, method: Method::Stored };
        let known = Known::new("name", entry);
        let (minute, second) = (Duration::from_mins(1), Duration::from_secs(1));
        assert!(!known.is_verified(Duration::ZERO, minute));
        known.set_verified(true, second);
        assert!(known.is_verified(second, minute));
        assert!(known.is_verified(second + minute, minute));
        assert!(!known.is_verified(second + minute + Duration::from_millis(1), minute));
        assert!(!known.is_verified(second, Duration::ZERO));
        assert!(known.is_verified(minute, Duration::MAX) && !known.is_wrong());
        known.set_verified(false, second);
        assert!(!known.is_verified(second, minute) && known.is_wrong());
    }
}
