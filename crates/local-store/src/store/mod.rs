//! `BlobAccess` over the engine: collects, verifies, waits, and runs blocking work off the executor threads.

mod blocking_calls;
mod equal_puts;
mod evictions;
mod inventory;
mod object_reader;
mod put;
mod resolve_upload;
mod shared_work;
mod sync_warnings;
mod under_way;
mod visibility;
mod waiting;

use std::borrow::Cow;
use std::fmt::{self, Debug, Display, Formatter};
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use blobaccess::{
    BackgroundWatch, BackgroundWork, Blob, BlobAccess, Capabilities, Context, Digest, DigestSet, Error, InstanceName,
    KeyFormat, Kind, PutOutcome, Result, Slicer, blocking, get_and_slice,
};
use futures::future::{join3, pending, select};
use tokio::sync::Semaphore;

use self::equal_puts::EqualPuts;
use self::object_reader::ObjectReader;
use self::shared_work::SharedWork;
use self::sync_warnings::{warn_of_drop, watch_syncs};
use self::under_way::{Needs, UnderWay};
use self::waiting::PERMIT_BYTES;
use crate::device::{Device, Devices, FileDevice, ReadingDevice};
use crate::engine::{Engine, Surroundings};
use crate::environment::Environment;
use crate::object::checksums::PIECE_BYTES;
use crate::options::{Medium, Options, Place, SyncPolicy};
use crate::sizes::Sizes;
use crate::snapshot::Snapshot;

/// The number of digests that are looked up before other tasks get a turn at the executor: some 0.2 ms.
pub(crate) const DIGESTS_PER_TURN: usize = 4096;

/// How long [`LocalStore::run`] sleeps unless it is woken.
const LONGEST_SLEEP: Duration = Duration::from_mins(1);

/// The time after which work in the background that failed is tried again.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(10);

/// Wakes another caller of [`LocalStore::run`] when one is dropped that may have been woken for nothing.
struct Succession<'a>(&'a Engine);

impl Drop for Succession<'_> {
    fn drop(&mut self) {
        self.0.wake_runner();
    }
}

/// One in so many bytes in flight is for blobs that are at hand, so that those on their way cannot take all.
const AT_HAND_SHARE: u64 = 4;

/// Large uploads on their way keep open chunks of up to so many times the bytes that may be staged.
const OPEN_STAGED: u64 = 4;

/// The least number of large uploads that may be on their way.
const LEAST_RESERVATIONS: u64 = 256;

/// Large uploads on their way may reserve one in so many bytes of the store.
const RESERVED_SHARE: u64 = 4;

/// A store of fixed size in memory, in a file or on a block device, which evicts the least recently used blobs.
///
/// # Contract
///
/// * A blob that was put or found stays for at least [`Sizes::promised_bytes`] of further puts, as long as no more blobs
///   are found late in their lives than may be copied, and the index has room; [`Snapshot::breached_bytes`] counts the
///   exceptions. An index that is full evicts before the space does, as [`Snapshot::map_evicts`] says. A put is stored
///   all the same, or fails as `ResourceExhausted`.
/// * In a [persistent](Options::persistent) store, everything put, found or copied before a completed [`sync`](Self::sync)
///   is there after a crash, for as long as it would have been without one.
/// * Reads from a device are verified. An object that fails verification, or that the device cannot read while it reads
///   others, is `DataLoss` once and absent from then on, so that it can be put again; all others stay. While nothing can be
///   read, all calls that read are `Unavailable`, and nothing is given up.
/// * A device that failed a write or a sync takes nothing more until the store is opened anew. Reading goes on.
///
/// # Memory
///
/// Reads of a store in memory are lent, whatever their size, as [`get_blocking`](Self::get_blocking) says. Once readers
/// hold much memory of recycled blocks, large blobs come in pieces of 64 KiB, as they always do from a device. A reader
/// of pieces holds nothing between two of them.
///
/// # Background work
///
/// [`run`](Self::run) recycles blocks ahead of need, refreshes touched blobs, and syncs by interval. Without it, puts
/// recycle and refresh when they need a block, and only puts, `sync` and `close` sync.
///
/// # Cancel safety
///
/// A put that is dropped stores all of the blob or nothing, and gives back the space that it had reserved.
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
    pub(crate) in_flight: Arc<Semaphore>,
    pub(crate) in_flight_permits: u32,
    equal_puts: EqualPuts,
    under_way: Arc<UnderWay>,
    syncing: Arc<SharedWork>,
    recycling: Arc<SharedWork>,
    flushing: Arc<SharedWork>,
    sync_watch: Option<BackgroundWatch>,
    medium: &'static str,
    kind: PhantomData<K>,
}

