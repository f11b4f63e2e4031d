//! Locks for the entries of a mutable kind.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use tokio::sync::{Mutex, MutexGuard};

use crate::{Blob, DigestKey, Error, Result};

/// The number of locks. With 64, two of ten entries that change at the same time share a lock in half of all cases,
/// and then one waits for the other.
const LOCKS: u64 = 64;

/// The size up to which a message is read before the lock of its entry is taken, in bytes: 4 MiB, as much as a message of
/// gRPC has unless more is permitted.
const MAX_READ_FIRST_BYTES: u64 = 4 << 20;

/// Locks for the entries of a mutable kind, so that two stores get the values of one entry in the same order.
///
/// There is a fixed number of them, so an entry may share its lock with others.
#[derive(Debug)]
pub struct EntryLocks(Vec<Mutex<()>>);

impl EntryLocks {
    /// Makes a set of locks, all of them free.
    #[must_use]
    pub fn new() -> Self {
        Self((0..LOCKS).map(|_| Mutex::new(())).collect())
    }

    /// Waits until nobody else changes the entry with `key`, and keeps others from it until the guard is dropped.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the place in the queue for the lock.
    pub async fn lock(&self, key: &DigestKey) -> MutexGuard<'_, ()> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
        let index = usize::try_from(hash % LOCKS).unwrap_or_default();
        #[expect(clippy::indexing_slicing, reason = "a remainder is less than the number of locks")]
        self.0[index].lock().await
    }

    /// Reads the message that `blob` is, and locks its entry then: nobody waits for the source of somebody else's message.
    ///
    /// A message that is larger than messages are is left unread, as stores may refuse it.
    ///
    /// # Errors
    ///
    /// Those of the source. Nothing is stored then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the blob, and gives up the place in the queue for the lock.
    pub(crate) async fn lock_to_put(&self, key: &DigestKey, mut blob: Blob) -> Result<(MutexGuard<'_, ()>, Blob)> {
        let size = blob.size_bytes();
        if !blob.is_at_hand() && size <= MAX_READ_FIRST_BYTES {
            blob = blob.into_bytes(size).await.map(Blob::from_bytes).map_err(Error::not_stored)?;
        }
        Ok((self.lock(key).await, blob))
    }
}

impl Default for EntryLocks {
    fn default() -> Self {
        Self::new()
    }
}
