//! How a remote store is reached, and how it is used.

use std::time::Duration;

use blobaccess::{Metadata, Result};
use tonic::metadata::MetadataMap;

use super::connector::Connector;
use super::proxy::ProxyUrl;
use super::request_metadata::{append, insert};
use super::retry_policy::RetryPolicy;
#[cfg(feature = "tls")]
use super::tls::RemoteTls;

/// The largest message that every common gRPC server takes by default: 4 MiB.
const DEFAULT_MAX_MESSAGE_SIZE_BYTES: usize = 4 << 20;

/// The part of a batch besides blobs and their digests, in bytes: instance name, lengths.
const MESSAGE_HEADROOM_BYTES: usize = 64 << 10;

/// How much of a stream may be under way before its reader is heard from, in bytes. HTTP/2's own 64 KiB would let a
/// stream move at most that much a round trip: 13 MB/s over 5 ms.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;

/// The time without an answer after which a connection is pinged while a call waits on it, and the time that a ping may
/// take. gRPC's servers close the connections of clients that ping more often than each five minutes, unless they are told
/// otherwise, and an upload of minutes has no answer before its end.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(310);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// The window of HTTP/2 before anybody has set one (RFC 9113, section 6.9.2). That of a connection cannot be smaller.
const MIN_WINDOW_BYTES: u32 = 65_535;

/// The largest window of HTTP/2 (RFC 9113, section 6.9.1).
const MAX_WINDOW_BYTES: u32 = (1 << 31) - 1;

