//! foyer's cache in memory and on a disk, with its block engine.

use std::path::Path;

use blobaccess::Digest;
use blobaccess_workbench::contest::{Peer, Room, key};
use bytes::Bytes;
use foyer::{
    BlockEngineConfig, DeviceBuilder, FsDeviceBuilder, HybridCache, HybridCacheBuilder, HybridCachePolicy,
    PsyncIoEngineConfig,
};
use tokio::runtime::Runtime;

pub struct FoyerHybrid {
    // Declared before the runtime, which it uses until it is dropped.
    cache: HybridCache<u128, Bytes>,
    runtime: Runtime,
}

/// The size of the buffer: as much as the local store holds before it writes.
const MEMORY_BYTES: usize = 64 << 20;

/// A size above that of the largest blob.
const BLOCK_BYTES: usize = 64 << 20;

impl FoyerHybrid {
    pub fn open(directory: &Path, room: Room) -> Box<dyn Peer> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        // Every entry begins at a page.
        let bytes = usize::try_from(room.bytes).unwrap() + room.objects * 4096 + 4 * BLOCK_BYTES;
        let directory = directory.join(format!("foyer-{}", room.objects));
        let device =
            FsDeviceBuilder::new(directory).with_capacity(bytes.next_multiple_of(BLOCK_BYTES)).build().unwrap();
        let engine = BlockEngineConfig::new(device)
            .with_block_size(BLOCK_BYTES)
            .with_indexer_shards(64)
            .with_flushers(2)
            .with_buffer_pool_size(4 * BLOCK_BYTES)
            .with_submit_queue_size_threshold(2 << 30);
        let cache = HybridCacheBuilder::new()
            .with_policy(HybridCachePolicy::WriteOnInsertion)
            .memory(MEMORY_BYTES)
            .with_weighter(|_: &u128, contents: &Bytes| contents.len())
            .storage()
            .with_io_engine_config(PsyncIoEngineConfig::new())
            .with_engine_config(engine);
        let cache = runtime.block_on(cache.build()).unwrap();
        Box::new(Self { cache, runtime })
    }
}

/// Converts a hash to numbers, which foyer accepts as keys without serde.
fn number(digest: &Digest) -> u128 {
    key(digest).first_chunk().copied().map_or(0, u128::from_le_bytes)
}

impl Peer for FoyerHybrid {
    fn put(&self, digest: &Digest, contents: &Bytes) {
        self.cache.insert(number(digest), Bytes::copy_from_slice(contents));
    }

    fn get(&self, digest: &Digest, read: &mut dyn FnMut(&[u8])) -> bool {
        let entry = self.runtime.block_on(async { self.cache.get(&number(digest)).await }).unwrap();
        entry.inspect(|entry| read(entry.value())).is_some()
    }

    fn find_missing(&self, digests: &[Digest]) -> usize {
        digests.iter().filter(|digest| !self.cache.contains(&number(digest))).count()
    }

    fn sync(&self) {
        // Until it is written; foyer syncs nothing.
        self.runtime.block_on(self.cache.storage().wait());
    }
}
