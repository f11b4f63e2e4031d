//! Where contents come from, and so whose fault it is if they are wrong.

use std::fmt::{self, Debug, Formatter};

use crate::blob::wrong_size;
use crate::digest::Hasher;
use crate::{Digest, Error, ErrorKind, Result};

/// Where contents come from that are not trusted.
pub struct Provenance {
    fault: ErrorKind,
    verdict: Option<Box<dyn FnOnce(bool) + Send>>,
}

impl Provenance {
    /// A client: wrong contents are an `InvalidArgument`.
    #[must_use]
    pub fn client() -> Self {
        Self { fault: ErrorKind::InvalidArgument, verdict: None }
    }

    /// A store: wrong contents are a `DataLoss`.
    #[must_use]
    pub fn store() -> Self {
        Self { fault: ErrorKind::DataLoss, verdict: None }
    }

    /// A store that wants to know: `verdict` is called with `true` once all of the contents were found right, with
    /// `false` once their size or their hash was found wrong, and not at all if reading ended before that.
    ///
    /// It is called from wherever the blob is read, so it must not block.
    #[must_use]
    pub fn store_with_verdict(verdict: impl FnOnce(bool) + Send + 'static) -> Self {
        Self { fault: ErrorKind::DataLoss, verdict: Some(Box::new(verdict)) }
    }
}

impl Provenance {
    /// The same, for contents whose verdict is told elsewhere.
    pub(super) fn without_verdict(&self) -> Self {
        Self { fault: self.fault, verdict: None }
    }
}

impl Debug for Provenance {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provenance").field("fault", &self.fault).finish_non_exhaustive()
    }
}

/// What contents are verified by.
pub(super) struct Check {
    digest: Digest,
    provenance: Provenance,
}

impl Check {
    pub(super) fn new(digest: Digest, provenance: Provenance) -> Self {
        Self { digest, provenance }
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.digest.size_bytes()
    }

    pub(super) fn hasher(&self) -> Hasher {
        self.digest.function().hasher(self.digest.size_bytes())
    }

    pub(super) fn verify(self, contents: &[u8]) -> Result<()> {
        let size = u64::try_from(contents.len()).unwrap_or(u64::MAX);
        if size != self.size_bytes() {
            return Err(self.wrong_size(size, false));
        }
        let mut hasher = self.hasher();
        hasher.update(contents);
        self.judge(hasher)
    }

    /// Compares the hash of contents whose size is right.
    pub(super) fn judge(self, hasher: Hasher) -> Result<()> {
        let hash = hasher.finish();
        if hash == *self.digest.hash() {
            self.conclude(true);
            return Ok(());
        }
        let message = format!("blob {} has hash {hash}", self.digest);
        let fault = self.provenance.fault;
        self.conclude(false);
        Err(Error::new(fault, message))
    }

    pub(super) fn wrong_size(self, observed: u64, at_least: bool) -> Error {
        let name = format!("blob {}", self.digest);
        let error = wrong_size(self.provenance.fault, &name, observed, at_least, self.size_bytes());
        self.conclude(false);
        error
    }

    fn conclude(self, right: bool) {
        if let Some(verdict) = self.provenance.verdict {
            verdict(right);
        }
    }
}
