//! Lists the contents of a bucket, page by page or shard by shard.

use async_trait::async_trait;
use blobaccess::{
    Context, Digest, DigestFunction, Error, InstanceName, Inventory, InventoryCursor, InventoryEntry, InventoryPage,
    Kind, Result, StorageType,
};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use object_store::ObjectMeta;

use crate::BucketStore;
use crate::claim_marker;
use crate::layout::Key;
use crate::shared::Shared;

/// The number of casblobs whose size is read concurrently, if their keys do not tell it.
const CONCURRENT: usize = 32;

/// A part of a bucket that can be listed alongside the others: a folder of keys.
///
/// [`BucketStore::shards`](crate::BucketStore::shards) returns them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shard(pub(crate) String);

impl Shard {
    /// Returns the folder, relative to the prefix of the bucket.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the digests that the part has: those of a function whose hash begins with a byte.
    #[must_use]
    pub fn digests(&self) -> Option<(DigestFunction, u8)> {
        let (above, first) = self.0.rsplit_once('/')?;
        let first = u8::from_str_radix(first, 16).ok()?;
        // Without a folder for the function, as bazel-remote's, it is the only one that it knows.
        let function = above.split_once('/').map_or(Some(DigestFunction::Sha256), |(_, folder)| {
            DigestFunction::ALL.into_iter().find(|function| function.name().eq_ignore_ascii_case(folder))
        });
        Some((function?, first))
    }
}

/// Whether a listing tells the sizes of blobs whose keys do not have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestSizes {
    /// Each size is read from its object, by one request each.
    Read,
    /// Contents have the size 0 in their digests. The sizes of objects are right, which is all that a scan for drift needs.
    Omit,
}

/// A part of a bucket as an inventory, for scans that list the parts concurrently.
#[derive(Clone, Debug)]
pub struct ShardInventory<K: Kind> {
    store: BucketStore<K>,
    shard: Shard,
    sizes: DigestSizes,
}

impl<K: Kind> ShardInventory<K> {
    pub(crate) const fn new(store: BucketStore<K>, shard: Shard, sizes: DigestSizes) -> Self {
        Self { store, shard, sizes }
    }

    /// Returns the part of the bucket.
    #[must_use]
    pub const fn shard(&self) -> &Shard {
        &self.shard
    }
}

#[async_trait]
impl<K: Kind> Inventory for ShardInventory<K> {
    async fn inventory(&self, ctx: &Context, cursor: Option<&InventoryCursor>) -> Result<InventoryPage> {
        self.store.list_with(ctx, &self.shard, cursor, self.sizes).await
    }
}

impl Shared {
    pub(crate) async fn list_page(&self, ctx: &Context, cursor: Option<&InventoryCursor>) -> Result<InventoryPage> {
        let after = cursor.map(|cursor| self.read_cursor(cursor)).transpose()?;
        if self.lists_in_order() {
            let root = format!("{}/", self.options.layout.root(self.storage_type));
            return self.within(ctx, self.ordered_page(&root, after, DigestSizes::Read)).await?;
        }
        self.within(ctx, self.page_of_folders(after)).await?
    }

    pub(crate) async fn list_shard(
        &self,
        ctx: &Context,
        shard: &Shard,
        cursor: Option<&InventoryCursor>,
        sizes: DigestSizes,
    ) -> Result<InventoryPage> {
        let after = cursor.map(|cursor| self.read_cursor(cursor)).transpose()?;
        if self.lists_in_order() {
            let prefix = format!("{}/", shard.0);
            return self.within(ctx, self.ordered_page(&prefix, after, sizes)).await?;
        }
        let objects = self.within(ctx, self.bucket.list(&shard.0)).await??;
        Ok(InventoryPage::new(self.entries(&objects, sizes).await?, None))
    }

    /// Reads a page in the order of keys. Its cursor is the last key.
    async fn ordered_page(&self, prefix: &str, after: Option<&str>, sizes: DigestSizes) -> Result<InventoryPage> {
        let (objects, more) = self.bucket.page(prefix, after).await?;
        let start = self.bucket.prefix().len();
        let last = objects.last().and_then(|object| object.location.as_ref().get(start..));
        let next = last.filter(|_| more).map(|last| InventoryCursor::from_bytes(last.as_bytes().to_vec()));
        Ok(InventoryPage::new(self.entries(&objects, sizes).await?, next))
    }

    /// Reads the first folder that is not empty, for buckets that do not list in order. Its cursor is the last folder.
    async fn page_of_folders(&self, after: Option<&str>) -> Result<InventoryPage> {
        let shards = self.options.layout.shards(self.storage_type);
        let begin = shards.partition_point(|shard| after.is_some_and(|after| shard.as_str() <= after));
        let count = shards.len();
        for (number, shard) in (1..).zip(shards).skip(begin) {
            let objects = self.bucket.list(&shard).await?;
            if !objects.is_empty() {
                let next = (number < count).then(|| InventoryCursor::from_bytes(shard.into_bytes()));
                return Ok(InventoryPage::new(self.entries(&objects, DigestSizes::Read).await?, next));
            }
        }
        Ok(InventoryPage::new(Vec::new(), None))
    }

    fn read_cursor<'a>(&self, cursor: &'a InventoryCursor) -> Result<&'a str> {
        let root = format!("{}/", self.options.layout.root(self.storage_type));
        std::str::from_utf8(cursor.as_bytes())
            .ok()
            .filter(|key| key.starts_with(&root))
            .ok_or_else(|| Error::invalid_argument("cursor is not of this store"))
    }

    /// Returns the blobs among these objects. Claims and objects with foreign keys are skipped.
    async fn entries(&self, objects: &[ObjectMeta], sizes: DigestSizes) -> Result<Vec<InventoryEntry>> {
        let entries: Vec<_> = objects.iter().map(|object| self.entry(object, sizes).boxed()).collect();
        let entries: Vec<Option<InventoryEntry>> = stream::iter(entries).buffered(CONCURRENT).try_collect().await?;
        Ok(entries.into_iter().flatten().collect())
    }

    async fn entry(&self, object: &ObjectMeta, sizes: DigestSizes) -> Result<Option<InventoryEntry>> {
        let key = object.location.as_ref().get(self.bucket.prefix().len()..).unwrap_or_default();
        let digest = match self.options.layout.parse(self.storage_type, key) {
            Some(Key::Digest(digest)) => Some(digest),
            Some(Key::Hash(hash)) => self.sized(object, &hash, sizes).await?,
            None => None,
        };
        let digest = digest.filter(|digest| !self.is_claim(digest, object.size));
        Ok(digest.map(|digest| InventoryEntry::new(digest, object.size)))
    }

    /// Returns the digest of an object whose key has only the hash. The size of an action is not stored anywhere, and
    /// is 0.
    async fn sized(&self, object: &ObjectMeta, hash: &[u8], sizes: DigestSizes) -> Result<Option<Digest>> {
        let size = if self.storage_type == StorageType::Cas {
            if object.size == claim_marker::SIZE_BYTES {
                return Ok(None);
            }
            if sizes == DigestSizes::Omit {
                return Digest::from_hash(InstanceName::empty(), DigestFunction::Sha256, hash, 0).map(Some);
            }
            match self.blob_size_in_casblob(&object.location).await? {
                Some(size) => size,
                None => return Ok(None),
            }
        } else {
            0
        };
        Digest::from_hash(InstanceName::empty(), DigestFunction::Sha256, hash, size).map(Some)
    }
}
