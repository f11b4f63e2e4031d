//! The contents of a store, listed page by page.

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Context, Digest, Result};

/// A store that can list its blobs, so that a scan can compare them with the accounts.
#[async_trait]
pub trait Inventory: Debug + Send + Sync + 'static {
    /// Returns a page of the listing: the first, or the one after `cursor`.
    ///
    /// A blob that is stored from the first page to the last is listed exactly once. Blobs that come or go meanwhile
    /// may be listed or not.
    ///
    /// # Errors
    ///
    /// If the store cannot be listed now; the same page may be requested again. `InvalidArgument` for a cursor of
    /// another store.
    async fn inventory(&self, ctx: &Context, cursor: Option<&InventoryCursor>) -> Result<InventoryPage>;
}

/// The place where a listing continues: opaque bytes, which may be kept across restarts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InventoryCursor(Bytes);

impl InventoryCursor {
    /// Makes the cursor of bytes that [`as_bytes`](Self::as_bytes) returned.
    #[must_use]
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// One page of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InventoryPage {
    /// The stored blobs, in an order of the store's own.
    pub entries: Vec<InventoryEntry>,
    /// The place where the listing continues; `None` on the last page.
    pub next: Option<InventoryCursor>,
}

impl InventoryPage {
    /// Makes a page of these entries, after which the listing continues at `next`.
    #[must_use]
    pub fn new(entries: Vec<InventoryEntry>, next: Option<InventoryCursor>) -> Self {
        Self { entries, next }
    }
}

/// One stored blob.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InventoryEntry {
    /// The digest of the blob. In a store that does not distinguish instance names, its instance name is empty.
    pub digest: Digest,
    /// The size of the blob as stored, in bytes.
    pub stored_bytes: u64,
}

impl InventoryEntry {
    /// Makes the entry of a blob.
    #[must_use]
    pub fn new(digest: Digest, stored_bytes: u64) -> Self {
        Self { digest, stored_bytes }
    }
}
