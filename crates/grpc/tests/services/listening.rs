//! Several groups of listeners over the same stores, each with its own policy.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use blobaccess::{Error, ErrorKind, Result};
use blobaccess_grpc::services::remote_execution::action_cache_client::ActionCacheClient;
use blobaccess_grpc::{
    Identity, ListenerGroup, ListenerOptions, PeerUser, ServerCertificate, ServerTls, ServiceOptions, authenticator_fn,
};
use blobaccess_proto::remote_execution as re;
use blobaccess_testkit::ManualClock;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::Code;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::tls::Authority;
use crate::wired::{Wired, get, update};

/// The services on several groups of listeners.
struct Groups {
    addresses: Vec<SocketAddr>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<()>>,
}

async fn serve(wired: &Wired, groups: impl IntoIterator<Item = ListenerGroup>) -> Groups {
    let mut bound = Vec::new();
    for group in groups {
        bound.push(group.bind().await.unwrap());
    }
    let addresses = bound.iter().flat_map(blobaccess_grpc::BoundListeners::addresses).collect();
    let (stop, stopped) = oneshot::channel();
    let services = wired.services.clone();
    let served = tokio::spawn(async move { services.serve_listeners(bound, async { drop(stopped.await) }).await });
    Groups { addresses, stop, served }
}

impl Groups {
    fn connect(&self, group: usize) -> Channel {
        let address = self.addresses.get(group).unwrap();
        Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy()
    }

    async fn stop(self) {
        drop(self.stop);
        self.served.await.unwrap().unwrap();
    }
}

fn group(options: ListenerOptions) -> ListenerGroup {
    ListenerGroup::new(options).with_address("127.0.0.1:0")
}

fn connect_to_socket(path: &Path) -> Channel {
    Endpoint::from_shared(format!("unix://{}", path.display())).unwrap().connect_lazy()
}

async fn call(channel: Channel) -> Code {
    ActionCacheClient::new(channel).get_action_result(get()).await.unwrap_err().code()
}

/// Returns a result that takes more than `bytes` in a message.
fn large_result(bytes: usize) -> re::UpdateActionResultRequest {
    update(re::ActionResult { stdout_raw: vec![0; bytes].into(), ..re::ActionResult::default() })
}

#[tokio::test]
async fn each_group_has_its_own_authenticator_sizes_of_messages_and_name_of_health() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.sock");
    let refusing = authenticator_fn(|_| Err(Error::permission_denied("not here")));
    let seen = Arc::new(Mutex::new(None));
    let noted = Arc::clone(&seen);
    let noting = authenticator_fn(move |request| {
        *noted.lock().unwrap() = request.peer_user();
        Ok(Identity::anonymous())
    });
    let wired = Wired::new(ServiceOptions::default());
    let small = ListenerOptions::default().with_max_received_message_size_bytes(Some(1 << 10));
    let local = ListenerGroup::new(ListenerOptions::default()).with_socket_path(&path).with_authenticator(noting);
    let groups = serve(
        &wired,
        [
            group(ListenerOptions::default()).with_authenticator(refusing),
            group(small.with_health_check_service("storage")),
            local,
        ],
    )
    .await;

    assert_eq!(call(groups.connect(0)).await, Code::PermissionDenied);
    assert_eq!(call(groups.connect(1)).await, Code::NotFound);
    assert_eq!(call(connect_to_socket(&path)).await, Code::NotFound);
    let user = seen.lock().unwrap().take().unwrap();
    let PeerUser { uid, gid, .. } = user;
    let own = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(folder.path()).unwrap());
    assert!(uid == own && gid < u32::MAX, "{user:?}");

    let mut client = ActionCacheClient::new(groups.connect(1));
    let status = client.update_action_result(large_result(2 << 10)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    ActionCacheClient::new(connect_to_socket(&path)).update_action_result(large_result(2 << 10)).await.unwrap();
    let answer = client.get_action_result(get()).await.unwrap().into_inner();
    assert_eq!(answer.stdout_raw.len(), 2 << 10, "sizes of answers are not concerned");

    let check = async |channel: Channel, name: &str| {
        let request = HealthCheckRequest { service: name.to_owned() };
        HealthClient::new(channel).check(request).await.map_or_else(|status| status.code(), |_| Code::Ok)
    };
    assert_eq!(check(groups.connect(1), "storage").await, Code::Ok);
    assert_eq!(check(groups.connect(1), "").await, Code::Ok);
    assert_eq!(check(groups.connect(0), "storage").await, Code::NotFound);
    groups.stop().await;
    assert!(!path.exists(), "the socket is removed");
}

