//! Opening and filling the local store that is measured.

#![expect(clippy::unwrap_used, reason = "what is measured must work")]

use blobaccess::Cas;
use blobaccess_local_store::{LocalStore, Options};
use futures::executor::block_on;

use crate::contest::Objects;

/// Opens a store.
///
/// # Panics
///
/// If the store cannot be opened.
#[must_use]
pub fn open(options: Options) -> LocalStore<Cas> {
    block_on(LocalStore::open(options)).unwrap()
}

/// Puts all of `objects` without verifying their digests.
///
/// # Panics
///
/// If an object is refused.
pub fn put_all(store: &LocalStore<Cas>, objects: &Objects) {
    for (digest, contents) in objects.items() {
        store.put_blocking(digest, contents.clone()).unwrap();
    }
}
