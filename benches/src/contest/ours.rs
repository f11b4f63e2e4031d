//! The local store as a contestant: by its synchronous calls, and by the trait.

#![expect(clippy::unwrap_used, reason = "what is measured must work")]

use std::hint::black_box;
use std::path::PathBuf;

use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestSet, Provenance};
use blobaccess_local_store::{LocalStore, Options, SyncPolicy};
use bytes::Bytes;
use futures::executor::block_on;

use crate::contest::peer::Peer;
use crate::contest::work::Room;
use crate::local_store;

/// The place where a store keeps its blobs.
#[derive(Clone, Debug)]
pub enum Place {
    /// In memory.
    Memory,
    /// In a persistent file, which is synced on request.
    File(PathBuf),
}

fn open(place: &Place, room: Room) -> LocalStore<Cas> {
    // Spare blocks, blocks that are not yet full, and the logs of a file.
    let logs = u64::try_from(room.objects).unwrap() * 256;
    let bytes = (room.bytes + room.bytes / 4 + logs).max(8 << 20);
    let options = match place {
        Place::Memory => Options::in_memory(bytes),
        Place::File(path) => Options::in_file(path, bytes).persistent(SyncPolicy::OnClose).discarding(true),
    };
    // At a load of 0.75.
    local_store::open(options.with_entries(u64::try_from(room.objects * 4 / 3).unwrap()).with_blocks(4, 16, 1))
}

/// The store by its synchronous calls, which block and do not verify.
#[derive(Debug)]
pub struct Inherent(LocalStore<Cas>);

impl Inherent {
    /// Opens an empty store.
    #[must_use]
    pub fn open(place: &Place, room: Room) -> Self {
        Self(open(place, room))
    }
}

impl Peer for Inherent {
    fn put(&self, digest: &Digest, contents: &Bytes) {
        self.0.put_blocking(digest, contents.clone()).unwrap();
    }

    fn get(&self, digest: &Digest, read: &mut dyn FnMut(&[u8])) -> bool {
        let contents = self.0.get_blocking(digest).unwrap();
        contents.is_some_and(|contents| {
            read(&contents);
            true
        })
    }

    fn find_missing(&self, digests: &[Digest]) -> usize {
        let mut missing = 0;
        self.0.find_missing_blocking(digests, |_| missing += 1).unwrap();
        missing
    }

    fn sync(&self) {
        self.0.sync_blocking().unwrap();
    }
}

/// The store by the trait, as a server uses it.
#[derive(Debug)]
pub struct ByTrait {
    store: LocalStore<Cas>,
    ctx: Context,
    is_verified: bool,
}

impl ByTrait {
    /// Opens an empty store. `is_verified` decides whether contents are hashed, as for clients that are not trusted.
    #[must_use]
    pub fn open(place: &Place, room: Room, is_verified: bool) -> Self {
        Self { store: open(place, room), ctx: Context::background(), is_verified }
    }
}

impl Peer for ByTrait {
    fn put(&self, digest: &Digest, contents: &Bytes) {
        let contents = contents.clone();
        let blob = if self.is_verified {
            Blob::from_untrusted_bytes(digest, contents, Provenance::client())
        } else {
            Blob::from_verified_bytes(digest, contents)
        };
        black_box(block_on(self.store.put(&self.ctx, digest, blob)).unwrap());
    }

    fn get(&self, digest: &Digest, read: &mut dyn FnMut(&[u8])) -> bool {
        let got = block_on(async { self.store.get(&self.ctx, digest).await?.into_bytes(1 << 30).await });
        match got {
            Ok(contents) => {
                read(&contents);
                true
            }
            Err(error) => {
                assert!(error.is_not_found(), "{error}");
                false
            }
        }
    }

    fn find_missing(&self, digests: &[Digest]) -> usize {
        let asked: DigestSet = digests.iter().cloned().collect();
        block_on(self.store.find_missing(&self.ctx, &asked)).unwrap().len()
    }

    fn sync(&self) {
        self.store.sync_blocking().unwrap();
    }
}
