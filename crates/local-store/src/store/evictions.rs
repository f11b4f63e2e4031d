//! The evictions of a store, by account.

use async_trait::async_trait;
use blobaccess::{AccountName, Context, EvictionTotal, EvictionTotals, Evictions, Kind, Result};

use super::LocalStore;
use crate::account_names::OTHERS_NAME;

/// The totals of a [persistent](crate::Options::persistent) store are those of the last superblock: later evictions
/// come with the next sync. Any other store reports totals since it was opened, each time as another source.
///
/// An object that rotation gives up counts once its block is recycled. So does an object that the map had no room for,
/// since a restart may find it again. A message that was replaced, or an object that fails verification, counts
/// immediately. A crash may take away puts since the last superblock. Unless puts are
/// [synced](crate::SyncPolicy::OnPut), no total shows such a loss: it shows only when counted puts are compared with
/// the [`Inventory`](blobaccess::Inventory).
#[async_trait]
impl<K: Kind> Evictions for LocalStore<K> {
    async fn evicted(&self, _ctx: &Context) -> Result<EvictionTotals> {
        let accounts = self.engine.accounts().into_iter();
        let mut totals: Vec<_> = accounts
            .filter(|named| named.account.released.objects > 0 || &*named.name != OTHERS_NAME)
            .map(|named| {
                let released = named.account.released;
                EvictionTotal::new(AccountName::new(named.name), released.objects, released.bytes)
            })
            .collect();
        totals.sort_by(|a, b| a.account_name.cmp(&b.account_name));
        Ok(EvictionTotals::new(self.engine.store_id, totals))
    }
}
