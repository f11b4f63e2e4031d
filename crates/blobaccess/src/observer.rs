//! Is told of calls and events, so that metrics, logs and alarms need no place in a store.

use std::fmt::{self, Debug, Display, Formatter};
use std::time::Duration;

use crate::{ErrorKind, PutOutcome, StorageType};

/// Is told what stores do.
///
/// Every method has an empty body, so that an observer implements what it wants to know. They are called on the way
/// of a request: an observer counts and returns; it neither blocks nor calls the store.
pub trait Observer: Debug + Send + Sync + 'static {
    /// A call ended. Reading a blob counts as part of the `get` that returned it: its end is the call's end.
    fn call_ended(&self, call: &Call) {
        let _: &Call = call;
    }

    /// Something happened that no call reports, or that a call reports only to its own caller.
    fn event(&self, event: &Event) {
        let _: &Event = event;
    }
}

/// An observer that is told everything and keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}

/// A call of a store that has ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Call {
    /// What the store holds.
    pub storage_type: StorageType,
    /// The label of the store that was called, as whoever observes it named it: `local`, `grpc`.
    pub backend: &'static str,
    /// Which method it was.
    pub operation: Operation,
    /// From the call to its end; of a `get` that returned a blob, to the end of reading.
    pub duration: Duration,
    /// The size of the blob, in bytes, where there is one: from its digest, so also where it was not read whole.
    pub blob_size_bytes: Option<u64>,
    /// The number of digests, of `find_missing`.
    pub digests: Option<usize>,
    /// What a put that did not fail came to.
    pub outcome: Option<PutOutcome>,
    /// How it failed: `None` if it did not. A blob whose reader stopped early is no failure.
    pub error: Option<ErrorKind>,
}

impl Call {
    /// A call of `operation` that took `duration` and did not fail.
    #[must_use]
    pub fn new(storage_type: StorageType, backend: &'static str, operation: Operation, duration: Duration) -> Self {
        Self {
            storage_type,
            backend,
            operation,
            duration,
            blob_size_bytes: None,
            digests: None,
            outcome: None,
            error: None,
        }
    }

    /// The name of how it ended, as gRPC's metrics spell it: `OK`, `NotFound`.
    #[must_use]
    pub fn code_name(&self) -> &'static str {
        self.error.map_or("OK", ErrorKind::name)
    }
}

/// The methods of [`BlobAccess`](crate::BlobAccess) that are observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// [`get`](crate::BlobAccess::get).
    Get,
    /// [`get_from_composite`](crate::BlobAccess::get_from_composite).
    GetFromComposite,
    /// [`put`](crate::BlobAccess::put).
    Put,
    /// [`find_missing`](crate::BlobAccess::find_missing).
    FindMissing,
    /// [`capabilities`](crate::BlobAccess::capabilities).
    GetCapabilities,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 5] = [Self::Get, Self::GetFromComposite, Self::Put, Self::FindMissing, Self::GetCapabilities];

    /// The name that metrics use: `FindMissing`.
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

/// Something that happened within a store.
///
/// More are added as stores are; an observer passes over those that it does not know.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A store gave up a blob to make room.
    Evicted {
        /// What the store holds.
        storage_type: StorageType,
        /// What is free now, in bytes.
        released_bytes: u64,
    },
    /// What was stored is not what was put.
    Corrupted {
        /// What the store holds.
        storage_type: StorageType,
        /// Which store, and which digest.
        message: String,
    },
    /// An action result was put, with or without the time at which its worker had completed.
    ActionResultPut {
        /// Whether that time was there.
        worker_completed_timestamp: bool,
    },
    /// A cache of found digests was asked.
    ExistenceCacheAsked {
        /// Digests that it could answer for.
        hits: u64,
        /// Digests that it could not.
        misses: u64,
    },
}
