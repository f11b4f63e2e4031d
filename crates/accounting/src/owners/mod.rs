//! An index of owners: whose each stored blob is, so that deletions lower the right account.

mod changes;
mod deleting;
mod entry;
mod figures;
mod metrics;
mod notes;
mod options;
mod resolving;
mod scan;
mod shared;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;

use std::borrow::Cow;
use std::fmt::{self, Debug, Formatter};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use blobaccess::{
    BackgroundWork, Clock, Context, DeleteBlob, Digest, Error, InventoryEntry, Result, StorageType, SystemClock,
    UploadToken,
};

pub use self::deleting::DeletedBlob;
pub use self::figures::Held;
pub use self::options::OwnerIndexOptions;
pub use self::resolving::OwnerResolver;
pub use self::scan::{OwnerScan, OwnerScanOptions, OwnerScanned, ScanPart, UnknownBlobs};
use self::shared::Shared;
use crate::drift::{Owner, Owners};
use crate::{Account, Outcome, Report, Reporter};

/// The time for which ends of uploads are gathered before the index takes them.
const GATHERING: Duration = Duration::from_secs(1);

/// An index of the blobs in a store: the account that each was counted for, and its size.
///
/// Without it, an account only grows when a bucket forgets blobs, as nobody knows whose they were. An entry of the index
/// stands for a blob that was counted, until the blob is found to be gone: then the entry is removed and the deletion
/// counted, in one transaction. So each deletion counts once, whoever notices it, and whatever crashes.
///
/// * **Uploads** enter it as they end, if [`Accounts`](crate::Accounts) know the index
///   ([`AccountsBuilder::with_owner_index`](crate::AccountsBuilder::with_owner_index)).
/// * **[Deletions](Self::delete)** on request go through it.
/// * **A [scan](OwnerScan)** compares it with a listing: blobs that a rule of the bucket deleted are counted, blobs that it
///   lacks are asked for their metadata.
/// * **[`Reporting`](crate::Reporting::with_owner_index)** sends its counts to the ledger, as those of a reporter of its
///   own. They cover the whole life of the index, so that a report may be repeated.
///
/// What was in the store before the ledger began is [adopted](UnknownBlobs::Adopt), and what nobody counted is foreign: both
/// are figures of their own, and fall when such a blob goes. The footprints of all accounts, what is adopted and what is
/// foreign add up to what is stored.
///
/// One process has the index of a bucket. Others that upload to the same bucket leave their account with each object, where
/// the server keeps metadata, and the next scan enters those.
///
/// # Memory
///
/// In a file, the [cache](OwnerIndexOptions::with_cache_bytes) and the ends of uploads that the file has not taken yet: some
/// 200 bytes each, for a second. An entry takes up to 140 bytes on the disk, and as
/// much of memory in an index that is in memory.
///
/// # Errors
///
/// `Unavailable` while the disk is full or fails; the file is opened anew by the next call. `DataLoss` if the file has rows
/// that no index wrote.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use std::sync::Arc;
///
/// use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName, StorageType};
/// use blobaccess_accounting::{
///     Accounted, Accounts, AccountsOptions, Ledger, MemoryLedger, OwnerIndex, OwnerIndexOptions, Reporter, Reporting,
/// };
/// use blobaccess_s3_backend::{Bucket, BucketOptions, BucketStore};
///
/// let bucket = BucketStore::<Cas>::open(Bucket::memory(), BucketOptions::default()).await?;
/// let owners = OwnerIndex::builder(OwnerIndexOptions::default())
///     .with_store(StorageType::Cas, Arc::new(bucket.clone()))
///     .open_in_memory()?;
/// let accounts =
///     Accounts::builder(AccountsOptions::new(Reporter::new("host-7"))).with_owner_index(owners.clone()).open()?;
/// let ledger = Arc::new(MemoryLedger::new());
/// let reporting = Reporting::new(accounts.clone(), ledger.clone())
///     .with_owner_index(Reporter::new("host-7/owners"), owners.clone());
/// let store = Accounted::new(bucket, accounts);
///
/// let ctx = Context::background();
/// let digest = Digest::of(InstanceName::new("acme")?, DigestFunction::Sha256, b"hello");
/// store.put(&ctx, &digest, Blob::from_bytes("hello")).await?;
/// reporting.flush().await?;
/// assert_eq!(ledger.totals(None).await?[0].footprint_bytes(), 5);
/// owners.delete(&ctx, StorageType::Cas, &digest).await?;
/// reporting.flush().await?;
/// assert_eq!(ledger.totals(None).await?[0].footprint_bytes(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct OwnerIndex {
    shared: Arc<Shared>,
}

/// An [`OwnerIndex`] that is about to be opened: its settings, and the stores of its blobs.
#[derive(Debug)]
#[must_use = "an index is opened by `open` or `open_in_memory`"]
pub struct OwnerIndexBuilder {
    options: OwnerIndexOptions,
    stores: Stores,
    clock: Arc<dyn Clock>,
}

/// The stores of the blobs of an index, by kind.
pub(crate) type Stores = [Option<Arc<dyn DeleteBlob>>; 5];

