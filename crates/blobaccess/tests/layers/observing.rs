//! Tests of what an observer and a subscriber are notified of.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use blobaccess::decorators::Observing;
use blobaccess::{
    Blob, BlobAccess, Call, Caller, Cas, Context, DigestSet, Error, ErrorKind, InstanceName, MemoryStore, Observer,
    Operation, Provenance, PutOutcome, StorageType,
};
use blobaccess_testkit::digest_of;
use blobaccess_testkit::fakes::{LeadingBytes, PausedStore, RecordingObserver, ScriptedStore};
use bytes::Bytes;
use futures::{FutureExt, TryStreamExt, poll, stream};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata, Subscriber};

use crate::{Inner, fail, inner, stored};

static CTX: Context = Context::background();

fn observed<B: BlobAccess>(inner: B) -> (Arc<RecordingObserver>, Observing<B>) {
    let recorder = Arc::new(RecordingObserver::new());
    let observer: Arc<dyn Observer> = Arc::<RecordingObserver>::clone(&recorder);
    (recorder, Observing::new(inner, "fake", observer))
}

fn stack() -> (Inner<Cas>, Arc<RecordingObserver>, Observing<Inner<Cas>>) {
    let inner = inner();
    let (recorder, store) = observed(Arc::clone(&inner));
    (inner, recorder, store)
}

/// Returns the one call that `recorder` was notified of since the last time.
fn one_call(recorder: &RecordingObserver) -> Call {
    let mut calls = recorder.take_calls();
    let call = calls.pop().unwrap();
    assert!(calls.is_empty(), "{calls:?}");
    assert_eq!((call.storage_type, call.backend), (StorageType::Cas, "fake"));
    call
}

#[tokio::test(start_paused = true)]
async fn a_get_lasts_until_its_blob_is_read() {
    let (inner, recorder, store) = stack();
    let digest = stored(&inner, "hello").await;
    let blob = store.get(&CTX, &digest).await.unwrap();
    assert!(recorder.take_calls().is_empty());
    tokio::time::advance(Duration::from_secs(3)).await;
    assert_eq!(blob.into_bytes(9).await.unwrap(), "hello");
    let call = one_call(&recorder);
    assert_eq!((call.operation, call.duration), (Operation::Get, Duration::from_secs(3)));
    assert_eq!((call.blob_size_bytes, call.digests, call.outcome, call.error), (Some(5), None, None, None));
}

#[tokio::test]
async fn a_reader_that_stops_is_no_failure() {
    let (inner, recorder, store) = stack();
    let digest = stored(&inner, "hello").await;
    drop(store.get(&CTX, &digest).await.unwrap());
    assert_eq!(one_call(&recorder).error, None);
    drop(store.get(&CTX, &digest).await.unwrap().into_stream(..).unwrap());
    assert_eq!(one_call(&recorder).error, None);
}

#[tokio::test]
async fn a_blob_that_fails_is_a_failed_get() {
    let digest = digest_of("hello");
    let pieces = stream::iter([Ok(Bytes::from("he")), Err(Error::unavailable("line cut"))]);
    let blob = Blob::from_untrusted_stream(&digest, pieces, Provenance::store());
    let (recorder, store) = observed(ScriptedStore::<Cas>::new().on_get(Ok(blob)));
    let mut reader = store.get(&CTX, &digest).await.unwrap().into_stream(..).unwrap();
    while reader.try_next().await.is_ok() {}
    drop(reader);
    let call = one_call(&recorder);
    assert_eq!((call.error, call.blob_size_bytes), (Some(ErrorKind::Unavailable), Some(5)));
}

#[tokio::test]
async fn a_part_of_a_composite_is_reported_with_its_own_size() {
    let (inner, recorder, store) = stack();
    let digest = stored(&inner, "hello").await;
    let part = store.get_from_composite(&CTX, &digest, &digest_of("he"), Arc::new(LeadingBytes)).await.unwrap();
    assert_eq!(part.into_bytes(9).await.unwrap(), "he");
    let call = one_call(&recorder);
    assert_eq!((call.operation, call.blob_size_bytes), (Operation::GetFromComposite, Some(2)));
}

#[tokio::test]
async fn a_put_is_reported_with_its_outcome() {
    let (_, recorder, store) = stack();
    for outcome in [PutOutcome::Created { stored_bytes: 5 }, PutOutcome::AlreadyExists { stored_bytes: 5 }] {
        assert_eq!(store.put(&CTX, &digest_of("hello"), Blob::from_bytes("hello")).await.unwrap(), outcome);
        let call = one_call(&recorder);
        assert_eq!((call.operation, call.blob_size_bytes), (Operation::Put, Some(5)));
        assert_eq!((call.outcome, call.error), (Some(outcome), None));
    }
}

