//! Large uploads under way: of equal ones two are written, and the others wait for those.
//!
//! `docs/decisions/0011-puts-outside-locks.md` says why two.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use tokio::sync::Notify;

use crate::key::Key;
use crate::machine::concurrency::locks::{Mutex, MutexGuard};

/// How many of equal uploads are written: one, and one more in case that it is aborted.
const WRITERS: u32 = 2;

/// Large uploads under way.
#[derive(Debug, Default)]
pub(crate) struct EqualUploads(Mutex<HashMap<Key, Upload>>);

/// Equal uploads.
#[derive(Debug)]
struct Upload {
    writers: u32,
    /// Is told when a writer is done, in whichever way.
    done: Arc<Notify>,
}

/// What an upload is to do.
#[derive(Debug)]
pub(crate) enum Part<'a> {
    /// Write what comes.
    Write(Writing<'a>),
    /// Verify what comes, and wait for those who write.
    Follow(Following<'a>),
}

/// An upload that is written, until this is dropped.
#[derive(Debug)]
pub(crate) struct Writing<'a> {
    uploads: &'a EqualUploads,
    key: Key,
}

/// An upload that waits for those that are written.
#[derive(Debug)]
pub(crate) struct Following<'a> {
    uploads: &'a EqualUploads,
    key: Key,
    done: Arc<Notify>,
}

impl EqualUploads {
    fn by_key(&self) -> MutexGuard<'_, HashMap<Key, Upload>> {
        // Each change is one step; nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells an upload that begins now what it is to do.
    pub(crate) fn join(&self, key: Key) -> Part<'_> {
        let mut by_key = self.by_key();
        let upload = by_key.entry(key).or_insert_with(|| Upload { writers: 0, done: Arc::default() });
        if upload.writers < WRITERS {
            upload.writers += 1;
            return Part::Write(Writing { uploads: self, key });
        }
        Part::Follow(Following { uploads: self, key, done: Arc::clone(&upload.done) })
    }

    fn is_written(&self, key: &Key) -> bool {
        self.by_key().contains_key(key)
    }
}

impl Drop for Writing<'_> {
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

impl Following<'_> {
    /// Waits until `is_stored`, or nobody writes any more.
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
