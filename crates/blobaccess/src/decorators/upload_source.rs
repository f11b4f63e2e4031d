//! The source of a blob that is put.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Blob, Finish};

/// A note of whether the source of a blob has failed, which makes its put fail and is not the fault of the store.
pub(in crate::decorators) struct UploadSource(Arc<AtomicBool>);

impl UploadSource {
    /// Returns `blob`, and the note that is made when it has been read.
    pub(in crate::decorators) fn observe(blob: Blob) -> (Blob, Self) {
        let failed = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&failed);
        let blob = blob.on_finish(move |finish| noted.store(matches!(finish, Finish::Failed(_)), Ordering::Relaxed));
        (blob, Self(failed))
    }

    /// Returns whether reading the blob has failed so far.
    pub(in crate::decorators) fn has_failed(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
