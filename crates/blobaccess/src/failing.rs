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
/// It stands where nothing is to be had: for instance names that nobody serves, for a store that is out of use. To be
/// asked about no digests needs no store, and alone does not fail.
pub struct FailingStore<K> {
    error: Error,
    kind: PhantomData<K>,
}

impl<K: Kind> FailingStore<K> {
    /// Fails with `error`; of puts it is added that they stored nothing.
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

    /// Without instance names, since all of them fail alike: beside another store, that one decides.
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
