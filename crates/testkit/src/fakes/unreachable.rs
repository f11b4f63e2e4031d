//! A store of which every call fails.

use std::fmt::{self, Display, Formatter};
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{
    Blob, BlobAccess, Capabilities, Context, Digest, DigestSet, Error, InstanceName, KeyFormat, Kind, PutOutcome,
    Result, Slicer,
};

/// A store of which every call fails with the same error, but for `find_missing` of no digests, which never may.
///
/// A blob that is put is dropped unread.
#[derive(Clone, Debug)]
pub struct UnreachableBlobAccess<K> {
    error: Error,
    kind: PhantomData<K>,
}

impl<K: Kind> UnreachableBlobAccess<K> {
    /// A store that fails with `error`.
    #[must_use]
    pub fn new(error: Error) -> Self {
        Self { error, kind: PhantomData }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<K: Kind> BlobAccess for UnreachableBlobAccess<K> {
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

    fn key_format(&self) -> KeyFormat {
        K::STORAGE_TYPE.key_format()
    }
}

impl<K> Display for UnreachableBlobAccess<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("unreachable")
    }
}
