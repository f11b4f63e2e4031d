//! A store in memory, bounded in bytes: the plainest backend.

use std::fmt::{self, Debug, Display, Formatter};
use std::marker::PhantomData;
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use lru::LruCache;

use crate::digest::DigestKey;
use crate::locks::{Mutex, MutexGuard};
use crate::{
    Blob, BlobAccess, Capabilities, Context, Digest, DigestSet, Error, Event, InstanceName, Inventory, InventoryCursor,
    InventoryEntry, InventoryPage, KeyFormat, Kind, NoObserver, Observer, PutOutcome, ResolveUpload, Result, Slicer,
    StoredSize, UploadResolution, UploadToken, get_and_slice,
};

/// The memory that an entry takes besides its contents, in bytes: key, links, table slot and allocation, rounded up. It
/// bounds stores of small blobs too.
const ENTRY_OVERHEAD_BYTES: u64 = 256;

/// The number of digests looked up before other callers get the lock. One look-up takes some 50 ns.
const DIGESTS_PER_LOCK: usize = 512;

/// A store of any kind in memory. When it is full, it evicts the least recently used blob.
///
/// Both reads and existence queries count as use. Nothing outlives the value.
///
/// # Memory
///
/// Up to `capacity_bytes`, of which each blob takes its size and 256 bytes, plus the blobs being put. Blobs are handed
/// out without a copy. One that is evicted while it is read stays in memory until its reader is done.
///
/// # Cancel safety
///
/// A put that is dropped stores nothing.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore};
///
/// let store = MemoryStore::<Cas>::new(1 << 20);
/// let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello");
/// store.put(&Context::background(), &digest, Blob::from_bytes("hello")).await?;
/// let blob = store.get(&Context::background(), &digest).await?;
/// assert_eq!(blob.into_bytes(1024).await?, "hello");
/// # Ok(())
/// # }
/// ```
pub struct MemoryStore<K: Kind> {
    entries: Mutex<Entries>,
    capacity_bytes: u64,
    observer: Arc<dyn Observer>,
    kind: PhantomData<K>,
}

struct Entries {
    by_key: LruCache<DigestKey, Entry>,
    taken_bytes: u64,
    evicted: u64,
    evicted_bytes: u64,
}

struct Entry {
    contents: Bytes,
    token: Option<UploadToken>,
    /// The digest for listings: the key may have lost its instance name.
    digest: Digest,
}

/// The contents of a [`MemoryStore`] at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemorySnapshot {
    /// The number of blobs.
    pub blobs: usize,
    /// The memory that the blobs take, in bytes, including the overhead of each.
    pub taken_bytes: u64,
    /// The maximum of `taken_bytes`.
    pub capacity_bytes: u64,
    /// The number of blobs evicted so far to make room.
    pub evicted: u64,
    /// The total size of the evicted blobs, in bytes.
    pub evicted_bytes: u64,
}

impl<K: Kind> MemoryStore<K> {
    /// Makes a store that takes up to `capacity_bytes` of memory.
    #[must_use]
    pub fn new(capacity_bytes: u64) -> Self {
        Self {
            entries: Mutex::new(Entries {
                by_key: LruCache::unbounded(),
                taken_bytes: 0,
                evicted: 0,
                evicted_bytes: 0,
            }),
            capacity_bytes,
            observer: Arc::new(NoObserver),
            kind: PhantomData,
        }
    }

    /// Reports evictions to `observer`.
    #[must_use]
    pub fn with_observer(mut self, observer: impl Observer) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Returns the present contents.
    #[must_use]
    pub fn snapshot(&self) -> MemorySnapshot {
        let entries = self.lock();
        MemorySnapshot {
            blobs: entries.by_key.len(),
            taken_bytes: entries.taken_bytes,
            capacity_bytes: self.capacity_bytes,
            evicted: entries.evicted,
            evicted_bytes: entries.evicted_bytes,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // Nothing that panics is called while the entries are half changed.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(digest: &Digest) -> DigestKey {
        digest.cache_key(K::STORAGE_TYPE.key_format())
    }

    fn max_blob_size_bytes(&self) -> u64 {
        self.capacity_bytes.saturating_sub(ENTRY_OVERHEAD_BYTES)
    }

    /// Returns the outcome of a put of contents that are stored already. Contents never change, so equal digests
    /// suffice.
    fn find_contents(&self, digest: &Digest) -> Option<PutOutcome> {
        if K::STORAGE_TYPE.is_mutable() {
            return None;
        }
        self.lock()
            .use_if_there::<K>(digest)
            .map(|entry| PutOutcome::AlreadyExists { stored_bytes: size_of(&entry.contents) })
    }

    fn insert(&self, digest: &Digest, contents: Bytes, token: Option<UploadToken>) -> PutOutcome {
        let stored_bytes = size_of(&contents);
        let key = Self::key(digest);
        let mut evicted = Vec::new();
        let outcome = {
            let mut entries = self.lock();
            let outcome = match entries.by_key.get(&key).map(|entry| &entry.contents) {
                None => PutOutcome::Created { stored_bytes },
                // Contents that never change need not be compared.
                Some(old) if !K::STORAGE_TYPE.is_mutable() || *old == contents => {
                    return PutOutcome::AlreadyExists { stored_bytes: size_of(old) };
                }
                Some(old) => PutOutcome::Replaced { stored_bytes, old_bytes: size_of(old) },
            };
            let entry = Entry { contents, token, digest: Self::listed(digest) };
            entries.insert(key, entry, self.capacity_bytes, &mut evicted);
            outcome
        };
        // Evicted entries are freed here, outside of the lock.
        for entry in evicted {
            let released_bytes = size_of(&entry.contents);
            self.observer.event(&Event::Evicted { storage_type: K::STORAGE_TYPE, released_bytes });
        }
        outcome
    }

    fn listed(digest: &Digest) -> Digest {
        match K::STORAGE_TYPE.key_format() {
            KeyFormat::WithInstanceName => digest.clone(),
            KeyFormat::WithoutInstanceName => digest.with_instance_name(InstanceName::empty()),
        }
    }
}

impl Entries {
    /// Returns the entry of `digest` and marks it as used.
    fn use_if_there<K: Kind>(&mut self, digest: &Digest) -> Option<&Entry> {
        let format = K::STORAGE_TYPE.key_format();
        // A copy of a digest takes about as long as a look-up.
        if digest.is_own_cache_key(format) {
            self.by_key.get(digest)
        } else {
            self.by_key.get(&digest.cache_key(format))
        }
    }

