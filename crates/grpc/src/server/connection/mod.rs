//! One connection, from the handshake to its end.

mod activity;
mod call_tasks;
mod pings;
mod service;
mod watched_io;

use std::convert::Infallible;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use blobaccess::Clock;
use futures::FutureExt;
use futures::future;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::transport::server::Connected;
use uuid::Uuid;

use self::activity::Activity;
use self::call_tasks::CallTasks;
use self::pings::{PingWatch, WatchedPings};
use self::service::ConnectionService;
use self::watched_io::{WatchedIo, Writes};
use super::call::{CallLimits, ConnectionCalls};
use super::call_observer::ObservedMethods;
use super::listening::ListenerOptions;

/// The maximum number of open calls of one connection. Clients wait with further calls, or open another connection.
const STREAMS_PER_CONNECTION: u32 = 1024;

/// The maximum number of calls of one connection that were cancelled before they were handled. A client that sends on
/// behalf of many callers cancels all open calls of one that goes away. HTTP/2's default of 20 would close the
/// connection for that, and fail the calls of the others.
const TAKEN_BACK_PER_CONNECTION: usize = 1024;

/// The maximum number of frames of one connection, in all its life, that are answered with a reset as they do not fit
/// their streams. A client that goes on sending behind an early answer causes up to one for each frame that was under
/// way, which is no fault of either side. HTTP/2's default of 1024 would close the connection for a few dozens of such
/// uploads; this is a thousand times as much.
const UNFIT_FRAMES_PER_CONNECTION: usize = 1024 * 1024;

/// The time that a client has for the TLS handshake, and then for the preface of HTTP/2, before its connection is
/// dropped.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The time that the client of a connection without calls has to close it once the server is told to stop, and in which
/// it has to take more of its last answers. A few round trips are enough.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(3);

/// The way in which connections are served.
#[derive(Clone)]
pub(crate) struct ConnectionServer {
    routes: Routes,
    limits: Arc<CallLimits>,
    options: ListenerOptions,
    #[cfg(feature = "tls")]
    tls: Option<tokio_rustls::TlsAcceptor>,
    #[cfg(feature = "tls")]
    certificates: Option<super::tls::UnverifiedCertificates>,
    methods: Option<ObservedMethods>,
    clock: Arc<dyn Clock>,
}

