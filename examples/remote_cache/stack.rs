//! The stores beneath the services, layer by layer.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::decorators::{
    ActionResultTimestampInjecting, Authorizers, Authorizing, CompletenessChecking, CompletenessOptions,
    DeadlineEnforcing, EmptyBlobInjecting, ExistenceCaching, Observing, QueryCoalescing, StaticAuthorizer,
};
use blobaccess::{Ac, BlobAccess, Cas, Clock, Fsac, Iscc, Kind, MemoryStore, Observer, StorageType, SystemClock};
use blobaccess_grpc::{Remote, RemoteOptions, RemoteTls, Services};
use blobaccess_local_store::LocalStore;

use crate::activity::Activity;
use crate::cached_bucket::CachedBucket;
use crate::files::{self, Files};
use crate::flags::{Flags, Switch};
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
    /// Initial size classes, for schedulers.
    pub(crate) iscc: Arc<dyn BlobAccess<Kind = Iscc>>,
    /// File system access profiles, for workers.
    pub(crate) fsac: Arc<dyn BlobAccess<Kind = Fsac>>,
    /// The stores at the bottom.
    pub(crate) backend: Backend,
}

/// The stores at the bottom of a stack.
#[derive(Debug)]
pub(crate) enum Backend {
    /// Memory.
    Memory {
        cas: Arc<MemoryStore<Cas>>,
        ac: Arc<MemoryStore<Ac>>,
        iscc: Arc<MemoryStore<Iscc>>,
        fsac: Arc<MemoryStore<Fsac>>,
    },
    /// Files in a folder.
    Local { directory: PathBuf, cas: Arc<LocalStore<Cas>>, ac: Arc<LocalStore<Ac>>, others: Others },
    /// A bucket, behind files in a folder. The other kinds are in files only.
    Bucket { directory: PathBuf, stack: Arc<CachedBucket>, scan_every: Option<Duration>, others: Others },
    /// Another server.
    Remote(Remote),
}

/// The stores of Buildbarn's schedulers and workers, in files of a folder.
#[derive(Debug)]
pub(crate) struct Others {
    pub(crate) iscc: Arc<LocalStore<Iscc>>,
    pub(crate) fsac: Arc<LocalStore<Fsac>>,
}

impl Others {
    async fn run(&self) {
        futures::join!(self.iscc.run(), self.fsac.run());
    }

    async fn sync(&self) -> Result<()> {
        futures::try_join!(self.iscc.sync(), self.fsac.sync())?;
        Ok(())
    }
}

impl Backend {
    /// Does the background work of the stores, for as long as the future is polled. It ends if some of it has panicked.
    pub(crate) async fn run(&self) -> String {
        match self {
            Self::Local { cas, ac, others, .. } => drop(futures::join!(cas.run(), ac.run(), others.run())),
            Self::Bucket { stack, scan_every, others, .. } => {
                let scanning = async {
                    if let Some(every) = scan_every {
                        scan(stack, *every).await;
                    }
                };
                tokio::select! {
                    panicked = stack.until_panicked() => return panicked.to_string(),
                    _ = async { futures::join!(scanning, others.run()) } => {}
                }
            }
            Self::Memory { .. } | Self::Remote(_) => std::future::pending().await,
        }
        "the background work of the stores ended".to_owned()
    }

    /// Has services fail their health once a local store takes nothing more.
    pub(crate) fn add_health_checks(&self, services: Services) -> Services {
        let others = match self {
            Self::Local { others, .. } | Self::Bucket { others, .. } => others,
            Self::Memory { .. } | Self::Remote(_) => return services,
        };
        let (cas, ac) = match self {
            Self::Local { cas, ac, .. } => (cas, ac),
            Self::Bucket { stack, .. } => (&stack.local_cas, &stack.local_ac),
            Self::Memory { .. } | Self::Remote(_) => return services,
        };
        let (cas, ac) = (Arc::clone(cas), Arc::clone(ac));
        let (iscc, fsac) = (Arc::clone(&others.iscc), Arc::clone(&others.fsac));
        services
            .with_health_check(StorageType::Cas, move || cas.check())
            .with_health_check(StorageType::Ac, move || ac.check())
            .with_health_check(StorageType::Iscc, move || iscc.check())
            .with_health_check(StorageType::Fsac, move || fsac.check())
    }

