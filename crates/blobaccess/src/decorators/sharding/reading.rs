//! Reads of blobs that may be where they were before the shards changed.

use std::sync::Arc;

use super::Sharding;
use super::member::Member;
use crate::replication::{LocalReplicator, replicate_or_read};
use crate::{Blob, BlobAccess, Context, Error, ReadRequest, Result};

impl<S: BlobAccess> Sharding<S> {
    /// Reads what `home` has failed to return, for the reason `error`, from the other shards that may have it.
    pub(super) async fn read_elsewhere(
        &self,
        ctx: &Context,
        request: ReadRequest,
        home: &Member<S>,
        mut error: Error,
    ) -> Result<Blob> {
        if !is_worth_asking_others(&error) {
            return Err(error);
        }
        let copies = error.is_blob_missing() && self.options.copies_on_get;
        for index in self.fallbacks(request.digest(), self.clock.now()) {
            let member = self.member(index)?;
            let read = async {
                let read = || request.read_from(member.store(), ctx);
                if copies {
                    replicate_or_read(&*self.replicator(member, home), ctx, &request, read).await
                } else {
                    read().await
                }
            };
            match self.call(ctx, member, read).await {
                Err(other) if !is_worth_asking_others(&other) => return Err(other),
                // If any of them cannot be asked, nobody knows whether the blob is absent.
                Err(other) if error.is_not_found() => error = other,
                Err(_) => {}
                Ok(blob) => return Ok(blob),
            }
        }
        Err(error)
    }

    /// Returns a replicator from where a blob was before to its home.
    pub(super) fn replicator(&self, from: &Member<S>, home: &Member<S>) -> Arc<LocalReplicator<S, S>> {
        self.copiers.get((from.shared_key(), home.shared_key()), || {
            LocalReplicator::new(Arc::clone(from.shared_store()), Arc::clone(home.shared_store()))
                .with_entry_locks(Arc::clone(&self.locks))
                .with_clock(Arc::clone(&self.clock))
        })
    }
}

/// Returns whether another shard may have what this error says that one has not, or cannot tell.
fn is_worth_asking_others(error: &Error) -> bool {
    error.is_blob_missing() || error.is_store_fault()
}
