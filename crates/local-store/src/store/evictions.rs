//! What the store gave up, by account.

use async_trait::async_trait;
use blobaccess::{AccountName, Context, EvictionTotal, EvictionTotals, Evictions, Kind, Result};

use super::LocalStore;
use crate::account_names::OTHERS_NAME;

/// Of a [persistent](crate::Options::persistent) store, these are the totals of the last superblock: what was given up
/// since comes with the next sync. Of any other, those since it was opened, and the source is another one each time.
///
/// What rotation gives up counts once its block is recycled; so does what there was no room for in the map, since a
/// restart may find it again. What a message was replaced with, or what proves wrong, counts at once. A crash may take
/// away what was put since the last superblock: unless puts are [synced](crate::SyncPolicy::OnPut), such a loss is told
/// by nobody, and shows only when what was counted is compared with the [`Inventory`](blobaccess::Inventory).
#[async_trait]
impl<K: Kind> Evictions for LocalStore<K> {
    async fn evicted(&self, _ctx: &Context) -> Result<EvictionTotals> {
        let accounts = self.engine.accounts().into_iter();
        let mut totals: Vec<_> = accounts
            .filter(|of| of.account.released.objects > 0 || &*of.name != OTHERS_NAME)
            .map(|of| {
                let released = of.account.released;
                EvictionTotal::new(AccountName::new(of.name), released.objects, released.bytes)
            })
            .collect();
        totals.sort_by(|a, b| a.account_name.cmp(&b.account_name));
        Ok(EvictionTotals::new(self.engine.store_id, totals))
    }
}
