//! The accounts that stored blobs belong to, as a scan looks them up.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{AccountName, Context, InventoryEntry, Result, StorageType};

/// The account that a stored blob belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// The account of the upload that created the blob.
    Account(AccountName),
    /// Nobody: the blob was in the store before the ledger began. It is a figure of its own, and no drift.
    Adopted,
    /// Nothing is known of the blob. A scan compares it by kind of store only.
    Unknown,
}

/// A look-up of the accounts that stored blobs belong to.
///
/// A scan asks for a page of a listing at a time. Answer a page with one request to whatever knows, not with one for each
/// blob.
#[async_trait]
pub trait Owners: Debug + Send + Sync + 'static {
    /// Returns the owner of each of `entries`, in their order, in a store of the kind `storage_type`.
    ///
    /// A blob that is not known is [`Owner::Unknown`] and no error. An answer with more or fewer owners than entries fails
    /// the scan.
    ///
    /// # Errors
    ///
    /// Fails if the owners cannot be looked up now. The same entries may be asked for again.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any time: a look-up changes nothing.
    async fn owners(&self, ctx: &Context, storage_type: StorageType, entries: &[InventoryEntry]) -> Result<Vec<Owner>>;
}

/// A shared look-up is a look-up.
#[async_trait]
impl<O: Owners + ?Sized> Owners for Arc<O> {
    async fn owners(&self, ctx: &Context, storage_type: StorageType, entries: &[InventoryEntry]) -> Result<Vec<Owner>> {
        (**self).owners(ctx, storage_type, entries).await
    }
}

/// A look-up that knows no owner. Drift is then measured by kind of store only.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoOwners;

#[async_trait]
impl Owners for NoOwners {
    async fn owners(
        &self,
        _ctx: &Context,
        _storage_type: StorageType,
        entries: &[InventoryEntry],
    ) -> Result<Vec<Owner>> {
        Ok(vec![Owner::Unknown; entries.len()])
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use blobaccess::{Digest, DigestFunction, InstanceName};

    use super::*;

    #[tokio::test]
    async fn no_owner_is_known_without_a_look_up() {
        let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"a");
        let entries = vec![InventoryEntry::new(digest, 1); 3];
        let owners = Arc::new(NoOwners).owners(&Context::background(), StorageType::Cas, &entries).await.unwrap();
        assert_eq!(owners, vec![Owner::Unknown; 3]);
    }
}
