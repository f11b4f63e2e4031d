//! The settings of the services.

use std::time::Duration;

/// The largest message that gRPC and its common clients take by default: 4 MiB.
const DEFAULT_MAX_MESSAGE_SIZE_BYTES: usize = 4 << 20;

/// The space in a message for everything besides the blobs of a batch that is read. 400 blobs at 150 bytes each need less
/// than 64 KiB; what does not fit is left out, and asked for again.
const BATCH_HEADROOM_BYTES: usize = 64 << 10;

/// The settings of the [services](crate::Services).
///
/// Every limit is enforced, and limits that the protocol has a place for are advertised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceOptions {
    pub(crate) max_message_size_bytes: usize,
    pub(crate) max_received_message_size_bytes: Option<usize>,
    pub(crate) max_open_calls: usize,
    pub(crate) max_connections: usize,
    pub(crate) max_connections_per_address: usize,
    pub(crate) max_in_flight_bytes: u64,
    pub(crate) upload_idle_timeout: Duration,
    pub(crate) shutdown_grace: Duration,
    pub(crate) compression_level: Option<i32>,
    pub(crate) batch_concurrency: usize,
    pub(crate) forwarded_metadata: Vec<String>,
    pub(crate) keeps_all_metadata: bool,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self {
            max_message_size_bytes: DEFAULT_MAX_MESSAGE_SIZE_BYTES,
            max_received_message_size_bytes: None,
            max_open_calls: 4096,
            max_connections: 8192,
            max_connections_per_address: 4096,
            max_in_flight_bytes: 512 << 20,
            upload_idle_timeout: Duration::from_mins(1),
            shutdown_grace: Duration::from_secs(30),
            compression_level: Some(1),
            batch_concurrency: 16,
            forwarded_metadata: vec!["build.bazel.remote.execution.v2.requestmetadata-bin".to_owned()],
            keeps_all_metadata: false,
        }
    }
}

impl ServiceOptions {
    /// Sets the largest message that is received or sent, in bytes: 128 KiB or more. The default of 4 MiB is what
    /// clients accept by default; with more, clients must be configured as well.
    ///
    /// If it is too small, batches shrink to a few blobs and large action results are refused. If it is too large, one
    /// call can hold that much memory. It is wrong if clients report `ResourceExhausted` for messages.
    ///
    /// Blobs of a batch that is to be stored may have the total size that is advertised, which is 64 KiB less than this,
    /// and their digests come on top: a message of such a batch may be almost twice as large.
    #[must_use]
    pub fn with_max_message_size_bytes(mut self, bytes: usize) -> Self {
        self.max_message_size_bytes = bytes.max(128 << 10);
        self
    }

    /// Sets the largest message that is received, in bytes, if it is another than the largest that is sent. `None`, the
    /// default, is the [same](Self::with_max_message_size_bytes).
    ///
    /// Batches that clients send are not limited by what is advertised then, but by this.
    #[must_use]
    pub fn with_max_received_message_size_bytes(mut self, bytes: Option<usize>) -> Self {
        self.max_received_message_size_bytes = bytes;
        self
    }

    /// Sets the maximum number of open calls, over all connections. The default is 4096. Further calls are immediately
    /// refused with `ResourceExhausted`.
    ///
    /// A connection has at most as many calls open as it leaves to others: one that is alone half of them.
    ///
    /// Each open call holds up to 64 KiB of messages that count for nothing else. An answer that is sent holds up to 700 KiB more in the
    /// transport, until its client has taken it.
    #[must_use]
    pub fn with_max_open_calls(mut self, calls: usize) -> Self {
        self.max_open_calls = calls.max(1);
        self
    }

    /// Sets the maximum number of connections: in all, and from one address (of IPv6: one network of 64 bits). The defaults are 8192
    /// and 4096. Further ones are closed at once.
    ///
    /// Each holds a file and some 40 KiB. The first should be well below the number of files that the process may open.
    #[must_use]
    pub fn with_max_connections(mut self, connections: usize, per_address: usize) -> Self {
        (self.max_connections, self.max_connections_per_address) = (connections.max(1), per_address.max(1));
        self
    }

