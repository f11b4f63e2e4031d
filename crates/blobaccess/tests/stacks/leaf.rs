//! A store at the bottom of a stack, which goes wrong in the way that a test chooses.

use std::fmt::{self, Display, Formatter};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use blobaccess::{
    Blob, BlobAccess, Capabilities, Clock, Context, Digest, DigestSet, Error, InstanceName, KeyFormat, Kind,
    MemoryStore, Provenance, PutOutcome, Result, Slicer, SystemClock, get_and_slice,
};
use bytes::Bytes;

const CAPACITY_BYTES: u64 = 1 << 20;

/// The time that a call of a slow store takes: longer than the deadlines of the stacks.
pub(crate) const SLOW: Duration = Duration::from_secs(10);

/// The way in which a store goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Every call fails.
    Down,
    /// Every call takes [`SLOW`].
    Slow,
    /// It has lost all that it had, and serves on.
    Lost,
    /// It reads other bytes than were put.
    Corrupt,
    /// It reports everything as present.
    Boastful,
}

impl Fault {
    pub(crate) const ALL: [Self; 5] = [Self::Down, Self::Slow, Self::Lost, Self::Corrupt, Self::Boastful];
}

/// A store at the bottom of a stack.
#[derive(Debug)]
pub(crate) struct Leaf<K: Kind> {
    name: &'static str,
    state: Mutex<State<K>>,
}

#[derive(Debug)]
struct State<K: Kind> {
    memory: Arc<MemoryStore<K>>,
    fault: Option<Fault>,
}

impl<K: Kind> Leaf<K> {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, state: Mutex::new(State { memory: Arc::new(MemoryStore::new(CAPACITY_BYTES)), fault: None }) }
    }

    /// Begins to go wrong in this way.
    pub(crate) fn begin(&self, fault: Fault) {
        let mut state = self.lock();
        if fault == Fault::Lost {
            state.memory = Arc::new(MemoryStore::new(CAPACITY_BYTES));
        }
        state.fault = Some(fault);
    }

    /// Ends the fault. What was lost stays lost.
    pub(crate) fn mend(&self) {
        self.lock().fault = None;
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        // Nothing that panics is called while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the memory, and the fault if the call is to go on.
    async fn enter(&self) -> Result<(Arc<MemoryStore<K>>, Option<Fault>)> {
        let fault = self.lock().fault;
        match fault {
            Some(Fault::Down) => return Err(Error::unavailable(format!("store {} is down", self.name)).not_stored()),
            Some(Fault::Slow) => SystemClock.sleep_until(SystemClock.monotonic() + SLOW).await,
            Some(Fault::Lost | Fault::Corrupt | Fault::Boastful) | None => {}
        }
        Ok((Arc::clone(&self.lock().memory), fault))
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<K: Kind> BlobAccess for Leaf<K> {
    type Kind = K;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        let (memory, fault) = self.enter().await?;
        let blob = memory.get(ctx, digest).await?;
        if fault != Some(Fault::Corrupt) {
            return Ok(blob);
        }
        let wrong: Vec<u8> = blob.into_bytes(CAPACITY_BYTES).await?.iter().map(|byte| byte ^ 1).collect();
        Ok(Blob::from_untrusted_bytes(digest, Bytes::from(wrong), Provenance::store()))
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        get_and_slice(self, ctx, parent, child, slicer).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let (memory, _) = self.enter().await?;
        memory.put(ctx, digest, blob).await
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        if digests.is_empty() {
            return Ok(DigestSet::new());
        }
        let (memory, fault) = self.enter().await?;
        if fault == Some(Fault::Boastful) {
            return Ok(DigestSet::new());
        }
        memory.find_missing(ctx, digests).await
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        let (memory, _) = self.enter().await?;
        memory.capabilities(ctx, instance_name).await
    }

    fn key_format(&self) -> KeyFormat {
        K::STORAGE_TYPE.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        true
    }
}

impl<K: Kind> Display for Leaf<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
