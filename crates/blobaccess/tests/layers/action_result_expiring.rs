//! Tests of the ages at which action results expire.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use blobaccess::decorators::{ActionResultExpiring, ExpiryOptions};
use blobaccess::{Ac, Blob, BlobAccess, BlobAccessExt, Context, Digest, Error, ErrorKind, Operation, Result};
use blobaccess_proto::remote_execution::{ActionResult, ExecutedActionMetadata};
use blobaccess_testkit::fakes::LeadingBytes;
use blobaccess_testkit::{ManualClock, digest_of};
use bytes::Bytes;
use prost::Message;

use crate::{Inner, fail, inner, memory};

static CTX: Context = Context::background();

const FOUR_WEEKS: Duration = Duration::from_hours(28 * 24);

/// The time of completion of the published vector, which expires within this second.
const COMPLETED: i64 = 1_641_325_786;
const EXPIRES: u64 = 1_644_187_855;

/// The minimum timestamp, in seconds from the beginning of 1970.
const MINIMUM: i64 = 1_641_000_000;

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(seconds.unsigned_abs())
}

/// A layer with the options of the published vector, and what it stands on.
struct Stack {
    inner: Inner<Ac>,
    clock: Arc<ManualClock>,
    store: ActionResultExpiring<Inner<Ac>>,
    action: Digest,
}

fn stack(options: ExpiryOptions) -> Stack {
    let (inner, clock) = (inner(), Arc::new(ManualClock::new()));
    let store = ActionResultExpiring::new(Arc::clone(&inner), options).with_clock(Arc::<ManualClock>::clone(&clock));
    Stack { inner, clock, store, action: digest_of("action") }
}

fn of_the_vector() -> Stack {
    let minimum = UNIX_EPOCH + seconds(MINIMUM);
    let options = ExpiryOptions::new(FOUR_WEEKS).with_max_validity_jitter(FOUR_WEEKS);
    stack(options.with_minimum_timestamp(minimum))
}

impl Stack {
    /// Gets `result` once it is stored, when the clock says `now`.
    async fn get(&self, result: impl Into<Bytes>, now: Duration) -> Result<Bytes> {
        memory(&self.inner).put(&CTX, &self.action, Blob::from_bytes(result)).await.unwrap();
        self.clock.set_now(UNIX_EPOCH + now);
        self.store.get_bytes(&CTX, &self.action, 1000).await
    }
}

fn completed_at(seconds: i64, nanos: i32) -> Vec<u8> {
    let mut metadata = ExecutedActionMetadata { worker: "w1".to_owned(), ..ExecutedActionMetadata::default() };
    let timestamp = metadata.worker_completed_timestamp.get_or_insert_default();
    (timestamp.seconds, timestamp.nanos) = (seconds, nanos);
    // The rest of the message, a field that is not known here included, is passed over and returned.
    let result = ActionResult { exit_code: 3, execution_metadata: Some(metadata), ..ActionResult::default() };
    [&result.encode_to_vec()[..], &[0xba, 0x3e, 2, b'h', b'i']].concat()
}

fn assert_absent(result: Result<Bytes>, message: &str) {
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::NotFound, message.to_owned()));
}

#[tokio::test]
async fn a_result_without_a_time_does_not_expire() {
    let stack = of_the_vector();
    let without_time =
        ActionResult { execution_metadata: Some(ExecutedActionMetadata::default()), ..Default::default() };
    let invalid = [completed_at(COMPLETED, -1), completed_at(COMPLETED, 1_000_000_000), completed_at(i64::MIN, 0)];
    let results = [Vec::new(), without_time.encode_to_vec()].into_iter().chain(invalid);
    for result in results {
        let now = Duration::from_secs(u64::from(u32::MAX));
        assert_eq!(stack.get(result.clone(), now).await.unwrap(), result);
    }
}

