//! A scan that lists a store, shard by shard and page by page, and can resume after an interruption.

use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blobaccess::{Context, Error, Inventory, InventoryCursor, Result};
use futures::{StreamExt, TryStreamExt, stream};

use super::Reading;
use crate::ledger::codec::{Bytes, put_text};

/// The sums of a listing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scanned {
    /// The number of blobs.
    pub objects: u64,
    /// The bytes that they take.
    pub stored_bytes: u64,
}

/// The progress of the listing of one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardProgress {
    /// The sums of the listing so far.
    pub scanned: Scanned,
    /// The number of pages listed so far.
    pub pages: u64,
    /// The cursor of the next page; `None` at the beginning and at the end.
    pub next: Option<InventoryCursor>,
    /// Whether the whole shard was listed.
    pub done: bool,
}

/// The progress of a scan: everything that is needed to resume it after a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScanProgress {
    /// The identifier of the scan.
    pub scan_id: String,
    /// The reading of the ledger before the listing began.
    pub before: Reading,
    /// The progress of each shard, in the order of the shards.
    pub shards: Vec<ShardProgress>,
}

/// A scan of a store: the listing of all of its shards.
///
/// A shard is an [`Inventory`]: the store itself, or a part of it, such as a prefix of a bucket.
pub struct DriftScan {
    shards: Vec<Arc<dyn Inventory>>,
    progress: Mutex<ScanProgress>,
}

impl DriftScan {
    /// Makes a scan of `shards`. `before` is the present reading of the ledger.
    #[must_use]
    pub fn new(scan_id: impl Into<String>, shards: Vec<Arc<dyn Inventory>>, before: Reading) -> Self {
        let progress =
            ScanProgress { scan_id: scan_id.into(), before, shards: vec![ShardProgress::default(); shards.len()] };
        Self { shards, progress: Mutex::new(progress) }
    }

    /// Makes a scan that resumes at `progress`, over the same shards.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the number of shards differs.
    pub fn resume(shards: Vec<Arc<dyn Inventory>>, progress: ScanProgress) -> Result<Self> {
        if progress.shards.len() != shards.len() {
            let (was, is) = (progress.shards.len(), shards.len());
            return Err(Error::invalid_argument(format!("scan of {was} shards cannot resume with {is}")));
        }
        Ok(Self { shards, progress: Mutex::new(progress) })
    }

    /// Returns the progress.
    #[must_use]
    pub fn progress(&self) -> ScanProgress {
        self.lock().clone()
    }

    /// Lists the remaining pages, of up to `at_once` shards concurrently, and returns the sums of the whole scan.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any time; the next call resumes after the last whole page.
    ///
    /// # Errors
    ///
    /// The error of the first shard that cannot be listed. The next call resumes after the last whole page.
    pub async fn run(&self, ctx: &Context, at_once: usize) -> Result<Scanned> {
        let shards = self.shards.iter().enumerate().map(|(index, shard)| self.run_shard(ctx, index, shard));
        stream::iter(shards).buffer_unordered(at_once.max(1)).try_collect::<()>().await?;
        Ok(self.progress().scanned())
    }

    async fn run_shard(&self, ctx: &Context, index: usize, shard: &Arc<dyn Inventory>) -> Result<()> {
        loop {
            let Some(next) = self.lock().shards.get(index).filter(|shard| !shard.done).map(|shard| shard.next.clone())
            else {
                return Ok(());
            };
            let page = shard.inventory(ctx, next.as_ref()).await.map_err(|error| error.at(format!("shard {index}")))?;
            if let Some(progress) = self.lock().shards.get_mut(index) {
                for entry in &page.entries {
                    progress.scanned.objects += 1;
                    progress.scanned.stored_bytes = progress.scanned.stored_bytes.saturating_add(entry.stored_bytes);
                }
                progress.pages += 1;
                progress.done = page.next.is_none();
                progress.next = page.next;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, ScanProgress> {
        // Nothing that panics is called while the progress is half changed.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ScanProgress {
    /// Returns the sums of all shards so far.
    #[must_use]
    pub fn scanned(&self) -> Scanned {
        self.shards.iter().fold(Scanned::default(), |sum, shard| Scanned {
            objects: sum.objects.saturating_add(shard.scanned.objects),
            stored_bytes: sum.stored_bytes.saturating_add(shard.scanned.stored_bytes),
        })
    }

    /// Returns whether all shards were listed.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.shards.iter().all(|shard| shard.done)
    }

    /// Encodes the progress as bytes, to be kept across restarts.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![1];
        put_text(&mut out, &self.scan_id);
        out.extend(self.before.footprint_bytes.to_le_bytes());
        for number in [self.before.added_bytes, self.before.removed_bytes, self.before.in_flight_bytes] {
            out.extend(number.to_le_bytes());
        }
        for shard in &self.shards {
            for number in [shard.scanned.objects, shard.scanned.stored_bytes, shard.pages] {
                out.extend(number.to_le_bytes());
            }
            out.extend([u8::from(shard.done), u8::from(shard.next.is_some())]);
            let cursor = shard.next.as_ref().map_or(&[][..], InventoryCursor::as_bytes);
            out.extend(u32::try_from(cursor.len()).unwrap_or(u32::MAX).to_le_bytes());
            out.extend(cursor);
        }
        out
    }

    /// Decodes progress from bytes.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the bytes are no progress of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::read(Bytes(bytes)).ok_or_else(|| {
            Error::invalid_argument(format!("{} bytes are no progress of a scan of this version", bytes.len()))
        })
    }

    fn read(mut bytes: Bytes<'_>) -> Option<Self> {
        if bytes.byte()? != 1 {
            return None;
        }
        let scan_id = bytes.text()?.to_owned();
        let footprint_bytes = bytes.i128()?;
        let (added_bytes, removed_bytes, in_flight_bytes) = (bytes.u64()?, bytes.u64()?, bytes.u64()?);
        let before = Reading { footprint_bytes, added_bytes, removed_bytes, in_flight_bytes };
        let mut shards = Vec::new();
        while !bytes.is_empty() {
            let scanned = Scanned { objects: bytes.u64()?, stored_bytes: bytes.u64()? };
            let (pages, done, has_next) = (bytes.u64()?, bytes.byte()? != 0, bytes.byte()? != 0);
            let length = usize::try_from(bytes.u32()?).ok()?;
            let cursor = bytes.slice(length)?.to_vec();
            shards.push(ShardProgress {
                scanned,
                pages,
                next: has_next.then(|| InventoryCursor::from_bytes(cursor)),
                done,
            });
        }
        Some(Self { scan_id, before, shards })
    }
}

