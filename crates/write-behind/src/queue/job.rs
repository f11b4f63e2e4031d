//! An upload that asks for a place in the queue: its name, its context and its sizes.

use blobaccess::{Context, Digest, DigestKey};

/// An upload that asks for a place in the queue.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// The key under which equal uploads are found.
    pub(super) key: DigestKey,
    pub(super) digest: Digest,
    /// The context of the put, without its deadline: the upload outlives the caller.
    pub(super) ctx: Context,
    /// The size of the blob.
    pub(super) logical_bytes: u64,
    /// The bytes that the blob will take in the store, if that is known.
    pub(super) stored_bytes: Option<u64>,
}

impl Job {
    pub(super) fn new(key: DigestKey, ctx: &Context, digest: &Digest, logical_bytes: u64) -> Self {
        let ctx = ctx.clone().without_deadline();
        Self { key, digest: digest.clone(), ctx, logical_bytes, stored_bytes: None }
    }

    pub(super) const fn with_stored_bytes(mut self, stored_bytes: Option<u64>) -> Self {
        self.stored_bytes = stored_bytes;
        self
    }
}