#[tokio::test]
async fn the_last_moment_of_the_published_vector_is_valid_and_the_next_is_not() {
    let stack = of_the_vector();
    let result = completed_at(COMPLETED, 0);
    // 28 days, and a jitter of 442,869,073,010,954 ns.
    let expiry = Duration::new(EXPIRES, 73_010_954);
    for now in [Duration::from_secs(EXPIRES), expiry, Duration::ZERO] {
        assert_eq!(stack.get(result.clone(), now).await.unwrap(), result);
    }
    for now in [expiry + Duration::from_nanos(1), Duration::from_secs(EXPIRES + 1)] {
        assert_absent(
            stack.get(result.clone(), now).await,
            &format!(
                "result of action {} was completed at 2022-01-04T19:49:46Z, and expired at 2022-02-06T22:50:55Z",
                stack.action
            ),
        );
    }
    let snapshot = stack.store.snapshot();
    assert_eq!((snapshot.below_minimum, snapshot.expired), (0, 2));
}

#[tokio::test]
async fn a_result_from_before_the_minimum_is_absent_however_young() {
    let stack = of_the_vector();
    let now = seconds(MINIMUM);
    assert_absent(
        stack.get(completed_at(MINIMUM - 1, 999_999_999), now).await,
        &format!(
            "result of action {} was completed at 2022-01-01T01:19:59Z, while the minimum is 2022-01-01T01:20:00Z",
            stack.action
        ),
    );
    assert!(stack.get(completed_at(MINIMUM, 0), now).await.is_ok());
    let snapshot = stack.store.snapshot();
    assert_eq!((snapshot.below_minimum, snapshot.expired), (1, 0));
}

#[tokio::test]
async fn without_jitter_every_result_has_the_minimum_validity_and_not_more() {
    let stack = stack(ExpiryOptions::new(Duration::from_secs(10)));
    assert!(stack.get(completed_at(100, 5), Duration::new(110, 5)).await.is_ok());
    assert!(stack.get(completed_at(100, 5), Duration::new(110, 6)).await.is_err_and(|error| error.is_not_found()));
}

#[tokio::test]
async fn no_option_and_no_time_overflows() {
    let options = ExpiryOptions::new(Duration::MAX).with_max_validity_jitter(Duration::MAX);
    let stack = stack(options);
    assert!(stack.get(completed_at(253_402_300_799, 999_999_999), Duration::from_secs(EXPIRES)).await.is_ok());
    // The year 1 is before 1970, the minimum unless set.
    let error = stack.get(completed_at(-62_135_596_800, 0), Duration::ZERO).await.unwrap_err();
    assert!(error.to_string().contains("0001-01-01T00:00:00Z") && error.is_not_found(), "{error}");
}

#[tokio::test]
async fn a_new_result_takes_the_place_of_the_expired_one() {
    let stack = stack(ExpiryOptions::new(Duration::from_secs(10)));
    assert!(stack.get(completed_at(100, 0), Duration::from_secs(200)).await.is_err());
    let new = completed_at(200, 0);
    stack.store.put(&CTX, &stack.action, Blob::from_bytes(new.clone())).await.unwrap();
    assert_eq!(stack.store.get_bytes(&CTX, &stack.action, 1000).await.unwrap(), new);
}

#[tokio::test]
async fn a_part_of_an_expired_result_is_absent_as_a_whole() {
    let stack = stack(ExpiryOptions::new(Duration::from_secs(10)));
    let result = completed_at(100, 0);
    let part = digest_of(&result[..2]);
    stack.get(result, Duration::from_secs(100)).await.unwrap();
    let get = || stack.store.get_from_composite(&CTX, &stack.action, &part, Arc::new(LeadingBytes));
    assert_eq!(get().await.unwrap().size_bytes(), 2);
    stack.clock.set_now(UNIX_EPOCH + Duration::from_secs(200));
    assert!(get().await.unwrap_err().is_blob_missing());
    assert_eq!(stack.inner.count_of(Operation::GetFromComposite), 0);
}

#[tokio::test]
async fn what_cannot_be_read_is_no_absence() {
    let stack = stack(ExpiryOptions::new(FOUR_WEEKS).with_max_message_size_bytes(9));
    let error = stack.get(vec![0xff; 9], Duration::ZERO).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataLoss, "{error}");
    let error = stack.get(vec![0; 10], Duration::ZERO).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    assert!(error.to_string().contains("is 10 bytes, while at most 9 are permitted"), "{error}");
    fail(&stack.inner, Error::unavailable("gone fishing"));
    let error = stack.store.get(&CTX, &stack.action).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Unavailable, "gone fishing"));
}