impl OwnerIndexBuilder {
    /// Deletes blobs of this kind from `store`, and asks it whose a blob is that the index lacks.
    pub fn with_store(mut self, storage_type: StorageType, store: Arc<dyn DeleteBlob>) -> Self {
        if let Some(place) = self.stores.get_mut(usize::from(Account::storage_code(storage_type))) {
            *place = Some(store);
        }
        self
    }

    /// Takes the time from `clock`, by default from that of the system.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Opens the index in the file at `path`, which is made if it is missing. Beside it there is a log with the extension
    /// `notes`, if the options say so.
    ///
    /// # Errors
    ///
    /// `FailedPrecondition` if the file cannot be opened, is no index, or is open in another process.
    pub fn open(self, path: impl AsRef<Path>) -> Result<OwnerIndex> {
        let shared = Shared::open(path.as_ref(), &self.options, self.stores, self.clock)?;
        Ok(OwnerIndex { shared: Arc::new(shared) })
    }

    /// Opens an index in memory, which ends with its last clone. What it counted and did not report is lost then.
    ///
    /// # Errors
    ///
    /// `Internal` if the system has no randomness.
    pub fn open_in_memory(self) -> Result<OwnerIndex> {
        let shared = Shared::open_in_memory(&self.options, self.stores, self.clock)?;
        Ok(OwnerIndex { shared: Arc::new(shared) })
    }
}

/// The state of an index at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnerIndexSnapshot {
    /// The blobs of accounts, by kind of store; kinds without blobs are left out.
    pub owned: Vec<(StorageType, Held)>,
    /// The blobs that were in the store before the ledger began.
    pub adopted: Vec<(StorageType, Held)>,
    /// The blobs that nobody counted: others put them, or it is not known who did.
    pub foreign: Vec<(StorageType, Held)>,
    /// The number of ended uploads that the index has not taken yet.
    pub waiting: usize,
    /// The number of ended uploads that found no room in between. A scan finds their blobs.
    pub lost: u64,
    /// The number of failures to write the log of ended uploads.
    pub log_failures: u64,
}

impl OwnerIndex {
    /// Returns a builder, which takes the stores of the blobs, and opens the index.
    pub fn builder(options: OwnerIndexOptions) -> OwnerIndexBuilder {
        OwnerIndexBuilder { options, stores: Stores::default(), clock: Arc::new(SystemClock) }
    }

    /// Returns the present state.
    #[must_use]
    pub fn snapshot(&self) -> OwnerIndexSnapshot {
        self.shared.snapshot()
    }

    /// Takes the end of an upload. This costs an upload no wait for the disk.
    pub(crate) fn note(
        &self,
        account: &Account,
        digest: &Digest,
        token: UploadToken,
        outcome: Outcome,
        logical_bytes: u64,
    ) {
        match outcome {
            Outcome::Created { .. } | Outcome::Replaced { .. } | Outcome::Unclassified { .. } => {
                self.shared.note(account, digest, token, outcome, logical_bytes);
            }
            Outcome::AlreadyExists { .. } | Outcome::Error(_) | Outcome::Dropped { .. } => {}
        }
    }

    /// Writes the ends of uploads so far into the index.
    ///
    /// # Errors
    ///
    /// Fails if the index cannot be written now. The ends of uploads stay.
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped may still take effect.
    pub async fn flush(&self) -> Result<()> {
        self.shared.change(Vec::new()).await.map(drop)
    }

    /// Makes a report of everything that the index counted in its whole life.
    pub(crate) async fn report(&self, reporter: Reporter) -> Result<Report> {
        self.flush().await?;
        Ok(self.shared.report(reporter))
    }

    /// Returns the store of a kind.
    ///
    /// # Errors
    ///
    /// `FailedPrecondition` if the index was opened without it.
    fn store(&self, storage_type: StorageType) -> Result<&Arc<dyn DeleteBlob>> {
        self.shared.store(storage_type).ok_or_else(|| {
            let kind = storage_type.name();
            Error::failed_precondition(format!("the index of owners was opened without a store of the kind {kind}"))
        })
    }
}

#[async_trait]
impl BackgroundWork for OwnerIndex {
    fn name(&self) -> Cow<'static, str> {
        "index of owners".into()
    }

    /// Writes the ends of uploads into the index, once a second or when there are many. Without it, they are written before
    /// each report, deletion and scan.
    async fn run(&self) {
        loop {
            self.shared.wants_flush(GATHERING).await;
            if let Err(error) = self.flush().await {
                tracing::warn!(%error, "cannot write the index of owners");
                let clock = self.shared.clock();
                clock.sleep_until(clock.monotonic() + GATHERING).await;
            }
        }
    }
}

#[async_trait]
impl Owners for OwnerIndex {
    async fn owners(
        &self,
        _ctx: &Context,
        storage_type: StorageType,
        entries: &[InventoryEntry],
    ) -> Result<Vec<Owner>> {
        self.flush().await?;
        self.shared.owners(storage_type, entries).await
    }
}

impl Debug for OwnerIndex {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnerIndex").field("snapshot", &self.snapshot()).finish_non_exhaustive()
    }
}
