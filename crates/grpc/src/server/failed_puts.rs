//! Counts the puts that failed, by kind.

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use blobaccess::{Digest, Error, ErrorKind};

const KINDS: usize = ErrorKind::ALL.len();

/// The puts that failed, by [`ErrorKind`].
///
/// A blob that is too large for the store is an `InvalidArgument` or `ResourceExhausted`, depending on the store; a put
/// that the caller may not make is a `PermissionDenied`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct FailedPuts {
    /// The counts, in the order of [`ErrorKind::ALL`].
    counts: [u64; KINDS],
}

impl FailedPuts {
    /// Returns the number of puts that failed with `kind`.
    #[must_use]
    pub fn count(&self, kind: ErrorKind) -> u64 {
        self.iter().find_map(|(counted, count)| (counted == kind).then_some(count)).unwrap_or(0)
    }

    /// Returns the number of puts that failed.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns the kinds that puts failed with, and their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (ErrorKind, u64)> {
        ErrorKind::ALL.into_iter().zip(self.counts).filter(|(_, count)| *count > 0)
    }
}

impl Debug for FailedPuts {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Counts and logs the puts that fail. Clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct PutFailures {
    counts: Arc<[AtomicU64; KINDS]>,
}

impl PutFailures {
    /// Counts a put of `digest` that failed with `error`, and logs it: as a warning if the store is in trouble.
    pub(crate) fn record(&self, digest: &Digest, error: &Error) {
        for (kind, count) in ErrorKind::ALL.iter().zip(self.counts.iter()) {
            if *kind == error.kind() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        let size_bytes = digest.size_bytes();
        if error.is_infrastructure() {
            tracing::warn!(%digest, size_bytes, %error, "put failed");
        } else {
            tracing::info!(%digest, size_bytes, %error, "put refused");
        }
    }

    /// Returns the numbers so far.
    pub(crate) fn snapshot(&self) -> FailedPuts {
        FailedPuts {
            counts: std::array::from_fn(|index| {
                self.counts.get(index).map_or(0, |count| count.load(Ordering::Relaxed))
            }),
        }
    }
}