#[tokio::test]
async fn what_cannot_be_listened_on_is_named() {
    let error = ListenerGroup::new(ListenerOptions::default()).bind().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    let bad = group(ListenerOptions::default()).with_address("nonsense");
    assert_eq!(bad.check().unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert!(bad.bind().await.unwrap_err().message().contains("nonsense"));
    let bad = group(ListenerOptions::default()).with_tls(ServerTls::new("nonsense", "key"));
    assert_eq!(bad.check().unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[tokio::test]
async fn a_certificate_can_be_replaced_and_plain_connections_stay_plain() {
    let (first, second) = (Authority::new(), Authority::new());
    let (certificate, key) = first.certify("localhost");
    let certificate = ServerCertificate::new(&certificate, &key).unwrap();
    let wired = Wired::new(ServiceOptions::default());
    let tls = ServerTls::with_certificate(certificate.clone());
    let groups =
        serve(&wired, [group(ListenerOptions::default()).with_tls(tls), group(ListenerOptions::default())]).await;
    let trusting = async |authority: &Authority| {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&authority.certificate_pem));
        let endpoint = Endpoint::from_shared(format!("https://{}", groups.addresses[0])).unwrap();
        call(endpoint.tls_config(tls.domain_name("localhost")).unwrap().connect_lazy()).await
    };
    assert_eq!(trusting(&first).await, Code::NotFound);
    assert_ne!(trusting(&second).await, Code::NotFound);
    assert_eq!(call(groups.connect(1)).await, Code::NotFound);

    let (renewed, key) = second.certify("localhost");
    assert_eq!(certificate.replace(&renewed, "nonsense").unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(trusting(&first).await, Code::NotFound);
    certificate.replace(&renewed, &key).unwrap();
    assert_eq!(trusting(&second).await, Code::NotFound);
    assert_ne!(trusting(&first).await, Code::NotFound);
    groups.stop().await;
}

/// Returns services that note the address of each caller, on a clock.
fn noting_callers(clock: &ManualClock) -> (Wired, Arc<Mutex<Option<SocketAddr>>>) {
    let mut wired = Wired::new(ServiceOptions::default());
    let seen = Arc::new(Mutex::new(None));
    let noted = Arc::clone(&seen);
    let noting = authenticator_fn(move |request| {
        *noted.lock().unwrap() = request.remote_address();
        Ok(Identity::anonymous())
    });
    wired.services = wired.services.with_clock(Arc::new(clock.clone())).with_authenticator(noting);
    (wired, seen)
}

#[tokio::test]
async fn a_connection_that_is_idle_or_old_is_made_anew() {
    let limit = Duration::from_hours(1);
    for options in [
        ListenerOptions::default().with_max_connection_idle(Some(limit)),
        ListenerOptions::default().with_max_connection_age(Some(limit)),
    ] {
        let clock = ManualClock::new();
        let (wired, seen) = noting_callers(&clock);
        let groups = serve(&wired, [group(options.clone())]).await;
        let channel = groups.connect(0);
        let from = async || {
            assert_eq!(call(channel.clone()).await, Code::NotFound);
            seen.lock().unwrap().take().unwrap()
        };
        let first = from().await;
        clock.advance(limit * 8 / 10);
        for _ in 0..10 {
            assert_eq!(from().await, first, "{options:?}");
        }
        clock.advance(limit * 12 / 10);
        // The client has to hear of it first.
        let mut calls = 0;
        while from().await == first {
            calls += 1;
            assert!(calls < 1000, "the connection stays: {options:?}");
            tokio::task::yield_now().await;
        }
        groups.stop().await;
    }
}

#[tokio::test]
async fn calls_that_outlive_the_age_of_their_connection_have_its_grace() {
    let (age, grace) = (Duration::from_hours(1), Duration::from_mins(10));
    let clock = ManualClock::new();
    let (wired, _) = noting_callers(&clock);
    let aging = ListenerOptions::default().with_max_connection_age(Some(age));
    let strict = aging.clone().with_max_connection_age_grace(Some(grace));
    let groups = serve(&wired, [group(strict), group(aging)]).await;
    wired.ac.hang();
    let (cut, kept) = (tokio::spawn(call(groups.connect(0))), tokio::spawn(call(groups.connect(1))));
    while wired.ac.waiting.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    clock.advance(age * 2);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!cut.is_finished(), "it has the grace");
    clock.advance(grace);
    assert_ne!(cut.await.unwrap(), Code::NotFound);
    assert!(!kept.is_finished());
    wired.ac.gets.add_permits(1);
    assert_eq!(kept.await.unwrap(), Code::NotFound);
    groups.stop().await;
}

#[tokio::test]
async fn each_group_stops_with_its_own_grace() {
    let wired = Wired::new(ServiceOptions::default());
    let at_once = ListenerOptions::default().with_shutdown_grace(Some(Duration::ZERO));
    let patient = ListenerOptions::default().with_shutdown_grace(Some(Duration::MAX));
    let Groups { addresses, stop, served } = serve(&wired, [group(at_once), group(patient)]).await;
    wired.ac.hang();
    let hanging = |address: SocketAddr| {
        tokio::spawn(call(Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy()))
    };
    let (cut, kept) = (hanging(addresses[0]), hanging(addresses[1]));
    while wired.ac.waiting.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    drop(stop);
    assert_ne!(cut.await.unwrap(), Code::NotFound);
    assert!(!kept.is_finished() && !served.is_finished());
    wired.ac.gets.add_permits(1);
    assert_eq!(kept.await.unwrap(), Code::NotFound);
    served.await.unwrap().unwrap();
}

#[tokio::test]
async fn connections_beyond_the_limit_of_an_address_are_closed() {
    let wired = Wired::new(ServiceOptions::default().with_max_connections(8, 2));
    let groups = serve(&wired, [group(ListenerOptions::default())]).await;
    let (first, second) = (groups.connect(0), groups.connect(0));
    assert_eq!((call(first.clone()).await, call(second).await), (Code::NotFound, Code::NotFound));
    assert_ne!(call(groups.connect(0)).await, Code::NotFound);
    let snapshot = wired.services.snapshot();
    assert!(snapshot.connections <= 2 && snapshot.refused_connections > 0, "{snapshot:?}");
    assert_eq!(call(first.clone()).await, Code::NotFound);
    drop(first);
    while call(groups.connect(0)).await != Code::NotFound {
        tokio::task::yield_now().await;
    }
    groups.stop().await;
}
