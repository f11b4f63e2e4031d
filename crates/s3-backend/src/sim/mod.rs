//! An S3 server within the process, with faults to order, for tests of this crate and of its users.
//!
//! [`SimS3`] is one bucket. It serves the requests that clients of S3 make of objects: put, get with ranges, head,
//! delete, list, and uploads in parts, with conditions and user metadata. It checks no signature. Its faults are
//! [planned](FaultPlan), and drawn from a seed.
//!
//! # Examples
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> blobaccess::Result<()> {
//! use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName};
//! use blobaccess_s3_backend::sim::{FaultPlan, SimS3};
//! use blobaccess_s3_backend::{BucketStore, BucketOptions};
//!
//! let sim = SimS3::new(7);
//! let options = BucketOptions::default().with_backoff(std::time::Duration::ZERO, std::time::Duration::ZERO);
//! let store = BucketStore::<Cas>::open(sim.bucket()?, options).await?;
//! // Every tenth answer to a put is lost after the object was stored.
//! sim.set_faults(FaultPlan::NONE.with_lost_after_commit(100));
//! for number in 0..100_u8 {
//!     let contents = vec![number; 100];
//!     let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents);
//!     let outcome = store.put(&Context::background(), &digest, Blob::from_bytes(contents)).await?;
//!     assert_eq!(outcome.name(), "created");
//! }
//! assert_eq!(sim.objects().len(), 100);
//! # Ok(())
//! # }
//! ```

mod faults;
mod foreign_answer;
mod http;
mod request;
mod serve;
mod world;
mod xml;

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use blobaccess::Result;
use bytes::Bytes;
use object_store::aws::AmazonS3Builder;

use self::faults::Dice;
pub use self::faults::FaultPlan;
pub use self::foreign_answer::ForeignAnswer;
use self::world::World;
use crate::probe::Races;
use crate::{Bucket, Connection};

/// An S3 bucket within the process. Clones are the same bucket.
///
/// It is an `HttpService` and an `HttpConnector` of [`object_store`], and can be [served](Self::serve) over TCP.
#[derive(Clone)]
pub struct SimS3 {
    state: Arc<Mutex<State>>,
}

struct State {
    world: World,
    dice: Dice,
    plan: FaultPlan,
    modes: Modes,
    broken: bool,
    deleted: bool,
    foreign: Option<ForeignAnswer>,
}

#[derive(Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of servers of its own")]
struct Modes {
    ignores_conditions: bool,
    completes_unconditionally: bool,
    answers_not_modified: bool,
    drops_metadata: bool,
    compares_bare_e_tags: bool,
    lists_backwards: bool,
    hides_absence: bool,
    refuses_aborts: bool,
    marks_nothing: bool,
    strips_metadata: bool,
    looks_before_puts: bool,
    looks_before_completions: bool,
    nests_no_keys: bool,
    makes_buckets: bool,
    deletes_unconditionally: bool,
}

impl SimS3 {
    /// Makes an empty bucket without faults. Faults that are ordered later are drawn from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State {
            world: World::default(),
            dice: Dice::new(seed),
            plan: FaultPlan::NONE,
            modes: Modes::default(),
            broken: false,
            deleted: false,
            foreign: None,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn change(self, change: impl FnOnce(&mut State)) -> Self {
        change(&mut self.lock());
        self
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What panics in a test is the test.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the server overwrite objects whatever a condition says, as some servers do.
    #[must_use]
    pub fn ignoring_conditions(self) -> Self {
        self.change(|state| state.modes.ignores_conditions = true)
    }

    /// Makes the server ignore the conditions of completions alone, as Ceph RGW 16 does.
    #[must_use]
    pub fn completing_unconditionally(self) -> Self {
        self.change(|state| state.modes.completes_unconditionally = true)
    }

    /// Makes the server answer a failed condition with 304 rather than 412, as older `MinIO` does.
    #[must_use]
    pub fn answering_not_modified(self) -> Self {
        self.change(|state| state.modes.answers_not_modified = true)
    }

    /// Makes the server match an `ETag` only without its quotation marks, as Ceph RGW 16 does.
    #[must_use]
    pub fn comparing_bare_e_tags(self) -> Self {
        self.change(|state| state.modes.compares_bare_e_tags = true)
    }

    /// Makes the server list keys in another order than theirs, as directory buckets of S3 do.
    #[must_use]
    pub fn listing_backwards(self) -> Self {
        self.change(|state| state.modes.lists_backwards = true)
    }

    /// Makes the server answer requests for missing objects with 403, as AWS does where the right to list is lacking.
    #[must_use]
    pub fn hiding_absence(self) -> Self {
        self.change(|state| state.modes.hides_absence = true)
    }

    /// Makes the server answer aborts of multipart uploads with 403.
    #[must_use]
    pub fn refusing_aborts(self) -> Self {
        self.change(|state| state.modes.refuses_aborts = true)
    }

    /// Makes the server leave the mark of S3 off its answers, as some servers and some proxies do.
    #[must_use]
    pub fn marking_nothing(self) -> Self {
        self.change(|state| state.modes.marks_nothing = true)
    }

    /// Makes the server ignore the conditions of deletions, as `MinIO` does.
    #[must_use]
    pub fn deleting_unconditionally(self) -> Self {
        self.change(|state| state.modes.deletes_unconditionally = true)
    }

    /// Makes the server drop user metadata.
    #[must_use]
    pub fn dropping_metadata(self) -> Self {
        self.change(|state| state.modes.drops_metadata = true)
    }

    /// Makes the server look before it stores a large body, so that several creates succeed that race: puts, as moto does.
    #[must_use]
    pub fn racing_puts(self) -> Self {
        self.change(|state| state.modes.looks_before_puts = true)
    }

    /// Makes the server let several completions of large uploads succeed that race, as moto does.
    #[must_use]
    pub fn racing_completions(self) -> Self {
        self.change(|state| state.modes.looks_before_completions = true)
    }

    /// Makes the server refuse creates of keys below which others lie, as `SeaweedFS` does.
    #[must_use]
    pub fn nesting_no_keys(self) -> Self {
        self.change(|state| state.modes.nests_no_keys = true)
    }

    /// Makes the server make a bucket that is [deleted](Self::set_deleted) and put into, as `SeaweedFS` does.
    #[must_use]
    pub fn making_buckets(self) -> Self {
        self.change(|state| state.modes.makes_buckets = true)
    }

    /// Forgets the metadata of all objects, as a server does that keeps it in memory when it starts anew.
    pub fn forget_metadata(&self) {
        self.lock().world.forget_metadata();
    }

    /// Strips the metadata of objects that are written, as a proxy may, or no longer.
    pub fn set_stripping(&self, strips: bool) {
        self.lock().modes.strips_metadata = strips;
    }

    /// Moves the server's clock on, by whole seconds.
    pub fn advance(&self, time: Duration) {
        self.lock().world.advance(time.as_secs());
    }

    /// Sets the faults from now on.
    pub fn set_faults(&self, plan: FaultPlan) {
        self.lock().plan = plan;
    }

    /// Answers every request with 503, or no longer.
    pub fn set_broken(&self, broken: bool) {
        self.lock().broken = broken;
    }

    /// Answers every request as if the bucket had been deleted, or no longer: with 404, and a reason unless it is `HEAD`.
    pub fn set_deleted(&self, deleted: bool) {
        self.lock().deleted = deleted;
    }

    /// Answers every request with `answer` until this is called with `None`.
    pub fn set_foreign_answer(&self, answer: Option<ForeignAnswer>) {
        self.lock().foreign = answer;
    }

    /// Returns the sizes of the objects, by their keys, in bytes.
    #[must_use]
    pub fn objects(&self) -> BTreeMap<String, u64> {
        self.lock().world.sizes()
    }

    /// Returns the contents of an object.
    #[must_use]
    pub fn object(&self, key: &str) -> Option<Bytes> {
        self.lock().world.contents(key)
    }

    /// Puts an object, as a writer that leaves no token would have done an hour ago.
    pub fn insert(&self, key: &str, contents: impl Into<Bytes>) {
        self.lock().world.insert(key, contents.into());
    }

    /// Deletes an object, as another writer would.
    pub fn remove(&self, key: &str) {
        self.lock().world.remove(key);
    }

    /// Returns the number of multipart uploads that were neither completed nor aborted.
    #[must_use]
    pub fn unfinished_uploads(&self) -> usize {
        self.lock().world.unfinished_uploads()
    }

    /// Returns the number of faults so far.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.lock().dice.faults()
    }

    /// Carries out the late requests, for which no client waits any more.
    pub fn settle(&self) {
        let mut state = self.lock();
        let state = &mut *state;
        state.world.deliver_all(state.modes);
    }

    /// Makes a bucket for a store. Its retries follow without pauses, so that tests need not wait, and their budget is as large as can be. Large creates are not raced
    /// at the start unless the server has a fault that a race shows, or [`ProbeRaces::Always`](crate::ProbeRaces) says so.
    ///
    /// # Errors
    ///
    /// None that a test would see.
    pub fn bucket(&self) -> Result<Bucket> {
        let connection = Connection::default()
            .with_connector(self.clone())
            .with_allow_http(true)
            .with_backoff(Duration::from_millis(1), Duration::from_millis(2))
            .with_retries(5, Duration::from_mins(1))
            .with_retry_budget(u32::MAX);
        let bucket = Bucket::s3(self.builder(), &connection)?;
        let modes = self.lock().modes;
        let races = modes.looks_before_puts || modes.looks_before_completions;
        Ok(if races { bucket } else { bucket.with_known_races(Races::KEPT) })
    }

    /// Returns a builder of the client library for this bucket, for use without this crate.
    #[must_use]
    pub fn builder(&self) -> AmazonS3Builder {
        Self::builder_at("http://sim.invalid")
    }

    /// Returns a builder for a bucket that is [served](Self::serve) at `endpoint`.
    #[must_use]
    pub fn builder_at(endpoint: &str) -> AmazonS3Builder {
        AmazonS3Builder::new()
            .with_endpoint(endpoint)
            .with_bucket_name("bucket")
            .with_region("sim")
            .with_allow_http(true)
            .with_skip_signature(true)
    }
}

impl Debug for SimS3 {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimS3").finish_non_exhaustive()
    }
}
