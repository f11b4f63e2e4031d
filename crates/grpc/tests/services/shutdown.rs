//! A server that is told to stop lets calls finish, and cuts those that do not.

use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::time::Duration;

use blobaccess::{Clock, SystemClock};
use blobaccess_grpc::ServiceOptions;
use blobaccess_grpc::services::remote_execution::action_cache_client::ActionCacheClient;
use blobaccess_proto::remote_execution as re;
use futures::{StreamExt, stream};
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus::{NotServing, Serving};
use tonic_health::pb::health_client::HealthClient;

use crate::wired::{Wired, get, update};

/// Connects a client to one end of a pipe. With pipes, unlike sockets, paused time shows when nothing can happen any
/// more.
async fn connect(end: DuplexStream) -> Channel {
    let mut end = Some(end);
    let connector = tower::service_fn(move |_| {
        let end = end.take().ok_or_else(|| std::io::Error::other("the pipe is used up"));
        async move { end.map(TokioIo::new) }
    });
    Endpoint::from_static("http://pipe").connect_with_connector(connector).await.unwrap()
}

struct Piped {
    channel: Channel,
    stop: oneshot::Sender<()>,
    served: JoinHandle<blobaccess::Result<()>>,
}

async fn serve(wired: &Wired) -> Piped {
    let (near, far) = tokio::io::duplex(1 << 16);
    let incoming = stream::iter([Ok::<_, Infallible>(near)]).chain(stream::pending());
    let (stop, stopped) = oneshot::channel();
    let services = wired.services.clone();
    let served = tokio::spawn(async move { services.serve_incoming(incoming, async { drop(stopped.await) }).await });
    Piped { channel: connect(far).await, stop, served }
}

async fn passes(duration: Duration) {
    SystemClock.sleep_until(SystemClock.monotonic() + duration).await;
}

#[tokio::test(start_paused = true)]
async fn a_running_call_finishes_and_a_hanging_one_is_cut_after_the_grace() {
    let grace = Duration::from_secs(20);
    let wired = Wired::new(ServiceOptions::default().with_shutdown_grace(grace));
    let Piped { channel, stop, served } = serve(&wired).await;
    let result = re::ActionResult { exit_code: 9, ..re::ActionResult::default() };
    let mut client = ActionCacheClient::new(channel);
    client.update_action_result(update(result.clone())).await.unwrap();

    wired.ac.hang();
    let call = |mut client: ActionCacheClient<Channel>| {
        tokio::spawn(async move { client.get_action_result(get()).await.map(tonic::Response::into_inner) })
    };
    let (one, other) = (call(client.clone()), call(client));
    passes(Duration::from_secs(1)).await;
    assert_eq!(wired.ac.waiting.load(Ordering::SeqCst), 2);

    let stopped_at = SystemClock.monotonic();
    drop(stop);
    passes(Duration::from_secs(5)).await;
    assert!(wired.services.snapshot().draining && !served.is_finished());
    wired.ac.gets.add_permits(1);
    let mut answers = stream::iter([one, other]).buffer_unordered(2);
    assert_eq!(answers.next().await.unwrap().unwrap().unwrap(), result);
    assert_eq!(wired.services.snapshot().open_calls, 1);

    assert!(answers.next().await.unwrap().unwrap().is_err(), "it hangs, and is cut");
    served.await.unwrap().unwrap();
    assert_eq!(SystemClock.monotonic() - stopped_at, grace);
    assert_eq!(wired.services.snapshot().open_calls, 0);
}

#[tokio::test(start_paused = true)]
async fn without_running_calls_it_stops_at_once_even_if_health_is_watched() {
    let wired = Wired::new(ServiceOptions::default());
    let Piped { channel, stop, served } = serve(&wired).await;
    let mut watched = HealthClient::new(channel).watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().unwrap().status(), Serving);
    let stopped_at = SystemClock.monotonic();
    drop(stop);
    assert_eq!(watched.message().await.unwrap().unwrap().status(), NotServing);
    assert!(watched.message().await.unwrap().is_none());
    served.await.unwrap().unwrap();
    // What remains is the time that both sides take to say goodbye.
    assert!(SystemClock.monotonic() - stopped_at < Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_dropped_cuts_its_connections() {
    let wired = Wired::new(ServiceOptions::default());
    let Piped { channel, stop: _stop, served } = serve(&wired).await;
    wired.ac.hang();
    let mut client = ActionCacheClient::new(channel);
    let hanging = tokio::spawn(async move { client.get_action_result(get()).await });
    passes(Duration::from_secs(1)).await;
    assert_eq!(wired.services.snapshot().open_calls, 1);
    served.abort();
    assert!(hanging.await.unwrap().is_err());
    passes(Duration::from_secs(1)).await;
    assert_eq!(wired.services.snapshot().open_calls, 0);
}

#[tokio::test]
async fn a_server_that_has_stopped_accepts_nobody() {
    let wired = Wired::new(ServiceOptions::default());
    let mut accepted = 0;
    // A port that was given back may be somebody else's at once, but hardly each time.
    for _ in 0..4 {
        let server = wired.serve(None).await;
        let address = server.address;
        drop(server.connect().await);
        server.stop().await.unwrap();
        accepted += usize::from(tokio::net::TcpStream::connect(address).await.is_ok());
    }
    assert!(accepted < 4, "it accepts whoever comes");
}