impl ConnectionServer {
    /// Makes a server of `routes` over plain connections.
    pub(crate) fn new(routes: Routes, options: &ListenerOptions, limits: Arc<CallLimits>) -> Self {
        Self {
            routes: routes.prepare(),
            clock: Arc::clone(&limits.clock),
            limits,
            options: options.clone(),
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "tls")]
            certificates: None,
            methods: None,
        }
    }

    /// Returns the way in which a connection speaks HTTP/2, whose calls `tasks` executes.
    fn http(&self, tasks: CallTasks) -> http2::Builder<CallTasks> {
        let mut http = http2::Builder::new(tasks);
        http.timer(TokioTimer::new())
            .initial_stream_window_size(self.options.stream_window_bytes)
            .initial_connection_window_size(self.options.connection_window_bytes)
            .max_concurrent_streams(STREAMS_PER_CONNECTION)
            // What is somewhat too large is refused with words.
            .max_header_list_size(self.options.max_metadata_bytes.saturating_mul(2))
            .max_pending_accept_reset_streams(TAKEN_BACK_PER_CONNECTION)
            .max_local_error_reset_streams(UNFIT_FRAMES_PER_CONNECTION)
            .keep_alive_interval(self.options.keepalive_interval)
            .keep_alive_timeout(self.options.keepalive_timeout);
        http
    }

    /// Tells the observers of `methods` of all calls.
    pub(crate) fn with_observed_methods(mut self, methods: Option<ObservedMethods>) -> Self {
        self.methods = methods;
        self
    }

    /// Encrypts the connections.
    #[cfg(feature = "tls")]
    pub(crate) fn with_tls(mut self, tls: &super::tls::ServerTls) -> blobaccess::Result<Self> {
        self.tls = Some(tls.to_acceptor()?);
        self.certificates = tls.unverified_certificates();
        Ok(self)
    }

    /// Serves a connection until either side has closed it, or it has no more calls after `draining` has become true.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cuts the connection.
    pub(crate) async fn serve<IO>(self: Arc<Self>, io: IO, draining: watch::Receiver<bool>)
    where
        IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let mut told = draining.clone();
            let until = self.clock.monotonic().checked_add(HANDSHAKE_TIMEOUT);
            let handshake = self.clock.timeout(until, tls.accept(io));
            let io = tokio::select! {
                shaken = handshake => match shaken {
                    Ok(Ok(io)) => io,
                    Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
                    Err(_) => return tracing::debug!("TLS handshake took too long"),
                },
                _ = told.wait_for(|draining| *draining) => return,
            };
            return Box::pin(self.serve_stream(io, draining)).await;
        }
        self.serve_stream(io, draining).await;
    }

    async fn serve_stream<IO>(&self, io: IO, mut draining: watch::Receiver<bool>)
    where
        IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    {
        let is_counted = self.options.max_connection_idle.is_some() || self.options.ping_policy.is_some();
        let activity = is_counted.then(Activity::default);
        let calls = Arc::<ConnectionCalls>::default();
        let tasks = CallTasks::new(Arc::clone(&self.clock), self.options.send_timeout);
        let service = ConnectionService {
            routes: self.routes.clone(),
            info: io.connect_info(),
            limits: Arc::clone(&self.limits),
            calls: Arc::clone(&calls),
            tasks: tasks.clone(),
            activity: activity.clone(),
            methods: self.methods.clone(),
            max_metadata_bytes: self.options.max_metadata_bytes,
            #[cfg(feature = "tls")]
            certificates: self.certificates,
        };
        let pings = self.options.ping_policy.clone().zip(activity.clone());
        let pings = pings.map(|(policy, calls)| PingWatch::new(policy, calls, Arc::clone(&self.clock)));
        let (io, has_begun) = WatchedIo::new(WatchedPings::new(io, pings));
        let writes = io.writes();
        let mut connection = pin!(self.http(tasks).serve_connection(TokioIo::new(io), service));
        let mut draining = pin!(async { drop(draining.wait_for(|draining| *draining).await) }.fuse());
        // Until the client has begun, the connection would wait for it even when it is told to end.
        let has_begun = self.clock.timeout(self.end_of(HANDSHAKE_TIMEOUT), has_begun);
        tokio::select! {
            // What has arrived is read before anything is given up.
            biased;
            ended = &mut connection => return log_end(ended),
            begun = has_begun => if begun.is_err() {
                return tracing::debug!("client did not begin in time");
            },
            () = &mut draining => return,
        }
        let mut outlived = pin!(self.outlived(activity).fuse());
        let mut cut_off = pin!(never().boxed());
        let mut stalled = pin!(writes.stalled(self.options.send_timeout, &*self.clock));
        // A client that has no call and does not say goodbye is not waited for.
        let mut left_alone = pin!(future::pending().left_future());
        loop {
            tokio::select! {
                ended = &mut connection => return log_end(ended),
                () = &mut draining => {
                    connection.as_mut().graceful_shutdown();
                    left_alone.set(self.left_alone(&calls, &writes).right_future());
                }
                () = &mut stalled => return tracing::debug!("client does not read what it is sent"),
                () = &mut left_alone => return tracing::debug!("client has no call and does not close its connection"),
                grace = &mut outlived => {
                    connection.as_mut().graceful_shutdown();
                    if let Some(end) = grace.and_then(|grace| self.clock.monotonic().checked_add(grace)) {
                        cut_off.set(self.clock.sleep_until(end));
                    }
                }
                () = &mut cut_off => return tracing::debug!("connection is cut off at its age"),
            }
        }
    }

    /// Waits until nothing has been called or written for the time of a farewell.
    async fn left_alone(&self, calls: &ConnectionCalls, writes: &Writes) {
        loop {
            calls.until_quiet().await;
            let before = writes.bytes();
            match self.end_of(FAREWELL_TIMEOUT) {
                Some(end) => self.clock.sleep_until(end).await,
                None => pending().await,
            }
            if !calls.has_open() && writes.bytes() == before {
                return;
            }
        }
    }

    /// Waits until a connection has outlived its idle time or its age, and returns the time that its calls have left, if
    /// that is limited.
    async fn outlived(&self, activity: Option<Activity>) -> Option<Duration> {
        let aged = async {
            match self.options.max_connection_age.map(|age| self.end_of(vary(age))) {
                Some(Some(end)) => self.clock.sleep_until(end).await,
                _ => pending().await,
            }
        };
        let idle = async {
            match (activity, self.options.max_connection_idle) {
                (Some(activity), Some(max_idle)) => activity.idle_for(max_idle, &*self.clock).await,
                _ => pending().await,
            }
        };
        tokio::select! {
            () = aged => self.options.max_connection_age_grace,
            () = idle => None,
        }
    }

    fn end_of(&self, duration: Duration) -> Option<Instant> {
        self.clock.monotonic().checked_add(duration)
    }
}

fn log_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "connection failed");
    }
}

async fn never() {
    let never: Infallible = pending().await;
    match never {}
}

/// Returns `age`, or up to a tenth more or less, at random.
fn vary(age: Duration) -> Duration {
    let (random, _) = Uuid::new_v4().as_u64_pair();
    let tenth = age / 10;
    // In parts of 1024, of which twice a tenth is the range.
    let part = u32::try_from(random >> 54).unwrap_or(512);
    age.saturating_sub(tenth).saturating_add(tenth / 512 * part)
}

#[cfg(test)]
mod tests {
    use blobaccess_testkit::ManualClock;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::task::JoinHandle;

    use super::*;
    use crate::{ServiceOptions, Services};