    /// Makes durable what is to outlive the process.
    pub(crate) async fn sync(&self) -> Result<()> {
        match self {
            Self::Local { cas, ac, others, .. } => {
                // The second time there is nothing new: each store writes once more what a damaged superblock would lose.
                for _ in 0..2 {
                    futures::try_join!(cas.sync(), ac.sync())?;
                    others.sync().await?;
                }
            }
            Self::Bucket { stack, others, .. } => {
                stack.stop().await?;
                others.sync().await?;
            }
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
        let Stores { cas, ac, iscc, fsac, backend } = match &flags.upstream {
            Some(url) => upstream(flags, url, &observer)?,
            None if flags.in_memory => in_memory(flags, &observer),
            None if flags.bucket.is_some() => in_bucket(flags, &observer).await?,
            None => in_files(flags, &observer).await?,
        };
        let cas = EmptyBlobInjecting::new(cas);
        let ac = ActionResultTimestampInjecting::new(ac, flags.max_message_size).with_observer(observer);
        Ok(Self {
            cas: guarded(cas, &authorizers, timeout),
            ac: guarded(ac, &authorizers, timeout),
            iscc: guarded(iscc, &authorizers, timeout),
            fsac: guarded(fsac, &authorizers, timeout),
            backend,
        })
    }
}

/// The stores beneath the layers that are the same for all.
struct Stores {
    cas: Arc<dyn BlobAccess<Kind = Cas>>,
    ac: Arc<dyn BlobAccess<Kind = Ac>>,
    iscc: Arc<dyn BlobAccess<Kind = Iscc>>,
    fsac: Arc<dyn BlobAccess<Kind = Fsac>>,
    backend: Backend,
}

/// Makes stores in memory.
fn in_memory(flags: &Flags, observer: &Arc<dyn Observer>) -> Stores {
    fn memory<K: Kind>(size: u64, observer: &Arc<dyn Observer>) -> Arc<MemoryStore<K>> {
        Arc::new(MemoryStore::new(size).with_observer(Arc::clone(observer)))
    }
    let cas = memory::<Cas>(flags.cas_size.unwrap_or(CAS_IN_MEMORY), observer);
    let ac = memory::<Ac>(flags.ac_size.unwrap_or(files::DEFAULT_AC), observer);
    let iscc = memory::<Iscc>(flags.iscc_size.unwrap_or(files::DEFAULT_OTHERS), observer);
    let fsac = memory::<Fsac>(flags.fsac_size.unwrap_or(files::DEFAULT_OTHERS), observer);
    Layers { label: "local_in_memory", flags, observer }.over(
        Arc::clone(&cas),
        Arc::clone(&ac),
        Arc::clone(&iscc),
        Arc::clone(&fsac),
        Backend::Memory { cas, ac, iscc, fsac },
    )
}

/// Opens stores in files.
async fn in_files(flags: &Flags, observer: &Arc<dyn Observer>) -> Result<Stores> {
    let Files { directory, cas, ac, iscc, fsac } = files::open(flags, observer).await?;
    let (cas, ac, iscc, fsac) = (Arc::new(cas), Arc::new(ac), Arc::new(iscc), Arc::new(fsac));
    Ok(Layers { label: "local_block_device", flags, observer }.over(
        Arc::clone(&cas),
        Arc::clone(&ac),
        Arc::clone(&iscc),
        Arc::clone(&fsac),
        Backend::Local { directory, cas, ac, others: Others { iscc, fsac } },
    ))
}

/// Opens stores in files, of which those of contents and action results are in front of a bucket.
async fn in_bucket(flags: &Flags, observer: &Arc<dyn Observer>) -> Result<Stores> {
    let url = flags.bucket.as_deref().unwrap_or_default();
    let Files { directory, cas, ac, iscc, fsac } = files::open(flags, observer).await?;
    let accounts = flags.accounts.clone().unwrap_or_else(|| directory.join("accounts"));
    let stack = CachedBucket::open(url, &accounts, REPORT_EVERY, Arc::new(cas), Arc::new(ac)).await;
    let stack = stack.map_err(|error| format!("--bucket: {error}"))?;
    let (iscc, fsac) = (Arc::new(iscc), Arc::new(fsac));
    Ok(Layers { label: "write_behind", flags, observer }.over(
        Arc::clone(&stack.cas),
        Arc::clone(&stack.ac),
        Arc::clone(&iscc),
        Arc::clone(&fsac),
        Backend::Bucket { directory, stack, scan_every: flags.scan_every, others: Others { iscc, fsac } },
    ))
}

/// The layers over stores of this server.
struct Layers<'a> {
    label: &'static str,
    flags: &'a Flags,
    observer: &'a Arc<dyn Observer>,
}

impl Layers<'_> {
    /// Observes all stores, and checks that the outputs of an action result are stored before it is returned: either
    /// store may evict a blob that the other refers to.
    fn over(
        &self,
        cas: impl BlobAccess<Kind = Cas>,
        ac: impl BlobAccess<Kind = Ac>,
        iscc: impl BlobAccess<Kind = Iscc>,
        fsac: impl BlobAccess<Kind = Fsac>,
        backend: Backend,
    ) -> Stores {
        let cas: Arc<dyn BlobAccess<Kind = Cas>> = Arc::new(self.observing(cas));
        let ac = self.observing(ac);
        let ac: Arc<dyn BlobAccess<Kind = Ac>> = match self.flags.completeness_checking {
            Switch::On => {
                let outputs = EmptyBlobInjecting::new(Arc::clone(&cas));
                Arc::new(CompletenessChecking::new(ac, outputs, CompletenessOptions::new()))
            }
            Switch::Off => Arc::new(ac),
        };
        let (iscc, fsac) = (Arc::new(self.observing(iscc)), Arc::new(self.observing(fsac)));
        Stores { cas, ac, iscc, fsac, backend }
    }

    fn observing<B: BlobAccess>(&self, store: B) -> Observing<B> {
        Observing::new(store, self.label, Arc::clone(self.observer))
    }
}

