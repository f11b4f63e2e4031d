//! A hash map of the standard library behind a lock: the simplest store.

use std::collections::HashMap;
use std::sync::RwLock;

use blobaccess::Digest;
use blobaccess_workbench::contest::{Peer, Room, key};
use bytes::Bytes;

/// It never evicts.
#[derive(Default)]
pub struct PlainMap(RwLock<HashMap<[u8; 32], Bytes>>);

impl PlainMap {
    pub fn open(_: Room) -> Box<dyn Peer> {
        Box::new(Self::default())
    }
}

impl Peer for PlainMap {
    fn put(&self, digest: &Digest, contents: &Bytes) {
        let copy = Bytes::copy_from_slice(contents);
        self.0.write().unwrap().insert(key(digest), copy);
    }

    fn get(&self, digest: &Digest, read: &mut dyn FnMut(&[u8])) -> bool {
        let contents = self.0.read().unwrap().get(&key(digest)).cloned();
        contents.inspect(|contents| read(contents)).is_some()
    }

    fn find_missing(&self, digests: &[Digest]) -> usize {
        let map = self.0.read().unwrap();
        digests.iter().filter(|digest| !map.contains_key(&key(digest))).count()
    }
}
