//! Large uploads in progress: of equal ones two are written, and the others wait for those.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The number of equal uploads that are written: one, and one more in case the first is aborted.
const WRITERS: u32 = 2;

/// The large uploads in progress, by the names of their entries.
#[derive(Debug, Default)]
pub(crate) struct EqualUploads(Mutex<HashMap<String, Upload>>);

/// The uploads of one blob.
#[derive(Debug, Default)]
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
    name: String,
}

/// An upload that waits for those that are written.
#[derive(Debug)]
pub(crate) struct Follower<'a> {
    uploads: &'a EqualUploads,
    name: String,
    done: Arc<Notify>,
}

impl EqualUploads {
    fn by_name(&self) -> MutexGuard<'_, HashMap<String, Upload>> {
        // Each change is one step; nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the role of an upload that begins now.
    pub(crate) fn join(&self, name: &str) -> Role<'_> {
        let name = name.to_owned();
        let mut by_name = self.by_name();
        let upload = by_name.entry(name.clone()).or_default();
        if upload.writers < WRITERS {
            upload.writers += 1;
            return Role::Write(Writer { uploads: self, name });
        }
        Role::Follow(Follower { uploads: self, name, done: Arc::clone(&upload.done) })
    }

    /// Returns the number of uploads that are written.
    pub(crate) fn len(&self) -> u64 {
        self.by_name().values().map(|upload| u64::from(upload.writers)).sum()
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        let mut by_name = self.uploads.by_name();
        let Some(upload) = by_name.get_mut(&self.name) else { return };
        upload.writers -= 1;
        upload.done.notify_waiters();
        if upload.writers == 0 {
            by_name.remove(&self.name);
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
            if is_stored() || !self.uploads.by_name().contains_key(&self.name) {
                return;
            }
            done.await;
        }
    }
}
