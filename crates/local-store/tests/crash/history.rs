//! Random operations on a store, and what was true after each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use blobaccess::{Blob, BlobAccess, Context, Digest, DigestFunction, DigestSet, InstanceName, Kind};
use blobaccess_local_store::{LocalStore, Refresh, Sizes, SyncPolicy};
use blobaccess_testkit::Numbers;
use futures::executor::block_on;

use crate::accounts::{Amounts, context, count_created, released};
use crate::recorder::Recorder;
use crate::setup::Setup;

/// Which contents a digest has: of messages, in the version that was put last.
pub(crate) type Contents = BTreeMap<Digest, Vec<u8>>;

/// The state after an operation.
pub(crate) struct Moment {
    /// How many steps the device had seen.
    pub(crate) position: usize,
    /// The blobs that were stored.
    pub(crate) stored: BTreeSet<Digest>,
    /// The number of puts of each message.
    pub(crate) versions: BTreeMap<Digest, u64>,
    /// Whether it was a sync, or a put that came with one.
    pub(crate) is_sync: bool,
    /// The blobs that were put or found, with the bytes that had been put by then.
    pub(crate) promised: BTreeMap<Digest, u64>,
    pub(crate) put_bytes: u64,
    /// The blob that the operation put, if a block was recycled for it: an earlier value may have gone before it came.
    pub(crate) replaced: Option<Digest>,
    /// The sum of all puts, and the evictions that the store reported.
    pub(crate) created: Amounts,
    pub(crate) released: Amounts,
}

/// A store in use, and what is known of it.
pub(crate) struct History<K: Kind> {
    pub(crate) store: LocalStore<K>,
    pub(crate) device: Arc<Recorder>,
    numbers: Numbers,
    pub(crate) contents: Contents,
    pub(crate) versions: BTreeMap<Digest, u64>,
    promised: BTreeMap<Digest, u64>,
    put_bytes: u64,
    pub(crate) moments: Vec<Moment>,
    is_synced_on_put: bool,
    replaced: Option<Digest>,
    created: Amounts,
    refresh: Refresh,
    pub(crate) refreshed: u64,
}

/// Returns the bytes by which an object counts, if it may share a sync with none.
pub(crate) fn taken(sizes: &Sizes, size: usize) -> u64 {
    let size = u64::try_from(size).unwrap();
    sizes.counted_bytes(size).max(size.next_multiple_of(4096) + 4096)
}

/// Returns a message of this version, with which it begins.
pub(crate) fn message(version: u64, filling: &[u8]) -> Vec<u8> {
    let mut message = version.to_le_bytes().to_vec();
    message.extend_from_slice(filling);
    message
}

pub(crate) fn version(message: &[u8]) -> u64 {
    u64::from_le_bytes(*message.first_chunk().unwrap())
}

impl<K: Kind> History<K> {
    pub(crate) fn put(&mut self) {
        let size = match self.numbers.below(10) {
            0 => self.numbers.below(40_000),
            1..=3 => self.numbers.below(8_000),
            _ => self.numbers.below(1_000),
        };
        let (digest, contents) = if K::STORAGE_TYPE.is_mutable() {
            let number = self.numbers.below(60).to_le_bytes();
            let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, &number);
            let next = self.versions.get(&digest).copied().unwrap_or_default() + 1;
            (digest, message(next, &self.numbers.bytes(size)))
        } else {
            let contents = self.numbers.bytes(size);
            (Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents), contents)
        };
        self.put_bytes += taken(self.store.sizes(), size + 16);
        // Before the put: a crash in the midst of it may leave it, and then it must be known.
        *self.versions.entry(digest.clone()).or_default() += 1;
        self.contents.insert(digest.clone(), contents.clone());
        let before = self.store.snapshot().recycled_blocks;
        let outcome = block_on(self.store.put(&context(&digest), &digest, Blob::from_bytes(contents))).unwrap();
        count_created(&mut self.created, &digest, outcome);
        self.replaced = (self.store.snapshot().recycled_blocks > before).then(|| digest.clone());
        self.promised.insert(digest, self.put_bytes);
    }

    pub(crate) fn some(&mut self) -> DigestSet {
        let known: Vec<_> = self.contents.keys().cloned().collect();
        let count = 1 + self.numbers.below(8);
        (0..count).filter_map(|_| known.get(self.numbers.below(known.len())).cloned()).collect()
    }

    pub(crate) fn operate(&mut self) {
        let ctx = Context::background();
        let mut is_sync = false;
        match self.numbers.below(20) {
            0..=10 => {
                self.put();
                is_sync = self.is_synced_on_put;
            }
            11..=14 => {
                let asked = self.some();
                let missing = block_on(self.store.find_missing(&ctx, &asked)).unwrap();
                for digest in &asked.difference(&missing) {
                    self.promised.insert(digest.clone(), self.put_bytes);
                }
            }
            15..=16 => {
                for digest in &self.some() {
                    if let Ok(blob) = block_on(self.store.get(&ctx, digest)) {
                        let read = block_on(blob.into_bytes(1 << 20)).unwrap();
                        assert_eq!(read, self.contents[digest]);
                    }
                }
            }
            17 if self.refresh == Refresh::OnTouch => {
                self.store.refresh_blocking().unwrap();
                self.refreshed = self.store.snapshot().refreshed;
            }
            _ => {
                block_on(self.store.sync()).unwrap();
                is_sync = true;
            }
        }
        self.note(is_sync);
    }

    pub(crate) fn note(&mut self, is_sync: bool) {
        let stored = self.contents.keys().filter(|digest| self.store.is_stored(digest)).cloned().collect();
        self.moments.push(Moment {
            position: self.device.position(),
            stored,
            versions: self.versions.clone(),
            is_sync,
            promised: self.promised.clone(),
            put_bytes: self.put_bytes,
            replaced: self.replaced.take(),
            created: self.created.clone(),
            released: released(&self.store),
        });
    }
}

pub(crate) fn history<K: Kind>(setup: Setup, seed: u64) -> History<K> {
    let device = Arc::new(Recorder::new(setup.size_bytes()));
    let store = setup.open::<K>(&device).unwrap();
    let mut history = History {
        store,
        device,
        numbers: Numbers::new(seed),
        contents: Contents::new(),
        versions: BTreeMap::new(),
        promised: BTreeMap::new(),
        put_bytes: 0,
        moments: Vec::new(),
        is_synced_on_put: setup.policy == SyncPolicy::OnPut,
        replaced: None,
        created: Amounts::new(),
        refresh: setup.refresh,
        refreshed: 0,
    };
    history.note(true);
    let operations = 50 + history.numbers.below(350);
    for _ in 0..operations {
        history.operate();
    }
    history
}