    fn insert(&mut self, key: DigestKey, entry: Entry, capacity_bytes: u64, evicted: &mut Vec<Entry>) {
        self.taken_bytes += footprint(&entry.contents);
        if let Some(old) = self.by_key.put(key, entry) {
            self.taken_bytes -= footprint(&old.contents);
        }
        while self.taken_bytes > capacity_bytes {
            let Some((_, old)) = self.by_key.pop_lru() else {
                return;
            };
            self.taken_bytes -= footprint(&old.contents);
            self.evicted += 1;
            self.evicted_bytes += size_of(&old.contents);
            evicted.push(old);
        }
    }
}

fn size_of(contents: &Bytes) -> u64 {
    u64::try_from(contents.len()).unwrap_or(u64::MAX)
}

fn footprint(contents: &Bytes) -> u64 {
    size_of(contents).saturating_add(ENTRY_OVERHEAD_BYTES)
}

/// Returns the same bytes in memory that holds nothing else. A small blob may have arrived as a part of a large
/// message, which it would otherwise keep in memory.
fn alone(contents: Bytes) -> Bytes {
    // Only a vector tells how much memory is behind its bytes, and in front of them. Shared bytes are copied.
    let own = Vec::from(contents);
    if own.capacity() - own.len() <= own.len() / 8 { own.into() } else { Bytes::copy_from_slice(&own) }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<K: Kind> BlobAccess for MemoryStore<K> {
    type Kind = K;

    async fn get(&self, _ctx: &Context, digest: &Digest) -> Result<Blob> {
        let contents = self.lock().use_if_there::<K>(digest).map(|entry| entry.contents.clone());
        match contents {
            None => Err(K::STORAGE_TYPE.absence(digest)),
            Some(contents) if K::STORAGE_TYPE.is_mutable() => Ok(Blob::from_bytes(contents)),
            Some(contents) => Ok(Blob::from_verified_bytes(digest, contents)),
        }
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
        if let Some(outcome) = self.find_contents(digest) {
            return Ok(outcome);
        }
        let blob = if K::STORAGE_TYPE.is_mutable() { blob } else { blob.with_expected_digest(digest) };
        if self.capacity_bytes < ENTRY_OVERHEAD_BYTES {
            let capacity = self.capacity_bytes;
            return Err(Error::invalid_argument(format!("store of {capacity} bytes has no room for any blob")));
        }
        let contents = blob.into_bytes(self.max_blob_size_bytes()).await?;
        Ok(self.insert(digest, alone(contents), ctx.upload_token().copied()))
    }

    async fn find_missing(&self, _ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        let mut missing = Vec::new();
        for some in digests.as_slice().chunks(DIGESTS_PER_LOCK) {
            let mut entries = self.lock();
            missing.extend(some.iter().filter(|digest| entries.use_if_there::<K>(digest).is_none()));
        }
        Ok(digests.of_part(&missing))
    }

    async fn capabilities(&self, _ctx: &Context, _instance_name: &InstanceName) -> Result<Capabilities> {
        Ok(Capabilities::unlimited().with_max_blob_size_bytes(self.max_blob_size_bytes()))
    }

    fn key_format(&self) -> KeyFormat {
        K::STORAGE_TYPE.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        true
    }
}

#[async_trait]
impl<K: Kind> ResolveUpload for MemoryStore<K> {
    async fn resolve_upload(&self, _ctx: &Context, digest: &Digest, token: &UploadToken) -> Result<UploadResolution> {
        let entries = self.lock();
        Ok(match entries.by_key.peek(&Self::key(digest)) {
            None => UploadResolution::Absent,
            Some(Entry { token: None, .. }) => UploadResolution::Unknown,
            Some(Entry { token: Some(stored), contents, .. }) => {
                let stored_bytes = size_of(contents);
                if stored == token {
                    UploadResolution::Mine { stored_bytes }
                } else {
                    UploadResolution::Anothers { stored_bytes }
                }
            }
        })
    }

    fn stored_size(&self, logical_bytes: u64) -> StoredSize {
        StoredSize::Exact(logical_bytes)
    }
}

#[async_trait]
impl<K: Kind> Inventory for MemoryStore<K> {
    /// Returns all blobs in one page.
    async fn inventory(&self, _ctx: &Context, cursor: Option<&InventoryCursor>) -> Result<InventoryPage> {
        if cursor.is_some() {
            return Err(Error::invalid_argument("a store in memory lists everything in one page, and has no cursors"));
        }
        let entries = self.lock();
        let all = entries.by_key.iter();
        let all = all.map(|(_, entry)| InventoryEntry::new(entry.digest.clone(), size_of(&entry.contents)));
        Ok(InventoryPage::new(all.collect(), None))
    }
}

impl<K: Kind> Display for MemoryStore<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("memory")
    }
}

impl<K: Kind> Debug for MemoryStore<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("capacity_bytes", &self.capacity_bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
