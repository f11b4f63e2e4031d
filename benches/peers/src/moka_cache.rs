//! moka: a concurrent cache in memory, `TinyLFU`.

use blobaccess::Digest;
use blobaccess_workbench::contest::{Peer, Room, key};
use bytes::Bytes;
use moka::sync::Cache;

pub struct MokaCache(Cache<[u8; 32], Bytes>);

impl MokaCache {
    pub fn open(room: Room) -> Box<dyn Peer> {
        let cache = Cache::builder()
            .max_capacity(room.bytes + room.bytes / 4)
            .initial_capacity(room.objects)
            .weigher(|_, contents: &Bytes| u32::try_from(contents.len()).unwrap().max(1));
        Box::new(Self(cache.build()))
    }
}

impl Peer for MokaCache {
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
