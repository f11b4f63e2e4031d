//! `BlobAccess` over the engine: collects, verifies, waits, and keeps what may block off the executor.

use std::fmt::{self, Debug, Display, Formatter};
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use blobaccess::{
    Blob, BlobAccess, Capabilities, Clock, Context, Digest, DigestSet, Error, InstanceName, KeyFormat, Kind,
    NoObserver, Observer, PutOutcome, Result, Slicer, SystemClock, get_and_slice,
};
use futures::future::{Either, select};
use tokio::sync::Semaphore;

use crate::device::{Device, FileDevice};
use crate::engine::{Engine, Mode, Presence, Read, Surroundings};
use crate::object::ObjectReader;
use crate::options::{Medium, Options, SyncPolicy};
use crate::sizes::Sizes;
use crate::snapshot::Snapshot;
use crate::trailer::PIECE_BYTES;

/// The unit in which memory in flight is counted, in bytes.
const PERMIT_BYTES: u64 = 1024;

/// How many digests are looked up before others get a turn at the executor: some 0.2 ms.
const DIGESTS_PER_TURN: usize = 4096;

/// A store of fixed size in memory, in a file or on a block device, which gives up what was used least lately.
///
/// # Contract
///
/// * What was put or found stays for at least [`Sizes::promised_bytes`] of further puts, as long as no more of a block
///   is touched than may be copied; [`Snapshot::breached_bytes`] counts what broke that.
/// * Of a [persistent](Options::persistent) store, a completed [`sync`](Self::sync) is a promise: what was put, found
///   or copied before it is there after a crash, as long as it would have been without one.
/// * What is read from a device is checked. What proves wrong is `DataLoss` once and absent from then on; everything
///   else stays.
/// * A device that failed a write or a sync takes nothing more until the store is opened anew. Reading goes on.
///
/// # Background work
///
/// [`run`](Self::run) recycles blocks ahead of need, and syncs by interval. Without it, puts recycle when they need a
/// block, and only puts, `sync` and `close` sync.
///
/// # Cancel safety
///
/// A put that is dropped stores all of the blob or nothing. Space that it had reserved comes back when its block is
/// recycled.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName};
/// use blobaccess_local_store::{LocalStore, Options};
///
/// let store = LocalStore::<Cas>::open(Options::in_memory(64 << 20)).await?;
/// let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello");
/// store.put(&Context::background(), &digest, Blob::from_bytes("hello")).await?;
/// let blob = store.get(&Context::background(), &digest).await?;
/// assert_eq!(blob.into_bytes(1024).await?, "hello");
/// # Ok(())
/// # }
/// ```
pub struct LocalStore<K: Kind> {
    pub(crate) engine: Arc<Engine>,
    in_flight: Arc<Semaphore>,
    in_flight_permits: u32,
    medium: &'static str,
    kind: PhantomData<K>,
}

/// What a store is opened with besides its options.
#[derive(Clone, Debug)]
pub struct Environment {
    observer: Arc<dyn Observer>,
    clock: Arc<dyn Clock>,
}

impl Default for Environment {
    /// Nobody is told anything, and the time is that of the machine.
    fn default() -> Self {
        Self { observer: Arc::new(NoObserver), clock: Arc::new(SystemClock) }
    }
}

impl Environment {
    /// Tells `observer` what is evicted and what proves wrong.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Takes the time from `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}

/// Runs what may block where it may: on tokio's threads for that, if there is a runtime, else here.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => match runtime.spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => Err(Error::internal("work that may block did not end").with_source(error)),
        },
        Err(_) => work(),
    }
}

impl<K: Kind> LocalStore<K> {
    /// Opens a store, empty or as it was.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the options cannot work ([`Sizes::derive`]). `FailedPrecondition` if the file is in use, or
    /// holds what cannot be gone on with: it says what differs. `ResourceExhausted` if the disk is full.
    pub async fn open(options: Options) -> Result<Self> {
        Self::open_in(options, Environment::default()).await
    }

