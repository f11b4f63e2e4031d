//! The contents that an action result names, as a store: those that are queued or lost are missing from it.

use std::fmt::{self, Display, Formatter};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use blobaccess::decorators::{CompletenessChecking, CompletenessOptions, named_by_action_result};
use blobaccess::{
    Ac, Blob, BlobAccess, Capabilities, Cas, Context, Digest, DigestSet, Error, InstanceName, KeyFormat, MemoryStore,
    PutOutcome, Result, Slicer,
};
use tokio::sync::oneshot;

use super::UploadQueue;
use super::predecessor::{Needs, Predecessor};

/// The number of lost contents that are asked for in one question. The first that is missing decides.
const ASKED_AT_ONCE: usize = 256;

/// A queue of contents that is followed, and the store that trees are read from.
pub(super) struct Followed<B: BlobAccess<Kind = Cas>> {
    queue: Arc<UploadQueue<B>>,
    trees: Option<Arc<dyn BlobAccess<Kind = Cas>>>,
}

impl<B: BlobAccess<Kind = Cas>> Followed<B> {
    pub(super) fn new(queue: Arc<UploadQueue<B>>, trees: Option<Arc<dyn BlobAccess<Kind = Cas>>>) -> Self {
        Self { queue, trees }
    }
}

impl<B: BlobAccess<Kind = Cas>> Clone for Followed<B> {
    fn clone(&self) -> Self {
        Self { queue: Arc::clone(&self.queue), trees: self.trees.clone() }
    }
}

impl<B: BlobAccess<Kind = Cas>> fmt::Debug for Followed<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Followed").field("queue", &self.queue).finish_non_exhaustive()
    }
}

/// The contents that a result names, for the layer that finds out whether a result is complete: it walks trees and
/// directories, and stops at the first of them that is missing.
struct NamedContents<B: BlobAccess<Kind = Cas>> {
    followed: Followed<B>,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    uploads: Vec<oneshot::Receiver<()>>,
    is_lost: bool,
    /// The failure to read a tree or to ask the store.
    error: Option<Error>,
}

impl<B: BlobAccess<Kind = Cas>> NamedContents<B> {
    fn queue(&self) -> &UploadQueue<B> {
        &self.followed.queue
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        // Each use is one assignment or one push.
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns those of `digests` that are queued or lost. Remembers which it is.
    async fn look(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        let digests = &digests.filter(|digest| !digest.is_empty_blob());
        let format = self.queue().inner.key_format();
        let queued = {
            let mut entries = self.queue().entries();
            let waits: Vec<_> = digests.iter().map(|digest| entries.watch(&digest.cache_key(format))).collect();
            drop(entries);
            let mut waits = waits.into_iter();
            let mut ended = Vec::new();
            let queued = digests.filter(|_| match waits.next() {
                Some(Some(wait)) => {
                    ended.push(wait);
                    true
                }
                Some(None) | None => false,
            });
            self.found().uploads.append(&mut ended);
            queued
        };
        if !queued.is_empty() {
            return Ok(queued);
        }
        let suspects: Vec<Digest> = self.queue().losses.suspects(digests).iter().cloned().collect();
        for asked in suspects.chunks(ASKED_AT_ONCE) {
            let asked: DigestSet = asked.iter().cloned().collect();
            let missing = self.queue().inner.find_missing(ctx, &asked).await?;
            for stored in &asked.difference(&missing) {
                self.queue().losses.remove(stored);
            }
            if !missing.is_empty() {
                self.found().is_lost = true;
                return Ok(missing);
            }
        }
        Ok(DigestSet::new())
    }

    fn needs(&self) -> Result<Needs> {
        let mut found = self.found();
        if let Some(error) = found.error.take() {
            return Err(error);
        }
        Ok(match (found.is_lost, std::mem::take(&mut found.uploads)) {
            (true, _) => Needs::Lost,
            (false, uploads) if uploads.is_empty() => Needs::Nothing,
            (false, uploads) => Needs::Uploads(uploads),
        })
    }
}

#[async_trait]
impl<B: BlobAccess<Kind = Cas>> Predecessor for Followed<B> {
    fn is_idle(&self) -> bool {
        !self.queue.entries().has_uploads() && !self.queue.losses.any()
    }

    async fn needs(&self, ctx: &Context, action: &Digest, message: &[u8]) -> Result<Needs> {
        let Ok(named) = named_by_action_result(action, message) else { return Ok(Needs::Nothing) };
        let contents = Arc::new(NamedContents { followed: self.clone(), found: Mutex::default() });
        contents.look(ctx, &named.digests.into_iter().collect()).await?;
        let needs = contents.needs()?;
        if !named.has_directories || !matches!(needs, Needs::Nothing) {
            return Ok(needs);
        }
        let size_bytes = u64::try_from(message.len()).unwrap_or(u64::MAX);
        let result = MemoryStore::<Ac>::new(size_bytes.saturating_add(1 << 16));
        result.put(ctx, action, Blob::from_bytes(message.to_vec())).await?;
        let options = CompletenessOptions::new().with_remembered_trees(0, std::time::Duration::ZERO);
        let checked = CompletenessChecking::new(result, Arc::clone(&contents), options).get(ctx, action).await;
        match (contents.needs()?, checked) {
            (Needs::Nothing, Err(error)) if error.is_not_found() => Ok(Needs::Lost),
            (Needs::Nothing, Err(error)) => Err(error),
            (needs, _) => Ok(needs),
        }
    }
}

#[async_trait]
impl<B: BlobAccess<Kind = Cas>> BlobAccess for NamedContents<B> {
    type Kind = Cas;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        let read = match &self.followed.trees {
            Some(trees) => trees.get(ctx, digest).await,
            None => self.followed.queue.get(ctx, digest).await,
        };
        read.inspect_err(|error| {
            if !error.is_not_found() {
                self.found().error = Some(error.clone());
            }
        })
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        blobaccess::get_and_slice(self, ctx, parent, child, slicer).await
    }

    async fn put(&self, _ctx: &Context, _digest: &Digest, _blob: Blob) -> Result<PutOutcome> {
        Err(Error::unimplemented("nothing is put while a result is looked at"))
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        let missing = self.look(ctx, digests).await;
        missing.inspect_err(|error| self.found().error = Some(error.clone()))
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        self.queue().inner.capabilities(ctx, instance_name).await
    }

    fn key_format(&self) -> KeyFormat {
        self.queue().inner.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        true
    }
}

impl<B: BlobAccess<Kind = Cas>> Display for NamedContents<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "named_contents({})", self.queue())
    }
}

impl<B: BlobAccess<Kind = Cas>> fmt::Debug for NamedContents<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedContents").field("followed", &self.followed).finish_non_exhaustive()
    }
}
