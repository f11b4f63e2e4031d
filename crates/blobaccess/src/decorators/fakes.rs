//! Fakes for the tests of decorators that need what is private here.

use std::fmt::{self, Display, Formatter};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{
    Blob, BlobAccess, Call, Capabilities, Context, Digest, DigestFunction, DigestSet, Error, Event, InstanceName,
    KeyFormat, Kind, MemoryStore, Observer, Operation, PutOutcome, Result, Sliced, Slicer,
};

/// A call that a [`Noting`] store was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Noted {
    pub(crate) operation: Operation,
    pub(crate) digests: Vec<Digest>,
}

/// A store in memory that notes each call, and fails or holds it when it is told to.
#[derive(Debug)]
pub(crate) struct Noting<K: Kind> {
    pub(crate) memory: MemoryStore<K>,
    key_format: KeyFormat,
    noted: Mutex<Vec<Noted>>,
    failure: Mutex<Option<Error>>,
    held: watch::Sender<bool>,
}

impl<K: Kind> Noting<K> {
    pub(crate) fn new() -> Arc<Self> {
        Self::with_key_format(K::STORAGE_TYPE.key_format())
    }

    pub(crate) fn with_key_format(key_format: KeyFormat) -> Arc<Self> {
        Arc::new(Self {
            memory: MemoryStore::new(1 << 20),
            key_format,
            noted: Mutex::default(),
            failure: Mutex::default(),
            held: watch::Sender::new(false),
        })
    }

    /// Stores `contents` without a note of it.
    pub(crate) async fn hold_contents(&self, contents: &'static str) -> Digest {
        let digest = digest_of(contents);
        self.memory.put(&Context::background(), &digest, Blob::from_bytes(contents)).await.unwrap();
        digest
    }

    /// Lets every call from now on fail with `error`, or none.
    pub(crate) fn fail_with(&self, error: impl Into<Option<Error>>) {
        *self.failure.lock().unwrap() = error.into();
    }

    /// Holds every call from its beginning, or lets them go on.
    pub(crate) fn set_held(&self, held: bool) {
        self.held.send_replace(held);
    }

    pub(crate) fn noted(&self) -> Vec<Noted> {
        self.noted.lock().unwrap().clone()
    }

    /// Counts the calls of `operation`.
    pub(crate) fn count(&self, operation: Operation) -> usize {
        self.noted().iter().filter(|noted| noted.operation == operation).count()
    }

    /// Returns the digests of each call of `operation`.
    pub(crate) fn asked(&self, operation: Operation) -> Vec<Vec<Digest>> {
        let noted = self.noted().into_iter();
        noted.filter(|noted| noted.operation == operation).map(|noted| noted.digests).collect()
    }

    async fn note(&self, operation: Operation, digests: Vec<Digest>) -> Result<()> {
        self.noted.lock().unwrap().push(Noted { operation, digests });
        let mut held = self.held.subscribe();
        held.wait_for(|held| !held).await.unwrap();
        // Others get a turn between the question and the answer.
        tokio::task::yield_now().await;
        self.failure.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<K: Kind> BlobAccess for Noting<K> {
    type Kind = K;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.note(Operation::Get, vec![digest.clone()]).await?;
        self.memory.get(ctx, digest).await
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        self.note(Operation::GetFromComposite, vec![parent.clone(), child.clone()]).await?;
        self.memory.get_from_composite(ctx, parent, child, slicer).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        self.note(Operation::Put, vec![digest.clone()]).await?;
        self.memory.put(ctx, digest, blob).await
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        self.note(Operation::FindMissing, digests.as_slice().to_vec()).await?;
        self.memory.find_missing(ctx, digests).await
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        self.note(Operation::GetCapabilities, Vec::new()).await?;
        self.memory.capabilities(ctx, instance_name).await
    }

    fn key_format(&self) -> KeyFormat {
        self.key_format
    }

    fn finds_in_bulk(&self) -> bool {
        true
    }
}

impl<K: Kind> Display for Noting<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("noting")
    }
}

/// Finds the first bytes of a parent: as many as the child's digest says.
#[derive(Debug)]
pub(crate) struct Beginning;

#[async_trait]
impl Slicer for Beginning {
    async fn slice(&self, parent: Blob, child: &Digest) -> Result<Sliced> {
        let parent = parent.into_bytes(1 << 20).await?;
        let size = usize::try_from(child.size_bytes()).unwrap();
        Ok(Sliced::new(Blob::from_untrusted_bytes(child, parent.slice(..size), crate::Provenance::store())))
    }
}

/// An observer that keeps what it is told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) calls: Mutex<Vec<Call>>,
    pub(crate) events: Mutex<Vec<Event>>,
}

impl Observer for Told {
    fn call_ended(&self, call: &Call) {
        self.calls.lock().unwrap().push(call.clone());
    }

    fn event(&self, event: &Event) {
        self.events.lock().unwrap().push(event.clone());
    }
}

pub(crate) fn instance_name(name: &str) -> InstanceName {
    InstanceName::new(name).unwrap()
}

/// Returns the digest of `contents` in the empty instance name.
pub(crate) fn digest_of(contents: &str) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents.as_bytes())
}
