//! A site: stores in a bucket, each upload of which is counted once.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::{Ac, Cas, Clock, Context, Error, Result, StorageType, SystemClock};
use blobaccess_accounting::{
    Accounted, Accounts, AccountsOptions, DriftReport, DriftWatch, DriftWatchOptions, Epoch, OwnerIndex,
    OwnerIndexOptions, OwnerScan, OwnerScanOptions, Reporter, Reporting, RowsOptions, ScanPart,
};
use blobaccess_s3_backend::{Bucket, BucketOptions, BucketStore, Mutability};

use crate::books::Books;
use crate::flags::Flags;

/// The time after a crash from which an absent blob is believed to be absent: a request may still be on its way.
const SETTLE: Duration = Duration::from_secs(2);

/// The time that the uploads of a killed process get to be resolved.
const RECOVER: Duration = Duration::from_mins(1);

/// A site.
#[derive(Debug)]
pub(crate) struct Site {
    /// The store of contents, as customers see it.
    pub(crate) cas: Accounted<Arc<BucketStore<Cas>>>,
    /// The store of action results.
    pub(crate) ac: Accounted<Arc<BucketStore<Ac>>>,
    pub(crate) books: Books,
    accounts: Arc<Accounts>,
    reporting: Arc<Reporting>,
    owners: OwnerIndex,
}

impl Site {
    /// Opens the site whose state is in `directory`.
    pub(crate) async fn open(flags: &Flags, directory: &Path) -> Result<Self> {
        let id = read_id(directory)?;
        let books = Books::open(flags, directory, &id).await?;
        let bucket = open_bucket(flags, directory)?.with_prefix(&format!("metering-{id}"))?;
        let cas = Arc::new(BucketStore::<Cas>::open(bucket.clone(), BucketOptions::default()).await?);
        // Action results are created once, too. With the default, a result that is replaced is counted by its growth.
        let options = BucketOptions::default().with_mutability(Mutability::CreateOnly);
        let ac = Arc::new(BucketStore::<Ac>::open(bucket, options).await?);
        let owners = OwnerIndex::builder(OwnerIndexOptions::default())
            .with_store(StorageType::Cas, Arc::<BucketStore<Cas>>::clone(&cas))
            .with_store(StorageType::Ac, Arc::<BucketStore<Ac>>::clone(&ac))
            .open(directory.join("owners.redb"))?;
        let options = AccountsOptions::new(Reporter::new("host-1"))
            .with_journal(directory.join("journal"))
            .with_store_name(id)
            .with_settle_after(SETTLE);
        let accounts = Accounts::builder(options)
            .with_owner_index(owners.clone())
            .with_resolver(
                StorageType::Cas,
                Arc::new(owners.resolver(StorageType::Cas, Arc::<BucketStore<Cas>>::clone(&cas))),
            )
            .with_resolver(
                StorageType::Ac,
                Arc::new(owners.resolver(StorageType::Ac, Arc::<BucketStore<Ac>>::clone(&ac))),
            )
            .open()?;
        let mut reporting = Reporting::new(Arc::clone(&accounts), Arc::clone(&books.ledger))
            .with_owner_index(Reporter::new("host-1/owners"), owners.clone());
        if let Some(rows) = &books.rows {
            reporting = reporting.with_rows(Arc::clone(rows), RowsOptions::default());
        }
        let cas = Accounted::new(cas, Arc::clone(&accounts));
        let ac = Accounted::new(ac, Arc::clone(&accounts));
        Ok(Self { cas, ac, books, accounts, reporting: Arc::new(reporting), owners })
    }

    /// Returns what the server lacks for exact counts, in words; nothing if it lacks nothing.
    pub(crate) fn shortcomings(&self) -> Vec<String> {
        self.cas.inner().snapshot().findings.shortcomings().iter().map(ToString::to_string).collect()
    }

    /// Reports to the ledger, and delivers rows: what a program does every minute.
    pub(crate) async fn report(&self) -> Result<()> {
        self.reporting.flush().await
    }

    /// Reports until the uploads of killed processes have their outcomes, and returns how many processes those were.
    pub(crate) async fn recover(&self) -> Result<usize> {
        let dead = self.accounts.snapshot().dead_lives;
        let end = SystemClock.monotonic() + RECOVER;
        loop {
            self.report().await?;
            if self.accounts.snapshot().dead_lives == 0 {
                return Ok(dead);
            }
            if SystemClock.monotonic() > end {
                return Err(Error::deadline_exceeded("uploads of the killed process are not resolved"));
            }
            SystemClock.sleep_until(SystemClock.monotonic() + SETTLE / 2).await;
        }
    }

    /// Compares the bucket with the index of owners, and then with the ledger, by customer and by kind.
    pub(crate) async fn scan(&self) -> Result<DriftReport> {
        let ctx = Context::background();
        let (cas, ac) = (Arc::clone(self.cas.inner()), Arc::clone(self.ac.inner()));
        // Whatever a killed process left out of the index is found by the account that each object has.
        for (storage_type, part) in [
            (StorageType::Cas, ScanPart::whole(Arc::<BucketStore<Cas>>::clone(&cas))),
            (StorageType::Ac, ScanPart::whole(Arc::<BucketStore<Ac>>::clone(&ac))),
        ] {
            OwnerScan::new(self.owners.clone(), storage_type, vec![part], OwnerScanOptions::default())
                .run(&ctx)
                .await?;
        }
        let watch = DriftWatch::new(Arc::clone(&self.books.ledger), DriftWatchOptions::new())
            .with_store(StorageType::Cas, [cas])
            .with_store(StorageType::Ac, [ac])
            .with_owners(Arc::new(self.owners.clone()))
            .with_own_reports(Arc::clone(&self.reporting));
        watch.run_once(&ctx).await
    }

    /// Reports for the last time.
    pub(crate) async fn close(self) -> Result<()> {
        self.reporting.close().await.map(drop)
    }
}

/// Opens the bucket of the flag, or a folder in `directory`.
fn open_bucket(flags: &Flags, directory: &Path) -> Result<Bucket> {
    match &flags.bucket {
        Some(url) if url.contains("://") => Bucket::from_url(url),
        Some(path) => Bucket::directory(path, false),
        None => Bucket::directory(directory.join("bucket"), false),
    }
}

/// Returns the name of the site in `directory`: eight digits, drawn when it was made.
fn read_id(directory: &Path) -> Result<String> {
    let path = directory.join("site.txt");
    let at = |error: std::io::Error| Error::failed_precondition(format!("{}: {error}", path.display()));
    match fs::read_to_string(&path) {
        Ok(id) => Ok(id.trim().to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let id: String = Epoch::random()?.to_string().chars().take(8).collect();
            fs::write(&path, format!("{id}\n")).map_err(at)?;
            Ok(id)
        }
        Err(error) => Err(at(error)),
    }
}
