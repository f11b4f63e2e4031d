//! One call, as the parts of the server that handle it see it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use blobaccess::{Clock, Error, Result};
use tokio::sync::Notify;

use super::in_flight::{FREE_BYTES, InFlight};
use super::memory_pool::{Holder, Share};

/// The limits that calls are held to.
#[derive(Clone, Debug)]
pub(crate) struct CallLimits {
    pub(crate) in_flight: InFlight,
    pub(crate) clock: Arc<dyn Clock>,
    /// The time within which a client has to send more of a request.
    pub(crate) idle_timeout: Duration,
}

/// The calls of one connection.
#[derive(Debug, Default)]
pub(crate) struct ConnectionCalls {
    /// The number of calls that are not done with.
    open: AtomicUsize,
    /// Notified when no call is open any more.
    quiet: Notify,
    /// The number of calls that count for the limit of open calls.
    pub(crate) admitted: AtomicUsize,
    requests: Holder,
    answers: Holder,
}

impl ConnectionCalls {
    /// Waits until no call is open.
    pub(crate) async fn until_quiet(&self) {
        while self.open.load(Ordering::Acquire) > 0 {
            self.quiet.notified().await;
        }
    }

    /// Returns whether a call is open.
    pub(crate) fn has_open(&self) -> bool {
        self.open.load(Ordering::Acquire) > 0
    }
}

/// A call, from its request until the last byte of its answer was handed to the system. Requests have it in their extensions.
///
/// The memory that it holds is given back when the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Call(Arc<State>);

#[derive(Debug)]
struct State {
    limits: Arc<CallLimits>,
    connection: Arc<ConnectionCalls>,
    /// Whether the transport has got a piece of the answer, and has not asked for the next one.
    is_sending: AtomicBool,
    /// The number of pieces that the transport has got.
    pieces: AtomicU32,
    /// The shares of the answers' memory.
    answers: Mutex<Vec<Share>>,
}

impl Call {
    /// Makes a call on `connection`.
    pub(crate) fn new(limits: Arc<CallLimits>, connection: Arc<ConnectionCalls>) -> Self {
        connection.open.fetch_add(1, Ordering::AcqRel);
        Self(Arc::new(State {
            limits,
            connection,
            is_sending: AtomicBool::new(false),
            pieces: AtomicU32::new(0),
            answers: Mutex::default(),
        }))
    }

    /// Returns the connection of the call.
    pub(crate) fn connection(&self) -> &Arc<ConnectionCalls> {
        &self.0.connection
    }

    /// Returns the limits of the call.
    pub(crate) fn limits(&self) -> &CallLimits {
        &self.0.limits
    }

    /// Returns an empty share of the memory of requests.
    pub(crate) fn request_share(&self) -> Share {
        self.0.limits.in_flight.requests.empty_share(&self.0.connection.requests)
    }

    /// Waits for more memory of requests.
    pub(crate) async fn more_of_request(self, bytes: u64) -> Result<Share> {
        self.0.limits.in_flight.requests.share(bytes, &self.0.connection.requests).await
    }

    /// Waits until `bytes` of the answer may be put together. They count until the answer is sent.
    ///
    /// A call that holds some already must not wait for more, as those who have it may wait for what this call holds:
    /// it [tries](Self::try_hold).
    pub(crate) async fn hold(&self, bytes: u64) -> Result<()> {
        if bytes > FREE_BYTES {
            let pool = &self.0.limits.in_flight.answers;
            let share = pool.share(bytes, &self.0.connection.answers).await?;
            self.0.answers.lock().unwrap_or_else(PoisonError::into_inner).push(share);
        }
        Ok(())
    }

    /// Takes memory for `bytes` more of the answer, if there is as much now. It counts until the answer is sent.
    pub(crate) fn try_hold(&self, bytes: u64) -> bool {
        let mut share = self.0.limits.in_flight.answers.empty_share(&self.0.connection.answers);
        let is_granted = share.grow(bytes);
        if is_granted {
            self.0.answers.lock().unwrap_or_else(PoisonError::into_inner).push(share);
        }
        is_granted
    }

    /// Returns whether the call holds memory of answers that others need.
    pub(crate) fn is_wanted(&self) -> bool {
        let holds = !self.0.answers.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        holds && self.0.limits.in_flight.answers.is_pressed()
    }

    /// Returns whether the call holds memory of answers.
    pub(crate) fn holds_answer(&self) -> bool {
        !self.0.answers.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Notes whether the transport has a piece that it has not sent.
    pub(crate) fn set_sending(&self, is_sending: bool) {
        self.0.is_sending.store(is_sending, Ordering::Release);
        if is_sending {
            self.0.pieces.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Returns the number of pieces so far, if the transport has not asked for the next one.
    pub(crate) fn unsent_piece(&self) -> Option<u32> {
        self.0.is_sending.load(Ordering::Acquire).then(|| self.0.pieces.load(Ordering::Acquire))
    }
}

/// The call of a request, if it has one: requests of tests may not.
#[derive(Clone, Debug)]
pub(crate) struct CallMemory(Option<Call>);

impl CallMemory {
    /// Returns the memory of the call that `extensions` belong to.
    pub(crate) fn of(extensions: &http::Extensions) -> Self {
        Self(extensions.get::<Call>().cloned())
    }

    /// Does as [`Call::try_hold`].
    pub(crate) fn try_hold(&self, bytes: u64) -> bool {
        self.0.as_ref().is_none_or(|call| call.try_hold(bytes))
    }

    /// Does as [`Call::hold`].
    pub(crate) async fn hold(&self, bytes: u64) -> Result<(), Error> {
        match &self.0 {
            Some(call) => call.hold(bytes).await,
            None => Ok(()),
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if self.connection.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.connection.quiet.notify_one();
        }
    }
}
