//! The stores of a remote server, over our own services, held to the suite.
//!
//! What they are over is in memory, outlives them, and breaks down when a contract wants it to. Connections are made
//! within the process, but for those of `over_loopback`.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail so")]

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::task::{Context as Poller, Poll};
use std::time::Duration;

use blobaccess::decorators::ReadFallback;
use blobaccess::replication::LocalReplicator;
use blobaccess::{Ac, BlobAccess, Cas, Fsac, Icas, Iscc};
use blobaccess_grpc::{Remote, RemoteAcStore, RemoteCasStore, RemoteOptions, RetryPolicy, ServiceOptions, Services};
use blobaccess_testkit::{Layered, Promises, Replicating, Stores, conformance, replicator_conformance};
use futures::future::{self, Ready};
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::codegen::Service;
use tonic::transport::Endpoint;

/// The largest message of a remote store: one of the connection, less everything that surrounds it.
const MAX_MESSAGE_BYTES: u64 = (4 << 20) - (64 << 10);

/// The calls that a narrow client has under way.
const NARROW_CALLS: usize = 8;

conformance! {
    contents => Layered::<Cas, _>::new(|beneath| cas(over(beneath.store("inner")), options())).promising(of_contents),
    contents_uncompressed =>
        Layered::<Cas, _>::new(|beneath| cas(over(beneath.store("inner")), options().with_compression_level(None)))
            .promising(of_contents),
    contents_streamed =>
        Layered::<Cas, _>::new(|beneath| cas(over(beneath.store("inner")), options().with_batch_threshold_bytes(0)))
            .promising(of_contents),
    contents_streamed_uncompressed =>
        Layered::<Cas, _>::new(|beneath| {
            let options = options().with_batch_threshold_bytes(0).with_compression_level(None);
            cas(over(beneath.store("inner")), options)
        })
        .promising(of_contents),
    contents_of_a_server_that_does_not_compress =>
        Layered::<Cas, _>::new(|beneath| {
            let services = Services::new(ServiceOptions::default().with_compression_level(None));
            cas(services.with_cas(beneath.store("inner")), options())
        })
        .promising(of_contents),
    // So little that nearly everything waits for room.
    contents_of_a_narrow_server =>
        Layered::<Cas, _>::new(|beneath| {
            let narrow = ServiceOptions::default()
                .with_max_message_size_bytes(128 << 10)
                .with_max_in_flight_bytes(256 << 10)
                .with_batch_concurrency(1);
            let options = options().with_max_message_size_bytes(128 << 10).with_max_concurrent_calls(NARROW_CALLS);
            cas(Services::new(narrow).with_cas(beneath.store("inner")), options)
        })
        .promising(|promises| of_contents(promises).with_max_slow_peers(Some(NARROW_CALLS - 1))),
    contents_through_two_servers =>
        Layered::<Cas, _>::new(|beneath| cas(over(cas(over(beneath.store("inner")), options())), options()))
            .promising(of_contents),
    contents_over_loopback =>
        Layered::<Cas, _>::new(|beneath| over_loopback(over(beneath.store("inner"))).cas())
            .with_layers(["grpc(http://127.0.0.1:"])
            .promising(of_contents),

    action_results: Ac =>
        Layered::<Ac, _>::new(|beneath| ac(Services::new(ServiceOptions::default()).with_ac(beneath.store("inner"))))
            .promising(of_messages),
    action_results_through_two_servers: Ac =>
        Layered::<Ac, _>::new(|beneath| {
            let behind = ac(Services::new(ServiceOptions::default()).with_ac(beneath.store("inner")));
            ac(Services::new(ServiceOptions::default()).with_ac(behind))
        })
        .promising(of_messages),
    action_results_over_loopback: Ac =>
        Layered::<Ac, _>::new(|beneath| {
            over_loopback(Services::new(ServiceOptions::default()).with_ac(beneath.store("inner"))).ac()
        })
        .with_layers(["grpc(http://127.0.0.1:"])
        .promising(of_messages),

    references: Icas =>
        Layered::<Icas, _>::new(|beneath| {
            within_the_process(services().with_icas(beneath.store("inner")), options()).icas()
        })
        .promising(of_references),
    references_through_two_servers: Icas =>
        Layered::<Icas, _>::new(|beneath| {
            let behind = within_the_process(services().with_icas(beneath.store("inner")), options()).icas();
            within_the_process(services().with_icas(behind), options()).icas()
        })
        .promising(of_references),
    references_over_loopback: Icas =>
        Layered::<Icas, _>::new(|beneath| over_loopback(services().with_icas(beneath.store("inner"))).icas())
            .with_layers(["grpc(http://127.0.0.1:"])
            .promising(of_references),

    size_classes: Iscc =>
        Layered::<Iscc, _>::new(|beneath| {
            within_the_process(services().with_iscc(beneath.store("inner")), options()).iscc()
        })
        .promising(of_messages),
    size_classes_through_two_servers: Iscc =>
        Layered::<Iscc, _>::new(|beneath| {
            let behind = within_the_process(services().with_iscc(beneath.store("inner")), options()).iscc();
            within_the_process(services().with_iscc(behind), options()).iscc()
        })
        .promising(of_messages),
    size_classes_over_loopback: Iscc =>
        Layered::<Iscc, _>::new(|beneath| over_loopback(services().with_iscc(beneath.store("inner"))).iscc())
            .with_layers(["grpc(http://127.0.0.1:"])
            .promising(of_messages),

    path_profiles: Fsac =>
        Layered::<Fsac, _>::new(|beneath| {
            within_the_process(services().with_fsac(beneath.store("inner")), options()).fsac()
        })
        .promising(of_messages),
    path_profiles_through_two_servers: Fsac =>
        Layered::<Fsac, _>::new(|beneath| {
            let behind = within_the_process(services().with_fsac(beneath.store("inner")), options()).fsac();
            within_the_process(services().with_fsac(behind), options()).fsac()
        })
        .promising(of_messages),
    path_profiles_over_loopback: Fsac =>
        Layered::<Fsac, _>::new(|beneath| over_loopback(services().with_fsac(beneath.store("inner"))).fsac())
            .with_layers(["grpc(http://127.0.0.1:"])
            .promising(of_messages),

    contents_whose_copies_a_server_makes =>
        Layered::<Cas, _>::new(read_fallback_with_remote_copies).with_layers(["read_fallback", "memory"]),
}

