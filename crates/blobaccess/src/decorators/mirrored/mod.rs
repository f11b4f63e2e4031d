//! Keeps the same blobs in two stores.

mod options;
mod pending_put;
mod put;
mod read;

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{join, select};

use super::pair::{Member, RepairSnapshot, Repairs, Rest, Wanted};
use crate::replication::{EntryLocks, Replicator};
use crate::{
    BackgroundWork, Blob, BlobAccess, Capabilities, Clock, Context, Digest, DigestSet, Error, InstanceName, KeyFormat,
    Kind, PutOutcome, Result, Slicer, SystemClock,
};

pub use self::options::{MirroredOptions, PutPolicy};

/// The shortest time between two attempts of [`Mirrored::run`].
const MIN_PAUSE: Duration = Duration::from_secs(1);

type Half<K> = Member<dyn BlobAccess<Kind = K>>;

/// A [`BlobAccess`] that keeps the same blobs in two stores, so that reads go on when one of them fails.
///
/// * **get**: from the halves in turn. What one half lacks is read from the other and copied. If a half
///   [is at fault](Error::is_store_fault), from the start or midway, reading goes on from the other. A half that has just
///   failed [rests](MirroredOptions::with_rest): reads begin with the other, and ask it only for what the other cannot
///   answer.
/// * **put**: into both at the same time. It succeeds if both do, or by [option](PutPolicy::Either) if one does. What
///   one half missed is noted to be repaired.
/// * **find missing**: a digest is missing if both halves lack it. What only one half has is noted to be repaired; the
///   answer does not wait for that unless it is [set to](MirroredOptions::with_waits_for_repairs).
///
/// # Repairs
///
/// What a half lacks gets there in three ways: by a read of it, by [`repair`](Self::repair), which a program calls when
/// it likes, and by [`run`](Self::run), which a program spawns and which repairs whenever something is noted. Nothing
/// runs by itself. Notes are bounded, kept in memory, and counted by [`snapshot`](Self::snapshot).
///
/// # While one half is down
///
/// | call | [`Both`](PutPolicy::Both) | [`Either`](PutPolicy::Either) |
/// |---|---|---|
/// | get of what the other half has | succeeds | succeeds |
/// | get of what the other half lacks | the error of the half that is down | the same |
/// | put | the error, which says `MaybeStored` | succeeds, and is noted |
/// | find missing, the other half has all | succeeds | succeeds |
/// | find missing, the other half lacks some | the error | contents: reports those missing; messages: the error |
/// | capabilities | those of the other half | the same |
///
/// With `Either`, a put goes to the half that does not rest. If that one fails, contents at hand go to the other; those
/// that arrive in pieces are gone by then, and the put fails, to be tried again. A query reports contents as missing
/// that only the half that is down has. That is safe: the client uploads them, which makes the second copy. A read is
/// never answered with absence.
///
/// # Order
///
/// Around a deadline for each half, so that one that hangs is given up in time. Inside layers that cache existence. The
/// replicators are best given the [locks](Self::with_entry_locks) of this layer if the kind is mutable.
///
/// # Weakens
///
/// * With `Both`, nothing can be put while one half is down, and no query is answered about what the other lacks.
/// * With `Either`, there is one copy of a blob until it is repaired; and while one half is down, contents that only
///   that half has are reported missing, so a completeness check makes actions run again.
/// * Of puts at the same time, exactly one is `Created` in the first half, whose outcomes count. The outcome is that of
///   `b` where `a` was noted to lack the blob. If the half whose outcome counts has not taken the put, that of the other
///   is [`Unclassified`](PutOutcome::Unclassified) in place of `Created`: each half evicts blobs by itself, so the one
///   that is down may have had this one.
/// * Of a mutable kind, an entry that one half missed is read from the other alone. If its note is
///   [dropped](MirroredOptions::with_max_noted), or if the other half evicts the entry before the repair, the older value
///   is read again. The same holds if the process ends before the repair. Two mirrors in two processes may leave
///   different values if they put one entry at the same time.
///
/// # Memory
///
/// Up to 4 MiB for each put, that of the replicators, and some 350 bytes for each noted blob.
///
/// # Cancel safety
///
/// A dropped put may have stored the blob in one half. The other is then noted to need it if the first has answered;
/// otherwise the next query about contents or read of them finds out, and of a message it is noted that the halves may
/// differ. A dropped repair leaves its notes.
///
/// # Errors
///
/// Those of the two halves, with the places `a` and `b`. The certainty of a failed put is that of
/// [`combine_puts`](crate::combine_puts). A half that rested and was not asked has certainly stored nothing.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use std::sync::Arc;
///
/// use blobaccess::decorators::{Mirrored, MirroredOptions, PutPolicy};
/// use blobaccess::replication::LocalReplicator;
/// use blobaccess::{BlobAccessExt, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore};
///
/// let (a, b) = (Arc::new(MemoryStore::<Cas>::new(1 << 20)), Arc::new(MemoryStore::<Cas>::new(1 << 20)));
/// let a_to_b = Arc::new(LocalReplicator::new(Arc::clone(&a), Arc::clone(&b)));
/// let b_to_a = Arc::new(LocalReplicator::new(Arc::clone(&b), Arc::clone(&a)));
/// let store = Mirrored::new(a.clone(), b.clone(), a_to_b, b_to_a)
///     .with_options(MirroredOptions::new().with_put_policy(PutPolicy::Either));
///
/// let (ctx, digest) = (Context::background(), Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello"));
/// store.put_bytes(&ctx, &digest, "hello").await?;
/// assert!(a.contains(&ctx, &digest).await? && b.contains(&ctx, &digest).await?);
///
/// // What only one half has is noted, and copied by a repair.
/// let other = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"other");
/// b.put_bytes(&ctx, &other, "other").await?;
/// assert!(store.contains(&ctx, &other).await?);
/// assert_eq!(store.snapshot().b_to_a.noted, 1);
/// store.repair(&ctx).await?;
/// assert!(a.contains(&ctx, &other).await?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Mirrored<K: Kind> {
    a: Half<K>,
    b: Half<K>,
    a_to_b: Arc<dyn Replicator<Kind = K>>,
    b_to_a: Arc<dyn Replicator<Kind = K>>,
    options: MirroredOptions,
    clock: Arc<dyn Clock>,
    locks: Arc<EntryLocks>,
    /// The copies that `b` needs of `a`.
    to_b: Repairs,
    /// The copies that `a` needs of `b`.
    to_a: Repairs,
    /// Whether the next read begins with `b`.
    begins_with_b: AtomicBool,
}

