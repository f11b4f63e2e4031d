//! Treats action results as absent once they are too old.

mod moment;
mod options;

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use prost::Message;

use self::moment::Moment;
pub use self::options::ExpiryOptions;
use crate::{
    Ac, Blob, BlobAccess, Capabilities, Clock, Context, Digest, DigestSet, Error, InstanceName, KeyFormat, PutOutcome,
    Result, Slicer, SystemClock, get_and_slice,
};

/// The multiplier that spreads times over the jitter. It is that of Buildbarn, so that servers of both kinds expire a
/// result at the same moment.
const SPREAD: u64 = 0x936a_0d2a_41e8_c779;

/// A [`BlobAccess`] in which an action result is absent once it is too old, so that its action is run again.
///
/// A cache that keeps what is used may keep a result for ever. If actions depend on more than their inputs, nobody
/// notices how far the results are from those of today. With this layer each action is run again every few weeks, at a
/// time of its own.
///
/// The age is that of `execution_metadata.worker_completed_timestamp`. A result without it, or with one that is no
/// valid time, does not expire.
///
/// * **get**: `NotFound` if the worker completed before the minimum timestamp, or if the time of the result is over:
///   the time of completion, the minimum validity and a part of the jitter ([`ExpiryOptions`]). At that very moment a
///   result is still valid.
/// * **put**, **find missing** and **capabilities**: those of the inner store. A new result replaces the expired one.
///
/// # Order
///
/// Inside of [`ActionResultTimestampInjecting`](super::ActionResultTimestampInjecting), which adds the time where a
/// client leaves it out. Inside of [`CompletenessChecking`](super::CompletenessChecking), which then looks for no
/// outputs of expired results. Inside of layers over two stores, around each of the two, or outside of both: in front
/// of one only, an expired result is copied back from the other.
///
/// # Weakens
///
/// [`find_missing`](BlobAccess::find_missing) does not read results, so it reports expired ones as present. The protocol
/// has no such call for action results.
///
/// # Memory
///
/// The action result that is being read.
///
/// # Cancel safety
///
/// That of the inner store.
///
/// # Errors
///
/// `NotFound` for what has expired, with both times. `InvalidArgument` for a result that is larger than permitted.
/// `DataLoss` for an entry that is no message. Errors of the inner store come as they are.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use std::time::Duration;
///
/// use blobaccess::decorators::{ActionResultExpiring, ExpiryOptions};
/// use blobaccess::{Ac, BlobAccessExt, Context, Digest, DigestFunction, InstanceName, MemoryStore};
///
/// let month = Duration::from_hours(28 * 24);
/// let options = ExpiryOptions::new(month).with_max_validity_jitter(month);
/// let store = ActionResultExpiring::new(MemoryStore::<Ac>::new(1 << 20), options);
///
/// let (ctx, action) = (Context::background(), Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"action"));
/// // The worker completed one second after the beginning of 1970.
/// store.put_bytes(&ctx, &action, &b"\x4a\x04\x22\x02\x08\x01"[..]).await?;
/// let error = store.get_bytes(&ctx, &action, 1024).await.unwrap_err();
/// assert!(error.is_not_found() && error.to_string().contains("expired at 1970-"), "{error}");
/// # Ok(())
/// # }
/// ```
///
/// It is for action results. Over another store it does not compile:
///
/// ```compile_fail,E0271
/// # use std::time::Duration;
/// # use blobaccess::decorators::{ActionResultExpiring, ExpiryOptions};
/// # use blobaccess::{Cas, MemoryStore};
/// let store = ActionResultExpiring::new(MemoryStore::<Cas>::new(1 << 20), ExpiryOptions::new(Duration::from_hours(1)));
/// ```
#[derive(Debug)]
pub struct ActionResultExpiring<B> {
    inner: B,
    options: ExpiryOptions,
    clock: Arc<dyn Clock>,
    below_minimum: AtomicU64,
    expired: AtomicU64,
}

