//! Large uploads in progress: of equal ones two are written, and the others wait for those.

use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::hash::Hash;
use std::pin::pin;
use std::sync::{Arc, PoisonError};

use tokio::sync::Notify;

use crate::locks::{Mutex, MutexGuard};

/// The number of equal uploads that are written: one, and one more in case the first is aborted.
const WRITERS: u32 = 2;

/// Large uploads in progress, by key, for stores that take space for an upload before it is whole.
///
/// Of equal uploads at the same time, the first two are written: one, and one more in case the first is aborted. The
/// others verify what they are sent, and wait for those two.
///
/// # Memory
///
/// About 100 bytes and the key for each key.
///
/// # Examples
///
/// ```
/// use blobaccess::{EqualUploads, UploadRole};
///
/// let uploads = EqualUploads::<&str>::default();
/// let (first, second) = (uploads.join("a"), uploads.join("a"));
/// assert!(matches!((&first, &second), (UploadRole::Write(_), UploadRole::Write(_))));
/// assert!(matches!(uploads.join("a"), UploadRole::Follow(_)));
/// assert_eq!(uploads.written(), 2);
/// drop((first, second));
/// assert!(matches!(uploads.join("a"), UploadRole::Write(_)));
/// ```
pub struct EqualUploads<K>(Mutex<HashMap<K, Upload>>);

/// The uploads of one blob.
#[derive(Default)]
struct Upload {
    writers: u32,
    /// Notified when a writer is done, successfully or not.
    done: Arc<Notify>,
}

/// The role of an upload among [`EqualUploads`].
#[derive(Debug)]
pub enum UploadRole<'a, K: Eq + Hash> {
    /// The upload is written.
    Write(UploadWriter<'a, K>),
    /// The upload is verified, and waits for those that are written.
    Follow(UploadFollower<'a, K>),
}

/// An upload that is written, until this is dropped.
pub struct UploadWriter<'a, K: Eq + Hash> {
    uploads: &'a EqualUploads<K>,
    key: K,
}

/// An upload that waits for those that are written.
pub struct UploadFollower<'a, K> {
    uploads: &'a EqualUploads<K>,
    key: K,
    done: Arc<Notify>,
}

impl<K: Clone + Eq + Hash> EqualUploads<K> {
    /// Returns the role of an upload that begins now.
    pub fn join(&self, key: K) -> UploadRole<'_, K> {
        let mut by_key = self.by_key();
        let upload = by_key.entry(key.clone()).or_default();
        if upload.writers < WRITERS {
            upload.writers += 1;
            return UploadRole::Write(UploadWriter { uploads: self, key });
        }
        UploadRole::Follow(UploadFollower { uploads: self, key, done: Arc::clone(&upload.done) })
    }
}

impl<K> EqualUploads<K> {
    /// Returns the number of uploads that are written.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.by_key().values().map(|upload| u64::from(upload.writers)).sum()
    }

    fn by_key(&self) -> MutexGuard<'_, HashMap<K, Upload>> {
        // Each change is one step; nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for UploadWriter<'_, K> {
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

impl<K: Eq + Hash + Send + Sync> UploadFollower<'_, K> {
    /// Waits until `is_stored`, or no upload is written any more.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time.
    pub async fn wait(&self, is_stored: impl Fn() -> bool + Send) {
        loop {
            let mut done = pin!(self.done.notified());
            // From here on nothing is missed.
            done.as_mut().enable();
            if is_stored() || !self.uploads.by_key().contains_key(&self.key) {
                return;
            }
            done.await;
        }
    }
}

impl<K> Default for EqualUploads<K> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<K> Debug for EqualUploads<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("EqualUploads").field("written", &self.written()).finish_non_exhaustive()
    }
}

impl<K: Eq + Hash> Debug for UploadWriter<'_, K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("UploadWriter")
    }
}

impl<K> Debug for UploadFollower<'_, K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("UploadFollower")
    }
}
