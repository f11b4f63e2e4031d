//! A local store that is measured: opened, and filled.

#![expect(clippy::unwrap_used, reason = "what is measured must work")]

use blobaccess::Cas;
use blobaccess_local_store::{LocalStore, Options};
use futures::executor::block_on;

use crate::contest::Objects;

/// Opens a store.
///
/// # Panics
///
/// If it cannot be opened.
#[must_use]
pub fn open(options: Options) -> LocalStore<Cas> {
    block_on(LocalStore::open(options)).unwrap()
}

/// Puts all of `objects`, and trusts their digests.
///
/// # Panics
///
/// If one of them is refused.
pub fn put_all(store: &LocalStore<Cas>, objects: &Objects) {
    for (digest, contents) in objects.items() {
        store.put_blocking(digest, contents.clone()).unwrap();
    }
}