replicator_conformance! {
    copies_by_a_server: Cas => Replicating::<Cas, _>::new(|source, sink| {
        let copies = LocalReplicator::new(Arc::clone(&source), sink);
        within_the_process(services().with_replicator(copies), options()).replicator(source)
    }),
    // A server that has others copy.
    copies_by_a_server_of_a_server: Cas => Replicating::<Cas, _>::new(|source, sink| {
        let copies = LocalReplicator::new(Arc::clone(&source), sink);
        let behind = within_the_process(services().with_replicator(copies), options()).replicator(Arc::clone(&source));
        within_the_process(services().with_replicator(behind), options()).replicator(source)
    }),
    copies_over_loopback: Cas => Replicating::<Cas, _>::new(|source, sink| {
        let copies = LocalReplicator::new(Arc::clone(&source), sink);
        over_loopback(services().with_replicator(copies)).replicator(source)
    }),
}

/// Reads from a second store what the first one lacks, and has a server copy it.
fn read_fallback_with_remote_copies(beneath: &Stores<Cas>) -> impl BlobAccess<Kind = Cas> + use<> {
    let [primary, secondary] = ["primary", "secondary"].map(|name| Arc::new(beneath.store(name)));
    let copies = LocalReplicator::new(Arc::clone(&secondary), Arc::clone(&primary));
    let server = within_the_process(services().with_replicator(copies), options());
    let replicator = server.replicator(Arc::clone(&secondary));
    ReadFallback::new(primary, secondary, replicator)
}

fn services() -> Services {
    Services::new(ServiceOptions::default())
}

/// Returns the promises of a remote store: outcomes are exact, but the visibility between instance names is not known.
fn of_contents(promises: Promises) -> Promises {
    promises.with_knows_key_format(false)
}

fn of_references(promises: Promises) -> Promises {
    of_messages(promises).with_finds_in_bulk(true)
}

fn of_messages(promises: Promises) -> Promises {
    of_contents(promises).with_finds_in_bulk(false).with_max_blob_size_bytes(Some(MAX_MESSAGE_BYTES))
}

/// Retries as a client does, without the waits.
fn options() -> RemoteOptions {
    let retry = RetryPolicy::default().with_backoff(Duration::from_millis(1), Duration::from_millis(2));
    RemoteOptions::new("http://memory").with_retry(retry)
}

fn over(store: impl BlobAccess<Kind = Cas>) -> Services {
    Services::new(ServiceOptions::default()).with_cas(store)
}

fn cas(services: Services, options: RemoteOptions) -> RemoteCasStore {
    within_the_process(services, options).cas()
}

fn ac(services: Services) -> RemoteAcStore {
    within_the_process(services, options()).ac()
}

/// Makes a client of `services`, which are served until the client is gone.
fn within_the_process(services: Services, options: RemoteOptions) -> Remote {
    let (connections, incoming) = unbounded_channel();
    let incoming = UnboundedReceiverStream::new(incoming);
    tokio::spawn(async move { services.serve_incoming(incoming, future::pending()).await });
    // A contract opens 32 blobs before it reads the first: what nobody reads yet must not use up the connection's
    // window, or nothing more arrives on it.
    let endpoint = Endpoint::from_static("http://memory").initial_connection_window_size(8 << 20);
    let channel = endpoint.connect_with_connector_lazy(Connector(connections));
    Remote::with_channels(options, [channel]).unwrap()
}

/// Makes a client over a real socket. The server ends with the runtime of the contract.
fn over_loopback(services: Services) -> Remote {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    tokio::spawn(async move { services.serve(listener, future::pending()).await });
    let retry = RetryPolicy::default().with_backoff(Duration::from_millis(1), Duration::from_millis(2));
    let options = RemoteOptions::new(format!("http://{address}")).with_retry(retry);
    Remote::new(options.with_connect_timeout(Duration::from_mins(10))).unwrap()
}

/// Makes connections whose other end the server gets.
struct Connector(UnboundedSender<io::Result<DuplexStream>>);

impl Service<Uri> for Connector {
    type Response = TokioIo<DuplexStream>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Poller<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let sent = self.0.send(Ok(theirs));
        future::ready(sent.map(|()| TokioIo::new(ours)).map_err(|_| io::Error::other("the server is gone")))
    }
}
