//! The copies that one store lacks and another has, to be made later.

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::join;
use futures::{StreamExt, stream};

use super::Member;
use super::noted::{Note, Noted};
use crate::replication::{EntryLocks, Replicator};
use crate::{
    BackgroundWatch, Blob, BlobAccess, Clock, Context, Digest, DigestKey, DigestSet, Error, KeyFormat, ReadRequest,
    Result, Running,
};

/// The number of notes that are seen to together, and so that the two stores are asked about at once: about 70 KB on
/// the wire.
const NOTES_AT_ONCE: usize = 1000;

/// The largest message that is held in memory to be copied, in bytes: 64 MiB, as for
/// [`LocalReplicator`](crate::replication::LocalReplicator).
const MAX_MESSAGE_BYTES: u64 = 64 << 20;

/// The reason why a blob is to be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decorators) enum Need {
    /// The sink lacks it. If it has got one meanwhile, nothing is to be done.
    Missing,
    /// The sink missed a put of a message that failed, so the two may have different values. Either may be read; that of
    /// the source is to be copied.
    Differs,
    /// The sink missed a put of a message that was acknowledged, so a value that it has is older than that of the source
    /// and must not be read.
    Stale,
}

/// The copies from one store into another that are yet to be made, and their numbers.
///
/// Nothing here knows the two stores, which are passed to each call.
pub(in crate::decorators) struct Repairs {
    noted: Noted<Need>,
    format: KeyFormat,
    at_once: usize,
    locks: Arc<EntryLocks>,
    clock: Arc<dyn Clock>,
    watch: BackgroundWatch,
    repaired: AtomicU64,
    failed: AtomicU64,
    given_up: AtomicU64,
}

/// The copies from one store into another that a layer has noted and made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairSnapshot {
    /// The number of blobs that are noted to be copied.
    pub noted: usize,
    /// The number of notes that were settled: the blob was copied, or was there by then.
    pub repaired: u64,
    /// The number of attempts to copy that failed and are to be made again.
    pub failed: u64,
    /// The number of notes that were given up: no store has the blob any more, the one that lacks it refuses it, or the
    /// replicator [copies nothing](crate::replication::Replicator::copies).
    pub given_up: u64,
    /// The number of notes that were dropped because there was no room for them.
    pub dropped: u64,
}

/// The value of an entry, and whether it was copied.
pub(in crate::decorators) struct Renewed {
    pub(in crate::decorators) value: Blob,
    pub(in crate::decorators) copied: Result<()>,
}

impl Repairs {
    pub(in crate::decorators) fn new(
        capacity: usize,
        at_once: usize,
        format: KeyFormat,
        locks: Arc<EntryLocks>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let [repaired, failed, given_up] = [0; 3].map(AtomicU64::new);
        let watch = BackgroundWatch::new("a layer over two stores", "what one of them lacks is not copied");
        let (noted, at_once) = (Noted::new(capacity), at_once.max(1));
        Self { noted, format, at_once, locks, clock, watch, repaired, failed, given_up }
    }

    /// Notes that a put did not reach the sink. This replaces what queries noted. A value that must not be read stays so
    /// if a later put fails.
    pub(in crate::decorators) fn note_missed_put(&self, digest: &Digest, need: Need) {
        let need = if need == Need::Differs && self.is_stale(digest) { Need::Stale } else { need };
        self.noted.note(self.key(digest), digest, need);
        self.watch.note_work(&*self.clock);
    }

    /// Notes that the sink lacks `digests`, by the answer to a query.
    pub(in crate::decorators) fn note_missing(&self, digests: &DigestSet) {
        for digest in digests {
            self.noted.note_if_new(self.key(digest), digest, Need::Missing);
        }
        if !digests.is_empty() {
            self.watch.note_work(&*self.clock);
        }
    }

