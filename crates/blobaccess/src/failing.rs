//! Fails every call in the same way.

use std::fmt::{self, Debug, Display, Formatter};
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    Blob, BlobAccess, Capabilities, Context, Digest, DigestSet, Error, InstanceName, KeyFormat, Kind, PutOutcome,
    Result, Slicer,
};

/// A backend of any kind whose every call fails with the error that it was given.
///
/// Use it for instance names that nobody serves, or for a store that is out of use. A query about no digests needs no
/// store, and is the only call that succeeds.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use blobaccess::{BlobAccess, Cas, Context, Digest, DigestFunction, Error, FailingStore, InstanceName};
///
/// let store = FailingStore::<Cas>::new(Error::unavailable("under repair"));
/// let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello");
/// assert_eq!(store.get(&Context::background(), &digest).await.unwrap_err().to_string(), "under repair");
/// # }
/// ```
pub struct FailingStore<K> {
    error: Error,
    kind: PhantomData<K>,
}

impl<K: Kind> FailingStore<K> {
    /// Fails with `error`, which says of puts that they stored nothing.
    #[must_use]
    pub fn new(error: Error) -> Self {
        Self { error: error.not_stored(), kind: PhantomData }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<K: Kind> BlobAccess for FailingStore<K> {
    type Kind = K;

    async fn get(&self, _ctx: &Context, _digest: &Digest) -> Result<Blob> {
        Err(self.error.clone())
    }

    async fn get_from_composite(
        &self,
        _ctx: &Context,
        _parent: &Digest,
        _child: &Digest,
        _slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        Err(self.error.clone())
    }

    async fn put(&self, _ctx: &Context, _digest: &Digest, _blob: Blob) -> Result<PutOutcome> {
        Err(self.error.clone())
    }

    async fn find_missing(&self, _ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        if digests.is_empty() { Ok(DigestSet::new()) } else { Err(self.error.clone()) }
    }

    async fn capabilities(&self, _ctx: &Context, _instance_name: &InstanceName) -> Result<Capabilities> {
        Err(self.error.clone())
    }

    /// Returns the format without instance names, since all of them fail alike: the other store of a layer decides.
    fn key_format(&self) -> KeyFormat {
        KeyFormat::WithoutInstanceName
    }

    fn finds_in_bulk(&self) -> bool {
        true
    }
}

impl<K> Display for FailingStore<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "error({}: {})", self.error.kind(), self.error)
    }
}

impl<K> Debug for FailingStore<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailingStore").field("error", &self.error).finish_non_exhaustive()
    }
}
