//! Uploads whose answer was lost, whose blob may be gone by the time the store is asked.

use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{Context, Digest, ResolveUpload, Result, StorageType, StoredSize, UploadResolution, UploadToken};

use super::OwnerIndex;

/// A store that is asked about uploads, together with the index: a blob that was deleted or replaced before the store was
/// asked was this upload's if the index has seen its token.
///
/// Without it, such an upload would count as failed, while its deletion was counted.
#[derive(Debug)]
pub struct OwnerResolver {
    index: OwnerIndex,
    storage_type: StorageType,
    store: Arc<dyn ResolveUpload>,
}

impl OwnerIndex {
    /// Returns `store`, for [`AccountsBuilder::with_resolver`](crate::AccountsBuilder::with_resolver), which also knows the
    /// uploads that this index has seen.
    #[must_use]
    pub fn resolver(&self, storage_type: StorageType, store: Arc<dyn ResolveUpload>) -> OwnerResolver {
        OwnerResolver { index: self.clone(), storage_type, store }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ResolveUpload for OwnerResolver {
    async fn resolve_upload(&self, ctx: &Context, digest: &Digest, token: &UploadToken) -> Result<UploadResolution> {
        let resolution = self.store.resolve_upload(ctx, digest, token).await?;
        match resolution {
            UploadResolution::Mine { .. } => Ok(resolution),
            UploadResolution::Anothers { .. } | UploadResolution::Absent | UploadResolution::Unknown => {
                let key = self.index.shared.key(self.storage_type, digest);
                let stored_bytes = self.index.shared.upload(&key, token).await?;
                Ok(stored_bytes.map_or(resolution, |stored_bytes| UploadResolution::Mine { stored_bytes }))
            }
        }
    }

    fn stored_size(&self, logical_bytes: u64) -> StoredSize {
        self.store.stored_size(logical_bytes)
    }

    fn keeps_first_values(&self) -> bool {
        self.store.keeps_first_values()
    }
}
