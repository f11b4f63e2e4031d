//! Tests of the time that is added to action results.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use blobaccess::decorators::ActionResultTimestampInjecting;
use blobaccess::{
    Ac, Blob, BlobAccess, Context, Error, ErrorKind, Event, Observer, Operation, Provenance, PutCertainty, PutOutcome,
};
use blobaccess_proto::remote_execution::{ActionResult, ExecutedActionMetadata};
use blobaccess_testkit::fakes::RecordingObserver;
use blobaccess_testkit::{ManualClock, digest_of};
use bytes::Bytes;
use futures::stream;
use prost::Message;

use crate::{Inner, fail, inner, memory};

static CTX: Context = Context::background();

/// A field that no version of the message knows: number 999, two bytes.
const UNKNOWN: &[u8] = &[0xba, 0x3e, 2, b'h', b'i'];
/// The appended bytes: field 9, in it field 4, in it 1000 s and 2000 ns.
const APPENDED: &[u8] = &[0x4a, 8, 0x22, 6, 0x08, 0xe8, 0x07, 0x10, 0xd0, 0x0f];

fn stack(max: u64) -> (Inner<Ac>, Arc<RecordingObserver>, ActionResultTimestampInjecting<Inner<Ac>>) {
    let (inner, recorder, clock) = (inner(), Arc::new(RecordingObserver::new()), ManualClock::new());
    clock.set_now(UNIX_EPOCH + Duration::new(1000, 2000));
    let observer: Arc<dyn Observer> = Arc::<RecordingObserver>::clone(&recorder);
    let store = ActionResultTimestampInjecting::new(Arc::clone(&inner), max)
        .with_clock(Arc::new(clock))
        .with_observer(observer);
    (inner, recorder, store)
}

/// Puts `message`, and returns what is stored and whether the time was there before.
async fn stored(message: Vec<u8>) -> (Bytes, bool) {
    let (inner, recorder, store) = stack(1000);
    let digest = digest_of("action");
    let outcome = store.put(&CTX, &digest, Blob::from_bytes(message)).await.unwrap();
    assert!(matches!(outcome, PutOutcome::Created { .. }));
    let stored = memory(&inner).get(&CTX, &digest).await.unwrap().into_bytes(1000).await.unwrap();
    let events = recorder.take_events();
    let [Event::ActionResultPut { worker_completed_timestamp }] = *events else { panic!("{events:?}") };
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
    let (inner, recorder, store) = stack(1000);
    let digest = digest_of("action");
    // The last is a field that ends beyond the end.
    for message in [&b"\xff\xff\xff"[..], b"\x4a\x05\x00"] {
        let error = store.put(&CTX, &digest, Blob::from_bytes(message)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert_eq!(error.to_string(), format!("action result of {digest} is malformed"));
    }
    assert!(inner.calls().is_empty() && recorder.take_events().is_empty());
}

#[tokio::test]
async fn what_is_stored_is_no_larger_than_permitted() {
    let sent = with_worker("w1").encode_to_vec();
    let exact = u64::try_from(sent.len() + APPENDED.len()).unwrap();
    for (max, accepted) in [(exact, true), (exact - 1, false), (1, false)] {
        let (inner, _, store) = stack(max);
        let result = store.put(&CTX, &digest_of("action"), Blob::from_bytes(sent.clone())).await;
        assert_eq!(result.is_ok(), accepted, "{max}");
        assert_eq!(inner.count_of(Operation::Put), usize::from(accepted));
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
    assert!(inner.calls().is_empty());
}

#[tokio::test]
async fn a_failed_put_may_have_stored_the_result() {
    let (inner, _, store) = stack(1000);
    fail(&inner, Error::unavailable("gone fishing"));
    let error = store.put(&CTX, &digest_of("action"), Blob::empty()).await.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.put_certainty()), ("gone fishing", PutCertainty::MaybeStored));
}
