//! The order of the values of one entry: a lock for each, of a fixed number.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use blobaccess::DigestKey;
use tokio::sync::{Mutex, MutexGuard};

/// How many locks there are. An entry takes one of them.
const LOCKS: usize = 64;

/// Who may change an entry in the fast store, and give its value to the queue.
#[derive(Debug)]
pub(super) struct Order([Mutex<()>; LOCKS]);

impl Default for Order {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::new(())))
    }
}

impl Order {
    /// Waits until nobody else changes the entry with `key`.
    pub(super) async fn lock(&self, key: &DigestKey) -> MutexGuard<'_, ()> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
        let index = usize::try_from(hash % 64).unwrap_or_default();
        #[expect(clippy::indexing_slicing, reason = "a remainder is less than the number of locks")]
        self.0[index].lock().await
    }
}
