//! The stores beneath the services, layer by layer.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::decorators::{
    ActionResultTimestampInjecting, Authorizers, Authorizing, CompletenessChecking, CompletenessOptions,
    DeadlineEnforcing, EmptyBlobInjecting, ExistenceCaching, Observing, QueryCoalescing, StaticAuthorizer,
};
use blobaccess::{Ac, BlobAccess, Cas, Clock, Kind, MemoryStore, Observer, SystemClock};
use blobaccess_grpc::{Remote, RemoteOptions, RemoteTls};
use blobaccess_local_store::LocalStore;

use crate::activity::Activity;
use crate::cached_bucket::CachedBucket;
use crate::files;
use crate::flags::Flags;
use crate::{Result, read};

/// The size of the store of contents in memory, in bytes, unless a flag sets another.
const CAS_IN_MEMORY: u64 = 2 << 30;

/// How many digests are remembered as present upstream, at some 170 bytes each, and for how long. An upstream cache
/// keeps a blob for much longer after a query.
const REMEMBERED: usize = 100_000;
const REMEMBERED_FOR: Duration = Duration::from_mins(1);

/// The interval at which uploads to a bucket are reported to its ledger.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// The stores, and what is at their bottom.
#[derive(Debug)]
pub(crate) struct Stack {
    /// Contents.
    pub(crate) cas: Arc<dyn BlobAccess<Kind = Cas>>,
    /// Action results.
    pub(crate) ac: Arc<dyn BlobAccess<Kind = Ac>>,
    /// The store at the bottom.
    pub(crate) backend: Backend,
}

/// The store at the bottom of a stack.
#[derive(Debug)]
pub(crate) enum Backend {
    /// Memory.
    Memory { cas: Arc<MemoryStore<Cas>>, ac: Arc<MemoryStore<Ac>> },
    /// Files in a folder.
    Local { directory: PathBuf, cas: Arc<LocalStore<Cas>>, ac: Arc<LocalStore<Ac>> },
    /// A bucket, behind files in a folder.
    Bucket { directory: PathBuf, stack: Arc<CachedBucket>, scan_every: Option<Duration> },
    /// Another server.
    Remote(Remote),
}

impl Backend {
    /// Does the background work of the stores, for as long as the future is polled.
    pub(crate) async fn run(&self) {
        match self {
            Self::Local { cas, ac, .. } => drop(futures::join!(cas.run(), ac.run())),
            Self::Bucket { stack, scan_every: Some(every), .. } => scan(stack, *every).await,
            Self::Bucket { .. } | Self::Memory { .. } | Self::Remote(_) => std::future::pending().await,
        }
    }

    /// Makes durable what is to outlive the process.
    pub(crate) async fn sync(&self) -> Result<()> {
        match self {
            Self::Local { cas, ac, .. } => drop(futures::try_join!(cas.sync(), ac.sync())?),
            Self::Bucket { stack, .. } => stack.stop().await?,
            Self::Memory { .. } | Self::Remote(_) => {}
        }
        Ok(())
    }
}

/// Compares the ledger with a listing of the bucket, at an interval.
async fn scan(stack: &CachedBucket, every: Duration) {
    loop {
        SystemClock.sleep_until(SystemClock.monotonic() + every).await;
        match stack.scan().await {
            Ok(found) => found.iter().for_each(|(storage_type, scanned, drift)| {
                tracing::info!(storage_type = storage_type.name(), ?scanned, ?drift, "the bucket was scanned");
            }),
            Err(error) => tracing::warn!(%error, "the bucket cannot be scanned"),
        }
    }
}

impl Stack {
    /// Builds the stack that `flags` describe. `activity` observes every call of the backend.
    pub(crate) async fn build(flags: &Flags, activity: &Arc<Activity>) -> Result<Self> {
        let (authorizers, timeout) = (authorizers(flags), flags.call_timeout);
        let observer: Arc<dyn Observer> = Arc::<Activity>::clone(activity);
        let (cas, ac, backend) = match &flags.upstream {
            Some(url) => upstream(flags, url, &observer)?,
            None if flags.in_memory => in_memory(flags, &observer),
            None if flags.bucket.is_some() => in_bucket(flags, &observer).await?,
            None => in_files(flags, &observer).await?,
        };
        let cas = EmptyBlobInjecting::new(cas);
        let ac = ActionResultTimestampInjecting::new(ac, flags.max_message_size).with_observer(observer);
        Ok(Self { cas: guarded(cas, &authorizers, timeout), ac: guarded(ac, &authorizers, timeout), backend })
    }
}

type Stores = (Arc<dyn BlobAccess<Kind = Cas>>, Arc<dyn BlobAccess<Kind = Ac>>, Backend);