    /// Serves a connection that tells time by `clock`, and returns the client's side of it.
    fn serve(clock: &ManualClock, draining: watch::Receiver<bool>) -> (DuplexStream, JoinHandle<()>) {
        serve_with(&ListenerOptions::default(), clock, draining)
    }

    fn serve_with(
        options: &ListenerOptions,
        clock: &ManualClock,
        draining: watch::Receiver<bool>,
    ) -> (DuplexStream, JoinHandle<()>) {
        let (client, io) = tokio::io::duplex(64 << 10);
        let services = Services::new(ServiceOptions::default()).with_clock(Arc::new(clock.clone()));
        let server = ConnectionServer::new(Routes::default(), options, services.call_limits());
        (client, tokio::spawn(Arc::new(server).serve(io, draining)))
    }

    /// Reads frames until one has this kind and these flags, and returns its payload.
    async fn read_until(client: &mut DuplexStream, kind_and_flags: [u8; 2]) -> Vec<u8> {
        loop {
            let mut head = [0; 9];
            client.read_exact(&mut head).await.unwrap();
            let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
            client.read_exact(&mut payload).await.unwrap();
            if head[3..5] == kind_and_flags {
                return payload;
            }
        }
    }

    #[tokio::test]
    async fn a_client_that_pings_too_often_is_told_so_and_dropped() {
        let clock = ManualClock::new();
        let (_drain, draining) = watch::channel(false);
        let minute = Duration::from_mins(1);
        let options = ListenerOptions::default().with_ping_limit(minute, true);
        let (mut client, served) = serve_with(&options, &clock, draining);
        client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        for early in [false, false, true, true] {
            if !early {
                clock.advance(minute);
            }
            client.write_all(b"\0\0\x08\x06\0\0\0\0\0pingping").await.unwrap();
            read_until(&mut client, [6, 1]).await;
        }
        client.write_all(b"\0\0\x08\x06\0\0\0\0\0pingping").await.unwrap();
        let reason = read_until(&mut client, [7, 0]).await;
        assert_eq!(&reason[4..], b"\0\0\0\x0btoo_many_pings");
        served.await.unwrap();
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_client_that_does_not_begin_is_dropped_in_time_and_when_the_server_stops() {
        for said in [&b""[..], b"PRI * HTTP/2.0\r\n"] {
            let clock = ManualClock::new();
            let (drain, draining) = watch::channel(false);
            let (mut client, served) = serve(&clock, draining.clone());
            client.write_all(said).await.unwrap();
            clock.until_sleepers(1).await;
            clock.advance(HANDSHAKE_TIMEOUT);
            served.await.unwrap();

            let (mut client, served) = serve(&clock, draining);
            client.write_all(said).await.unwrap();
            clock.until_sleepers(1).await;
            assert!(!served.is_finished());
            drain.send_replace(true);
            served.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_client_that_has_begun_is_not_dropped_for_its_silence_and_told_of_the_stop() {
        let clock = ManualClock::new();
        let (drain, draining) = watch::channel(false);
        let (mut client, served) = serve(&clock, draining);
        client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        read_until(&mut client, [4, 1]).await;
        clock.advance(HANDSHAKE_TIMEOUT * 2);
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(!served.is_finished());
        drain.send_replace(true);
        read_until(&mut client, [7, 0]).await;
        drop(client);
        served.await.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_neither_calls_nor_leaves_is_not_waited_for_when_the_server_stops() {
        let clock = ManualClock::new();
        let (drain, draining) = watch::channel(false);
        let (mut client, served) = serve(&clock, draining);
        client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        let mut settings = [0; 9];
        client.read_exact(&mut settings).await.unwrap();
        drain.send_replace(true);
        while !served.is_finished() {
            clock.advance(FAREWELL_TIMEOUT);
            tokio::task::yield_now().await;
        }
        served.await.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_dropped() {
        let clock = ManualClock::new();
        let (_drain, draining) = watch::channel(false);
        let (mut client, served) = serve(&clock, draining);
        client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        // Each ping is to be answered, until nothing more fits.
        let ping = b"\0\0\x08\x06\0\0\0\0\0pingpong";
        while !served.is_finished() {
            drop(client.write_all(&ping.repeat(100)).now_or_never());
            clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
        served.await.unwrap();
    }

    #[test]
    fn an_age_varies_by_a_tenth_at_most() {
        for age in [Duration::ZERO, Duration::from_millis(10), Duration::from_hours(1), Duration::MAX] {
            let tenth = age / 10;
            let ages: Vec<_> = (0..100).map(|_| vary(age)).collect();
            assert!(
                ages.iter().all(|varied| (age.saturating_sub(tenth)..=age.saturating_add(tenth)).contains(varied)),
                "{age:?}"
            );
        }
        let hour = Duration::from_hours(1);
        let varied: std::collections::BTreeSet<_> = (0..100).map(|_| vary(hour)).collect();
        assert!(varied.len() > 10);
    }
}
