//! The settings of one group of listeners.

use std::time::Duration;

/// The bytes of one call that a client may send ahead of the service that reads them. At a round trip of 10 ms, this
/// allows a call 100 MB/s.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// The bytes that a client may send ahead on all calls of a connection. It bounds the unread bytes of a connection that
/// the server holds, besides the message that each call is assembling.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// The window of HTTP/2 before anybody has set one (RFC 9113, section 6.9.2). That of a connection cannot be smaller.
const MIN_WINDOW_BYTES: u32 = 65_535;

/// The largest window of HTTP/2 (RFC 9113, section 6.9.1).
const MAX_WINDOW_BYTES: u32 = (1 << 31) - 1;

/// The size of the metadata that a call may have. Tokens and what proxies add take a few KiB. Common servers take a
/// multiple of HTTP/2's usual 16 KiB.
const MAX_METADATA_BYTES: u32 = 64 << 10;

/// The time of silence after which a connection is pinged.
const KEEPALIVE_INTERVAL: Duration = Duration::from_mins(1);

/// The time after which a connection that does not answer a ping is closed.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// How often clients may ping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PingPolicy {
    pub(crate) min_interval: Duration,
    pub(crate) permits_without_call: bool,
}

/// The time in which a client has to take something of what it is sent.
const SEND_TIMEOUT: Duration = Duration::from_mins(1);

/// The settings of the connections of one [`ListenerGroup`](crate::ListenerGroup).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use blobaccess_grpc::ListenerOptions;
///
/// // Connections that are renewed every ten minutes spread again over servers that were added since.
/// let options = ListenerOptions::default()
///     .with_max_connection_age(Some(Duration::from_mins(10)))
///     .with_max_connection_age_grace(Some(Duration::from_mins(1)));
/// assert_ne!(options, ListenerOptions::default());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerOptions {
    pub(crate) max_received_message_size_bytes: Option<usize>,
    pub(crate) stream_window_bytes: u32,
    pub(crate) connection_window_bytes: u32,
    pub(crate) max_metadata_bytes: u32,
    pub(crate) keepalive_interval: Duration,
    pub(crate) keepalive_timeout: Duration,
    pub(crate) ping_policy: Option<PingPolicy>,
    pub(crate) send_timeout: Duration,
    pub(crate) max_connection_idle: Option<Duration>,
    pub(crate) max_connection_age: Option<Duration>,
    pub(crate) max_connection_age_grace: Option<Duration>,
    pub(crate) health_check_service: Option<String>,
    pub(crate) shutdown_grace: Option<Duration>,
}

impl Default for ListenerOptions {
    fn default() -> Self {
        Self {
            max_received_message_size_bytes: None,
            stream_window_bytes: STREAM_WINDOW_BYTES,
            connection_window_bytes: CONNECTION_WINDOW_BYTES,
            max_metadata_bytes: MAX_METADATA_BYTES,
            keepalive_interval: KEEPALIVE_INTERVAL,
            keepalive_timeout: KEEPALIVE_TIMEOUT,
            ping_policy: None,
            send_timeout: SEND_TIMEOUT,
            max_connection_idle: None,
            max_connection_age: None,
            max_connection_age_grace: None,
            health_check_service: None,
            shutdown_grace: None,
        }
    }
}

impl ListenerOptions {
    /// Sets the largest message that is received here, in bytes. `None`, the default, is the largest message of the
    /// [services](crate::ServiceOptions::with_max_message_size_bytes).
    ///
    /// A larger message fails its call with `ResourceExhausted`.
    #[must_use]
    pub fn with_max_received_message_size_bytes(mut self, bytes: Option<usize>) -> Self {
        self.max_received_message_size_bytes = bytes;
        self
    }

    /// Sets the bytes of one call that a client may send ahead of the service that reads them: 65,535 to 2^31 - 1. The
    /// default is 1 MiB. Values out of range are moved to its end.
    ///
    /// A call receives at most this much in one round trip.
    #[must_use]
    pub fn with_stream_window_bytes(mut self, bytes: u32) -> Self {
        self.stream_window_bytes = bytes.clamp(MIN_WINDOW_BYTES, MAX_WINDOW_BYTES);
        self
    }

    /// Sets the bytes that a client may send ahead on all calls of a connection: 65,535 to 2^31 - 1. The default is 4
    /// MiB. Values out of range are moved to its end.
    ///
    /// If it is too large, clients whose uploads are read slowly make the server hold that much for each connection.
    #[must_use]
    pub fn with_connection_window_bytes(mut self, bytes: u32) -> Self {
        self.connection_window_bytes = bytes.clamp(MIN_WINDOW_BYTES, MAX_WINDOW_BYTES);
        self
    }