/// The state of the two halves of a mirror, and the repairs between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MirroredSnapshot {
    /// Whether `a` failed recently, and has not been asked successfully since.
    pub a_rests: bool,
    /// The same for `b`.
    pub b_rests: bool,
    /// The copies from `a` into `b`.
    pub a_to_b: RepairSnapshot,
    /// The copies from `b` into `a`.
    pub b_to_a: RepairSnapshot,
}

impl<K: Kind> Mirrored<K> {
    /// Makes a mirror of `a` and `b` with default options. `a_to_b` and `b_to_a` copy in either direction.
    ///
    /// The halves are shared with blobs that are being read, which may have to go on from the other half.
    pub fn new(
        a: Arc<dyn BlobAccess<Kind = K>>,
        b: Arc<dyn BlobAccess<Kind = K>>,
        a_to_b: Arc<dyn Replicator<Kind = K>>,
        b_to_a: Arc<dyn Replicator<Kind = K>>,
    ) -> Self {
        let (options, locks) = (MirroredOptions::new(), Arc::<EntryLocks>::default());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let repairs = || repairs(&options, KeyFormat::WithInstanceName, &locks, &clock);
        let (to_a, to_b) = (repairs(), repairs());
        let (a, b) = (Member::new("a", a), Member::new("b", b));
        let begins_with_b = AtomicBool::new(false);
        Self { a, b, a_to_b, b_to_a, options, clock, locks, to_b, to_a, begins_with_b }.prepared()
    }

    /// Sets the options. Call this before the store is used: what was noted is forgotten.
    #[must_use]
    pub fn with_options(self, options: MirroredOptions) -> Self {
        Self { options, ..self }.prepared()
    }