    /// Forgets the notes of `digests` that were made before `mark`, by the answer to a query that began then: the sink
    /// has them.
    pub(in crate::decorators) fn settle(&self, digests: &DigestSet, mark: u64) {
        for digest in digests {
            if self.noted.is_empty() {
                return;
            }
            let key = self.key(digest);
            if self.noted.get(&key).is_some_and(|note| note.what == Need::Missing)
                && self.noted.remove_before(&key, mark)
            {
                self.repaired.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Forgets the note of `digest`, which was just put into the sink.
    pub(in crate::decorators) fn settle_put(&self, digest: &Digest) {
        if !self.noted.is_empty() && self.noted.remove_before(&self.key(digest), u64::MAX) {
            self.repaired.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the mark by which [`settle`](Self::settle) tells notes from before a query.
    pub(in crate::decorators) fn mark(&self) -> u64 {
        if self.noted.is_empty() { 0 } else { self.noted.next_number() }
    }

    /// Returns whether the sink is noted to need `digest`.
    pub(in crate::decorators) fn is_noted(&self, digest: &Digest) -> bool {
        !self.noted.is_empty() && self.noted.get(&self.key(digest)).is_some()
    }

    /// Returns whether the sink has missed a put of the message `digest`.
    pub(in crate::decorators) fn is_outdated(&self, digest: &Digest) -> bool {
        self.outdated(digest).is_some()
    }

    /// Returns whether the value of `digest` in the sink must not be read.
    fn is_stale(&self, digest: &Digest) -> bool {
        self.outdated(digest).is_some_and(|note| note.what == Need::Stale)
    }

    /// Returns those of `digests` whose value in the sink must not be read.
    pub(in crate::decorators) fn all_stale(&self, digests: &DigestSet) -> DigestSet {
        if self.noted.is_empty() { DigestSet::new() } else { digests.filter(|digest| self.is_stale(digest)) }
    }

    /// Notes that somebody sees to whatever is noted, until the answer is dropped.
    pub(in crate::decorators) fn begin_to_run(&self) -> Running<'_> {
        self.watch.begin_to_run()
    }

    /// Waits until something is noted. One caller may wait at a time.
    pub(in crate::decorators) async fn until_noted(&self) {
        self.noted.until_noted().await;
    }

    /// Returns the numbers so far.
    pub(in crate::decorators) fn snapshot(&self) -> RepairSnapshot {
        RepairSnapshot {
            noted: self.noted.len(),
            repaired: self.repaired.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            given_up: self.given_up.load(Ordering::Relaxed),
            dropped: self.noted.dropped(),
        }
    }

    /// Sees to everything that is noted so far, oldest first. Ends early if a store is down.
    pub(in crate::decorators) async fn repair<A, B, R>(
        &self,
        ctx: &Context,
        source: &Member<A>,
        sink: &Member<B>,
        replicator: &R,
    ) -> Result<()>
    where
        A: BlobAccess + ?Sized,
        B: BlobAccess<Kind = A::Kind> + ?Sized,
        R: Replicator<Kind = A::Kind> + ?Sized,
    {
        self.watch.note_attention();
        let (mut begin, end) = (0, self.noted.next_number());
        let mut first_error = Ok(());
        loop {
            let batch = self.noted.batch(begin..end, NOTES_AT_ONCE);
            let Some(last) = batch.last() else { return first_error };
            begin = last.number + 1;
            let needed = self.drop_needless(ctx, batch, source, sink).await?;
            let mut repairs = stream::iter(needed)
                .map(|note| self.repair_one(ctx, note, source, sink, replicator))
                .buffer_unordered(self.at_once);
            while let Some(repaired) = repairs.next().await {
                match repaired {
                    Err(error) if error.is_outage() => return Err(error),
                    Err(error) => first_error = first_error.and(Err(error)),
                    Ok(()) => {}
                }
            }
        }
    }

    /// Removes the notes of `batch` that need no copy any more, and returns the others.
    async fn drop_needless<A, B>(
        &self,
        ctx: &Context,
        batch: Vec<Note<Need>>,
        source: &Member<A>,
        sink: &Member<B>,
    ) -> Result<Vec<Note<Need>>>
    where
        A: BlobAccess + ?Sized,
        B: BlobAccess + ?Sized,
    {
        let missing = batch.iter().filter(|note| note.what == Need::Missing).map(|note| note.digest.clone());
        let digests: DigestSet = missing.collect();
        if digests.is_empty() || !source.store.finds_in_bulk() || !sink.store.finds_in_bulk() {
            return Ok(batch);
        }
        let asked = join(source.store.find_missing(ctx, &digests), sink.store.find_missing(ctx, &digests));
        let (in_source, in_sink) = asked.await;
        let source_lacks = source.judge(ctx, in_source).map_err(|error| error.at(source.name))?;
        let sink_lacks = sink.judge(ctx, in_sink).map_err(|error| error.at(sink.name))?;
        let mut needed = Vec::new();
        for note in batch {
            match note.what {
                Need::Missing if !sink_lacks.contains(&note.digest) => self.settled(&note, &self.repaired),
                Need::Missing if source_lacks.contains(&note.digest) => self.settled(&note, &self.given_up),
                Need::Missing | Need::Differs | Need::Stale => needed.push(note),
            }
        }
        Ok(needed)
    }

    async fn repair_one<A, B, R>(
        &self,
        ctx: &Context,
        note: Note<Need>,
        source: &Member<A>,
        sink: &Member<B>,
        replicator: &R,
    ) -> Result<()>
    where
        A: BlobAccess + ?Sized,
        B: BlobAccess<Kind = A::Kind> + ?Sized,
        R: Replicator<Kind = A::Kind> + ?Sized,
    {
        match note.what {
            Need::Differs | Need::Stale => match self.renew(ctx, &note.digest, source, sink).await {
                Ok(renewed) => renewed.map_or(Ok(()), |renewed| renewed.copied),
                Err(error) if error.is_not_found() => Ok(()),
                Err(error) => Err(error.at(source.name)),
            },
            Need::Missing if !replicator.copies() => {
                self.settled(&note, &self.given_up);
                Ok(())
            }
            Need::Missing => match replicator.replicate_all(ctx, &note.digest.clone().into()).await {
                Ok(()) => {
                    self.settled(&note, &self.repaired);
                    Ok(())
                }
                Err(error) if error.is_outage() => {
                    self.failed.fetch_add(1, Ordering::Relaxed);
                    Err(error.at("repair"))
                }
                Err(error) => {
                    tracing::warn!(%error, digest = %note.digest, "a blob was not copied, which is given up");
                    self.settled(&note, &self.given_up);
                    Ok(())
                }
            },
        }
    }

    /// Copies the value of an entry that is [outdated](Self::is_outdated) from the source over the one in the sink, and
    /// returns it. Returns `None` if it is not outdated any more.
    ///
    /// # Errors
    ///
    /// Those of the source, without its place. `NotFound` if it has no value any more; then there is nothing to be copied.
    pub(in crate::decorators) async fn renew<A, B>(
        &self,
        ctx: &Context,
        digest: &Digest,
        source: &Member<A>,
        sink: &Member<B>,
    ) -> Result<Option<Renewed>>
    where
        A: BlobAccess + ?Sized,
        B: BlobAccess + ?Sized,
    {
        // The lock of the entry keeps puts, which change notes too, from happening meanwhile.
        let _guard = self.locks.lock(&self.key(digest)).await;
        let Some(note) = self.outdated(digest) else { return Ok(None) };
        let read = async {
            let blob = source.store.get(ctx, digest).await?;
            if blob.size_bytes() > MAX_MESSAGE_BYTES {
                return Ok(Err(blob));
            }
            blob.into_bytes(MAX_MESSAGE_BYTES).await.map(Ok)
        };
        let value = match source.judge(ctx, read.await) {
            Ok(Ok(value)) => value,
            Ok(Err(value)) => {
                let message = format!("{} bytes are too many to be copied", value.size_bytes());
                return Ok(Some(Renewed { value, copied: Err(Error::invalid_argument(message)) }));
            }
            Err(error) if error.is_not_found() => {
                self.settled(&note, &self.given_up);
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        let put = sink.judge(ctx, sink.store.put(ctx, digest, Blob::from_bytes(value.clone())).await);
        let copied = match put {
            Ok(_) => {
                self.settled(&note, &self.repaired);
                Ok(())
            }
            Err(error) => {
                tracing::debug!(%error, %digest, sink = sink.name, "a message was not copied");
                self.failed.fetch_add(1, Ordering::Relaxed);
                Err(error.at(sink.name))
            }
        };
        Ok(Some(Renewed { value: Blob::from_bytes(value), copied }))
    }

    /// Reads an entry that is [outdated](Self::is_outdated) in the sink from the source, and repairs the sink unless it
    /// rests. Returns `None` if any store may be read after all: the entry has been repaired meanwhile, or the source
    /// has no answer and the put that the sink has missed was not acknowledged.
    pub(in crate::decorators) async fn read_newer<A, B>(
        &self,
        ctx: &Context,
        request: &ReadRequest,
        source: &Member<A>,
        sink: &Member<B>,
    ) -> Option<Result<Blob>>
    where
        A: BlobAccess + ?Sized,
        B: BlobAccess + ?Sized,
    {
        let may_read_sink = !self.is_stale(request.digest());
        let conclude = |error: Error| {
            // If the value in the sink is not the one that was acknowledged last, it is not read whatever happens.
            let cannot_answer = error.is_store_fault() || error.is_blob_missing();
            if may_read_sink && cannot_answer { None } else { Some(Err(source.at(error))) }
        };
        if !sink.rest.admits() {
            return source.read(ctx, request.into()).await.map_or_else(conclude, |blob| Some(Ok(blob)));
        }
        let value = match self.renew(ctx, request.digest(), source, sink).await {
            Ok(renewed) => renewed?.value,
            Err(error) => return conclude(error),
        };
        Some(match request.as_part() {
            None => Ok(value),
            Some((child, slicer)) => {
                slicer.slice(value, child).await.map(|found| found.child).map_err(Error::with_part_missing)
            }
        })
    }

    fn outdated(&self, digest: &Digest) -> Option<Note<Need>> {
        if self.noted.is_empty() {
            return None;
        }
        self.noted.get(&self.key(digest)).filter(|note| note.what != Need::Missing)
    }

    /// Forgets `note`, unless there is a newer one of its digest, and counts it.
    fn settled(&self, note: &Note<Need>, counter: &AtomicU64) {
        if self.noted.remove_before(&note.key, note.number + 1) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn key(&self, digest: &Digest) -> DigestKey {
        digest.cache_key(self.format)
    }
}

impl Drop for Repairs {
    fn drop(&mut self) {
        self.watch.warn_of_drop(self.noted.len());
    }
}

impl Debug for Repairs {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repairs").field("snapshot", &self.snapshot()).finish_non_exhaustive()
    }
}
