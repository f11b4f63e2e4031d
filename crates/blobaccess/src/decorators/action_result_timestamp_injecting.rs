//! Adds the time to action results that do not say when their worker completed.

use std::fmt::{self, Debug, Display, Formatter};
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
pub struct ActionResultTimestampInjecting<B> {
    inner: B,
    max_message_size_bytes: u64,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
}

impl<B> ActionResultTimestampInjecting<B> {
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

    /// Tells `observer` of each put whether the time was there ([`Event::ActionResultPut`]).
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }
}

impl<B: BlobAccess<Kind = Ac>> ActionResultTimestampInjecting<B> {
    /// The message in `blob`, with the time.
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

/// A message of nothing but the time, which can be appended to any other.
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

impl<B: Debug> Debug for ActionResultTimestampInjecting<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActionResultTimestampInjecting")
            .field("inner", &self.inner)
            .field("max_message_size_bytes", &self.max_message_size_bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::stream;

    use super::*;
    use crate::decorators::fakes::{Beginning, Noting, StandingClock, Told, digest_of};
    use crate::{ErrorKind, Operation, Provenance, PutCertainty};

    static CTX: Context = Context::background();

    /// A field that no version of the message knows: number 999, two bytes.
    const UNKNOWN: &[u8] = &[0xba, 0x3e, 2, b'h', b'i'];
    /// What is appended: field 9, in it field 4, in it 1000 s and 2000 ns.
    const APPENDED: &[u8] = &[0x4a, 8, 0x22, 6, 0x08, 0xe8, 0x07, 0x10, 0xd0, 0x0f];

    type Inner = Arc<Noting<Ac>>;

    fn stack(max: u64) -> (Inner, Arc<Told>, ActionResultTimestampInjecting<Inner>) {
        let (inner, told) = (Noting::new(), Arc::new(Told::default()));
        let clock = StandingClock(UNIX_EPOCH + Duration::new(1000, 2000));
        let observer: Arc<dyn Observer> = Arc::<Told>::clone(&told);
        let store = ActionResultTimestampInjecting::new(Arc::clone(&inner), max)
            .with_clock(Arc::new(clock))
            .with_observer(observer);
        (inner, told, store)
    }

    /// What is stored of `message`, and whether the time was there.
    async fn stored(message: Vec<u8>) -> (Bytes, bool) {
        let (inner, told, store) = stack(1000);
        let digest = digest_of("action");
        let outcome = store.put(&CTX, &digest, Blob::from_bytes(message)).await.unwrap();
        assert!(matches!(outcome, PutOutcome::Created { .. }));
        let stored = inner.memory.get(&CTX, &digest).await.unwrap().into_bytes(1000).await.unwrap();
        let events = told.events.lock().unwrap();
        let [Event::ActionResultPut { worker_completed_timestamp }] = **events else { panic!("{events:?}") };
        (stored, worker_completed_timestamp)
    }

    fn with_worker(worker: &str) -> ActionResult {
        let metadata = ExecutedActionMetadata { worker: worker.to_owned(), ..ExecutedActionMetadata::default() };
        ActionResult { exit_code: 3, execution_metadata: Some(metadata), ..ActionResult::default() }
    }

    #[tokio::test]
    async fn a_result_without_metadata_gets_some_with_the_time() {
        let result = ActionResult { exit_code: 3, ..ActionResult::default() };
        let (bytes, present) = stored(result.encode_to_vec()).await;
        assert!(!present);
        assert_eq!(bytes, [&result.encode_to_vec(), APPENDED].concat());
        let (bytes, _) = stored(Vec::new()).await;
        assert_eq!(bytes, APPENDED);
    }

    #[tokio::test]
    async fn metadata_without_the_time_keeps_all_else_and_unknown_fields_survive() {
        let sent = [&with_worker("w1").encode_to_vec(), UNKNOWN].concat();
        let (bytes, present) = stored(sent.clone()).await;
        assert!(!present);
        assert_eq!(bytes, [&sent, APPENDED].concat());
        let read = ActionResult::decode(bytes).unwrap();
        assert_eq!(read.exit_code, 3);
        let metadata = read.execution_metadata.unwrap();
        assert_eq!(metadata.worker, "w1");
        let time = metadata.worker_completed_timestamp.unwrap();
        assert_eq!((time.seconds, time.nanos), (1000, 2000));
    }

    #[tokio::test]
    async fn a_result_with_the_time_is_stored_as_it_came() {
        let mut result = with_worker("w1");
        if let Some(metadata) = &mut result.execution_metadata {
            metadata.worker_completed_timestamp.get_or_insert_default().seconds = 7;
        }
        let sent = [&result.encode_to_vec(), UNKNOWN].concat();
        assert_eq!(stored(sent.clone()).await, (sent.into(), true));
    }

    #[tokio::test]
    async fn what_is_no_action_result_is_refused_and_not_stored() {
        let (inner, told, store) = stack(1000);
        let digest = digest_of("action");
        // The last is a field that ends beyond the end.
        for message in [&b"\xff\xff\xff"[..], b"\x4a\x05\x00"] {
            let error = store.put(&CTX, &digest, Blob::from_bytes(message)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert_eq!(error.to_string(), format!("action result of {digest} is malformed"));
        }
        assert!(inner.noted().is_empty() && told.events.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_is_stored_is_no_larger_than_permitted() {
        let sent = with_worker("w1").encode_to_vec();
        let exact = u64::try_from(sent.len() + APPENDED.len()).unwrap();
        for (max, accepted) in [(exact, true), (exact - 1, false), (1, false)] {
            let (inner, _, store) = stack(max);
            let result = store.put(&CTX, &digest_of("action"), Blob::from_bytes(sent.clone())).await;
            assert_eq!(result.is_ok(), accepted, "{max}");
            assert_eq!(inner.count(Operation::Put), usize::from(accepted));
            if let Err(error) = result {
                assert_eq!(error.kind(), ErrorKind::InvalidArgument);
                assert!(error.to_string().contains(&max.to_string()), "{error}");
            }
        }
    }

    #[tokio::test]
    async fn a_source_that_fails_fails_the_put_and_stores_nothing() {
        let (inner, _, store) = stack(1000);
        let digest = digest_of("action");
        let broken = stream::iter([Err(Error::unavailable("line cut"))]);
        let broken = Blob::from_untrusted_stream(&digest, broken, Provenance::client());
        let error = store.put(&CTX, &digest, broken).await.unwrap_err();
        assert_eq!((error.kind(), error.put_certainty()), (ErrorKind::Unavailable, PutCertainty::NotStored));
        assert!(inner.noted().is_empty());
    }

    #[tokio::test]
    async fn everything_else_is_the_inner_stores() {
        let (inner, _, store) = stack(1000);
        let digest = inner.hold_contents("hello").await;
        assert_eq!(store.get(&CTX, &digest).await.unwrap().into_bytes(9).await.unwrap(), "hello");
        store.get_from_composite(&CTX, &digest, &digest_of("he"), Arc::new(Beginning)).await.unwrap();
        assert!(store.find_missing(&CTX, &digest.clone().into()).await.unwrap().is_empty());
        store.capabilities(&CTX, &InstanceName::empty()).await.unwrap();
        assert_eq!(inner.noted().len(), 4);
        inner.fail_with(Error::unavailable("gone fishing"));
        let error = store.put(&CTX, &digest, Blob::empty()).await.unwrap_err();
        assert_eq!((error.to_string().as_str(), error.put_certainty()), ("gone fishing", PutCertainty::MaybeStored));
        assert_eq!(store.to_string(), "action_result_timestamp_injecting(noting)");
        assert_eq!(store.key_format(), KeyFormat::WithInstanceName);
    }
}
