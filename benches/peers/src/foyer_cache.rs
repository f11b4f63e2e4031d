//! foyer's cache in memory.

use blobaccess::Digest;
use blobaccess_workbench::contest::{Peer, Room, key};
use bytes::Bytes;
use foyer::{Cache, CacheBuilder};

pub struct FoyerCache(Cache<[u8; 32], Bytes>);

impl FoyerCache {
    pub fn open(room: Room) -> Box<dyn Peer> {
        let bytes = usize::try_from(room.bytes + room.bytes / 4).unwrap();
        let cache = CacheBuilder::new(bytes).with_weighter(|_: &[u8; 32], contents: &Bytes| contents.len());
        Box::new(Self(cache.build()))
    }
}

impl Peer for FoyerCache {
    fn put(&self, digest: &Digest, contents: &Bytes) {
        self.0.insert(key(digest), Bytes::copy_from_slice(contents));
    }

    fn get(&self, digest: &Digest, read: &mut dyn FnMut(&[u8])) -> bool {
        self.0.get(&key(digest)).inspect(|entry| read(entry.value())).is_some()
    }

    fn find_missing(&self, digests: &[Digest]) -> usize {
        digests.iter().filter(|digest| !self.0.contains(&key(digest))).count()
    }
}
