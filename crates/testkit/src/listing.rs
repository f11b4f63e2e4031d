//! Collects the pages of a listing.

use blobaccess::{Context, Inventory, InventoryEntry, Result};

/// The maximum number of pages; no listing of a test takes more.
const MAX_PAGES: usize = 10_000;

/// Returns all entries that `store` lists, in its order.
///
/// # Errors
///
/// The first error of the listing.
///
/// # Panics
///
/// If the listing has more than 10,000 pages.
pub async fn list_all<I: Inventory + ?Sized>(store: &I, ctx: &Context) -> Result<Vec<InventoryEntry>> {
    let (mut listed, mut cursor) = (Vec::new(), None);
    for _ in 0..MAX_PAGES {
        let page = store.inventory(ctx, cursor.as_ref()).await?;
        listed.extend(page.entries);
        cursor = page.next;
        if cursor.is_none() {
            return Ok(listed);
        }
    }
    assert!(cursor.is_none(), "the listing has not ended after {MAX_PAGES} pages");
    Ok(listed)
}
