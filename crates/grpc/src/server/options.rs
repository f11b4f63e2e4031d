//! The limits and habits of the services.

use std::time::Duration;

/// The largest message that gRPC and its common clients take by default: 4 MiB.
const DEFAULT_MAX_MESSAGE_SIZE_BYTES: usize = 4 << 20;

/// What a message holds besides the blobs of a batch is far below 64 KiB for 400 of them, at 150 bytes each.
const BATCH_HEADROOM_BYTES: usize = 64 << 10;

/// The limits and habits of the [services](crate::Services).
///
/// Every limit is enforced, and those that the protocol has a place for are advertised.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    pub(crate) max_message_size_bytes: usize,
    pub(crate) max_open_calls: usize,
    pub(crate) max_in_flight_bytes: u64,
    pub(crate) upload_idle_timeout: Duration,
    pub(crate) shutdown_grace: Duration,
    pub(crate) compression_level: Option<i32>,
    pub(crate) batch_concurrency: usize,
    pub(crate) forwarded_metadata: Vec<String>,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self {
            max_message_size_bytes: DEFAULT_MAX_MESSAGE_SIZE_BYTES,
            max_open_calls: 4096,
            max_in_flight_bytes: 512 << 20,
            upload_idle_timeout: Duration::from_mins(1),
            shutdown_grace: Duration::from_secs(30),
            compression_level: Some(1),
            batch_concurrency: 16,
            forwarded_metadata: vec!["build.bazel.remote.execution.v2.requestmetadata-bin".to_owned()],
        }
    }
}

impl ServiceOptions {
    /// Sets the largest message that is received or sent, in bytes. At least 128 KiB; 4 MiB unless set, which is what
    /// clients take by default: with more, they must be told as well.
    ///
    /// Too small, and batches shrink to a few blobs and large action results are refused; too large, and one call can
    /// hold that much memory. It is wrong if clients report `ResourceExhausted` or `OutOfRange` for messages.
    #[must_use]
    pub fn with_max_message_size_bytes(mut self, bytes: usize) -> Self {
        self.max_message_size_bytes = bytes.max(128 << 10);
        self
    }

    /// Sets how many calls may be open at once, over all connections: 4096 unless set. One more is refused at once with
    /// `ResourceExhausted`.
    ///
    /// Each open call holds some tens of KiB, and at most a message.
    #[must_use]
    pub fn with_max_open_calls(mut self, calls: usize) -> Self {
        self.max_open_calls = calls.max(1);
        self
    }

    /// Sets how many bytes of blobs may be on their way in, or being put together for a batch, at once: 512 MiB unless set.
    /// What is beyond that waits, unread.
    ///
    /// Too small, and uploads wait for each other; it need not exceed the number of concurrent uploads times their
    /// size. An upload counts for at most a quarter of all, so that a slow one does not keep out the others: of larger
    /// blobs the rest is not counted.
    #[must_use]
    pub fn with_max_in_flight_bytes(mut self, bytes: u64) -> Self {
        self.max_in_flight_bytes = bytes.max(1);
        self
    }

    /// Sets the time without a message after which an upload is ended with `DeadlineExceeded`: a minute unless set.
    #[must_use]
    pub fn with_upload_idle_timeout(mut self, timeout: Duration) -> Self {
        self.upload_idle_timeout = timeout;
        self
    }

    /// Sets how long calls that are running may take to finish once the server is told to stop: 30 seconds unless set. What
    /// is left then is cut off.
    ///
    /// Too small, and uploads of large blobs are lost at each restart; too large, and a client that hangs delays it.
    #[must_use]
    pub fn with_shutdown_grace(mut self, grace: Duration) -> Self {
        self.shutdown_grace = grace;
        self
    }

    /// Sets the level that blobs are compressed at for clients that ask for zstd, 1 to 19; `None` offers no compression.
    /// 1 unless set: a higher level costs the server more than the network gains.
    #[must_use]
    pub fn with_compression_level(mut self, level: Option<i32>) -> Self {
        self.compression_level = level.map(|level| level.clamp(1, 19));
        self
    }

    /// Sets how many blobs of one batch are read or stored at once: 16 unless set.
    #[must_use]
    pub fn with_batch_concurrency(mut self, blobs: usize) -> Self {
        self.batch_concurrency = blobs.max(1);
        self
    }

    /// Sets the names of the request metadata that stores get to see, and that remote stores are sent: the protocol's
    /// `RequestMetadata` unless set.
    #[must_use]
    pub fn with_forwarded_metadata<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.forwarded_metadata = names.into_iter().map(|name| name.into().to_ascii_lowercase()).collect();
        self
    }

    /// Returns the maximum bytes of blobs in a batch: a message less its headroom.
    pub(crate) fn max_batch_total_size_bytes(&self) -> u64 {
        let bytes = self.max_message_size_bytes.saturating_sub(BATCH_HEADROOM_BYTES);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// Returns the largest message as a number of bytes of contents.
    pub(crate) fn max_message_bytes(&self) -> u64 {
        u64::try_from(self.max_message_size_bytes).unwrap_or(u64::MAX)
    }
}
