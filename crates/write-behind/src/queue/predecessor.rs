//! A queue of contents that must be uploaded before the action results that name them.

use std::fmt::Debug;

use async_trait::async_trait;
use blobaccess::{Context, Digest, Result};
use tokio::sync::oneshot;

/// The state of the contents that an action result names.
pub(super) enum Needs {
    /// All are uploaded, or were there before.
    Nothing,
    /// Some are queued. Each wait ends with an upload, whatever its outcome.
    Uploads(Vec<oneshot::Receiver<()>>),
    /// Some were lost, and are not in the store.
    Lost,
}

/// A queue of contents that a queue of action results follows.
#[async_trait]
pub(super) trait Predecessor: Debug + Send + Sync + 'static {
    /// Returns whether no contents are queued, and none were lost that a result may name.
    fn is_idle(&self) -> bool;

    /// Finds out what `message`, the result of `action`, needs of the contents that are queued or lost. A message that is no
    /// action result needs nothing.
    ///
    /// # Errors
    ///
    /// Those of reading a tree, and of asking the store for what was lost.
    async fn needs(&self, ctx: &Context, action: &Digest, message: &[u8]) -> Result<Needs>;
}
