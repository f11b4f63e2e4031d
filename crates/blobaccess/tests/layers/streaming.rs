//! A store whose blobs are streams of the test's own.

use std::fmt::{self, Debug, Display, Formatter};
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{
    Blob, BlobAccess, Capabilities, Context, Digest, DigestSet, Error, InstanceName, KeyFormat, Kind, Provenance,
    PutOutcome, Result, Slicer, get_and_slice,
};
use bytes::Bytes;
use futures::stream::BoxStream;

/// A store that has every blob, as the stream that a test makes. Nothing can be put.
pub(crate) struct StreamingStore<K> {
    make: Box<dyn Fn() -> BoxStream<'static, Result<Bytes>> + Send + Sync>,
    kind: PhantomData<K>,
}

impl<K> StreamingStore<K> {
    pub(crate) fn new(make: impl Fn() -> BoxStream<'static, Result<Bytes>> + Send + Sync + 'static) -> Self {
        Self { make: Box::new(make), kind: PhantomData }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<K: Kind> BlobAccess for StreamingStore<K> {
    type Kind = K;

    async fn get(&self, _: &Context, digest: &Digest) -> Result<Blob> {
        Ok(Blob::from_untrusted_stream(digest, (self.make)(), Provenance::store()))
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        get_and_slice(self, ctx, parent, child, slicer).await
    }

    async fn put(&self, _: &Context, _: &Digest, _: Blob) -> Result<PutOutcome> {
        Err(Error::unimplemented("nothing can be put"))
    }

    async fn find_missing(&self, _: &Context, _: &DigestSet) -> Result<DigestSet> {
        Ok(DigestSet::new())
    }

    async fn capabilities(&self, _: &Context, _: &InstanceName) -> Result<Capabilities> {
        Ok(Capabilities::unlimited())
    }

    fn key_format(&self) -> KeyFormat {
        K::STORAGE_TYPE.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        true
    }
}

impl<K> Debug for StreamingStore<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("StreamingStore")
    }
}

impl<K> Display for StreamingStore<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("streaming")
    }
}