    /// Sets the maximum total bytes of messages that are held in memory: half for requests, from the first byte that has arrived until
    /// they are answered, and half for answers, until they are sent. The default is 512 MiB.
    ///
    /// The first 32 KiB of a message count for nothing, so that small calls go on whatever large ones do. What is
    /// announced counts for nothing either. An upload by the byte stream counts for the message that is arriving: what
    /// its store holds is for the store to limit. A connection holds at most as much as it leaves to others.
    ///
    /// Answers wait for memory. A request that is arriving waits for three seconds and is then refused with
    /// `ResourceExhausted`. While more than three quarters of either half are taken, or somebody waits for what other connections
    /// hold of it, calls that hold some end when their clients send nothing for a second, or take less than 32 KiB: a reader on
    /// a line that is slower than 32 KiB a second is reset then, and has to ask for the rest.
    ///
    /// If it is too small, large messages are refused under load. It need not exceed the number of concurrent batches
    /// times twice their size.
    #[must_use]
    pub fn with_max_in_flight_bytes(mut self, bytes: u64) -> Self {
        self.max_in_flight_bytes = bytes.max(1);
        self
    }

    /// Sets the time without a message after which an upload ends with `DeadlineExceeded`, and in which other requests must
    /// be complete or have brought 64 KiB. The default is a minute.
    #[must_use]
    pub fn with_upload_idle_timeout(mut self, timeout: Duration) -> Self {
        self.upload_idle_timeout = timeout;
        self
    }

    /// Sets the time that running calls have to finish once the server is told to stop. The default is 30 seconds.
    /// Remaining calls are then cut off.
    ///
    /// If it is too small, uploads of large blobs are lost at each restart. If it is too large, a client that hangs
    /// delays the restart.
    #[must_use]
    pub fn with_shutdown_grace(mut self, grace: Duration) -> Self {
        self.shutdown_grace = grace;
        self
    }

    /// Sets the compression level of blobs for clients that request zstd, 1 to 19; `None` offers no compression. The
    /// default is 1: a higher level costs the server more than the network gains.
    #[must_use]
    pub fn with_compression_level(mut self, level: Option<i32>) -> Self {
        self.compression_level = level.map(|level| level.clamp(1, 19));
        self
    }

    /// Sets the number of blobs of one batch that are read or stored concurrently. The default is 16.
    #[must_use]
    pub fn with_batch_concurrency(mut self, blobs: usize) -> Self {
        self.batch_concurrency = blobs.max(1);
        self
    }

    /// Sets the names of the request metadata that stores see and remote stores are sent. The default is the protocol's
    /// `RequestMetadata`.
    #[must_use]
    pub fn with_forwarded_metadata<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.forwarded_metadata = names.into_iter().map(|name| name.into().to_ascii_lowercase()).collect();
        self
    }

    /// Lets stores see all metadata of requests, for a [`CallMetadata`](crate::CallMetadata) that chooses among it.
    /// The default is to show what [`with_forwarded_metadata`](Self::with_forwarded_metadata) names.
    ///
    /// Remote stores would send all of it, credentials included: restrict them by
    /// [`RemoteOptions::with_forwarded_metadata`](crate::RemoteOptions::with_forwarded_metadata).
    #[must_use]
    pub fn with_all_metadata(mut self) -> Self {
        self.keeps_all_metadata = true;
        self
    }

    /// Returns the size of the largest message that is received.
    pub(crate) fn max_received_message_bytes(&self) -> usize {
        self.max_received_message_size_bytes.unwrap_or(self.max_message_size_bytes)
    }

    /// Returns the size of the largest message of blobs to be stored that is received.
    ///
    /// Clients fill batches by the sizes of blobs, as the protocol has it. A blob takes no more besides its contents than
    /// the answer about it, and the answers must fit into a message.
    pub(crate) fn max_received_batch_bytes(&self) -> usize {
        let batch = usize::try_from(self.max_batch_total_size_bytes()).unwrap_or(usize::MAX);
        self.max_received_message_size_bytes.unwrap_or_else(|| self.max_message_size_bytes.saturating_add(batch))
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
