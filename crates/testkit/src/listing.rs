//! All that a store lists, page after page.

use blobaccess::{Context, Inventory, InventoryEntry, Result};

/// No listing of a test takes more pages.
const MAX_PAGES: usize = 10_000;

/// All that a store lists, in its order.
///
/// # Errors
///
/// Those of the listing.
///
/// # Panics
///
/// If there is another page after 10,000 of them.
pub async fn listed<I: Inventory + ?Sized>(store: &I, ctx: &Context) -> Result<Vec<InventoryEntry>> {
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