/// Uses the stores of another server, which checks its action results itself.
fn upstream(flags: &Flags, url: &str, observer: &Arc<dyn Observer>) -> Result<Stores> {
    let mut options = RemoteOptions::new(url);
    let keepalive = flags.upstream_keepalive;
    options = if keepalive.is_zero() {
        options.without_keepalive()
    } else {
        options.with_keepalive(keepalive, keepalive / 2)
    };
    if let Some(authority) = &flags.upstream_ca {
        options = options.with_tls(RemoteTls::new().with_ca_pem(read("--upstream-ca", authority)?));
    }
    let remote = Remote::new(options).map_err(|error| format!("--upstream: {error}"))?;

    let layers = Layers { label: "grpc", flags, observer };
    let cas = QueryCoalescing::new(layers.observing(remote.cas()));
    let cas = ExistenceCaching::new(cas, REMEMBERED, REMEMBERED_FOR).with_observer(Arc::clone(observer));
    Ok(Stores {
        cas: Arc::new(cas),
        ac: Arc::new(layers.observing(remote.ac())),
        iscc: Arc::new(layers.observing(remote.iscc())),
        fsac: Arc::new(layers.observing(remote.fsac())),
        backend: Backend::Remote(remote),
    })
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

#[cfg(test)]
mod tests {
    use blobaccess::{Blob, Context, Digest, DigestFunction, InstanceName, NoObserver};
    use blobaccess_proto::remote_execution as re;
    use clap::Parser;
    use prost::Message;

    use super::*;

    async fn stack(flags: &[&str]) -> Stack {
        let flags = Flags::parse_from([&["remote_cache"], flags].concat());
        Stack::build(&flags, &Arc::new(Activity::new(Arc::new(NoObserver)))).await.unwrap()
    }

    fn digest(contents: &[u8]) -> Digest {
        Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents)
    }

    /// Stores an action result whose output is absent, and returns whether it is found.
    async fn finds_incomplete(stack: &Stack) -> bool {
        let output = digest(b"on another node");
        let output = re::Digest { hash: output.hash().to_string(), size_bytes: 15 };
        let file = re::OutputFile { path: "out".into(), digest: Some(output), ..Default::default() };
        let result = re::ActionResult { output_files: vec![file], ..Default::default() };
        let (ctx, action) = (Context::background(), digest(b"an action"));
        stack.ac.put(&ctx, &action, Blob::from_bytes(result.encode_to_vec())).await.unwrap();
        match stack.ac.get(&ctx, &action).await {
            Ok(found) => re::ActionResult::decode(found.into_bytes(1 << 20).await.unwrap()).is_ok(),
            Err(error) => {
                assert!(error.is_not_found(), "{error}");
                false
            }
        }
    }

    #[tokio::test]
    async fn a_result_is_checked_against_this_server_unless_told_otherwise() {
        assert!(!finds_incomplete(&stack(&["--in-memory"]).await).await);
        assert!(finds_incomplete(&stack(&["--in-memory", "--completeness-checking", "off"]).await).await);
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().to_str().unwrap();
        let sizes = ["--cas-size", "16MiB", "--ac-size", "16MiB", "--directory", directory];
        let off = [&sizes[..], &["--completeness-checking", "off"]].concat();
        assert!(finds_incomplete(&stack(&off).await).await);
        assert!(!finds_incomplete(&stack(&sizes).await).await, "the same files, checked");
    }

    #[tokio::test]
    async fn the_caches_of_schedulers_and_workers_outlive_the_server() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().to_str().unwrap();
        let flags = ["--cas-size", "16MiB", "--ac-size", "16MiB", "--directory", directory];
        let (ctx, key) = (Context::background(), digest(b"a reduced action"));
        let first = stack(&flags).await;
        first.iscc.put(&ctx, &key, Blob::from_bytes("\u{a}\u{0}")).await.unwrap();
        first.fsac.put(&ctx, &key, Blob::from_bytes("\u{10}\u{3}")).await.unwrap();
        first.backend.sync().await.unwrap();
        drop(first);
        let second = stack(&flags).await;
        assert_eq!(second.iscc.get(&ctx, &key).await.unwrap().into_bytes(9).await.unwrap(), "\u{a}\u{0}");
        assert_eq!(second.fsac.get(&ctx, &key).await.unwrap().into_bytes(9).await.unwrap(), "\u{10}\u{3}");
    }
}
