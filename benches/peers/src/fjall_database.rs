//! fjall: an embedded log-structured merge tree, values apart from keys.

use std::path::Path;

use blobaccess::Digest;
use blobaccess_workbench::contest::{Peer, Room, key};
use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode};

pub struct FjallDatabase {
    database: Database,
    blobs: Keyspace,
}

impl FjallDatabase {
    pub fn open(directory: &Path, room: Room) -> Box<dyn Peer> {
        let path = directory.join(format!("fjall-{}", room.objects));
        let database = Database::builder(path).open().unwrap();
        let options = || KeyspaceCreateOptions::default().with_kv_separation(Some(KvSeparationOptions::default()));
        let blobs = database.keyspace("blobs", options).unwrap();
        Box::new(Self { database, blobs })
    }
}

impl Peer for FjallDatabase {
    fn put(&self, digest: &Digest, contents: &Bytes) {
        self.blobs.insert(key(digest), contents.as_ref()).unwrap();
    }

    fn get(&self, digest: &Digest, read: &mut dyn FnMut(&[u8])) -> bool {
        self.blobs.get(key(digest)).unwrap().inspect(|contents| read(contents)).is_some()
    }

    fn find_missing(&self, digests: &[Digest]) -> usize {
        digests.iter().filter(|digest| !self.blobs.contains_key(key(digest)).unwrap()).count()
    }

    fn sync(&self) {
        self.database.persist(PersistMode::SyncData).unwrap();
    }
}
