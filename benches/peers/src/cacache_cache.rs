//! cacache: a content-addressed cache of files, by its synchronous calls.

use std::path::{Path, PathBuf};

use blobaccess::Digest;
use blobaccess_workbench::contest::{Peer, Room};
use bytes::Bytes;

/// It hashes what it stores and what it reads, and keeps an index file for each key. It syncs nothing.
pub struct CacacheCache(PathBuf);

impl CacacheCache {
    pub fn open(directory: &Path, room: Room) -> Box<dyn Peer> {
        Box::new(Self(directory.join(format!("cacache-{}", room.objects))))
    }
}

impl Peer for CacacheCache {
    fn put(&self, digest: &Digest, contents: &Bytes) {
        cacache::write_sync(&self.0, digest.hash().to_string(), contents).unwrap();
    }

    fn get(&self, digest: &Digest, read: &mut dyn FnMut(&[u8])) -> bool {
        match cacache::read_sync(&self.0, digest.hash().to_string()) {
            Ok(contents) => {
                read(&contents);
                true
            }
            Err(cacache::Error::EntryNotFound(..)) => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn find_missing(&self, digests: &[Digest]) -> usize {
        let is_missing = |digest: &&Digest| {
            let key = digest.hash().to_string();
            cacache::metadata_sync(&self.0, key).unwrap().is_none()
        };
        digests.iter().filter(is_missing).count()
    }
}
