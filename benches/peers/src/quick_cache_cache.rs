//! `quick_cache`: a sharded cache in memory, S3-FIFO.

use blobaccess::Digest;
use blobaccess_workbench::contest::{Peer, Room, key};
use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

#[derive(Clone)]
struct Size;

impl Weighter<[u8; 32], Bytes> for Size {
    fn weight(&self, _: &[u8; 32], contents: &Bytes) -> u64 {
        u64::try_from(contents.len()).unwrap().max(1)
    }
}

pub struct QuickCache(Cache<[u8; 32], Bytes, Size>);

impl QuickCache {
    pub fn open(room: Room) -> Box<dyn Peer> {
        // A shard must have room for the largest, so there is some to spare.
        Box::new(Self(Cache::with_weighter(room.objects, room.bytes + room.bytes / 4, Size)))
    }
}

impl Peer for QuickCache {
    fn put(&self, digest: &Digest, contents: &Bytes) {
        self.0.insert(key(digest), Bytes::copy_from_slice(contents));
    }

    fn get(&self, digest: &Digest, read: &mut dyn FnMut(&[u8])) -> bool {
        self.0.get(&key(digest)).inspect(|contents| read(contents)).is_some()
    }

    fn find_missing(&self, digests: &[Digest]) -> usize {
        digests.iter().filter(|digest| !self.0.contains_key(&key(digest))).count()
    }
}