/// The address of a [`Remote`](crate::Remote), and limits for its use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteOptions {
    pub(super) address: String,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<RemoteTls>,
    pub(super) headers: Metadata,
    /// One value each, of names that may come several times.
    pub(super) added_headers: Vec<Metadata>,
    pub(super) forwarded_metadata: Option<Vec<String>>,
    pub(super) proxy: Option<ProxyUrl>,
    /// The name that calls go to, in place of the host of the address.
    pub(super) authority: Option<String>,
    pub(super) spreads_addresses: bool,
    pub(super) connections: usize,
    pub(super) connect_timeout: Duration,
    pub(super) silence_timeout: Duration,
    pub(super) keepalive: Option<(Duration, Duration)>,
    pub(super) keepalive_while_idle: bool,
    pub(super) stream_window_bytes: u32,
    pub(super) connection_window_bytes: u32,
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
    ///
    /// An address as gRPC's own libraries take it is good too: `host:port`, `dns:///host:port`, `passthrough:///host:port`.
    /// Such an address, and that of a socket, is encrypted if [TLS](Self::with_tls) is set. Without a host it is this
    /// machine, and without a port it is port 443.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            #[cfg(feature = "tls")]
            tls: None,
            headers: Metadata::new(),
            added_headers: Vec::new(),
            forwarded_metadata: None,
            proxy: None,
            authority: None,
            spreads_addresses: false,
            connections: 2,
            connect_timeout: Duration::from_secs(10),
            silence_timeout: Duration::from_mins(1),
            keepalive: Some((KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT)),
            keepalive_while_idle: false,
            stream_window_bytes: STREAM_WINDOW_BYTES,
            connection_window_bytes: MAX_WINDOW_BYTES,
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

    /// Sets the options of TLS: for an `https` or `grpcs` address the roots of the system unless set; for an address
    /// without a scheme no TLS unless set.
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

    /// Sends this with every call, besides other values of that name. Otherwise it is like
    /// [`with_header`](Self::with_header).
    #[must_use]
    pub fn with_added_header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.added_headers.push(Metadata::new().with(name.into(), value));
        self
    }

    /// Sets the names of the metadata that is passed on from the contexts of calls. `None`, the default, passes on all
    /// that is there.
    #[must_use]
    pub fn with_forwarded_metadata(mut self, names: Option<Vec<String>>) -> Self {
        self.forwarded_metadata = names;
        self
    }

    /// Connects through the HTTP proxy at `url`, by its method `CONNECT`: `http://host:port`, or
    /// `http://user:password@host:port`. It is not shown by `Debug`, and not used for UNIX sockets.
    #[must_use]
    pub fn with_proxy(mut self, url: impl Into<String>) -> Self {
        self.proxy = Some(ProxyUrl::new(url));
        self
    }

    /// Sets the name by which calls go to the server, with or without a port: that of the address unless set. A server or
    /// a load balancer that has several names may choose by it.
    ///
    /// TLS is not concerned: see [`RemoteTls::with_server_name`](crate::RemoteTls::with_server_name).
    #[must_use]
    pub fn with_authority(mut self, authority: impl Into<String>) -> Self {
        self.authority = Some(authority.into());
        self
    }

    /// Spreads connections over all addresses that the host has, as for the name of several equal servers: each
    /// [connection](Self::with_connections) begins with another address, and goes on to the next after a failure. The
    /// default is not to: each begins with the first address.
    ///
    /// With fewer connections than addresses, some servers get no calls. The addresses are asked for again when a
    /// connection is made, so that a new server gets calls once a connection has ended. Proxies resolve names themselves.
    #[must_use]
    pub fn with_spread_addresses(mut self, spreads: bool) -> Self {
        self.spreads_addresses = spreads;
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

    /// Sets the time that connecting may take, with all addresses of the host, the proxy and TLS: 10 s unless set.
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

    /// Pings a connection on which a call waits and that has not answered any for `interval`, and gives it up if no answer
    /// comes within `timeout`: 310 s and 20 s unless set. The calls on it fail then, and are made again on a new one.
    ///
    /// Most calls end before by the [silence](Self::with_silence_timeout) that a server is granted, and their connection is
    /// left for a new one. Pings are for streams without an end, such as executions.
    ///
    /// Servers close the connections of clients that ping too often: those of gRPC, unless told otherwise, after three pings
    /// within five minutes of the one before, between which they sent no answer. An upload that lasts for minutes has none.
    /// So name less than five minutes only for servers that permit it.
    #[must_use]
    pub fn with_keepalive(mut self, interval: Duration, timeout: Duration) -> Self {
        self.keepalive = Some((interval, timeout));
        self
    }

    /// Pings no connection. One that does not answer is left for a new one only once calls have waited on it in vain.
    #[must_use]
    pub fn without_keepalive(mut self) -> Self {
        self.keepalive = None;
        self
    }

    /// Pings also while no call is made, if [keepalive](Self::with_keepalive) is on. The default is not to.
    #[must_use]
    pub fn with_keepalive_while_idle(mut self, while_idle: bool) -> Self {
        self.keepalive_while_idle = while_idle;
        self
    }

    /// Sets the bytes of one call that the server may send ahead of its reader: 65,535 to 2^31 - 1; 2 MiB unless set.
    /// Values out of range are moved to its end.
    ///
    /// Each blob that is open takes up to this much memory for what its reader has not taken. If it is too small, a
    /// stream moves no more than this in a round trip.
    #[must_use]
    pub fn with_stream_window_bytes(mut self, bytes: u32) -> Self {
        self.stream_window_bytes = bytes.clamp(MIN_WINDOW_BYTES, MAX_WINDOW_BYTES);
        self
    }

    /// Sets the bytes that the server may send ahead on all calls of a connection: 65,535 to 2^31 - 1, which is also the
    /// default. Values out of range are moved to its end.
    ///
    /// A blob that is open and not read takes up to the [window of its call](Self::with_stream_window_bytes). If as many
    /// are open as fill the window of the connection, no other call on it gets an answer until one of them is read. So a
    /// smaller one is for those who know how many blobs they open.
    #[must_use]
    pub fn with_connection_window_bytes(mut self, bytes: u32) -> Self {
        self.connection_window_bytes = bytes.clamp(MIN_WINDOW_BYTES, MAX_WINDOW_BYTES);
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

    /// Returns the error of [`Remote::new`](crate::Remote::new) without making a client, so that settings can be checked
    /// where there is no runtime.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the address is none, a header cannot be sent, or the proxy or TLS cannot be set up as wanted.
    /// The message of an error about the address or the proxy completes a sentence that begins with it.
    ///
    /// # Examples
    ///
    /// ```
    /// use blobaccess_grpc::RemoteOptions;
    ///
    /// assert!(RemoteOptions::new("dns:///cache.example.com:8980").check().is_ok());
    /// let error = RemoteOptions::new("cache.example.com:0").check().unwrap_err();
    /// assert_eq!(error.to_string(), "address \"cache.example.com:0\": has the port 0, which nobody listens at");
    /// ```
    pub fn check(&self) -> Result<()> {
        self.check_headers()?;
        Connector::new(self).map(drop)
    }

    /// Returns an error if a header cannot be sent.
    pub(super) fn check_headers(&self) -> Result<()> {
        let mut map = MetadataMap::new();
        insert(&mut map, &self.headers)?;
        self.added_headers.iter().try_for_each(|header| append(&mut map, header))
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