/// The results that an [`ActionResultExpiring`] has treated as absent so far. A result counts each time it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExpirySnapshot {
    /// The number of results from before the minimum timestamp.
    pub below_minimum: u64,
    /// The number of results whose time was over.
    pub expired: u64,
}

impl<B: BlobAccess<Kind = Ac>> ActionResultExpiring<B> {
    /// Expires results that `inner` has, at the ages of `options`.
    pub fn new(inner: B, options: ExpiryOptions) -> Self {
        let [below_minimum, expired] = [0; 2].map(AtomicU64::new);
        Self { inner, options, clock: Arc::new(SystemClock), below_minimum, expired }
    }
}

impl<B> ActionResultExpiring<B> {
    /// Takes the time from `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
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

    /// Returns how many results were treated as absent so far.
    #[must_use]
    pub fn snapshot(&self) -> ExpirySnapshot {
        ExpirySnapshot {
            below_minimum: self.below_minimum.load(Ordering::Relaxed),
            expired: self.expired.load(Ordering::Relaxed),
        }
    }

    /// Fails if a result whose worker completed at `completed` is too old.
    fn check(&self, digest: &Digest, completed: Timestamp) -> Result<()> {
        let Some(time) = Moment::from_timestamp(completed.seconds, completed.nanos) else { return Ok(()) };
        let minimum = Moment::from(self.options.minimum_timestamp);
        if time < minimum {
            self.below_minimum.fetch_add(1, Ordering::Relaxed);
            return Err(Error::not_found(format!(
                "result of action {digest} was completed at {time}, while the minimum is {minimum}"
            )));
        }
        let jitter = jitter(completed.seconds, self.options.max_validity_jitter);
        let expiry = time.after(self.options.minimum_validity).after(jitter);
        if Moment::from(self.clock.now()) > expiry {
            self.expired.fetch_add(1, Ordering::Relaxed);
            return Err(Error::not_found(format!(
                "result of action {digest} was completed at {time}, and expired at {expiry}"
            )));
        }
        Ok(())
    }
}

/// Returns the part of `max` by which a result that was completed at `seconds` is valid for longer than the minimum.
fn jitter(seconds: i64, max: Duration) -> Duration {
    let spread = u128::from(seconds.cast_unsigned().wrapping_mul(SPREAD));
    let nanos = spread.checked_rem(max.as_nanos()).unwrap_or_default();
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// An `ActionResult` with the one field that is read here. The others are passed over, without an allocation.
#[derive(Clone, PartialEq, Message)]
struct TimedResult {
    #[prost(message, optional, tag = "9")]
    execution_metadata: Option<Metadata>,
}

/// An `ExecutedActionMetadata`, with one field.
#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(message, optional, tag = "4")]
    worker_completed_timestamp: Option<Timestamp>,
}

/// A `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<B: BlobAccess<Kind = Ac>> BlobAccess for ActionResultExpiring<B> {
    type Kind = Ac;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        let blob = self.inner.get(ctx, digest).await?;
        let (size, max) = (blob.size_bytes(), self.options.max_message_size_bytes);
        if size > max {
            let message = format!("result of action {digest} is {size} bytes, while at most {max} are permitted");
            return Err(Error::invalid_argument(message));
        }
        let message = blob.into_bytes(max).await?;
        let result = TimedResult::decode(&*message).map_err(|error| {
            Error::data_loss(format!("what is stored for action {digest} is no action result")).with_source(error)
        })?;
        if let Some(completed) = result.execution_metadata.and_then(|metadata| metadata.worker_completed_timestamp) {
            self.check(digest, completed)?;
        }
        Ok(Blob::from_bytes(message))
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        // Not by the inner store, which would answer for a part of what has expired.
        get_and_slice(self, ctx, parent, child, slicer).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        self.inner.put(ctx, digest, blob).await
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        self.inner.find_missing(ctx, digests).await
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        self.inner.capabilities(ctx, instance_name).await
    }

    fn key_format(&self) -> KeyFormat {
        self.inner.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        self.inner.finds_in_bulk()
    }
}

impl<B: Display> Display for ActionResultExpiring<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "action_result_expiring({})", self.inner)
    }
}
