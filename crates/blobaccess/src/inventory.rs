//! What a store holds, page by page.

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Context, Digest, Result};

/// Lists what a store holds, for those who compare it with what was counted.
#[async_trait]
pub trait Inventory: Debug + Send + Sync + 'static {
    /// A page of the listing: the first, or the one after `cursor`.
    ///
    /// What is there from the first page to the last is listed exactly once. What comes or goes meanwhile may be
    /// listed or not.
    ///
    /// # Errors
    ///
    /// If the store cannot be listed now; the same page may be asked for again. `InvalidArgument` for a cursor that
    /// is not of this store.
    async fn inventory(&self, ctx: &Context, cursor: Option<&InventoryCursor>) -> Result<InventoryPage>;
}

/// Where a listing goes on: opaque bytes that may be kept across restarts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InventoryCursor(Bytes);

impl InventoryCursor {
    /// The cursor with these bytes, as the store's own [`as_bytes`](Self::as_bytes) gave them out.
    #[must_use]
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A part of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InventoryPage {
    /// What is stored, in an order of the store's own.
    pub entries: Vec<InventoryEntry>,
    /// Where the listing goes on; `None` on the last page.
    pub next: Option<InventoryCursor>,
}

impl InventoryPage {
    /// A page with these entries, after which the listing goes on at `next`.
    #[must_use]
    pub fn new(entries: Vec<InventoryEntry>, next: Option<InventoryCursor>) -> Self {
        Self { entries, next }
    }
}

/// One stored blob.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InventoryEntry {
    /// Under which it is stored. In a store that does not tell instance names apart, the instance name is empty.
    pub digest: Digest,
    /// What it takes in the store, in bytes.
    pub stored_bytes: u64,
}

impl InventoryEntry {
    /// The entry of `digest`, which takes `stored_bytes` in the store.
    #[must_use]
    pub fn new(digest: Digest, stored_bytes: u64) -> Self {
        Self { digest, stored_bytes }
    }
}