    /// Takes the time from `clock`. Call this before the store is used: what was noted is forgotten.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }.prepared()
    }

    /// Takes the locks of entries from `locks`, which the two replicators share
    /// ([`LocalReplicator::with_entry_locks`](crate::replication::LocalReplicator::with_entry_locks)). Call this before
    /// the store is used: what was noted is forgotten.
    ///
    /// Of a mutable kind, puts of one entry reach both halves in one order by these locks. If they are shared, no copy
    /// that a read makes replaces a newer value either.
    #[must_use]
    pub fn with_entry_locks(self, locks: Arc<EntryLocks>) -> Self {
        Self { locks, ..self }.prepared()
    }

    /// Remakes what depends on the settings.
    fn prepared(mut self) -> Self {
        let format = self.key_format();
        for half in [&mut self.a, &mut self.b] {
            half.rest = Arc::new(Rest::new(Arc::clone(&self.clock), self.options.rest));
        }
        self.to_a = repairs(&self.options, format, &self.locks, &self.clock);
        self.to_b = repairs(&self.options, format, &self.locks, &self.clock);
        self
    }

    /// Returns the two halves.
    #[must_use]
    pub fn halves(&self) -> [&Arc<dyn BlobAccess<Kind = K>>; 2] {
        [&self.a.store, &self.b.store]
    }

    /// Returns the state of the halves, and the numbers of repairs.
    #[must_use]
    pub fn snapshot(&self) -> MirroredSnapshot {
        MirroredSnapshot {
            a_rests: self.a.rest.is_resting(),
            b_rests: self.b.rest.is_resting(),
            a_to_b: self.to_b.snapshot(),
            b_to_a: self.to_a.snapshot(),
        }
    }

    /// Copies all that is noted so far into the half that needs it, in both directions at the same time.
    ///
    /// It asks the two halves about up to 1,000 noted blobs at once, and copies several concurrently
    /// ([`with_repairs_at_once`](MirroredOptions::with_repairs_at_once)).
    ///
    /// # Errors
    ///
    /// The first error. A direction ends early if a store is down or busy; blobs that were not copied stay noted. Contents
    /// that the other half refuses for good, such as for their size, are counted as given up, which is no error. A message
    /// that it refuses stays noted, since the value there is outdated: each repair tries it again.
    ///
    /// # Cancel safety
    ///
    /// Notes of what was copied are gone; the others stay.
    pub async fn repair(&self, ctx: &Context) -> Result<()> {
        let to_b = self.to_b.repair(ctx, &self.a, &self.b, &*self.a_to_b);
        let to_a = self.to_a.repair(ctx, &self.b, &self.a, &*self.b_to_a);
        let (to_b, to_a) = join(to_b, to_a).await;
        to_b.and(to_a)
    }

    /// Repairs whenever something is noted, for as long as the future is polled. It does not end. If a repair leaves
    /// anything noted, the next one begins after the time for which a half [rests](MirroredOptions::with_rest), and at
    /// least a second.
    ///
    /// At most one may run at a time.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any time, and another be made.
    pub async fn run(&self) {
        let _running = (self.to_a.begin_to_run(), self.to_b.begin_to_run());
        loop {
            select(Box::pin(self.to_a.until_noted()), Box::pin(self.to_b.until_noted())).await;
            if let Err(error) = self.repair(&Context::background()).await {
                tracing::debug!(%error, mirror = %self, "a repair has failed");
            }
            let snapshot = self.snapshot();
            if snapshot.a_to_b.noted + snapshot.b_to_a.noted > 0 {
                self.clock.sleep(self.options.rest.max(MIN_PAUSE)).await;
            }
        }
    }

    /// Returns whether one half is enough.
    fn needs_either(&self) -> bool {
        self.options.put_policy == PutPolicy::Either
    }

    /// Returns which halves are to be asked, where one is enough: those that do not rest, or both if both do.
    fn admitted(&self) -> [bool; 2] {
        match [self.a.rest.admits(), self.b.rest.admits()] {
            [false, false] => [true, true],
            admitted => admitted,
        }
    }

    /// Asks `half` for what it lacks of `digests`, unless it is not `admitted`. Digests whose value there is stale
    /// count as missing.
    async fn find_in(
        &self,
        ctx: &Context,
        half: &Half<K>,
        admitted: bool,
        repairs: &Repairs,
        digests: &DigestSet,
    ) -> Result<Option<DigestSet>> {
        if !admitted {
            return Ok(None);
        }
        let missing = half.judge(ctx, half.store.find_missing(ctx, digests).await);
        let missing = missing.map_err(|error| error.at(half.name))?;
        let stale = if K::STORAGE_TYPE.is_mutable() { repairs.all_stale(digests) } else { DigestSet::new() };
        Ok(Some(if stale.is_empty() { missing } else { DigestSet::union([missing, stale]) }))
    }

    /// Returns the answer to a query of which one half alone has answered: `missing` are what it lacks.
    fn find_in_one(&self, missing: DigestSet, error: Option<Error>) -> Result<DigestSet> {
        let Some(error) = error else { return Ok(missing) };
        // What is to be uploaded anyway may be uploaded once more; a message would be taken for gone.
        let may_be_uploaded = self.needs_either() && !K::STORAGE_TYPE.is_mutable() && error.is_infrastructure();
        if missing.is_empty() || may_be_uploaded { Ok(missing) } else { Err(error) }
    }

    /// Notes what only one half has, or copies it.
    async fn mend_difference(&self, ctx: &Context, a_lacks: &DigestSet, b_lacks: &DigestSet) -> Result<()> {
        if !self.options.waits_for_repairs {
            self.to_a.note_missing(a_lacks);
            self.to_b.note_missing(b_lacks);
            return Ok(());
        }
        let (to_b, to_a) = join(self.a_to_b.replicate_all(ctx, b_lacks), self.b_to_a.replicate_all(ctx, a_lacks)).await;
        to_b.map_err(|error| error.into_inconsistency().at("replication from a to b"))?;
        to_a.map_err(|error| error.into_inconsistency().at("replication from b to a"))
    }
}