/// Makes stores in memory.
fn in_memory(flags: &Flags, observer: &Arc<dyn Observer>) -> Stores {
    let (cas_size, ac_size) = (flags.cas_size.unwrap_or(CAS_IN_MEMORY), flags.ac_size.unwrap_or(files::DEFAULT_AC));
    let memory = Arc::new(MemoryStore::<Cas>::new(cas_size).with_observer(Arc::clone(observer)));
    let ac_memory = Arc::new(MemoryStore::<Ac>::new(ac_size).with_observer(Arc::clone(observer)));
    let backend = Backend::Memory { cas: Arc::clone(&memory), ac: Arc::clone(&ac_memory) };

    let (cas, ac) = checked(memory, ac_memory, "local_in_memory", observer);
    (cas, ac, backend)
}

/// Opens stores in files.
async fn in_files(flags: &Flags, observer: &Arc<dyn Observer>) -> Result<Stores> {
    let (directory, cas, ac) = files::open(flags, observer).await?;
    let (cas, ac) = (Arc::new(cas), Arc::new(ac));
    let backend = Backend::Local { directory, cas: Arc::clone(&cas), ac: Arc::clone(&ac) };
    let (cas, ac) = checked(cas, ac, "local_block_device", observer);
    Ok((cas, ac, backend))
}

/// Opens stores in files, in front of a bucket.
async fn in_bucket(flags: &Flags, observer: &Arc<dyn Observer>) -> Result<Stores> {
    let url = flags.bucket.as_deref().unwrap_or_default();
    let (directory, cas, ac) = files::open(flags, observer).await?;
    let accounts = flags.accounts.clone().unwrap_or_else(|| directory.join("accounts"));
    let stack = CachedBucket::open(url, &accounts, REPORT_EVERY, Arc::new(cas), Arc::new(ac)).await;
    let stack = stack.map_err(|error| format!("--bucket: {error}"))?;
    let (cas, ac) = checked(Arc::clone(&stack.cas), Arc::clone(&stack.ac), "write_behind", observer);
    Ok((cas, ac, Backend::Bucket { directory, stack, scan_every: flags.scan_every }))
}

/// Observes both stores, and checks that the outputs of an action result are stored before it is returned: either store
/// may evict a blob that the other refers to.
fn checked(
    cas: impl BlobAccess<Kind = Cas>,
    ac: impl BlobAccess<Kind = Ac>,
    label: &'static str,
    observer: &Arc<dyn Observer>,
) -> (Arc<dyn BlobAccess<Kind = Cas>>, Arc<dyn BlobAccess<Kind = Ac>>) {
    let cas: Arc<dyn BlobAccess<Kind = Cas>> = Arc::new(Observing::new(cas, label, Arc::clone(observer)));
    let ac = Observing::new(ac, label, Arc::clone(observer));
    let ac = CompletenessChecking::new(ac, EmptyBlobInjecting::new(Arc::clone(&cas)), CompletenessOptions::new());
    (cas, Arc::new(ac))
}

/// Uses the stores of another server, which checks its action results itself.
fn upstream(flags: &Flags, url: &str, observer: &Arc<dyn Observer>) -> Result<Stores> {
    let mut options = RemoteOptions::new(url);
    if let Some(authority) = &flags.upstream_ca {
        options = options.with_tls(RemoteTls::new().with_ca_pem(read("--upstream-ca", authority)?));
    }
    let remote = Remote::new(options).map_err(|error| format!("--upstream: {error}"))?;

    let cas = Observing::new(remote.cas(), "grpc", Arc::clone(observer));
    let cas = QueryCoalescing::new(cas);
    let cas = ExistenceCaching::new(cas, REMEMBERED, REMEMBERED_FOR).with_observer(Arc::clone(observer));
    let ac = Observing::new(remote.ac(), "grpc", Arc::clone(observer));
    Ok((Arc::new(cas), Arc::new(ac), Backend::Remote(remote)))
}

/// Puts the layers around `store` that every call goes through: rights first, then a time limit.
fn guarded<B: BlobAccess>(store: B, authorizers: &Authorizers, timeout: Duration) -> Arc<dyn BlobAccess<Kind = B::Kind>>
where
    B::Kind: Kind,
{
    Arc::new(Authorizing::new(DeadlineEnforcing::new(store, timeout), authorizers.clone()))
}

fn authorizers(flags: &Flags) -> Authorizers {
    let allow = || Arc::new(StaticAuthorizer::Allow);
    let put = Arc::new(if flags.read_only { StaticAuthorizer::Deny } else { StaticAuthorizer::Allow });
    Authorizers::new(allow(), put, allow())
}
