//! Adds the time to action results that do not say when their worker completed.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use blobaccess_proto::remote_execution::{ActionResult, ExecutedActionMetadata};
use bytes::Bytes;
use prost::Message;

use crate::{
    Ac, Blob, BlobAccess, Capabilities, Clock, Context, Digest, DigestSet, Error, Event, InstanceName, KeyFormat,
    NoObserver, Observer, PutOutcome, Result, Slicer, SystemClock,
};

/// A [`BlobAccess`] that sets `execution_metadata.worker_completed_timestamp` of each action result put, where it is
/// absent, to the time of the put.
///
/// Layers that expire results by age go by that time, and clients that run actions on their own leave it out. It is
/// appended as a field of its own, which protobuf merges into what is there. So every other byte is stored as it came,
/// fields that this version does not know included. Reading is not touched.
///
/// # Order
///
/// Outermost of a stack for action results, inside of what checks a caller's rights only.
///
/// # Memory
///
/// An action result that is being put, twice, and its decoded form.
///
/// # Errors
///
/// Of a put: `InvalidArgument` if it is not an `ActionResult`, or if it is larger than is permitted, with what is
/// appended. Nothing is stored then. What is larger by itself is not even read; what is permitted here, but too large
/// for the store, is.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use blobaccess::decorators::ActionResultTimestampInjecting;
/// use blobaccess::{Ac, BlobAccessExt, Context, Digest, DigestFunction, InstanceName, MemoryStore};
///
/// let store = ActionResultTimestampInjecting::new(MemoryStore::<Ac>::new(1 << 20), 4 << 20);
/// let (ctx, action) = (Context::background(), Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"action"));
/// // An action result with exit code 3 and nothing else.
/// store.put_bytes(&ctx, &action, &b"\x20\x03"[..]).await?;
/// assert!(store.get_bytes(&ctx, &action, 1024).await?.len() > 2);
/// # Ok(())
/// # }
/// ```
///
/// Over a store of another kind it does not compile:
///
/// ```compile_fail,E0271
/// # use blobaccess::decorators::ActionResultTimestampInjecting;
/// # use blobaccess::{Cas, MemoryStore};
/// let store = ActionResultTimestampInjecting::new(MemoryStore::<Cas>::new(1 << 20), 4 << 20);
/// ```
#[derive(Debug)]
pub struct ActionResultTimestampInjecting<B> {
    inner: B,
    max_message_size_bytes: u64,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
}

impl<B: BlobAccess<Kind = Ac>> ActionResultTimestampInjecting<B> {
    /// Adds the time to what is put into `inner`.
    ///
    /// What is stored is at most `max_message_size_bytes` long: as much as whoever reads action results takes, the
    /// servers and the layers that check them. 4 MiB is what clients receive unless told otherwise.
    pub fn new(inner: B, max_message_size_bytes: u64) -> Self {
        Self { inner, max_message_size_bytes, clock: Arc::new(SystemClock), observer: Arc::new(NoObserver) }
    }

    /// Takes the time from `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Notifies `observer` of each put, and whether its result had the time ([`Event::ActionResultPut`]).
    #[must_use]
    pub fn with_observer(mut self, observer: impl Observer) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Returns the inner store.
    pub const fn inner(&self) -> &B {
        &self.inner
    }

    /// Returns the inner store.
    pub fn into_inner(self) -> B {
        self.inner
    }
}

impl<B: BlobAccess<Kind = Ac>> ActionResultTimestampInjecting<B> {
    /// Returns the message in `blob`, with the time.
    async fn inject(&self, digest: &Digest, blob: Blob) -> Result<Bytes> {
        let message = blob.into_bytes(self.max_message_size_bytes).await?;
        let decoded = ActionResult::decode(message.clone()).map_err(|error| {
            Error::invalid_argument(format!("action result of {digest} is malformed")).with_source(error)
        })?;
        let present = decoded.execution_metadata.is_some_and(|data| data.worker_completed_timestamp.is_some());
        self.observer.event(&Event::ActionResultPut { worker_completed_timestamp: present });
        if present {
            return Ok(message);
        }
        let completed = worker_completed(self.clock.now());
        let mut injected = Vec::with_capacity(message.len() + completed.encoded_len());
        injected.extend_from_slice(&message);
        injected.extend(completed.encode_to_vec());
        let (size, max) = (injected.len(), self.max_message_size_bytes);
        if u64::try_from(size).is_ok_and(|size| size <= max) {
            return Ok(injected.into());
        }
        Err(Error::invalid_argument(format!(
            "action result of {digest} is {size} bytes with its time, while at most {max} are permitted"
        )))
    }
}

/// Makes a message of nothing but the time, which can be appended to any other.
fn worker_completed(time: SystemTime) -> ActionResult {
    let mut metadata = ExecutedActionMetadata::default();
    let timestamp = metadata.worker_completed_timestamp.get_or_insert_default();
    // No clock that is before 1970 is right.
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    timestamp.seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    timestamp.nanos = i32::try_from(since.subsec_nanos()).unwrap_or_default();
    ActionResult { execution_metadata: Some(metadata), ..ActionResult::default() }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<B: BlobAccess<Kind = Ac>> BlobAccess for ActionResultTimestampInjecting<B> {
    type Kind = Ac;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.inner.get(ctx, digest).await
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        self.inner.get_from_composite(ctx, parent, child, slicer).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let injected = self.inject(digest, blob).await;
        let injected = injected.map_err(Error::not_stored)?;
        self.inner.put(ctx, digest, Blob::from_bytes(injected)).await
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        self.inner.find_missing(ctx, digests).await
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        let capabilities = self.inner.capabilities(ctx, instance_name).await?;
        Ok(capabilities.with_max_blob_size_bytes(self.max_message_size_bytes))
    }

    fn key_format(&self) -> KeyFormat {
        self.inner.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        self.inner.finds_in_bulk()
    }
}

impl<B: Display> Display for ActionResultTimestampInjecting<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "action_result_timestamp_injecting({})", self.inner)
    }
}