fn repairs(options: &MirroredOptions, format: KeyFormat, locks: &Arc<EntryLocks>, clock: &Arc<dyn Clock>) -> Repairs {
    Repairs::new(options.max_noted, options.repairs_at_once, format, Arc::clone(locks), Arc::clone(clock))
}

#[async_trait]
impl<K: Kind> BackgroundWork for Mirrored<K> {
    fn name(&self) -> Cow<'static, str> {
        self.to_string().into()
    }

    async fn run(&self) {
        Self::run(self).await;
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<K: Kind> BlobAccess for Mirrored<K> {
    type Kind = K;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.read(ctx, Wanted::Blob(digest)).await
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        self.read(ctx, Wanted::Part { parent, child, slicer: &slicer }).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        if !K::STORAGE_TYPE.is_mutable() {
            return self.put_admitted(ctx, digest, blob).await;
        }
        let (_guard, blob) = self.locks.lock_to_put(&digest.cache_key(self.key_format()), blob).await?;
        self.put_admitted(ctx, digest, blob).await
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        if digests.is_empty() {
            return Ok(DigestSet::new());
        }
        if !self.finds_in_bulk() {
            return Err(Error::unimplemented("one half of the mirror does not find in bulk"));
        }
        let may_pass_over = self.needs_either() && !K::STORAGE_TYPE.is_mutable();
        let [admits_a, admits_b] = if may_pass_over { self.admitted() } else { [true, true] };
        let (mark_a, mark_b) = (self.to_a.mark(), self.to_b.mark());
        let in_a = self.find_in(ctx, &self.a, admits_a, &self.to_a, digests);
        let in_b = self.find_in(ctx, &self.b, admits_b, &self.to_b, digests);
        match join(in_a, in_b).await {
            (Ok(Some(a_lacks)), Ok(Some(b_lacks))) => {
                let (a_alone_lacks, missing, b_alone_lacks) = a_lacks.split(&b_lacks);
                if mark_a > 0 {
                    self.to_a.settle(&digests.difference(&a_lacks), mark_a);
                }
                if mark_b > 0 {
                    self.to_b.settle(&digests.difference(&b_lacks), mark_b);
                }
                self.mend_difference(ctx, &a_alone_lacks, &b_alone_lacks).await?;
                Ok(missing)
            }
            (Ok(Some(missing)), Ok(None)) | (Ok(None), Ok(Some(missing))) => self.find_in_one(missing, None),
            (Ok(Some(missing)), Err(error)) | (Err(error), Ok(Some(missing))) => self.find_in_one(missing, Some(error)),
            (Err(error), _) | (_, Err(error)) => Err(error),
            (Ok(None), Ok(None)) => Err(Error::internal("neither half of the mirror was asked")),
        }
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        // One that rests may hang, and the answer of the other does.
        let ask = |half: Half<K>, admitted: bool| async move {
            if !admitted {
                return Err(Error::unavailable("it rests after a fault"));
            }
            half.judge(ctx, half.store.capabilities(ctx, instance_name).await)
        };
        let [admits_a, admits_b] = self.admitted();
        match join(ask(self.a.clone(), admits_a), ask(self.b.clone(), admits_b)).await {
            (Ok(a), Ok(b)) => Ok(a.intersection(&b)),
            (Ok(capabilities), Err(error)) | (Err(error), Ok(capabilities)) if error.is_infrastructure() => {
                Ok(capabilities)
            }
            (Err(error), _) => Err(error.at(self.a.name)),
            (_, Err(error)) => Err(error.at(self.b.name)),
        }
    }

    fn key_format(&self) -> KeyFormat {
        self.a.store.key_format().combine(self.b.store.key_format())
    }

    fn finds_in_bulk(&self) -> bool {
        self.a.store.finds_in_bulk() && self.b.store.finds_in_bulk()
    }
}

impl<K: Kind> Display for Mirrored<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "mirrored({}, {})", self.a.store, self.b.store)
    }
}
