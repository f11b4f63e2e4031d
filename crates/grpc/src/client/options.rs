//! How a remote store is reached, and how it is used.

use std::time::Duration;

use blobaccess::{Metadata, Result};
use tonic::metadata::MetadataMap;

use super::request_metadata::insert;
use super::retry_policy::RetryPolicy;
#[cfg(feature = "tls")]
use super::tls::RemoteTls;

/// The largest message that every common gRPC server takes by default: 4 MiB.
const DEFAULT_MAX_MESSAGE_SIZE_BYTES: usize = 4 << 20;

/// The part of a batch besides blobs and their digests, in bytes: instance name, lengths.
const MESSAGE_HEADROOM_BYTES: usize = 64 << 10;

/// The address of a [`Remote`](crate::Remote), and limits for its use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteOptions {
    pub(super) address: String,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<RemoteTls>,
    pub(super) headers: Metadata,
    pub(super) connections: usize,
    pub(super) connect_timeout: Duration,
    pub(super) silence_timeout: Duration,
    pub(super) keepalive: Option<(Duration, Duration)>,
    pub(super) max_message_size_bytes: usize,
    pub(super) max_batch_bytes: u64,
    pub(super) max_concurrent_calls: usize,
    pub(super) find_missing_concurrency: usize,
    pub(super) batch_threshold_bytes: u64,
    pub(super) compression_level: Option<i32>,
    pub(super) capabilities_lifetime: Duration,
    pub(super) retry: RetryPolicy,
}

impl RemoteOptions {
    /// Makes the options for the server at `address`: `grpc://host:port` or `http://host:port`; with TLS `grpcs://host:port` or
    /// `https://host:port`; or `unix:/path/of/a/socket`.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            #[cfg(feature = "tls")]
            tls: None,
            headers: Metadata::new(),
            connections: 2,
            connect_timeout: Duration::from_secs(10),
            silence_timeout: Duration::from_mins(1),
            keepalive: None,
            max_message_size_bytes: DEFAULT_MAX_MESSAGE_SIZE_BYTES,
            max_batch_bytes: u64::MAX,
            max_concurrent_calls: 256,
            find_missing_concurrency: 8,
            batch_threshold_bytes: 64 << 10,
            compression_level: Some(1),
            capabilities_lifetime: Duration::from_mins(1),
            retry: RetryPolicy::default(),
        }
    }

    /// Sets the options of TLS for an `https` or `grpcs` address: the roots of the system unless set.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls(mut self, tls: RemoteTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sends this with every call, in place of anything of that name that is forwarded. A name that ends in `-bin` has
    /// a value of any bytes. Values are not shown by `Debug`.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers = self.headers.with(name.into(), value);
        self
    }

    /// Sets the number of connections that calls are spread over, 1 to 64: 2 unless set.
    ///
    /// Each connection has one task that encrypts, frames and copies. With few connections, this task is the limit: one
    /// processor is busy, and throughput does not rise with concurrency. With many, the server needs more sockets and
    /// memory, and the window of each connection grows slowly.
    #[must_use]
    pub fn with_connections(mut self, connections: usize) -> Self {
        self.connections = connections.clamp(1, 64);
        self
    }

    /// Sets the time that connecting may take: 10 s unless set.
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how long the server may be silent: 60 s unless set. A call without streams must be answered within this time.
    /// In a stream, each message must arrive, or be taken, within it.
    ///
    /// The limit is for each attempt. The deadline of the caller is for all attempts together, and may end earlier.
    #[must_use]
    pub fn with_silence_timeout(mut self, timeout: Duration) -> Self {
        self.silence_timeout = timeout;
        self
    }

    /// Pings a connection every `interval`, and gives it up if no answer comes within `timeout`. Off unless set: servers
    /// close the connections of clients that ping more often than permitted (often every 5 minutes).
    #[must_use]
    pub fn with_keepalive(mut self, interval: Duration, timeout: Duration) -> Self {
        self.keepalive = Some((interval, timeout));
        self
    }

    /// Sets the largest message that is sent or received, in bytes. At least 128 KiB; 4 MiB unless set, which every server
    /// takes.
    #[must_use]
    pub fn with_max_message_size_bytes(mut self, bytes: usize) -> Self {
        self.max_message_size_bytes = bytes.max(128 << 10);
        self
    }

    /// Sets the most bytes that a message of a batch or of an upload carries, at least 64 KiB: as many as a message has
    /// room for unless set.
    ///
    /// Set this if the server takes smaller messages than it sends, and does not say so in its capabilities. Single
    /// messages, such as action results, are sent up to the size of the largest message nonetheless.
    #[must_use]
    pub fn with_max_batch_bytes(mut self, bytes: u64) -> Self {
        self.max_batch_bytes = bytes.max(64 << 10);
        self
    }

    /// Sets the maximum number of concurrent calls, at least 1: 256 unless set. Others wait, in the order of asking.
    ///
    /// A read counts until its first message has come. The time that it takes after that depends on its reader, who may
    /// wait for another blob meanwhile.
    #[must_use]
    pub fn with_max_concurrent_calls(mut self, calls: usize) -> Self {
        self.max_concurrent_calls = calls.clamp(1, tokio::sync::Semaphore::MAX_PERMITS);
        self
    }

    /// Sets the maximum number of concurrent calls for one `find_missing` that is split, at least 1: 8 unless set.
    #[must_use]
    pub fn with_find_missing_concurrency(mut self, calls: usize) -> Self {
        self.find_missing_concurrency = calls.max(1);
        self
    }

    /// Sets the largest blob that travels in batches, in bytes: 64 KiB unless set; 0 streams every blob but empty ones.
    ///
    /// If it is too small, each small blob costs a call. If it is too large, blobs wait for others of their batch.
    #[must_use]
    pub fn with_batch_threshold_bytes(mut self, bytes: u64) -> Self {
        self.batch_threshold_bytes = bytes;
        self
    }

    /// Sets the level of compression for a server that takes zstd, 1 to 19: 1 unless set. With `None`, blobs are sent and
    /// asked for uncompressed, which is faster on networks of more than about 5 Gbit/s.
    #[must_use]
    pub fn with_compression_level(mut self, level: Option<i32>) -> Self {
        self.compression_level = level.map(|level| level.clamp(1, 19));
        self
    }

    /// Sets how long the server's capabilities are cached: 60 s unless set.
    #[must_use]
    pub fn with_capabilities_lifetime(mut self, lifetime: Duration) -> Self {
        self.capabilities_lifetime = lifetime;
        self
    }

    /// Sets the retries of failed calls.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Returns an error if a header cannot be sent.
    pub(super) fn check_headers(&self) -> Result<()> {
        insert(&mut MetadataMap::new(), &self.headers)
    }

    /// Returns the maximum bytes of a batch.
    pub(super) fn max_batch_contents(&self) -> u64 {
        self.max_message_contents().min(self.max_batch_bytes)
    }

    /// Returns the maximum bytes of blobs in a message.
    pub(super) fn max_message_contents(&self) -> u64 {
        let bytes = self.max_message_size_bytes.saturating_sub(MESSAGE_HEADROOM_BYTES);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}
