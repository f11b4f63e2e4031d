//! Large uploads in progress: of equal ones two are written, and the others wait for those.
//!
//! `docs/decisions/0011-puts-outside-locks.md` says why two.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use tokio::sync::Notify;

use crate::key::Key;
use crate::machine::concurrency::locks::{Mutex, MutexGuard};

/// The number of equal uploads that are written: one, and one more in case the first is aborted.
const WRITERS: u32 = 2;

/// The large uploads in progress, by key.
#[derive(Debug, Default)]
pub(crate) struct EqualUploads(Mutex<HashMap<Key, Upload>>);

/// The uploads of one blob.
#[derive(Debug)]
struct Upload {
    writers: u32,
    /// Notified when a writer is done, successfully or not.
    done: Arc<Notify>,
}

/// The role of an upload.
#[derive(Debug)]
pub(crate) enum Role<'a> {
    /// The upload is written.
    Write(Writer<'a>),
    /// The upload is verified, and waits for those that are written.
    Follow(Follower<'a>),
}

/// An upload that is written, until this is dropped.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    uploads: &'a EqualUploads,
    key: Key,
}

/// An upload that waits for those that are written.
#[derive(Debug)]
pub(crate) struct Follower<'a> {
    uploads: &'a EqualUploads,
    key: Key,
    done: Arc<Notify>,
}

impl EqualUploads {
    fn by_key(&self) -> MutexGuard<'_, HashMap<Key, Upload>> {
        // Each change is one step; nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the role of an upload that begins now.
    pub(crate) fn join(&self, key: Key) -> Role<'_> {
        let mut by_key = self.by_key();
        let upload = by_key.entry(key).or_insert_with(|| Upload { writers: 0, done: Arc::default() });
        if upload.writers < WRITERS {
            upload.writers += 1;
            return Role::Write(Writer { uploads: self, key });
        }
        Role::Follow(Follower { uploads: self, key, done: Arc::clone(&upload.done) })
    }

    fn is_written(&self, key: &Key) -> bool {
        self.by_key().contains_key(key)
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        let mut by_key = self.uploads.by_key();
        let Some(upload) = by_key.get_mut(&self.key) else { return };
        upload.writers -= 1;
        upload.done.notify_waiters();
        if upload.writers == 0 {
            by_key.remove(&self.key);
        }
    }
}

impl Follower<'_> {
    /// Waits until `is_stored`, or no upload is written any more.
    pub(crate) async fn wait(&self, is_stored: impl Fn() -> bool) {
        loop {
            let mut done = std::pin::pin!(self.done.notified());
            // From here on nothing is missed.
            done.as_mut().enable();
            if is_stored() || !self.uploads.is_written(&self.key) {
                return;
            }
            done.await;
        }
    }
}
