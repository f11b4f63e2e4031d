//! The stores of a remote server, over our own services, held to the suite.
//!
//! What they are over is in memory, outlives them, and breaks down when a contract wants it to. Connections are made
//! within the process, but for those of `over_loopback`.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail so")]

use std::io;
use std::net::Ipv4Addr;
use std::task::{Context as Poller, Poll};
use std::time::Duration;

use blobaccess::{Ac, Cas};
use blobaccess_grpc::{Remote, RemoteAcStore, RemoteCasStore, RemoteOptions, RetryPolicy, ServiceOptions, Services};
use blobaccess_testkit::{Layered, Promises, conformance};
use futures::future::{self, Ready};
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::codegen::Service;
use tonic::transport::Endpoint;

/// The largest action result of a remote store: a message, less everything that surrounds the result.
const MAX_ACTION_RESULT_BYTES: u64 = (4 << 20) - (64 << 10);

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
            let options = options().with_max_message_size_bytes(128 << 10).with_max_concurrent_calls(8);
            cas(Services::new(narrow).with_cas(beneath.store("inner")), options)
        })
        .promising(of_contents),
    contents_through_two_servers =>
        Layered::<Cas, _>::new(|beneath| cas(over(cas(over(beneath.store("inner")), options())), options()))
            .promising(of_contents),
    contents_over_loopback =>
        Layered::<Cas, _>::new(|beneath| over_loopback(over(beneath.store("inner"))).cas())
            .with_layers(["grpc(http://127.0.0.1:"])
            .promising(of_contents),

    action_results: Ac =>
        Layered::<Ac, _>::new(|beneath| ac(Services::new(ServiceOptions::default()).with_ac(beneath.store("inner"))))
            .promising(of_action_results),
    action_results_through_two_servers: Ac =>
        Layered::<Ac, _>::new(|beneath| {
            let behind = ac(Services::new(ServiceOptions::default()).with_ac(beneath.store("inner")));
            ac(Services::new(ServiceOptions::default()).with_ac(behind))
        })
        .promising(of_action_results),
    action_results_over_loopback: Ac =>
        Layered::<Ac, _>::new(|beneath| {
            over_loopback(Services::new(ServiceOptions::default()).with_ac(beneath.store("inner"))).ac()
        })
        .with_layers(["grpc(http://127.0.0.1:"])
        .promising(of_action_results),
}

/// Returns the promises of a remote store: outcomes are exact, but the visibility between instance names is not known.
fn of_contents(promises: Promises) -> Promises {
    promises.with_knows_key_format(false)
}

fn of_action_results(promises: Promises) -> Promises {
    of_contents(promises).with_finds_in_bulk(false).with_max_blob_size_bytes(Some(MAX_ACTION_RESULT_BYTES))
}

/// Retries as a client does, without the waits.
fn options() -> RemoteOptions {
    let retry = RetryPolicy::default().with_backoff(Duration::from_millis(1), Duration::from_millis(2));
    RemoteOptions::new("http://memory").with_retry(retry)
}

fn over(store: impl blobaccess::BlobAccess<Kind = Cas>) -> Services {
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
