//! A queue of contents that must be uploaded before the action results that name them.

use std::fmt::Debug;

use async_trait::async_trait;
use blobaccess::{Context, Digest};

/// A queue of contents that a queue of action results follows.
#[async_trait]
pub(super) trait Predecessor: Debug + Send + Sync + 'static {
    /// Returns a number above everything that is queued by now.
    fn barrier(&self) -> u64;

    /// Waits until everything below `barrier` has ended or been given up.
    async fn passed(&self, barrier: u64);

    /// Returns whether any contents were lost that results may need.
    fn has_losses(&self) -> bool;

    /// Returns whether `message`, the result of `action`, needs contents that were lost and are not in the store.
    async fn lacks(&self, ctx: &Context, action: &Digest, message: &[u8]) -> bool;
}