impl Debug for DriftScan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriftScan").field("progress", &*self.lock()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use blobaccess::{Digest, DigestFunction, InstanceName, InventoryEntry, InventoryPage};

    use super::*;

    /// A store with ten blobs of three bytes on each page, and an outage at one page.
    #[derive(Debug)]
    struct Pages {
        pages: u8,
        fails_at: Mutex<Option<u8>>,
    }

    #[async_trait]
    impl Inventory for Pages {
        async fn inventory(&self, _ctx: &Context, cursor: Option<&InventoryCursor>) -> Result<InventoryPage> {
            let page = cursor.map_or(0, |cursor| cursor.as_bytes()[0]);
            if self.fails_at.lock().unwrap().take_if(|fails_at| *fails_at == page).is_some() {
                return Err(Error::unavailable("an outage"));
            }
            let entries = (0..10).map(|number| {
                let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, &[page, number]);
                InventoryEntry::new(digest, 3)
            });
            let next = (page + 1 < self.pages).then(|| InventoryCursor::from_bytes(vec![page + 1]));
            Ok(InventoryPage::new(entries.collect(), next))
        }
    }

    fn shards(fails_at: Option<u8>) -> Vec<Arc<dyn Inventory>> {
        [(3, None), (5, fails_at), (1, None)]
            .into_iter()
            .map(|(pages, fails_at)| -> Arc<dyn Inventory> {
                Arc::new(Pages { pages, fails_at: Mutex::new(fails_at) })
            })
            .collect()
    }

    #[tokio::test]
    async fn a_scan_goes_on_after_the_last_whole_page() {
        let reading = Reading { footprint_bytes: -5, added_bytes: 1, removed_bytes: 2, in_flight_bytes: 3 };
        let scan = DriftScan::new("scan", shards(Some(3)), reading);
        let ctx = Context::background();
        let error = scan.run(&ctx, 2).await.unwrap_err();
        assert_eq!(error.to_string(), "shard 1: an outage");
        let progress = scan.progress();
        assert!(!progress.is_done());
        assert_eq!(progress.shards[1].pages, 3);
        let kept = progress.to_bytes();
        let progress = ScanProgress::from_bytes(&kept).unwrap();
        assert_eq!(progress, scan.progress());
        let scan = DriftScan::resume(shards(Some(0)), progress).unwrap();
        // Not even the first page of the shard that had begun is listed again.
        let scanned = scan.run(&ctx, 2).await;
        let scanned = match scanned {
            Ok(scanned) => scanned,
            // The last shard may not have begun.
            Err(_) => scan.run(&ctx, 2).await.unwrap(),
        };
        assert_eq!(scanned, Scanned { objects: 90, stored_bytes: 270 });
        assert!(scan.progress().is_done());
        assert_eq!(scan.progress().shards.iter().map(|shard| shard.pages).sum::<u64>(), 9);
    }

    #[test]
    fn other_bytes_are_no_progress() {
        let scan = DriftScan::new("scan", shards(None), Reading::default());
        let bytes = scan.progress().to_bytes();
        for length in 0..bytes.len() {
            let cut = ScanProgress::from_bytes(&bytes[..length]);
            assert!(cut.is_err() || cut.unwrap().shards.len() < 3);
        }
        let progress = ScanProgress::from_bytes(&bytes).unwrap();
        assert!(DriftScan::resume(shards(None)[..2].to_vec(), progress).is_err());
    }
}
