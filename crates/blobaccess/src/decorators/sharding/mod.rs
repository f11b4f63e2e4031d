//! Spreads blobs over shards by their digests.

mod breaker;
mod copiers;
mod finding;
mod legacy;
mod member;
mod options;
mod placement;
mod reading;
mod rendezvous;
mod shard;
mod snapshot;

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;

use self::copiers::Copiers;
use self::legacy::Legacy;
use self::member::Member;
use self::placement::Placement;
use self::rendezvous::{Candidate, candidates};
use self::shard::Phase;
use super::upload_source::UploadSource;
use crate::replication::EntryLocks;
use crate::{
    Blob, BlobAccess, Capabilities, Clock, Context, Digest, DigestSet, Error, InstanceName, KeyFormat, Kind,
    PutOutcome, ReadRequest, Result, Slicer, SystemClock,
};

pub use self::options::ShardingOptions;
pub use self::rendezvous::Rendezvous;
pub use self::shard::Shard;
pub use self::snapshot::{ShardSnapshot, ShardState};

/// A [`BlobAccess`] that spreads blobs over shards by their digests, in proportion to the weights of the shards.
///
/// Many stores together hold what none could alone, and serve what none could. Each blob is in one of them: its *home*,
/// which follows from its digest and the keys of the shards ([`Rendezvous`]). So every process with the same shards
/// finds the same blobs, and a shard that is removed loses only its own.
///
/// * **get**: from the home of the blob, or of the composite that the part is in.
/// * **put**: to the home.
/// * **find missing**: from the homes, all at the same time.
///
/// # A change of the shards
///
/// | | reads | puts |
/// |---|---|---|
/// | [`drained`](Shard::drained) | try it after the home | go to the next choice |
/// | [`added`](Shard::added) | go on to where the blob was before, for a set time | go to it |
///
/// So no build loses its cache by a change. A blob that is read from where it was before is copied to its home, unless
/// [told otherwise](ShardingOptions::with_copies_on_get). Several shards may be drained and added at a time: a read
/// tries each shard that may have been the home. The fallbacks of an added shard end by themselves; remove a drained
/// one once its blobs have moved or been evicted.
///
/// # A shard that is down
///
/// After [five failures in a row](ShardingOptions::with_failures_in_a_row), calls of a shard fail at once for
/// [five seconds](ShardingOptions::with_rest); then one call tries it. Other shards are not affected. Queries that
/// include a blob of the shard fail, unless [told otherwise](ShardingOptions::with_missing_when_down).
///
/// # Order
///
/// Around a deadline for each shard ([`DeadlineEnforcing`](super::DeadlineEnforcing)), shorter than those of callers: a
/// deadline outside ends calls to a shard that hangs before this layer learns of it. Around a
/// [`Mirrored`](super::Mirrored) pair for each shard, if blobs are to survive the loss of a machine. Inside layers that
/// cache existence.
///
/// # Weakens
///
/// * A shard that has been down may be refused for the rest of its rest. Meanwhile its errors are `Unavailable`,
///   whatever they were before.
/// * With [`with_missing_when_down`](ShardingOptions::with_missing_when_down), a query reports blobs of a shard that is
///   down as missing.
/// * A put says `Created` for a blob that only a drained shard has, or the one that was the home before.
/// * Of a mutable kind, a read may return the value from before the shards changed, if the home has evicted its own or
///   is down.
///
/// # Memory
///
/// Some 300 bytes for each shard. A query takes about as much memory as its digests, plus that of copies.
///
/// # Cancel safety
///
/// That of the shards. A copy that is dropped leaves its blob where it was.
///
/// # Errors
///
/// Those of the shards, with the place `shard` and the key. `NotFound` only if no shard that may have the blob does. If
/// one of them cannot be asked and the others lack the blob, its error is returned. `Unavailable` while the home is
/// down. An error that occurs while a blob is read is that of its shard, and does not count as a failure.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use blobaccess::decorators::{Shard, Sharding};
/// use blobaccess::{BlobAccessExt, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore};
///
/// let disk = || MemoryStore::<Cas>::new(1 << 20);
/// let store = Sharding::new([
///     Shard::new("a", disk()),
///     Shard::new("b", disk()).with_weight(2),
///     Shard::new("c", disk()).drained(),
/// ])?;
///
/// let (ctx, digest) = (Context::background(), Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello"));
/// store.put_bytes(&ctx, &digest, "hello").await?;
/// let home = store.shards_of(&digest)[0];
/// assert!(store.shard(home).is_some_and(|shard| shard.snapshot().blobs == 1));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Sharding<S> {
    members: Vec<Member<S>>,
    placement: Placement,
    /// Whether some shard is drained or added.
    is_moving: bool,
    options: ShardingOptions,
    clock: Arc<dyn Clock>,
    /// Locks that keep a copy of an entry from replacing a newer value.
    locks: Arc<EntryLocks>,
    /// The copies of blobs to their homes.
    copiers: Copiers<S>,
    /// The number of times that capabilities were asked for.
    capabilities_asked: AtomicUsize,
}

