//! papaya: a concurrent hash map whose reads take no lock.

use blobaccess::Digest;
use blobaccess_workbench::contest::{Peer, Room, key};
use bytes::Bytes;
use papaya::HashMap;

/// It never evicts.
#[derive(Default)]
pub struct PapayaMap(HashMap<[u8; 32], Bytes>);

impl PapayaMap {
    pub fn open(_: Room) -> Box<dyn Peer> {
        Box::new(Self::default())
    }
}

impl Peer for PapayaMap {
    fn put(&self, digest: &Digest, contents: &Bytes) {
        self.0.pin().insert(key(digest), Bytes::copy_from_slice(contents));
    }

    fn get(&self, digest: &Digest, read: &mut dyn FnMut(&[u8])) -> bool {
        self.0.pin().get(&key(digest)).inspect(|contents| read(contents)).is_some()
    }

    fn find_missing(&self, digests: &[Digest]) -> usize {
        let map = self.0.pin();
        digests.iter().filter(|digest| !map.contains_key(&key(digest))).count()
    }
}