impl<K: Kind> LocalStore<K> {
    /// Opens a store, empty or as it was.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the options cannot work ([`Sizes::derive`]). `FailedPrecondition` if the file is in use, or
    /// holds a store that these options cannot continue: the error says what differs. `ResourceExhausted` if the disk
    /// is full.
    pub async fn open(options: Options) -> Result<Self> {
        Self::open_in(options, Environment::default()).await
    }

    /// Opens a store in an environment of the caller's own.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn open_in(options: Options, environment: Environment) -> Result<Self> {
        blocking(move || Self::open_blocking(&options, environment, None)).await
    }

    /// Opens a store on one or more custom devices, for example ones that count, fail or record.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open). `InvalidArgument` unless the options are made by [`Options::on_device`], and also say
    /// whether logs and state have devices of their own.
    pub async fn open_on(options: Options, devices: impl Into<Devices>, environment: Environment) -> Result<Self> {
        let devices = devices.into();
        blocking(move || Self::open_blocking(&options, environment, Some(devices))).await
    }

    /// Checks that a store with these options could go on with the files that they name, without opening it. Nothing is
    /// created or written, and another process may have the store open meanwhile.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the options cannot work ([`Sizes::derive`]). `FailedPrecondition` if the files hold something
    /// that these options do not continue: the error says what differs, as that of [`open`](Self::open). `Unavailable` or
    /// `Internal` if the files cannot be read.
    pub async fn check_files(options: Options) -> Result<()> {
        blocking(move || {
            let sizes = Sizes::derive(&options, K::STORAGE_TYPE)?;
            let Medium::File(path) = &options.medium else { return Ok(()) };
            let open = |path: &Path, size_bytes| -> Result<Arc<dyn Device>> {
                Ok(Arc::new(ReadingDevice::open(path, size_bytes)?))
            };
            Engine::check(&options, K::STORAGE_TYPE, open_files(path, &options, &sizes, open)?)
        })
        .await
    }

    fn open_blocking(options: &Options, environment: Environment, devices: Option<Devices>) -> Result<Self> {
        let sizes = Sizes::derive(options, K::STORAGE_TYPE)?;
        let (medium, devices) = match (&options.medium, devices) {
            (Medium::Memory, None) => ("memory", None),
            (Medium::File(path), None) => {
                let open = |path: &Path, size_bytes| open_to_write(path, size_bytes, options);
                ("file", Some(open_files(path, options, &sizes, open)?))
            }
            (Medium::Device, Some(devices))
                if devices.logs.is_some() == sizes.has_own_logs && devices.state.is_some() == sizes.has_own_state =>
            {
                ("device", Some(devices))
            }
            (Medium::Memory | Medium::File(_), Some(_)) | (Medium::Device, _) => {
                return Err(Error::invalid_argument("options on devices go with these devices, and with no others"));
            }
        };
        let surroundings = Surroundings {
            observer: environment.observer,
            clock: environment.clock,
            policy: options.persistence,
            staged_bytes: options.staged_bytes,
        };
        let sync_watch = watch_syncs(options.persistence);
        let engine = Engine::open(options, K::STORAGE_TYPE, devices, surroundings)?;
        let at_hand_bytes = options.in_flight_bytes / AT_HAND_SHARE;
        let permits = u32::try_from(at_hand_bytes / PERMIT_BYTES).unwrap_or(u32::MAX >> 4);
        let most = Needs {
            reservations: (options.staged_bytes.saturating_mul(OPEN_STAGED) / sizes.chunk_bytes)
                .max(LEAST_RESERVATIONS),
            memory_bytes: options.in_flight_bytes - at_hand_bytes,
            space_bytes: sizes.data_bytes() / RESERVED_SHARE,
        };
        let under_way = UnderWay::new(most, Arc::clone(&engine.surroundings.clock));
        let in_flight = usize::try_from(permits).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Ok(Self {
            engine,
            in_flight: Arc::new(Semaphore::new(in_flight)),
            in_flight_permits: permits,
            equal_puts: EqualPuts::default(),
            under_way,
            syncing: Arc::default(),
            recycling: Arc::default(),
            flushing: Arc::default(),
            sync_watch,
            medium,
            kind: PhantomData,
        })
    }

    /// Returns the sizes that the store was opened with.
    #[must_use]
    pub fn sizes(&self) -> &Sizes {
        &self.engine.sizes
    }

    /// Returns the state of the store now, and what has happened so far.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.engine.snapshot()
    }

    /// Returns whether a blob is stored, without a use of it: for operators and tests.
    #[must_use]
    pub fn is_stored(&self, digest: &Digest) -> bool {
        self.sees(digest).unwrap_or_default() && self.engine.peek(&self.engine.keys.key(digest)).is_some()
    }

    /// Returns which of the [`Snapshot::blocks`] a blob lies in, counted from the oldest one; `None` if it is not
    /// stored. That is no use of the blob: for operators and tests.
    #[must_use]
    pub fn block_of(&self, digest: &Digest) -> Option<usize> {
        self.engine.position(&self.engine.keys.key(digest))
    }

    /// Returns whether the store takes blobs: for probes of health.
    ///
    /// # Errors
    ///
    /// `Unavailable`, not retryable, once its device has failed to write or to sync. It takes nothing more until it is opened
    /// anew; reading goes on.
    pub fn check(&self) -> Result<()> {
        self.engine.check_device()
    }

    /// Makes durable everything that was put, found or copied before the call. A store that is not persistent only
    /// reports whether its device has failed.
    ///
    /// A store that is shared, such as by [`run`](Self::run) or by layers, cannot be [closed](Self::close): call this
    /// twice at the end instead. A second call, with nothing new, writes what a damaged superblock would lose once more. Dropping a persistent store does not sync it; it logs a warning if changes may be lost.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the device fails, now or before. Blobs that were not synced then may be lost.
    ///
    /// # Cancel safety
    ///
    /// The sync goes on if this is dropped.
    pub async fn sync(&self) -> Result<()> {
        let engine = Arc::clone(&self.engine);
        blocking(move || engine.sync()).await
    }

    /// Syncs for the last time, and notes in the file that the store ended well. The next start is the same after a
    /// [`sync`](Self::sync).
    ///
    /// It takes the store by value, so a store in an `Arc` is synced instead.
    ///
    /// # Errors
    ///
    /// As [`sync`](Self::sync).
    pub async fn close(self) -> Result<()> {
        let engine = Arc::clone(&self.engine);
        blocking(move || engine.close()).await
    }

    /// Recycles blocks ahead of need, [refreshes](crate::Refresh) queued blobs and syncs by interval, for as long as it
    /// is polled. It never returns.
    ///
    /// It is woken when there is something new to do, not by each put. Failures are logged; the work is tried again
    /// within a minute. Neither slow nor failing recycling delays a sync.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time, and called again.
    pub async fn run(&self) {
        let _watched = self.sync_watch.as_ref().map(BackgroundWatch::begin_to_run);
        let _runner = self.engine.begin_to_run();
        let _succession = Succession(&self.engine);
        join3(self.keep_up(), self.sync_by_interval(), self.even_out_when_idle()).await;
    }

    /// Recycles and refreshes. It never returns.
    async fn keep_up(&self) {
        let clock = &self.engine.surroundings.clock;
        loop {
            if self.engine.needs_recycling() || self.engine.queued_refreshes() > 0 {
                let engine = Arc::clone(&self.engine);
                if let Err(error) = blocking(move || engine.maintain()).await {
                    tracing::error!(%error, "a block could not be recycled");
                    clock.sleep_until(clock.monotonic() + PAUSE_AFTER_FAILURE).await;
                    continue;
                }
            }
            let needed = std::pin::pin!(self.engine.upkeep_needed());
            select(needed, clock.sleep_until(clock.monotonic() + LONGEST_SLEEP)).await;
        }
    }

    /// Syncs by interval, if that is the policy. It never returns.
    async fn sync_by_interval(&self) {
        let clock = &self.engine.surroundings.clock;
        let Some(SyncPolicy::Interval(interval)) = self.engine.surroundings.policy else { return pending().await };
        let mut synced_at = clock.monotonic();
        loop {
            if !self.engine.is_dirty() {
                // A blob that is found changes what a sync says without telling anybody.
                let changed = std::pin::pin!(self.engine.changed());
                select(changed, clock.sleep_until(clock.monotonic() + LONGEST_SLEEP)).await;
                continue;
            }
            // An interval that no clock reaches is never over.
            let Some(next) = synced_at.checked_add(interval) else { return pending().await };
            clock.sleep_until(next).await;
            if let Err(error) = self.sync().await {
                tracing::error!(%error, "a sync failed");
            }
            synced_at = clock.monotonic();
        }
    }

    /// Has both superblocks say the same once nothing was put for a while, so that either may be damaged. It never returns.
    async fn even_out_when_idle(&self) {
        if !self.engine.is_persistent() {
            return pending().await;
        }
        let clock = &self.engine.surroundings.clock;
        let mut before = self.engine.publications();
        loop {
            clock.sleep_until(clock.monotonic() + LONGEST_SLEEP).await;
            let now = self.engine.publications();
            if now == std::mem::replace(&mut before, now) {
                let engine = Arc::clone(&self.engine);
                // Blobs that were found are no put, so where only puts sync, nobody else makes that durable.
                let syncs = self.engine.surroundings.policy == Some(SyncPolicy::OnPut);
                let work = move || {
                    if syncs && engine.is_dirty() {
                        engine.sync()?;
                    }
                    engine.even_out()
                };
                if let Err(error) = blocking(work).await {
                    tracing::error!(%error, "the second superblock was not written");
                }
            }
        }
    }

    /// Returns the `digests` not stored, regardless of instance-name visibility.
    async fn find_not_stored(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        let mut absent = Vec::new();
        let mut leaving = Vec::new();
        for (turn, batch) in digests.as_slice().chunks(DIGESTS_PER_TURN).enumerate() {
            if turn > 0 {
                tokio::task::yield_now().await;
            }
            self.engine.find_all(
                batch,
                |position| absent.extend(batch.get(position)),
                |position| leaving.extend(batch.get(position)),
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

    fn not_stored(digest: &Digest) -> Error {
        K::STORAGE_TYPE.absence(digest)
    }
}

fn open_to_write(path: &Path, size_bytes: u64, options: &Options) -> Result<Arc<dyn Device>> {
    let opened = if options.has_sparse_files {
        FileDevice::open_sparse(path, size_bytes)
    } else {
        FileDevice::open(path, size_bytes)
    };
    Ok(Arc::new(opened?))
}

/// Opens each file that the options name by `open_file`, which is told how many bytes of it are used.
fn open_files(
    path: &Path,
    options: &Options,
    sizes: &Sizes,
    open_file: impl Fn(&Path, u64) -> Result<Arc<dyn Device>>,
) -> Result<Devices> {
    let open = |place: Option<&Place>, is_used: bool, size_bytes: u64| match place.filter(|_| is_used) {
        None => Ok(None),
        Some(Place::Path(path)) => open_file(path, size_bytes).map(Some),
        Some(Place::Device) => Err(Error::invalid_argument("a store in a file has its logs and its state in files")),
    };
    let logs = open(options.logs.as_ref().map(|(place, _)| place), sizes.has_own_logs, sizes.logs_bytes)?;
    let state = open(options.state.as_ref(), sizes.has_own_state, 2 * sizes.superblock_bytes)?;
    Ok(Devices { blocks: open_file(path, sizes.capacity_bytes)?, logs, state })
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<K: Kind> BlobAccess for LocalStore<K> {
    type Kind = K;

    async fn get(&self, _ctx: &Context, digest: &Digest) -> Result<Blob> {
        if !self.sees(digest)? {
            return Err(Self::not_stored(digest));
        }
        let key = self.engine.keys.key(digest);
        let at = |error: Error| error.at(digest.to_string());
        let is_message = K::STORAGE_TYPE.is_mutable();
        let Some(record) = self.engine.look_up_to_read(&key) else { return Err(Self::not_stored(digest)) };
        if is_message || record.location.size_bytes <= PIECE_BYTES || record.is_part {
            let bytes = self.read_whole(&key, record).await.map_err(at)?;
            let bytes = bytes.ok_or_else(|| Self::not_stored(digest))?;
            return Ok(if is_message { Blob::from_bytes(bytes) } else { Blob::from_verified_bytes(digest, bytes) });
        }
        if let Some(bytes) = self.engine.lend_whole(&record) {
            return Ok(Blob::from_verified_bytes(digest, bytes));
        }
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
        if !self.sees(parent)? {
            return Err(Self::not_stored(parent));
        }
        let Some(record) = self.engine.look_up_to_read(&self.engine.keys.key(parent)) else {
            return Err(Self::not_stored(parent));
        };
        match self.get(ctx, child).await {
            Err(error) if error.is_not_found() => {}
            known => return known,
        }
        let found = slicer.slice(self.get(ctx, parent).await?, child).await.map_err(Error::with_part_missing)?;
        // Where names count, a caller that asks for a part by its own digest must have proved to have it.
        if !found.slices.is_empty() && self.engine.names.is_none() {
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
        let Some(names) = &self.engine.names else { return self.find_not_stored(ctx, digests).await };
        let look = self.engine.names_seen.look();
        let (seen, mut unseen) = self.part_by_sight(names, digests).await?;
        let not_stored = self.find_not_stored(ctx, &seen).await?;
        if look.is_outdated() {
            let (_, gone) = self.part_by_sight(names, &seen).await?;
            unseen = DigestSet::union([unseen, gone]);
        }
        Ok(if unseen.is_empty() { not_stored } else { DigestSet::union([not_stored, unseen]) })
    }

    async fn capabilities(&self, _ctx: &Context, _instance_name: &InstanceName) -> Result<Capabilities> {
        Ok(Capabilities::unlimited().with_max_blob_size_bytes(self.engine.sizes.max_blob_size_bytes()))
    }

    fn key_format(&self) -> KeyFormat {
        if self.engine.names.is_some() { KeyFormat::WithInstanceName } else { K::STORAGE_TYPE.key_format() }
    }

    fn finds_in_bulk(&self) -> bool {
        true
    }
}

impl<K: Kind> Drop for LocalStore<K> {
    fn drop(&mut self) {
        let unsynced = self.engine.unsynced();
        if unsynced > 0 {
            warn_of_drop(unsynced);
        }
    }
}

#[async_trait]
impl<K: Kind> BackgroundWork for LocalStore<K> {
    fn name(&self) -> Cow<'static, str> {
        self.to_string().into()
    }

    async fn run(&self) {
        Self::run(self).await;
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
