//! Remembers which blobs were found lately, so that they need not be looked for again.

mod found;
mod question;

use std::fmt::{self, Debug, Display, Formatter};
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::future::{Either, select};
use futures::stream::FuturesUnordered;

use self::found::Found;
use self::question::{Answer, Part, Questions};
use crate::{
    Blob, BlobAccess, Capabilities, Cas, Clock, Context, Digest, DigestSet, Error, ErrorKind, Event, InstanceName,
    KeyFormat, NoObserver, Observer, PutOutcome, Result, Slicer, SystemClock,
};

/// A [`BlobAccess`] that answers [`find_missing`](BlobAccess::find_missing) from memory for digests found lately.
///
/// Build clients ask about the same digests again and again, some of them many times within one build, and many
/// clients ask about the same at once. In front of a sharded, mirrored or remote store this spares it most of that: a
/// digest that was found is not asked about again for a while, and one that is being asked about is not asked about by
/// a second caller, who waits for the same answer.
///
/// Only presence is remembered. A blob that this layer has [`Created`](PutOutcome::Created) counts as found when its
/// put began; of any other outcome it is not known whether the store has touched the blob, so the next question tells.
/// What a [`get`](BlobAccess::get) does not find, or finds damaged, is forgotten.
///
/// # Order
///
/// Outside decorators that fan out or go over a network, to spare them the call; inside those that check a caller's
/// rights, since what is remembered is the same for every caller.
///
/// # Weakens
///
/// * An answer from memory does not reach the store, so it does not count as use there, and the blob may have been
///   evicted since. Keep `duration` well below the time that the store keeps a blob which nobody uses.
/// * An answer that is waited for is as old as its question. A blob that is put meanwhile, and not through this
///   layer, may be called missing.
/// * The question of one caller is put in their [`Context`], and serves others too.
///
/// # Memory
///
/// About 170 bytes for each digest remembered (measured over 200,000 of them), at most `capacity` of them. Nothing is
/// taken in advance.
///
/// # Cancel safety
///
/// Whoever waits for an answer drives the question on, so it does not matter if the caller who put it goes away, or
/// merely stops polling. It is dropped with the last who waits. If it fails, its own caller gets the error and the
/// others ask for themselves.
pub struct ExistenceCaching<B> {
    inner: Arc<B>,
    questions: Arc<Questions>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    answers_puts: bool,
}

impl<B> ExistenceCaching<B> {
    /// Remembers up to `capacity` digests that `inner` was found to have, each until `duration` after it was asked
    /// about (and at that very moment still). When it is full, the digest that was asked for least lately goes.
    ///
    /// If `capacity` is too small, questions about one build push those of another out; [`Event::ExistenceCacheAsked`]
    /// then counts more misses than hits. Begin with the number of blobs of the largest build. If `duration` is too
    /// long, clients are promised blobs that are gone; a minute is common, and spares most of what can be spared.
    pub fn new(inner: B, capacity: NonZeroUsize, duration: Duration) -> Self {
        Self {
            inner: Arc::new(inner),
            questions: Arc::new(Questions::new(Found::new(capacity, duration))),
            clock: Arc::new(SystemClock),
            observer: Arc::new(NoObserver),
            answers_puts: false,
        }
    }

    /// Takes the time from `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Tells `observer` how many digests were answered for from memory.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Answers a put of a digest found lately with [`AlreadyExists`](PutOutcome::AlreadyExists), without a look at the
    /// blob. Off unless it is called.
    ///
    /// The stored size is then given as that of the blob, which a store that compresses would contradict. And a put is
    /// how a client makes sure: with this, one that uploads a blob again, because it was evicted, is sent away for as
    /// long as the digest is remembered.
    #[must_use]
    pub fn answering_puts(mut self) -> Self {
        self.answers_puts = true;
        self
    }
}

