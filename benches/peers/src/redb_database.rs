//! redb: an embedded database, a tree that is copied on write.

use std::path::Path;

use blobaccess::Digest;
use blobaccess_workbench::contest::{Peer, Room, key};
use bytes::Bytes;
use redb::{Database, Durability, ReadableDatabase, TableDefinition};

const BLOBS: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("blobs");

pub struct RedbDatabase(Database);

impl RedbDatabase {
    pub fn open(directory: &Path, room: Room) -> Box<dyn Peer> {
        let path = directory.join(format!("redb-{}", room.objects));
        let cache = usize::try_from(room.bytes).unwrap().clamp(64 << 20, 1 << 30);
        let database = Database::builder().set_cache_size(cache).create(path).unwrap();
        let peer = Self(database);
        peer.commit(Durability::Immediate, |_| {});
        Box::new(peer)
    }

    fn commit(&self, durability: Durability, change: impl FnOnce(&mut redb::Table<'_, [u8; 32], &[u8]>)) {
        let mut transaction = self.0.begin_write().unwrap();
        transaction.set_durability(durability).unwrap();
        change(&mut transaction.open_table(BLOBS).unwrap());
        transaction.commit().unwrap();
    }
}

impl Peer for RedbDatabase {
    fn put(&self, digest: &Digest, contents: &Bytes) {
        // Durable with the next transaction that is, as the local store does it.
        self.commit(Durability::None, |table| {
            table.insert(key(digest), contents.as_ref()).unwrap();
        });
    }

    fn get(&self, digest: &Digest, read: &mut dyn FnMut(&[u8])) -> bool {
        let table = self.0.begin_read().unwrap().open_table(BLOBS).unwrap();
        let contents = table.get(key(digest)).unwrap();
        contents.inspect(|contents| read(contents.value())).is_some()
    }

    fn find_missing(&self, digests: &[Digest]) -> usize {
        let table = self.0.begin_read().unwrap().open_table(BLOBS).unwrap();
        digests.iter().filter(|digest| table.get(key(digest)).unwrap().is_none()).count()
    }

    fn sync(&self) {
        self.commit(Durability::Immediate, |_| {});
    }
}
