//! The stores that the services are over, layer by layer.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::decorators::{
    ActionResultTimestampInjecting, Authorizers, Authorizing, CompletenessChecking, CompletenessOptions,
    DeadlineEnforcing, EmptyBlobInjecting, ExistenceCaching, Observing, StaticAuthorizer,
};
use blobaccess::{Ac, BlobAccess, Cas, Kind, MemoryBlobAccess, Observer};
use blobaccess_grpc::{Remote, RemoteOptions, RemoteTls};
use blobaccess_metrics::PrometheusObserver;

use crate::flags::Flags;
use crate::{Result, read};

/// How many digests are remembered as present upstream, at some 170 bytes each, and for how long: much less than an
/// upstream cache keeps what it was asked about.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();
const REMEMBERED_FOR: Duration = Duration::from_mins(1);

/// The stores, and what is at their bottom.
#[derive(Debug)]
pub(crate) struct Stack {
    /// Contents.
    pub(crate) cas: Arc<dyn BlobAccess<Kind = Cas>>,
    /// Action results.
    pub(crate) ac: Arc<dyn BlobAccess<Kind = Ac>>,
    /// Where everything is kept.
    pub(crate) backend: Backend,
}

/// Where everything is kept.
#[derive(Debug)]
pub(crate) enum Backend {
    /// Here.
    Memory { cas: Arc<MemoryBlobAccess<Cas>>, ac: Arc<MemoryBlobAccess<Ac>> },
    /// In another server.
    Remote(Remote),
}

impl Stack {
    /// The stack that `flags` ask for, which tells `metrics` of every call of its backend.
    pub(crate) fn build(flags: &Flags, metrics: &Arc<PrometheusObserver>) -> Result<Self> {
        let (authorizers, timeout) = (authorizers(flags), flags.call_timeout);
        let observer: Arc<dyn Observer> = Arc::<PrometheusObserver>::clone(metrics);
        let (cas, ac, backend) = match &flags.upstream {
            None => in_memory(flags, &observer),
            Some(url) => upstream(flags, url, &observer)?,
        };
        let cas = EmptyBlobInjecting::new(cas);
        let ac = ActionResultTimestampInjecting::new(ac, flags.max_message_size).with_observer(observer);
        Ok(Self { cas: guarded(cas, &authorizers, timeout), ac: guarded(ac, &authorizers, timeout), backend })
    }
}

type Stores = (Arc<dyn BlobAccess<Kind = Cas>>, Arc<dyn BlobAccess<Kind = Ac>>, Backend);

/// Stores here. Either may evict what the other refers to, so action results are checked before they are believed.
fn in_memory(flags: &Flags, observer: &Arc<dyn Observer>) -> Stores {
    let memory = Arc::new(MemoryBlobAccess::<Cas>::new(flags.cas_size).with_observer(Arc::clone(observer)));
    let ac_memory = Arc::new(MemoryBlobAccess::<Ac>::new(flags.ac_size).with_observer(Arc::clone(observer)));
    let backend = Backend::Memory { cas: Arc::clone(&memory), ac: Arc::clone(&ac_memory) };

    let cas: Arc<dyn BlobAccess<Kind = Cas>> = Arc::new(Observing::new(memory, "memory", Arc::clone(observer)));
    let ac = Observing::new(ac_memory, "memory", Arc::clone(observer));
    let ac = CompletenessChecking::new(ac, EmptyBlobInjecting::new(Arc::clone(&cas)), CompletenessOptions::new());
    (cas, Arc::new(ac), backend)
}

/// Stores in another server, which checks its action results itself.
fn upstream(flags: &Flags, url: &str, observer: &Arc<dyn Observer>) -> Result<Stores> {
    let mut options = RemoteOptions::new(url);
    if let Some(authority) = &flags.upstream_ca {
        options = options.with_tls(RemoteTls::new().with_ca_pem(read("--upstream-ca", authority)?));
    }
    let remote = Remote::new(options).map_err(|error| format!("--upstream: {error}"))?;

    let cas = Observing::new(remote.cas(), "grpc", Arc::clone(observer));
    let cas = ExistenceCaching::new(cas, REMEMBERED, REMEMBERED_FOR).with_observer(Arc::clone(observer));
    let ac = Observing::new(remote.ac(), "grpc", Arc::clone(observer));
    Ok((Arc::new(cas), Arc::new(ac), Backend::Remote(remote)))
}

/// `store`, with what every call is subject to: rights first, and an end to what takes too long.
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
