//! The progress of a watch on disk: read once, written now and then while a scan lists, and at its end.

use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use blobaccess::{Error, blocking};
use tokio::sync::OwnedMutexGuard;

use super::super::progress::Progress;
use super::super::progress_file;
use super::{DriftWatch, Turn};

impl DriftWatch {
    /// Reads the file, once. What cannot be read is begun anew.
    pub(super) async fn load(&self, turn: &mut Turn) {
        if turn.loaded {
            return;
        }
        let mut progress = self.read().await.unwrap_or_default();
        let now = self.clock.now();
        if let Some(scan) = &progress.scan {
            let age = now.duration_since(scan.begun_at).unwrap_or_default();
            if scan.shards.len() != self.parts.len() || age > self.options.max_resumed_age {
                tracing::info!(?age, "a scan for drift that was interrupted is too old, and begins anew");
                progress.scan = None;
            }
        }
        turn.due = progress.finished_at.filter(|_| progress.scan.is_none()).and_then(|finished_at| {
            // A clock that went back makes nobody wait longer than the interval.
            let since = now.duration_since(finished_at).unwrap_or(Duration::ZERO);
            self.clock.monotonic().checked_add(self.options.interval.saturating_sub(since))
        });
        *self.progress() = progress;
        turn.loaded = true;
    }

    async fn read(&self) -> Option<Progress> {
        let path = self.options.progress_file.clone()?;
        let shown = path.display().to_string();
        let read = blocking(move || {
            progress_file::read(&path).map_err(|error| Error::unavailable(error.to_string()).with_source(error))
        });
        let read = match read.await {
            Ok(None) => return None,
            Ok(Some(bytes)) => Progress::from_bytes(&bytes, self.fingerprint()).map_err(std::borrow::Cow::Borrowed),
            Err(error) => Err(std::borrow::Cow::Owned(error.to_string())),
        };
        read.inspect_err(|reason| {
            tracing::warn!(path = shown, %reason, "the progress of scans for drift cannot be read: a scan begins anew");
        })
        .ok()
    }

    /// Writes the file if it was not written for a while.
    pub(super) async fn save_if_due(&self) {
        if self.options.progress_file.is_none() {
            return;
        }
        let now = self.clock.monotonic();
        {
            // A panic cannot leave it half changed.
            let mut next_save = self.next_save.lock().unwrap_or_else(PoisonError::into_inner);
            if next_save.is_some_and(|next| now < next) {
                return;
            }
            *next_save = now.checked_add(self.options.save_interval);
        }
        if let Ok(guard) = Arc::clone(&self.saving).try_lock_owned() {
            self.save_with(guard).await;
        }
    }

    /// Writes the file.
    pub(super) async fn save(&self) {
        let guard = Arc::clone(&self.saving).lock_owned().await;
        self.save_with(guard).await;
    }

    async fn save_with(&self, guard: OwnedMutexGuard<()>) {
        let Some(path) = self.options.progress_file.clone() else { return };
        let bytes = self.progress().to_bytes(self.fingerprint());
        let shown = path.display().to_string();
        let written = blocking(move || {
            let written = progress_file::write(&path, &bytes);
            drop(guard);
            written.map_err(|error| Error::unavailable(error.to_string()).with_source(error))
        });
        if let Err(error) = written.await {
            self.failed_saves.fetch_add(1, Ordering::Relaxed);
            if let Some(left_out) = self.save_line.due(self.clock.monotonic()) {
                tracing::warn!(%error, path = shown, left_out, "cannot write the progress of scans for drift");
            }
        }
    }
}
