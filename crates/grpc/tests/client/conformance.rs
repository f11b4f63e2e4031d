//! The client of our services over stores in memory, held to what every store is.

use std::fmt::{self, Display, Formatter};
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{
    Ac, Blob, BlobAccess, Capabilities, Cas, Context, Digest, DigestSet, InstanceName, KeyFormat, Kind, MemoryStore,
    PutOutcome, Result, Slicer,
};
use blobaccess_grpc::{Remote, RemoteAcStore, RemoteCasStore, RemoteOptions, RetryPolicy, ServiceOptions, Services};
use blobaccess_testkit::{Fixture, InnerStore, Layered, Promises, Stores, conformance};
use bytes::Bytes;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Endpoint;

use crate::fake::{Connector, Wire, digest};

/// Makes a client of `services`, which are served as long as the runtime lasts.
fn connect(services: Services, options: RemoteOptions) -> Remote {
    let (connections, incoming) = mpsc::unbounded_channel::<io::Result<DuplexStream>>();
    let incoming = UnboundedReceiverStream::new(incoming);
    tokio::spawn(async move { services.serve_incoming(incoming, std::future::pending()).await });
    let connector = Connector { connections, wire: Wire::default() };
    let channel = Endpoint::from_static("http://fake:1").connect_with_connector_lazy(connector);
    Remote::with_channels(options, [channel]).unwrap()
}

fn options() -> RemoteOptions {
    // An outage is to be seen as soon as it is there.
    RemoteOptions::new("http://fake:1").with_retry(RetryPolicy::never())
}

fn cas(beneath: &Stores<Cas>, options: RemoteOptions) -> RemoteCasStore {
    let store = TellingApart { left: beneath.store("left"), others: beneath.store("others") };
    connect(Services::new(ServiceOptions::default()).with_cas(Arc::new(store)), options).cas()
}

fn ac(beneath: &Stores<Ac>) -> RemoteAcStore {
    let store = Arc::new(beneath.store("remote"));
    connect(Services::new(ServiceOptions::default()).with_ac(store), options()).ac()
}

/// Two stores: a client cannot know whether a server shows contents of one instance name in another, so it says that it
/// does not, and this one does not.
#[derive(Debug)]
struct TellingApart {
    left: InnerStore<Cas>,
    others: InnerStore<Cas>,
}

impl TellingApart {
    fn of(&self, name: &InstanceName) -> &InnerStore<Cas> {
        if name.as_str() == "left" { &self.left } else { &self.others }
    }
}

impl Display for TellingApart {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "telling_apart({}, {})", self.left, self.others)
    }
}

#[async_trait]
impl BlobAccess for TellingApart {
    type Kind = Cas;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.of(digest.instance_name()).get(ctx, digest).await
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        self.of(parent.instance_name()).get_from_composite(ctx, parent, child, slicer).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        self.of(digest.instance_name()).put(ctx, digest, blob).await
    }

    /// Forwards the digests to the store of their instance name. The services query one name at a time.
    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        match digests.first() {
            Some(first) => self.of(first.instance_name()).find_missing(ctx, digests).await,
            None => Ok(DigestSet::new()),
        }
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        self.of(instance_name).capabilities(ctx, instance_name).await
    }

    fn key_format(&self) -> KeyFormat {
        KeyFormat::WithInstanceName
    }

    fn finds_in_bulk(&self) -> bool {
        true
    }
}

/// The same fixture, whose layers are beyond the wire.
struct Distant<F>(F);

impl<F: Fixture> Fixture for Distant<F> {
    type Store = F::Store;

    fn promises(&self) -> Promises {
        self.0.promises()
    }

    async fn open(&self) -> Result<F::Store> {
        self.0.open().await
    }

    fn break_down(&self) -> bool {
        self.0.break_down()
    }

    fn mend(&self) {
        self.0.mend();
    }

    fn layers(&self) -> Vec<String> {
        vec!["grpc(http://fake:1)".to_owned()]
    }
}

fn distant<K: Kind, S: BlobAccess>(
    make: impl Fn(&Stores<K>) -> S + Send + Sync,
    promise: impl FnOnce(Promises) -> Promises,
) -> Distant<impl Fixture<Store = S>> {
    Distant(Layered::<K, _>::new(make).promising(promise))
}

/// An action result is to fit into a message.
const MAX_MESSAGE_CONTENTS: u64 = (4 << 20) - (64 << 10);

conformance! {
    batched => distant(|beneath| cas(beneath, options()), |promises| promises),
    streamed => {
        let options = || options().with_batch_threshold_bytes(0).with_compression_level(None);
        distant(move |beneath| cas(beneath, options()), |promises| promises)
    },
    messages: Ac => distant(ac, |promises| {
        promises.with_finds_in_bulk(false).with_max_blob_size_bytes(Some(MAX_MESSAGE_CONTENTS))
    }),
}

#[tokio::test]
async fn fields_that_nobody_knows_are_kept() {
    let services = Services::new(ServiceOptions::default()).with_ac(Arc::new(MemoryStore::<Ac>::new(1 << 20)));
    let ac = connect(services, options()).ac();
    // exit_code: 7, and field 1000 with "x".
    let message = Bytes::from_static(b"\x20\x07\xc2\x3e\x01x");
    let (ctx, digest) = (Context::background(), digest(b"action"));
    ac.put(&ctx, &digest, Blob::from_bytes(message.clone())).await.unwrap();
    assert_eq!(ac.get(&ctx, &digest).await.unwrap().into_bytes(100).await.unwrap(), message);
}
