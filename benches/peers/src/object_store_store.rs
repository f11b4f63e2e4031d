//! `object_store`, in memory and on the local file system.

use std::path::Path;

use blobaccess::Digest;
use blobaccess_workbench::contest::{Peer, Room};
use bytes::Bytes;
use futures::executor::block_on;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};

/// Outside of a runtime, its calls on files block the calling thread.
pub struct ObjectStoreStore<S>(S);

impl ObjectStoreStore<InMemory> {
    pub fn open(_: Room) -> Box<dyn Peer> {
        Box::new(Self(InMemory::new()))
    }
}

impl ObjectStoreStore<LocalFileSystem> {
    pub fn open_in(directory: &Path, room: Room) -> Box<dyn Peer> {
        let directory = directory.join(format!("object_store-{}", room.objects));
        std::fs::create_dir_all(&directory).unwrap();
        Box::new(Self(LocalFileSystem::new_with_prefix(directory).unwrap()))
    }
}

fn path(digest: &Digest) -> object_store::path::Path {
    object_store::path::Path::from(digest.hash().to_string())
}

impl<S: ObjectStore> Peer for ObjectStoreStore<S> {
    fn put(&self, digest: &Digest, contents: &Bytes) {
        let copy = Bytes::copy_from_slice(contents);
        block_on(self.0.put(&path(digest), copy.into())).unwrap();
    }

    fn get(&self, digest: &Digest, read: &mut dyn FnMut(&[u8])) -> bool {
        let contents = block_on(async { self.0.get(&path(digest)).await?.bytes().await });
        match contents {
            Ok(contents) => {
                read(&contents);
                true
            }
            Err(object_store::Error::NotFound { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn find_missing(&self, digests: &[Digest]) -> usize {
        digests.iter().filter(|digest| block_on(self.0.head(&path(digest))).is_err()).count()
    }
}