impl<S: BlobAccess> Sharding<S> {
    /// Makes a layer over `shards`, in any order.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if there is no shard, if a weight is 0, if two keys or their hashes are the same, or if all
    /// shards are drained. The message names the key.
    pub fn new(shards: impl IntoIterator<Item = Shard<S>>) -> Result<Self> {
        let shards: Vec<_> = shards.into_iter().collect();
        let all = checked(&shards)?;
        let is_drained =
            |candidate: &Candidate| shards.get(candidate.index).is_some_and(|shard| shard.phase == Phase::Drained);
        let homes: Vec<_> = all.iter().copied().filter(|candidate| !is_drained(candidate)).collect();
        let homes = Rendezvous::from_candidates(homes);
        Ok(Self::from_parts(shards, Placement::Rendezvous { homes, all }))
    }

    /// Makes a layer that places blobs as Buildbarn did before 2026, so that a site can move off that order.
    ///
    /// The order of `shards` matters: it is that of `shard_order`. Drained shards keep their place in it. Blobs that are
    /// put to another shard because theirs is drained are read from the drained one too.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new). `InvalidArgument` also if a shard is [`added`](Shard::added), since that would move nearly
    /// all blobs in this order, or if the shards that are not drained have less than a thousandth of the total weight.
    pub fn in_legacy_order(shards: impl IntoIterator<Item = Shard<S>>, hash_initialization: u64) -> Result<Self> {
        let shards: Vec<_> = shards.into_iter().collect();
        checked(&shards)?;
        if let Some(added) = shards.iter().find(|shard| matches!(shard.phase, Phase::Added { .. })) {
            let message = format!("shard {:?} is added, which the legacy order does not allow", added.key);
            return Err(Error::invalid_argument(message));
        }
        let weights = shards.iter().map(|shard| (shard.weight, shard.phase == Phase::Drained));
        let legacy = Legacy::new(hash_initialization, weights)?;
        Ok(Self::from_parts(shards, Placement::Legacy(legacy)))
    }

    fn from_parts(shards: Vec<Shard<S>>, placement: Placement) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let members: Vec<_> = shards.into_iter().map(|shard| Member::new(shard, &*clock)).collect();
        Self {
            is_moving: members.iter().any(Member::is_moving),
            members,
            placement,
            options: ShardingOptions::default(),
            clock,
            locks: Arc::default(),
            copiers: Copiers::new(),
            capabilities_asked: AtomicUsize::new(0),
        }
    }

    /// Sets the options.
    #[must_use]
    pub fn with_options(mut self, options: ShardingOptions) -> Self {
        self.options = options;
        self
    }

    /// Takes the time from `clock`, which must be the one by which callers set their deadlines.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.members.iter_mut().for_each(|member| member.restart(&*clock));
        self.clock = clock;
        self.copiers = Copiers::new();
        self
    }

    /// Returns the store of the shard with this key.
    #[must_use]
    pub fn shard(&self, key: &str) -> Option<&Arc<S>> {
        self.members.iter().find(|member| member.key() == key).map(Member::shared_store)
    }

    /// Returns the keys of the shards that the blob of `digest` may be in: its home, and then those that reads fall back
    /// to, in that order.
    #[must_use]
    pub fn shards_of(&self, digest: &Digest) -> Vec<&str> {
        let home = self.placement.home(digest);
        let positions = std::iter::once(home).chain(self.fallbacks(digest, self.clock.now()));
        positions.filter_map(|index| self.members.get(index)).map(Member::key).collect()
    }

    /// Returns the state of each shard, in the order in which they were given.
    #[must_use]
    pub fn snapshot(&self) -> Vec<ShardSnapshot> {
        let now = self.clock.now();
        self.members.iter().map(|member| member.snapshot(now)).collect()
    }

    /// Returns the shard at a position that placement has given.
    fn member(&self, index: usize) -> Result<&Member<S>> {
        self.members.get(index).ok_or_else(|| Error::internal(format!("there is no shard at position {index}")))
    }

    fn home(&self, digest: &Digest) -> Result<&Member<S>> {
        self.member(self.placement.home(digest))
    }

    /// Returns the positions of the shards other than the home that may have the blob, at the time `now`.
    fn fallbacks(&self, digest: &Digest, now: SystemTime) -> Vec<usize> {
        if !self.is_moving {
            return Vec::new();
        }
        let state = |index: usize| self.members.get(index).map(|member| member.state(now));
        self.placement.fallbacks(digest, |index| state(index) == Some(ShardState::Settled))
    }

    /// Makes a call of `member`.
    async fn call<T: Send>(
        &self,
        ctx: &Context,
        member: &Member<S>,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        member.call(ctx, &self.options, &*self.clock, work, || false).await
    }
}

