//! Connections over a network: windows, and connections that fall silent or break.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::{Ac, Blob, BlobAccess, Cas, Context, DigestSet, ErrorKind, MemoryStore, Operation, PutCertainty};
use blobaccess_grpc::{Remote, RemoteOptions, ServiceOptions, Services};
use blobaccess_proto::remote_execution::ActionResult;
use blobaccess_testkit::ManualClock;
use blobaccess_testkit::fakes::{CountingStore, PausedStore};
use futures::future;
use prost::Message as _;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::fake::digest;

/// The fate of the connections that a [`Proxy`] has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Forwarded,
    /// Nothing is forwarded any more, and nobody is told.
    Silent,
    Broken,
}

/// A middle box, on the way to a server. Connections that are made later are forwarded.
struct Proxy {
    address: SocketAddr,
    fate: watch::Sender<(usize, Fate)>,
}

impl Proxy {
    async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (fate, told) = watch::channel((0, Fate::Forwarded));
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut told = told.clone();
                let (age, _) = *told.borrow_and_update();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(server).await.unwrap();
                    let changed = async { told.wait_for(|(at, _)| *at > age).await.map(|told| told.1) };
                    let fate = tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => return,
                        fate = changed => fate,
                    };
                    if fate.is_ok_and(|fate| fate == Fate::Silent) {
                        future::pending::<()>().await;
                    }
                });
            }
        });
        Self { address, fate }
    }

    /// Decides about the connections that there are.
    fn decide(&self, fate: Fate) {
        self.fate.send_modify(|told| *told = (told.0 + 1, fate));
    }
}

async fn serve(cas: impl BlobAccess<Kind = Cas>, ac: impl BlobAccess<Kind = Ac>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let services = Services::new(ServiceOptions::default()).with_cas(cas).with_ac(ac);
    tokio::spawn(async move { services.serve(listener, future::pending()).await });
    address
}

fn options(address: SocketAddr) -> RemoteOptions {
    RemoteOptions::new(format!("http://{address}")).with_connections(1)
}

#[tokio::test]
async fn blobs_that_are_open_and_not_read_hold_nobody_up() {
    const BLOBS: u8 = 12;
    let cas = Arc::new(MemoryStore::<Cas>::new(256 << 20));
    let ctx = Context::background();
    let contents = |number: u8| vec![number; 3 << 20];
    for number in 0..BLOBS {
        cas.put(&ctx, &digest(&contents(number)), Blob::from_bytes(contents(number))).await.unwrap();
    }
    let address = serve(cas, MemoryStore::new(1 << 20)).await;
    let remote = Remote::new(options(address).with_compression_level(None)).unwrap().cas();
    let mut unread = Vec::new();
    for number in 0..BLOBS {
        unread.push(remote.get(&ctx, &digest(&contents(number))).await.unwrap());
    }
    for (number, blob) in (0..BLOBS).zip(unread).rev() {
        assert_eq!(blob.into_bytes(u64::MAX).await.unwrap(), contents(number));
    }
}

#[tokio::test]
async fn a_connection_that_falls_silent_is_left_after_a_call_in_vain() {
    let proxy = Proxy::start(serve(MemoryStore::new(1 << 20), MemoryStore::new(1 << 20)).await).await;
    let clock = ManualClock::new();
    let remote = Remote::new(options(proxy.address).without_keepalive()).unwrap().with_clock(Arc::new(clock.clone()));
    let (cas, ctx, asked) = (remote.cas(), Context::background(), DigestSet::from(digest(b"a")));
    assert_eq!(cas.find_missing(&ctx, &asked).await.unwrap(), asked);

    proxy.decide(Fate::Silent);
    let pass = async {
        clock.until_sleepers(1).await;
        clock.advance(Duration::from_mins(1));
    };
    let (lost, ()) = future::join(cas.find_missing(&ctx, &asked), pass).await;
    assert_eq!(lost.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    assert_eq!(cas.find_missing(&ctx, &asked).await.unwrap(), asked);
    assert_eq!(remote.snapshot().left_connections, 1);
}

#[tokio::test]
async fn a_connection_that_falls_silent_is_pinged_and_the_call_is_made_again() {
    let proxy = Proxy::start(serve(MemoryStore::new(1 << 20), MemoryStore::new(1 << 20)).await).await;
    // The time that pings are told by is that of the system.
    let keepalive = options(proxy.address).with_keepalive(Duration::from_millis(50), Duration::from_millis(50));
    let remote = Remote::new(keepalive).unwrap().with_clock(Arc::new(ManualClock::new()));
    let (cas, ctx, asked) = (remote.cas(), Context::background(), DigestSet::from(digest(b"a")));
    let default = RemoteOptions::new("http://a");
    assert_ne!(default.clone(), default.without_keepalive(), "pings are on unless switched off");
    assert_eq!(cas.find_missing(&ctx, &asked).await.unwrap(), asked);

    proxy.decide(Fate::Silent);
    let error = remote.with_clock(Arc::new(blobaccess::SystemClock)).cas().find_missing(&ctx, &asked).await;
    assert_eq!(error.unwrap(), asked);
}

#[tokio::test]
async fn a_message_whose_answer_is_lost_is_not_sent_again() {
    let ac = Arc::new(CountingStore::new(PausedStore::new(MemoryStore::<Ac>::new(1 << 20))));
    let proxy = Proxy::start(serve(MemoryStore::new(1 << 20), Arc::clone(&ac)).await).await;
    let remote = Remote::new(options(proxy.address)).unwrap().ac();
    let ctx = Context::background();
    let result = ActionResult { exit_code: 7, ..ActionResult::default() }.encode_to_vec();
    let action = digest(b"an action");
    let put = remote.put(&ctx, &action, Blob::from_bytes(result));
    let break_off = async {
        // The server probes its store too, so that whoever waits need not be the put.
        while ac.count_of(Operation::Put) == 0 {
            tokio::task::yield_now().await;
        }
        proxy.decide(Fate::Broken);
    };
    let (lost, ()) = future::join(put, break_off).await;
    let lost = lost.unwrap_err();
    assert_eq!((lost.kind(), lost.put_certainty()), (ErrorKind::Unavailable, PutCertainty::MaybeStored));
    assert!(lost.is_retryable(), "that is for the caller to decide");
    assert_eq!(ac.count_of(Operation::Put), 1);
}
