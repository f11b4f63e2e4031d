//! Lists the blobs of a store, page by page.

use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{Context, Error, Inventory, InventoryCursor, InventoryPage, Kind, Result, blocking};

use super::LocalStore;
use crate::key_location_map::Position;

/// The size of a cursor, in bytes: store id, number of a key, the key, and the rest that tells contents apart.
const CURSOR_BYTES: usize = 16 + 4 + 32 + 8;

/// Blobs come in the order of the buckets that the index looks for them first, so a cursor outlasts moves and, in a
/// persistent store, restarts. Parts of
/// other blobs that were found within them are not listed: no call put them, and they are on no account.
///
/// Where instance names are hierarchical, contents are listed once, under the empty name, whichever names see them: the
/// records of names do not say whose they are.
///
/// A listing is about one look at the index, a page the next part of it: of 1,000 to some 120,000 blobs. It keeps no put
/// and no get waiting. In stores of messages it reads some bytes of each blob besides.
#[async_trait]
impl<K: Kind> Inventory for LocalStore<K> {
    async fn inventory(&self, _ctx: &Context, cursor: Option<&InventoryCursor>) -> Result<InventoryPage> {
        let store_id = self.engine.store_id;
        let after = match cursor {
            None => None,
            Some(cursor) => Some(read(store_id, cursor.as_bytes()).ok_or_else(|| {
                Error::invalid_argument("the cursor of a listing is not one that this store has given out")
            })?),
        };
        let engine = Arc::clone(&self.engine);
        let (entries, next) = blocking(move || engine.list(after.as_ref())).await?;
        Ok(InventoryPage::new(entries, next.map(|at| InventoryCursor::from_bytes(written(store_id, &at)))))
    }
}

fn written(store_id: [u8; 16], position: &Position) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(CURSOR_BYTES);
    bytes.extend_from_slice(&store_id);
    bytes.extend_from_slice(&position.number.to_le_bytes());
    bytes.extend_from_slice(&crate::key::bytes(&position.words));
    bytes.extend_from_slice(&position.check.to_le_bytes());
    bytes
}

fn read(store_id: [u8; 16], bytes: &[u8]) -> Option<Position> {
    let (owner, rest) = bytes.split_first_chunk::<16>()?;
    let (number, rest) = rest.split_first_chunk::<4>()?;
    let (key, check) = rest.split_first_chunk::<32>()?;
    (*owner == store_id).then_some(Position {
        number: u32::from_le_bytes(*number),
        words: crate::key::words(key),
        check: u64::from_le_bytes(check.try_into().ok()?),
    })
}