#[tokio::test]
async fn a_find_missing_is_reported_with_its_number_of_digests() {
    let (_, recorder, store) = stack();
    let digests = DigestSet::from([digest_of("a"), digest_of("b")]);
    assert_eq!(store.find_missing(&CTX, &digests).await.unwrap(), digests);
    let call = one_call(&recorder);
    assert_eq!((call.operation, call.digests, call.blob_size_bytes), (Operation::FindMissing, Some(2), None));
    assert_eq!(call.missing, Some(2));
}

#[tokio::test]
async fn a_find_missing_of_no_digests_reaches_neither_store_nor_observer() {
    let (inner, recorder, store) = stack();
    fail(&inner, Error::unavailable("gone fishing"));
    assert!(store.find_missing(&CTX, &DigestSet::new()).await.unwrap().is_empty());
    assert!(inner.calls().is_empty() && recorder.take_calls().is_empty());
}

#[tokio::test]
async fn each_failed_call_is_reported_and_its_error_passed_on_unchanged() {
    let (inner, recorder, store) = stack();
    let digest = digest_of("hello");
    fail(&inner, Error::unavailable("gone fishing"));
    let results = [
        store.get(&CTX, &digest).await.map(drop),
        store.get_from_composite(&CTX, &digest, &digest, Arc::new(LeadingBytes)).await.map(drop),
        store.put(&CTX, &digest, Blob::from_bytes("hello")).await.map(drop),
        store.find_missing(&CTX, &digest.clone().into()).await.map(drop),
        store.capabilities(&CTX, &InstanceName::empty()).await.map(drop),
    ];
    for result in results {
        assert_eq!(result.unwrap_err().to_string(), "gone fishing");
    }
    let calls = recorder.take_calls();
    assert!(calls.iter().map(|call| call.operation).eq(Operation::ALL), "{calls:?}");
    assert!(calls.iter().all(|call| call.error == Some(ErrorKind::Unavailable) && call.outcome.is_none()));
    assert_eq!(calls.iter().map(|call| call.blob_size_bytes).collect::<Vec<_>>(), [None, None, Some(5), None, None]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_is_reported_as_cancelled() {
    let (recorder, store) = observed(PausedStore::new(MemoryStore::<Cas>::new(1 << 20)));
    let digest = digest_of("hello");
    let mut get = store.get(&CTX, &digest).boxed();
    assert!(poll!(&mut get).is_pending());
    tokio::time::advance(Duration::from_secs(1)).await;
    drop(get);
    let call = one_call(&recorder);
    assert_eq!((call.error, call.duration), (Some(ErrorKind::Cancelled), Duration::from_secs(1)));
}

/// A subscriber that keeps each span and event as a line: its level and fields.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<(Level, String)>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{}={value:?} ", field.name()).unwrap();
    }
}

impl Lines {
    fn keep(&self, metadata: &Metadata<'_>, record: impl FnOnce(&mut Line)) {
        if metadata.target().starts_with("blobaccess::decorators::observing") {
            let mut line = Line(if metadata.is_span() { "span: ".to_owned() } else { String::new() });
            record(&mut line);
            self.0.lock().unwrap().push((*metadata.level(), line.0));
        }
    }
}

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.keep(span.metadata(), |line| span.record(line));
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        self.keep(event.metadata(), |line| event.record(line));
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn traces_carry_operation_digest_and_caller_and_warn_of_a_store_in_trouble() {
    let lines = Lines::default();
    let _default = tracing::subscriber::set_default(lines.clone());
    let (inner, _, store) = stack();
    let digest = stored(&inner, "hello").await;
    let ctx = CTX.clone().with_caller(Caller::new("ci"));
    store.get(&ctx, &digest).await.unwrap().verify().await.unwrap();
    fail(&inner, Error::not_found("evicted"));
    assert!(store.get(&ctx, &digest).await.is_err());
    for error in [Error::unavailable("gone fishing"), Error::data_loss("bit rot")] {
        fail(&inner, error);
        assert!(store.get(&ctx, &digest).await.is_err());
    }
    let lines = std::mem::take(&mut *lines.0.lock().unwrap());
    let (spans, events): (Vec<_>, Vec<_>) = lines.into_iter().partition(|(_, line)| line.starts_with("span: "));
    let fields = [r#"operation="Get""#.to_owned(), format!("digest={digest}"), r#"caller="ci""#.to_owned()];
    assert_eq!((spans.len(), events.len()), (4, 4));
    for (_, line) in spans.iter().chain(&events) {
        assert!(fields.iter().all(|field| line.contains(field)), "{line}");
    }
    assert!(spans.iter().all(|(level, _)| *level == Level::DEBUG));
    let levels: Vec<Level> = events.iter().map(|(level, _)| *level).collect();
    assert_eq!(levels, [Level::DEBUG, Level::DEBUG, Level::WARN, Level::WARN]);
    assert!(events[2].1.contains("error=gone fishing") && events[2].1.contains(r#"code="Unavailable""#), "{events:?}");
}
