//! The settings of a ZIP store.

use std::time::Duration;

use blobaccess::{Capabilities, Kind};

/// The settings of a [`ZipReadingStore`](crate::ZipReadingStore) or a [`ZipWritingStore`](crate::ZipWritingStore).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use blobaccess_zip_store::ZipOptions;
///
/// let options = ZipOptions::new().with_salvaging(true).with_verification_lifetime(Duration::from_hours(4));
/// assert_ne!(options, ZipOptions::default());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZipOptions {
    pub(crate) max_directory_memory_bytes: u64,
    pub(crate) max_message_size_bytes: u64,
    pub(crate) verification_lifetime: Duration,
    pub(crate) salvages: bool,
}

impl ZipOptions {
    /// Returns the defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            max_directory_memory_bytes: 1 << 30,
            max_message_size_bytes: 16 << 20,
            verification_lifetime: Duration::MAX,
            salvages: false,
        }
    }

    /// Sets the maximum memory that the directory of an archive may take, in bytes.
    ///
    /// Each entry takes 144 bytes and its name, which for a blob by SHA-256 has 68 to 80 bytes. While an archive is
    /// opened, it takes 16 bytes more. *Too few*: archives are refused when they are opened, and puts once it is full
    /// (`ResourceExhausted`). *Too many*: an archive from elsewhere can take that much memory. *Default*: 1 GiB, which
    /// is enough for four million entries.
    #[must_use]
    pub const fn with_max_directory_memory_bytes(mut self, bytes: u64) -> Self {
        self.max_directory_memory_bytes = bytes;
        self
    }

    /// Sets the maximum size of a message, such as an action result, that is read or written, in bytes. Messages are
    /// held in memory whole. Blobs have no maximum.
    ///
    /// *Default*: 16 MiB.
    #[must_use]
    pub const fn with_max_message_size_bytes(mut self, bytes: u64) -> Self {
        self.max_message_size_bytes = bytes;
        self
    }

    /// Sets for how long the verification of a blob counts, so that the blob is not verified again when it is read.
    ///
    /// A verified blob that is not compressed is read from anywhere; of any other, a range is read from the beginning
    /// of the blob to its end. Puts count as verifications, and messages are verified each time. *Too short*: ranges of
    /// large blobs are slow. *Too long*: contents that the disk loses while the archive is open may be served.
    /// *Range*: zero, which verifies each time, to [`Duration::MAX`]. *Default*: as long as the archive is open.
    ///
    /// Buildbarn has the same as `data_integrity_validation_cache`, which also has a size. Here, it takes 8 bytes of
    /// each entry.
    #[must_use]
    pub const fn with_verification_lifetime(mut self, lifetime: Duration) -> Self {
        self.verification_lifetime = lifetime;
        self
    }

    /// Sets whether an archive without a directory is salvaged when it is opened, rather than refused. Such an archive
    /// was cut, or its writer did not finish it.
    ///
    /// Salvaging reads the whole archive, and finds the entries whose contents are right. Blobs are verified by their
    /// digest, wherever they lie. Messages are verified by their checksum, and only those before the first gap are
    /// found: a gap may hold part of a message, in which a client may have put what looks like an entry. Neither finds
    /// compressed entries, which no store writes, or entries that are named by no digest. *Default*: refused.
    #[must_use]
    pub const fn with_salvaging(mut self, salvages: bool) -> Self {
        self.salvages = salvages;
        self
    }

    /// Returns the capabilities of an archive of this kind.
    pub(crate) fn capabilities<K: Kind>(&self) -> Capabilities {
        let capabilities = Capabilities::unlimited();
        if K::STORAGE_TYPE.is_mutable() {
            capabilities.with_max_blob_size_bytes(self.max_message_size_bytes)
        } else {
            capabilities
        }
    }
}

impl Default for ZipOptions {
    fn default() -> Self {
        Self::new()
    }
}
