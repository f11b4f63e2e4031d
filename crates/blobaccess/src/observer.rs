//! The interface through which stores report calls and events, for metrics, logs and alarms.

use std::fmt::{self, Debug, Display, Formatter};
use std::sync::Arc;
use std::time::Duration;

use crate::{ErrorKind, PutOutcome, StorageType};

/// A receiver of calls and events.
///
/// Every method has an empty default body, so that an observer implements only what it needs. The methods are called
/// while a request is served: an observer counts and returns. It neither blocks nor calls the store.
pub trait Observer: Debug + Send + Sync + 'static {
    /// Records the end of a call. Reading a blob is part of the `get` that returned it, so the call ends when reading
    /// does.
    fn call_ended(&self, call: &Call) {
        let _: &Call = call;
    }

    /// Records an event that no call reports, or that a call reports only to its caller.
    fn event(&self, event: &Event) {
        let _: &Event = event;
    }
}

/// A shared observer is an observer: `Observing::new(store, "disk", Arc::clone(&metrics))`.
impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn call_ended(&self, call: &Call) {
        (**self).call_ended(call);
    }

    fn event(&self, event: &Event) {
        (**self).event(event);
    }
}

/// An observer that discards everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}

/// A finished call of a store.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Call {
    /// The kind of the store.
    pub storage_type: StorageType,
    /// The label of the called store, as set where it is observed: `local`, `grpc`.
    pub backend: &'static str,
    /// The called method.
    pub operation: Operation,
    /// The time from the call to its end. For a `get` that returned a blob, reading counts.
    pub duration: Duration,
    /// The size of the blob in bytes, if there is one. It comes from the digest, so it is set even if the blob was not
    /// read whole.
    pub blob_size_bytes: Option<u64>,
    /// The number of digests, for `find_missing`.
    pub digests: Option<usize>,
    /// The number of those digests that are missing, for a `find_missing` that succeeded.
    pub missing: Option<usize>,
    /// The outcome of a put that succeeded.
    pub outcome: Option<PutOutcome>,
    /// The kind of the error, or `None` on success. A reader that stops early is not an error.
    pub error: Option<ErrorKind>,
}

impl Call {
    /// Makes the record of a call of `operation` that took `duration` and succeeded.
    #[must_use]
    pub fn new(storage_type: StorageType, backend: &'static str, operation: Operation, duration: Duration) -> Self {
        Self {
            storage_type,
            backend,
            operation,
            duration,
            blob_size_bytes: None,
            digests: None,
            missing: None,
            outcome: None,
            error: None,
        }
    }

    /// Returns the result as gRPC's metrics spell it: `OK`, `NotFound`.
    #[must_use]
    pub fn code_name(&self) -> &'static str {
        self.error.map_or("OK", ErrorKind::name)
    }
}

/// The methods of [`BlobAccess`](crate::BlobAccess) that are observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// A call of [`get`](crate::BlobAccess::get).
    Get,
    /// A call of [`get_from_composite`](crate::BlobAccess::get_from_composite).
    GetFromComposite,
    /// A call of [`put`](crate::BlobAccess::put).
    Put,
    /// A call of [`find_missing`](crate::BlobAccess::find_missing).
    FindMissing,
    /// A call of [`capabilities`](crate::BlobAccess::capabilities).
    GetCapabilities,
}

impl Operation {
    /// All operations.
    pub const ALL: [Self; 5] = [Self::Get, Self::GetFromComposite, Self::Put, Self::FindMissing, Self::GetCapabilities];

    /// Returns the name that metrics use: `FindMissing`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "Get",
            Self::GetFromComposite => "GetFromComposite",
            Self::Put => "Put",
            Self::FindMissing => "FindMissing",
            Self::GetCapabilities => "GetCapabilities",
        }
    }
}

impl Display for Operation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An event within a store.
///
/// Further events will be added; an observer ignores those that it does not know.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A store evicted a blob to make room.
    Evicted {
        /// The kind of the store.
        storage_type: StorageType,
        /// The size of the evicted blob, in bytes.
        released_bytes: u64,
    },
    /// A stored blob failed verification.
    Corrupted {
        /// The kind of the store.
        storage_type: StorageType,
        /// The store and the digest concerned.
        message: String,
    },
    /// An action result was put, with or without the time at which its worker completed.
    ActionResultPut {
        /// Whether the result had that time.
        worker_completed_timestamp: bool,
    },
    /// An existence cache was queried.
    ExistenceCacheAsked {
        /// The digests that the cache answered for.
        hits: u64,
        /// The digests that the cache did not know.
        misses: u64,
    },
}