impl<B: BlobAccess<Kind = Cas>> ExistenceCaching<B> {
    /// Asks about `unknown`: of each digest whoever is asking already, and for the rest by itself.
    async fn ask(&self, ctx: &Context, unknown: &DigestSet) -> Result<DigestSet> {
        let parts = self.questions.divide(&self.inner, ctx, unknown, self.clock.monotonic(), true);
        let (mut missing, unanswered) = self.answers(parts).await?;
        if !unanswered.is_empty() {
            // Another's question failed, perhaps for reasons of their own. Not to wait for anybody now bounds how long
            // this takes.
            let unanswered = DigestSet::from(unanswered);
            let parts = self.questions.divide(&self.inner, ctx, &unanswered, self.clock.monotonic(), false);
            missing.extend(self.answers(parts).await?.0);
        }
        Ok(DigestSet::from(missing))
    }

    /// The digests that are missing, and those that another's failed question was to tell of.
    async fn answers(&self, parts: Vec<Part>) -> Result<(Vec<Digest>, Vec<Digest>)> {
        let format = self.inner.key_format();
        let mut answers: FuturesUnordered<_> = parts.into_iter().map(Part::answered).collect();
        let (mut missing, mut unanswered) = (Vec::new(), Vec::new());
        while let Some((own, digests, answer)) = answers.next().await {
            match answer {
                Ok(keys) => missing
                    .extend(digests.into_iter().filter(|digest| keys.binary_search(&digest.cache_key(format)).is_ok())),
                Err(error) if own => return Err(error),
                Err(_) => unanswered.extend(digests),
            }
        }
        Ok((missing, unanswered))
    }

    /// Forgets what a failed read shows not to be there.
    fn forget_after<T>(&self, result: &Result<T>, digest: &Digest) {
        if let Err(error) = result
            && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DataLoss)
            && !error.is_part_missing()
        {
            self.questions.forget(&digest.cache_key(self.inner.key_format()));
        }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<B: BlobAccess<Kind = Cas>> BlobAccess for ExistenceCaching<B> {
    type Kind = Cas;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        let result = self.inner.get(ctx, digest).await;
        self.forget_after(&result, digest);
        result
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        let result = self.inner.get_from_composite(ctx, parent, child, slicer).await;
        self.forget_after(&result, parent);
        result
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let key = digest.cache_key(self.inner.key_format());
        let began = self.clock.monotonic();
        if self.answers_puts && self.questions.is_found(&key, began) {
            return Ok(PutOutcome::AlreadyExists { stored_bytes: digest.size_bytes() });
        }
        // However it ends, an answer to a question from before must not be given to who asks after.
        let outdating = self.questions.outdating(key.clone());
        let outcome = self.inner.put(ctx, digest, blob).await?;
        drop(outdating);
        if matches!(outcome, PutOutcome::Created { .. }) {
            self.questions.remember(key, began);
        }
        Ok(outcome)
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        if digests.is_empty() {
            return Ok(DigestSet::new());
        }
        let format = self.inner.key_format();
        let unknown = self.questions.not_found_lately(digests, format, self.clock.monotonic());
        self.observer.event(&Event::ExistenceCacheAsked {
            hits: count(digests.len() - unknown.len()),
            misses: count(unknown.len()),
        });
        if unknown.is_empty() {
            return Ok(unknown);
        }
        let Some(deadline) = ctx.deadline() else {
            return self.ask(ctx, &unknown).await;
        };
        // The question may be another's, who has more time.
        let asked = self.ask(ctx, &unknown);
        match select(pin!(asked), self.clock.sleep_until(deadline)).await {
            Either::Left((missing, _)) => missing,
            Either::Right(((), _)) => Err(late(unknown.len())),
        }
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

impl Part {
    async fn answered(self) -> (bool, Vec<Digest>, <Answer as Future>::Output) {
        (self.own, self.digests, self.answer.await)
    }
}

fn count(digests: usize) -> u64 {
    u64::try_from(digests).unwrap_or(u64::MAX)
}

#[cold]
fn late(digests: usize) -> Error {
    Error::deadline_exceeded(format!("whether {digests} blobs are stored was not known by the caller's deadline"))
}

impl<B: Display> Display for ExistenceCaching<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "existence_caching({})", self.inner)
    }
}

impl<B: Debug> Debug for ExistenceCaching<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExistenceCaching")
            .field("inner", &self.inner)
            .field("questions", &self.questions)
            .field("answers_puts", &self.answers_puts)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