    /// The same, in an environment of one's own.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn open_in(options: Options, environment: Environment) -> Result<Self> {
        blocking(move || Self::open_blocking(&options, environment, None)).await
    }

    /// Opens a store on a device that is not a file: one that counts, fails or records.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open). `InvalidArgument` unless the options are made by [`Options::on_device`].
    pub async fn open_on(options: Options, device: Arc<dyn Device>, environment: Environment) -> Result<Self> {
        blocking(move || Self::open_blocking(&options, environment, Some(device))).await
    }

    fn open_blocking(options: &Options, environment: Environment, device: Option<Arc<dyn Device>>) -> Result<Self> {
        let sizes = Sizes::derive(options, K::STORAGE_TYPE)?;
        let (medium, device) = match (&options.medium, device) {
            (Medium::Memory, None) => ("memory", None),
            (Medium::File(path), None) => {
                let device: Arc<dyn Device> = Arc::new(FileDevice::open(path, sizes.capacity_bytes)?);
                ("file", Some(device))
            }
            (Medium::Device, Some(device)) => ("device", Some(device)),
            (Medium::Memory | Medium::File(_), Some(_)) | (Medium::Device, None) => {
                return Err(Error::invalid_argument("options on a device, and nothing else, go with a device"));
            }
        };
        let surroundings = Surroundings {
            observer: environment.observer,
            clock: environment.clock,
            policy: options.persistence,
            staged_bytes: options.staged_bytes,
        };
        let engine = Engine::open(options, K::STORAGE_TYPE, device, surroundings)?;
        let permits = u32::try_from(options.in_flight_bytes / PERMIT_BYTES).unwrap_or(u32::MAX >> 4);
        let in_flight = usize::try_from(permits).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Ok(Self {
            engine,
            in_flight: Arc::new(Semaphore::new(in_flight)),
            in_flight_permits: permits,
            medium,
            kind: PhantomData,
        })
    }

    /// The sizes that it was opened with.
    #[must_use]
    pub fn sizes(&self) -> &Sizes {
        &self.engine.sizes
    }

    /// What it holds now, and what has happened so far.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.engine.snapshot()
    }

    /// Whether a blob is stored, without that counting as use: for operators and tests.
    #[must_use]
    pub fn is_stored(&self, digest: &Digest) -> bool {
        self.engine.peek(&self.engine.keys.key(digest)).is_some()
    }

    /// Makes durable everything that was put, found or copied before the call. Of a store that is not persistent, it
    /// only tells whether the device has failed.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the device fails, now or before. What was not synced then may be lost.
    ///
    /// # Cancel safety
    ///
    /// The sync goes on if this is dropped.
    pub async fn sync(&self) -> Result<()> {
        let engine = Arc::clone(&self.engine);
        blocking(move || engine.sync()).await
    }

    /// Syncs for the last time.
    ///
    /// # Errors
    ///
    /// As [`sync`](Self::sync).
    pub async fn close(self) -> Result<()> {
        let engine = Arc::clone(&self.engine);
        blocking(move || engine.close()).await
    }

    /// Recycles blocks ahead of need and syncs by interval, for as long as it is polled. It never returns.
    ///
    /// What fails is logged and tried again, a minute later at the latest.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time, and called again.
    pub async fn run(&self) {
        let clock = Arc::clone(&self.engine.surroundings.clock);
        let interval = match self.engine.surroundings.policy {
            Some(SyncPolicy::Interval(interval)) => Some(interval),
            Some(SyncPolicy::OnPut | SyncPolicy::OnClose) | None => None,
        };
        let mut synced_at = clock.monotonic();
        loop {
            let next_sync = interval.filter(|_| self.engine.is_dirty()).map(|interval| synced_at + interval);
            let wake_at = next_sync.unwrap_or_else(|| clock.monotonic() + Duration::from_mins(1));
            let work = std::pin::pin!(self.engine.work.notified());
            select(work, clock.sleep_until(wake_at)).await;
            if self.engine.needs_recycling() {
                let engine = Arc::clone(&self.engine);
                if let Err(error) = blocking(move || engine.recycle()).await {
                    tracing::error!(%error, "a block could not be recycled");
                    clock.sleep_until(clock.monotonic() + Duration::from_secs(10)).await;
                }
            }
            if next_sync.is_some_and(|at| clock.monotonic() >= at) {
                if let Err(error) = self.sync().await {
                    tracing::error!(%error, "a sync failed");
                }
                synced_at = clock.monotonic();
            }
        }
    }

    fn not_stored(digest: &Digest) -> Error {
        Error::not_found(format!("blob {digest} is not stored"))
    }

    /// Waits for `work`, up to the deadline of the call.
    async fn until_deadline<T>(&self, ctx: &Context, work: impl Future<Output = T> + Send) -> Result<T> {
        let Some(deadline) = ctx.deadline() else { return Ok(work.await) };
        let work = std::pin::pin!(work);
        match select(work, self.engine.surroundings.clock.sleep_until(deadline)).await {
            Either::Left((result, _)) => Ok(result),
            Either::Right(((), _)) => Err(Error::deadline_exceeded("the store was busy until the deadline")),
        }
    }

    /// Room for so much of a blob that is on its way.
    pub(crate) async fn admit(&self, ctx: &Context, bytes: u64) -> Result<tokio::sync::OwnedSemaphorePermit> {
        let permits = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
        let permits = permits.clamp(1, self.in_flight_permits);
        let acquired = self.until_deadline(ctx, Arc::clone(&self.in_flight).acquire_many_owned(permits)).await?;
        acquired.map_err(|error| Error::internal("the store is closed").with_source(error))
    }

    /// Sees to it that what is queued is written, by somebody else if it need not be waited for.
    pub(crate) async fn write_behind(&self) -> Result<()> {
        if self.engine.is_congested() {
            let engine = Arc::clone(&self.engine);
            return blocking(move || engine.flush()).await;
        }
        if self.engine.claim_flush() {
            match tokio::runtime::Handle::try_current() {
                // Its error shows to whoever puts or syncs next: the device stays failed. It does not keep a store
                // open that has been closed meanwhile: then all is written.
                Ok(runtime) => {
                    let engine = Arc::downgrade(&self.engine);
                    drop(runtime.spawn_blocking(move || engine.upgrade().map(|engine| engine.flush())));
                }
                Err(_) => self.engine.flush()?,
            }
        }
        Ok(())
    }

    /// Waits until a block is recycled.
    pub(crate) async fn make_space(&self, ctx: &Context) -> Result<()> {
        crate::engine::count(&self.engine.counters.waits_for_space, 1);
        let engine = Arc::clone(&self.engine);
        self.until_deadline(ctx, blocking(move || engine.recycle())).await?
    }

    /// Waits until an object is out of a block that is about to be recycled. Returns whether it is stored.
    pub(crate) async fn rescue(&self, ctx: &Context, digest: &Digest) -> Result<bool> {
        let key = self.engine.keys.key(digest);
        let engine = Arc::clone(&self.engine);
        let presence = self.until_deadline(ctx, blocking(move || engine.rescue(&key))).await??;
        Ok(presence != Presence::Absent)
    }

    /// Waits until so many publications are durable, if puts are to be.
    pub(crate) async fn settle(&self, publications: u64) -> Result<()> {
        if self.engine.surroundings.policy != Some(SyncPolicy::OnPut) {
            return Ok(());
        }
        let engine = Arc::clone(&self.engine);
        blocking(move || engine.sync_until(publications)).await
    }

    /// Reads small contents whole. `None` if they are gone.
    pub(crate) async fn read_whole(&self, digest: &Digest) -> Result<Option<bytes::Bytes>> {
        let key = self.engine.keys.key(digest);
        loop {
            let Some(record) = self.engine.look_up_to_read(&key) else { return Ok(None) };
            let all = 0..record.location.size_bytes;
            let read = match self.engine.read(&record, all.clone(), Mode::AtOnce)? {
                Read::NotAtOnce => {
                    let engine = Arc::clone(&self.engine);
                    blocking(move || engine.read(&record, all, Mode::Waiting)).await?
                }
                read @ (Read::Bytes(_) | Read::Gone) => read,
            };
            if let Read::Bytes(bytes) = read {
                return Ok(Some(bytes));
            }
            // It was moved, or is gone: the map says which.
        }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<K: Kind> BlobAccess for LocalStore<K> {
    type Kind = K;

    async fn get(&self, _ctx: &Context, digest: &Digest) -> Result<Blob> {
        let key = self.engine.keys.key(digest);
        let at = || digest.to_string();
        let is_message = K::STORAGE_TYPE.is_mutable();
        let Some(record) = self.engine.peek(&key) else { return Err(Self::not_stored(digest)) };
        let size = record.location.size_bytes;
        if is_message || size <= PIECE_BYTES || record.is_part {
            let bytes = self.read_whole(digest).await.map_err(|error| error.at(at()))?;
            let bytes = bytes.ok_or_else(|| Self::not_stored(digest))?;
            return Ok(if is_message { Blob::from_bytes(bytes) } else { Blob::from_verified_bytes(digest, bytes) });
        }
        let _: Option<crate::key_location_map::Record> = self.engine.look_up_to_read(&key);
        let reader = ObjectReader::new(Arc::clone(&self.engine), digest.clone(), key);
        Ok(Blob::from_random_access(digest, Arc::new(reader)))
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        if K::STORAGE_TYPE.is_mutable() {
            return get_and_slice(self, ctx, parent, child, slicer).await;
        }
        let Some(record) = self.engine.look_up_to_read(&self.engine.keys.key(parent)) else {
            return Err(Self::not_stored(parent));
        };
        match self.get(ctx, child).await {
            Err(error) if error.is_not_found() => {}
            known => return known,
        }
        let found = slicer.slice(self.get(ctx, parent).await?, child).await?;
        if !found.slices.is_empty() {
            let engine = Arc::clone(&self.engine);
            blocking(move || {
                engine.remember_parts(&record, &found.slices);
                Ok(())
            })
            .await?;
        }
        Ok(found.child)
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        if K::STORAGE_TYPE.is_mutable() {
            self.put_message(ctx, digest, blob).await
        } else {
            self.put_contents(ctx, digest, blob).await
        }
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        let mut absent = Vec::new();
        let mut leaving = Vec::new();
        let mut keys = Vec::with_capacity(digests.len().min(DIGESTS_PER_TURN));
        for (turn, some) in digests.as_slice().chunks(DIGESTS_PER_TURN).enumerate() {
            if turn > 0 {
                tokio::task::yield_now().await;
            }
            keys.clear();
            keys.extend(some.iter().map(|digest| self.engine.keys.key(digest)));
            self.engine.find_all(
                &keys,
                |position| absent.extend(some.get(position)),
                |position| leaving.extend(some.get(position)),
            );
        }
        let is_complete = leaving.is_empty();
        for digest in leaving {
            if !self.rescue(ctx, digest).await? {
                absent.push(digest);
            }
        }
        if is_complete && absent.len() == digests.len() {
            return Ok(digests.clone());
        }
        Ok(absent.into_iter().cloned().collect())
    }

    async fn capabilities(&self, _ctx: &Context, _instance_name: &InstanceName) -> Result<Capabilities> {
        Ok(Capabilities::unlimited().with_max_blob_size_bytes(self.engine.sizes.max_blob_size_bytes()))
    }

    fn key_format(&self) -> KeyFormat {
        K::STORAGE_TYPE.key_format()
    }
}

impl<K: Kind> Display for LocalStore<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "local({})", self.medium)
    }
}

impl<K: Kind> Debug for LocalStore<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalStore")
            .field("kind", &K::STORAGE_TYPE)
            .field("medium", &self.medium)
            .field("sizes", self.sizes())
            .finish_non_exhaustive()
    }
}
