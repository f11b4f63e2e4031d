//! The listing of a scan: pages of all shards, at a pace, each with the owners of its blobs.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::time::Duration;

use blobaccess::{Context, Error, ErrorKind, InventoryEntry, InventoryPage, Result, StorageType};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};

use super::super::Owner;
use super::super::pace::Pace;
use super::super::sheet::PageSums;
use super::{DriftWatch, Part};

/// The longest time between two attempts at a page.
const MAX_BACKOFF: Duration = Duration::from_mins(1);

impl DriftWatch {
    /// Lists the rest of all shards.
    pub(super) async fn list(&self, ctx: &Context) -> Result<()> {
        let shards = self.parts.iter().enumerate().map(|(index, part)| self.list_part(ctx, index, part).boxed());
        let shards: Vec<_> = shards.collect();
        stream::iter(shards).buffer_unordered(self.options.shards_at_once.max(1)).try_collect::<()>().await
    }

    async fn list_part(&self, ctx: &Context, index: usize, part: &Part) -> Result<()> {
        loop {
            let Some(next) =
                self.progress().scan.as_ref().and_then(|scan| {
                    scan.shards.get(index).filter(|shard| !shard.done).map(|shard| shard.next.clone())
                })
            else {
                return Ok(());
            };
            let page = self
                .attempt("a page of a listing", Some(&self.pace), || part.inventory.inventory(ctx, next.as_ref()))
                .await;
            let page = match page {
                Err(error) if error.kind() == ErrorKind::InvalidArgument && next.is_some() => {
                    self.progress().scan = None;
                    return Err(error.at(format!("shard {index}, whose scan begins anew")));
                }
                page => page.map_err(|error| error.at(format!("shard {index}")))?,
            };
            let sums = self.sums(ctx, part.storage_type, &page.entries).await;
            self.note_page(index, part, page, sums.map_err(|error| error.at(format!("shard {index}")))?);
            self.save_if_due().await;
        }
    }

    /// Adds a page to the sheet, and the place where its shard goes on.
    fn note_page(&self, index: usize, part: &Part, page: InventoryPage, sums: PageSums) {
        if let Some(scan) = &mut self.progress().scan {
            scan.sheet.add_page(part.storage_type, sums, self.options.adopted_account.as_ref());
            if let Some(shard) = scan.shards.get_mut(index) {
                shard.done = page.next.is_none();
                shard.next = page.next;
            }
        }
        self.pages.fetch_add(1, Ordering::Relaxed);
    }

    /// Sums up the blobs of a page by owner.
    async fn sums(&self, ctx: &Context, storage_type: StorageType, entries: &[InventoryEntry]) -> Result<PageSums> {
        if entries.is_empty() {
            return Ok(PageSums::default());
        }
        let owners: Vec<Owner> = self
            .attempt("the owners of a page", None, || async {
                let owners = self.owners.owners(ctx, storage_type, entries).await?;
                if owners.len() == entries.len() {
                    return Ok(owners);
                }
                let (found, asked) = (owners.len(), entries.len());
                Err(Error::internal(format!("{found} owners were returned for {asked} blobs")))
            })
            .await?;
        Ok(PageSums::new(entries, &owners))
    }

    /// Attempts a step as often as the options say, with a pause after each failure. A cursor that is refused is refused again.
    ///
    /// Each attempt waits for its turn in the pace first, which does not count against its time.
    async fn attempt<T, F>(&self, what: &str, pace: Option<&Pace>, attempt: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut pause = Duration::from_secs(1);
        let mut left = self.options.attempts.max(1);
        loop {
            if let Some(pace) = pace {
                pace.turn(self.clock.as_ref()).await;
            }
            let result = self.step(what, attempt()).await;
            left -= 1;
            let Err(error) = &result else { return result };
            self.failed_pages.fetch_add(1, Ordering::Relaxed);
            if left == 0 || error.kind() == ErrorKind::InvalidArgument {
                return result;
            }
            if let Some(until) = self.clock.monotonic().checked_add(pause) {
                self.clock.sleep_until(until).await;
            }
            pause = pause.saturating_mul(2).min(MAX_BACKOFF);
        }
    }
}