/// Returns the candidates of `shards`, by ascending hash of their keys. At least one of them is not drained.
fn checked<S>(shards: &[Shard<S>]) -> Result<Vec<Candidate>> {
    let candidates = candidates(shards.iter().map(|shard| (&*shard.key, shard.weight)))?;
    if shards.iter().all(|shard| shard.phase == Phase::Drained) {
        let keys: Vec<_> = shards.iter().map(|shard| &*shard.key).collect();
        let message = format!("all shards are drained, so that none takes blobs: {}", keys.join(", "));
        return Err(Error::invalid_argument(message));
    }
    Ok(candidates)
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S: BlobAccess> BlobAccess for Sharding<S> {
    type Kind = S::Kind;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        let home = self.home(digest)?;
        match self.call(ctx, home, home.store().get(ctx, digest)).await {
            Err(error) if self.is_moving => self.read_elsewhere(ctx, ReadRequest::blob(digest), home, error).await,
            result => result,
        }
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        let request = ReadRequest::part(parent, child, slicer);
        let home = self.home(parent)?;
        match self.call(ctx, home, request.read_from(home.store(), ctx)).await {
            Err(error) if self.is_moving => self.read_elsewhere(ctx, request, home, error).await,
            result => result,
        }
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let home = self.home(digest)?;
        let (blob, source) = UploadSource::observe(blob);
        let (_guard, blob) = if self.is_moving && S::Kind::STORAGE_TYPE.is_mutable() {
            let (guard, blob) = self.locks.lock_to_put(&digest.cache_key(home.store().key_format()), blob).await?;
            (Some(guard), blob)
        } else {
            (None, blob)
        };
        let put = home.store().put(ctx, digest, blob);
        home.call(ctx, &self.options, &*self.clock, put, || source.has_failed()).await
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        if digests.is_empty() {
            return Ok(DigestSet::new());
        }
        if !self.finds_in_bulk() {
            return Err(Error::unimplemented("one of the shards does not find in bulk"));
        }
        let missing = self.find_in_homes(ctx, digests).await?;
        if missing.is_empty() || !self.is_moving {
            return Ok(missing);
        }
        self.find_elsewhere(ctx, missing).await
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        // One shard after another is asked, and passed over if it is down.
        let begin = self.capabilities_asked.fetch_add(1, Ordering::Relaxed) % self.members.len().max(1);
        let (before, from) = self.members.split_at_checked(begin).unwrap_or_default();
        let mut failed = None;
        for member in from.iter().chain(before).filter(|member| !member.is_drained()) {
            match self.call(ctx, member, member.store().capabilities(ctx, instance_name)).await {
                Err(error) if error.is_store_fault() => {
                    failed.get_or_insert(error);
                }
                result => return result,
            }
        }
        Err(failed.unwrap_or_else(|| Error::internal("there are no shards")))
    }

    fn key_format(&self) -> KeyFormat {
        let formats = self.members.iter().map(|member| member.store().key_format());
        formats.reduce(KeyFormat::combine).unwrap_or(KeyFormat::WithInstanceName)
    }

    fn finds_in_bulk(&self) -> bool {
        self.members.iter().all(|member| member.store().finds_in_bulk())
    }
}

impl<S: Display> Display for Sharding<S> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("sharding(")?;
        for (index, member) in self.members.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{member}")?;
        }
        f.write_str(")")
    }
}
