//! The origin of unverified contents, which decides whose fault wrong contents are.

use std::fmt::{self, Debug, Formatter};

use crate::blob::wrong_size;
use crate::digest::Hasher;
use crate::{Digest, Error, ErrorKind, Result};

/// The origin of contents that are not trusted.
pub struct Provenance {
    fault: ErrorKind,
    verdict: Option<Box<dyn FnOnce(bool) + Send>>,
}

impl Provenance {
    /// Returns the origin of a client's contents: wrong ones are an `InvalidArgument`.
    #[must_use]
    pub fn client() -> Self {
        Self { fault: ErrorKind::InvalidArgument, verdict: None }
    }

    /// Returns the origin of a store's contents: wrong ones are a `DataLoss`.
    #[must_use]
    pub fn store() -> Self {
        Self { fault: ErrorKind::DataLoss, verdict: None }
    }

    /// Returns the origin of a store that is notified of the verification. `verdict` is called with `true` once all
    /// contents have passed, and with `false` once their size or hash turns out wrong. It is not called if reading ends
    /// before that.
    ///
    /// The callback runs wherever the blob is read, so it must not block.
    #[must_use]
    pub fn store_with_verdict(verdict: impl FnOnce(bool) + Send + 'static) -> Self {
        Self { fault: ErrorKind::DataLoss, verdict: Some(Box::new(verdict)) }
    }
}

impl Provenance {
    /// Returns the kind of error that wrong contents are.
    pub(super) fn fault(&self) -> ErrorKind {
        self.fault
    }

    pub(super) fn of_fault(fault: ErrorKind) -> Self {
        Self { fault, verdict: None }
    }
}

impl Debug for Provenance {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provenance").field("fault", &self.fault).finish_non_exhaustive()
    }
}

/// The verification of contents.
pub(super) struct Check {
    digest: Digest,
    provenance: Provenance,
    /// Whether the source answers for the hash, so that only the size is verified.
    size_only: bool,
}

impl Check {
    pub(super) fn new(digest: Digest, provenance: Provenance) -> Self {
        Self { digest, provenance, size_only: false }
    }

    pub(super) fn of_size(digest: Digest, provenance: Provenance) -> Self {
        Self { digest, provenance, size_only: true }
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.digest.size_bytes()
    }

    pub(super) fn hasher(&self) -> Option<Hasher> {
        (!self.size_only).then(|| self.digest.function().hasher(self.digest.size_bytes()))
    }

    pub(super) fn verify(self, contents: &[u8]) -> Result<()> {
        let size = u64::try_from(contents.len()).unwrap_or(u64::MAX);
        let mut hasher = self.hasher();
        if size == self.size_bytes()
            && let Some(hasher) = &mut hasher
        {
            hasher.update(contents);
        }
        self.conclude(size, hasher)
    }

    /// Concludes the verification of contents of `observed` bytes, all of which `hasher` has seen.
    pub(super) fn conclude(self, observed: u64, hasher: Option<Hasher>) -> Result<()> {
        if observed != self.size_bytes() {
            return Err(self.wrong_size(observed, false));
        }
        let Some(hash) = hasher.map(Hasher::finish) else {
            return Ok(());
        };
        if hash == *self.digest.hash() {
            self.tell(true);
            return Ok(());
        }
        let message = format!("blob {} has hash {hash}", self.digest);
        let fault = self.provenance.fault;
        self.tell(false);
        Err(Error::new(fault, message))
    }

    pub(super) fn wrong_size(self, observed: u64, at_least: bool) -> Error {
        let name = format!("blob {}", self.digest);
        let error = wrong_size(self.provenance.fault, &name, observed, at_least, self.size_bytes());
        self.tell(false);
        error
    }

    fn tell(self, right: bool) {
        if let Some(verdict) = self.provenance.verdict {
            verdict(right);
        }
    }
}
