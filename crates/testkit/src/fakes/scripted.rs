//! A store that gives scripted answers and records its calls.

use std::collections::VecDeque;
use std::fmt::{self, Debug, Display, Formatter};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use blobaccess::{
    Blob, BlobAccess, Capabilities, Context, Digest, DigestSet, Error, InstanceName, KeyFormat, Kind, PutOutcome,
    Result, Slicer,
};
use bytes::Bytes;

/// A store that gives the answers that were queued for each method, in that order, and records its calls.
///
/// A call without an answer left fails with `Internal`. Behind an [`Arc`], one clone goes beneath the layer under test
/// and another is asked for its [`calls`](Self::calls).
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use blobaccess::{BlobAccess, Cas, Context, Digest, DigestFunction, Error, InstanceName};
/// use blobaccess_testkit::fakes::{RecordedCall, ScriptedStore};
///
/// let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello");
/// let store = ScriptedStore::<Cas>::new().on_get(Err(Error::unavailable("busy")));
/// assert!(store.get(&Context::background(), &digest).await.is_err());
/// assert_eq!(store.calls(), [RecordedCall::Get { digest }]);
/// # }
/// ```
pub struct ScriptedStore<K> {
    script: Mutex<Script>,
    key_format: KeyFormat,
    kind: PhantomData<K>,
}

#[derive(Default)]
struct Script {
    gets: VecDeque<Result<Blob>>,
    gets_from_composite: VecDeque<Result<Blob>>,
    puts: VecDeque<PutAnswer>,
    finds: VecDeque<Result<DigestSet>>,
    capabilities: VecDeque<Result<Capabilities>>,
    calls: Vec<RecordedCall>,
}

struct PutAnswer {
    reads: bool,
    answer: Result<PutOutcome>,
}

/// A call of a [`ScriptedStore`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordedCall {
    /// A call of `get`.
    Get {
        /// The digest of the blob.
        digest: Digest,
    },
    /// A call of `get_from_composite`.
    GetFromComposite {
        /// The digest of the composite.
        parent: Digest,
        /// The digest of the part.
        child: Digest,
    },
    /// A call of `put`.
    Put {
        /// The digest of the blob.
        digest: Digest,
        /// The contents that were read: `None` if the blob was not read, or if reading it failed.
        contents: Option<Bytes>,
    },
    /// A call of `find_missing`.
    FindMissing {
        /// The digests that were asked about.
        digests: DigestSet,
    },
    /// A call of `capabilities`.
    Capabilities {
        /// The instance name that was asked about.
        instance_name: InstanceName,
    },
}

impl<K: Kind> ScriptedStore<K> {
    /// Makes a store without answers, whose key format is that of its kind.
    #[must_use]
    pub fn new() -> Self {
        Self { script: Mutex::default(), key_format: K::STORAGE_TYPE.key_format(), kind: PhantomData }
    }

    /// Sets the key format.
    #[must_use]
    pub fn with_key_format(mut self, key_format: KeyFormat) -> Self {
        self.key_format = key_format;
        self
    }

    /// Adds an answer to `get`.
    #[must_use]
    pub fn on_get(self, answer: Result<Blob>) -> Self {
        self.lock().gets.push_back(answer);
        self
    }

    /// Adds an answer to `get_from_composite`.
    #[must_use]
    pub fn on_get_from_composite(self, answer: Result<Blob>) -> Self {
        self.lock().gets_from_composite.push_back(answer);
        self
    }

    /// Adds an answer to `put`, which is given once the blob was read. If reading fails, the call fails with that
    /// error.
    #[must_use]
    pub fn on_put(self, answer: Result<PutOutcome>) -> Self {
        self.lock().puts.push_back(PutAnswer { reads: true, answer });
        self
    }

    /// Adds an answer to `put`, which is given without reading the blob.
    #[must_use]
    pub fn on_put_unread(self, answer: Result<PutOutcome>) -> Self {
        self.lock().puts.push_back(PutAnswer { reads: false, answer });
        self
    }

    /// Adds an answer to `find_missing`.
    #[must_use]
    pub fn on_find_missing(self, answer: Result<DigestSet>) -> Self {
        self.lock().finds.push_back(answer);
        self
    }

    /// Adds an answer to `capabilities`.
    #[must_use]
    pub fn on_capabilities(self, answer: Result<Capabilities>) -> Self {
        self.lock().capabilities.push_back(answer);
        self
    }

    /// Returns the calls so far, in the order in which they came; a put counts from when its blob had been read.
    #[must_use]
    pub fn calls(&self) -> Vec<RecordedCall> {
        self.lock().calls.clone()
    }

    /// Returns whether every answer was given.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        let script = self.lock();
        script.gets.is_empty()
            && script.gets_from_composite.is_empty()
            && script.puts.is_empty()
            && script.finds.is_empty()
            && script.capabilities.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Script> {
        // Each use of the lock is a push or a pop.
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unscripted(call: &RecordedCall) -> Error {
    Error::internal(format!("no answer is scripted for {call:?}"))
}

impl<K: Kind> Default for ScriptedStore<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<K: Kind> BlobAccess for ScriptedStore<K> {
    type Kind = K;

    async fn get(&self, _ctx: &Context, digest: &Digest) -> Result<Blob> {
        let call = RecordedCall::Get { digest: digest.clone() };
        let mut script = self.lock();
        script.calls.push(call.clone());
        script.gets.pop_front().unwrap_or_else(|| Err(unscripted(&call)))
    }

    async fn get_from_composite(
        &self,
        _ctx: &Context,
        parent: &Digest,
        child: &Digest,
        _slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        let call = RecordedCall::GetFromComposite { parent: parent.clone(), child: child.clone() };
        let mut script = self.lock();
        script.calls.push(call.clone());
        script.gets_from_composite.pop_front().unwrap_or_else(|| Err(unscripted(&call)))
    }

    async fn put(&self, _ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let next = self.lock().puts.pop_front();
        let digest = digest.clone();
        let Some(PutAnswer { reads, answer }) = next else {
            let call = RecordedCall::Put { digest, contents: None };
            let error = unscripted(&call);
            self.lock().calls.push(call);
            return Err(error);
        };
        let read = if reads { Some(blob.into_bytes(u64::MAX).await) } else { None };
        let (contents, failure) = match read {
            Some(Ok(contents)) => (Some(contents), None),
            Some(Err(error)) => (None, Some(error)),
            None => (None, None),
        };
        self.lock().calls.push(RecordedCall::Put { digest, contents });
        failure.map_or(answer, Err)
    }

    async fn find_missing(&self, _ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        let call = RecordedCall::FindMissing { digests: digests.clone() };
        let mut script = self.lock();
        script.calls.push(call.clone());
        script.finds.pop_front().unwrap_or_else(|| Err(unscripted(&call)))
    }

    async fn capabilities(&self, _ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        let call = RecordedCall::Capabilities { instance_name: instance_name.clone() };
        let mut script = self.lock();
        script.calls.push(call.clone());
        script.capabilities.pop_front().unwrap_or_else(|| Err(unscripted(&call)))
    }

    fn key_format(&self) -> KeyFormat {
        self.key_format
    }

    fn finds_in_bulk(&self) -> bool {
        true
    }
}

impl<K> Display for ScriptedStore<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("scripted")
    }
}

impl<K: Kind> Debug for ScriptedStore<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedStore").field("calls", &self.calls()).finish_non_exhaustive()
    }
}