    /// Sets the largest metadata of a call, in bytes: names, values, and 32 bytes for each entry, as HTTP/2 counts. At
    /// least 8 KiB; the default is 64 KiB.
    ///
    /// A call with more fails with `ResourceExhausted`, and one with more than twice as much with HTTP's own status 431.
    /// An open call holds its metadata. If the limit is too small, every call of a client with long tokens fails.
    #[must_use]
    pub fn with_max_metadata_bytes(mut self, bytes: u32) -> Self {
        self.max_metadata_bytes = bytes.max(8 << 10);
        self
    }

    /// Pings a connection that has been silent for `interval`, and closes it if no answer comes within `timeout`. The
    /// defaults are 60 and 20 seconds.
    #[must_use]
    pub fn with_keepalive(mut self, interval: Duration, timeout: Duration) -> Self {
        (self.keepalive_interval, self.keepalive_timeout) = (interval, timeout);
        self
    }

    /// Closes the connections of clients that ping more often than every `min_interval`, or without a call if
    /// `permits_without_call` is not set. The default lets clients ping as often as they like.
    ///
    /// As in gRPC's own servers, two pings in a row may come early, and each message that is sent to the client lets it
    /// ping again. The connection is closed with the reason `too_many_pings`, by which clients of gRPC learn to ping less.
    /// Calls that are under way fail.
    #[must_use]
    pub fn with_ping_limit(mut self, min_interval: Duration, permits_without_call: bool) -> Self {
        self.ping_policy = Some(PingPolicy { min_interval, permits_without_call });
        self
    }

    /// Sets the time in which a client has to take something of an answer: a piece of 256 KiB, or of 32 KiB of an answer that
    /// [holds memory](crate::ServiceOptions::with_max_in_flight_bytes), or what there is if that is less. The default is a minute.
    /// After up to twice that time, the call ends; a connection that takes less than 64 KiB in it is closed.
    ///
    /// An answer that holds memory has a second for each piece, and up to two, while more than three quarters of the memory of
    /// answers are taken, or somebody waits for what other connections hold.
    #[must_use]
    pub fn with_send_timeout(mut self, timeout: Duration) -> Self {
        self.send_timeout = timeout;
        self
    }

    /// Sets the time without a call after which a connection is closed. `None`, the default, closes none.
    #[must_use]
    pub fn with_max_connection_idle(mut self, idle: Option<Duration>) -> Self {
        self.max_connection_idle = idle;
        self
    }

    /// Sets the time after which a connection takes no further calls, so that its client connects again. `None`, the
    /// default, is without end.
    ///
    /// Each connection gets up to a tenth more or less, at random, so that not all of them are made again at once.
    #[must_use]
    pub fn with_max_connection_age(mut self, age: Option<Duration>) -> Self {
        self.max_connection_age = age;
        self
    }

    /// Sets the time that the calls of a connection have to finish after its
    /// [age](Self::with_max_connection_age) is over. Remaining calls are then cut off. `None`, the default, cuts none.
    #[must_use]
    pub fn with_max_connection_age_grace(mut self, grace: Option<Duration>) -> Self {
        self.max_connection_age_grace = grace;
        self
    }

    /// Reports the health of the server as a whole under this name too, besides the empty one.
    #[must_use]
    pub fn with_health_check_service(mut self, name: impl Into<String>) -> Self {
        self.health_check_service = Some(name.into());
        self
    }

    /// Sets the time that running calls have to finish once the server is told to stop. `None`, the default, is that of
    /// the [services](crate::ServiceOptions::with_shutdown_grace). Zero cuts them off at once, and `Duration::MAX` waits
    /// for all of them.
    #[must_use]
    pub fn with_shutdown_grace(mut self, grace: Option<Duration>) -> Self {
        self.shutdown_grace = grace;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_stay_within_what_http_2_allows() {
        for (asked, set) in [(0, MIN_WINDOW_BYTES), (1 << 20, 1 << 20), (u32::MAX, MAX_WINDOW_BYTES)] {
            let options =
                ListenerOptions::default().with_stream_window_bytes(asked).with_connection_window_bytes(asked);
            assert_eq!((options.stream_window_bytes, options.connection_window_bytes), (set, set));
        }
    }
}
