//! An observer hears of every call of a client.

use blobaccess::{Ac, BlobAccess as _, BlobAccessExt as _, Cas, Context, ErrorKind, MemoryStore};
use blobaccess_grpc::{ListenerGroup, ListenerOptions, Remote, RemoteOptions, RetryPolicy, ServiceOptions, Services};
use tonic::Code;

use crate::fake::digest;
use crate::recorded_calls::{Counts, RecordedCalls};

#[tokio::test]
async fn calls_messages_and_codes_are_observed_by_method() {
    let services = Services::new(ServiceOptions::default())
        .with_cas(MemoryStore::<Cas>::new(1 << 20))
        .with_ac(MemoryStore::<Ac>::new(1 << 20));
    let bound = ListenerGroup::new(ListenerOptions::default()).with_address("127.0.0.1:0").bind().await.unwrap();
    let address = bound.addresses().pop().unwrap();
    tokio::spawn(async move { services.serve_listeners([bound], std::future::pending()).await });

    let observer = RecordedCalls { is_shared: true, ..RecordedCalls::default() };
    let remote = |address: String| {
        let options = RemoteOptions::new(address).with_retry(RetryPolicy::default().with_attempts(1));
        Remote::new(options.with_compression_level(None)).unwrap().with_call_observer(&observer).unwrap()
    };
    let connected = remote(address.to_string());
    let ctx = Context::background();
    let blob = vec![7; 300 << 10];
    connected.cas().put_bytes(&ctx, &digest(&blob), blob.clone()).await.unwrap();
    assert_eq!(connected.cas().get_bytes(&ctx, &digest(&blob), 1 << 20).await.unwrap(), blob);
    assert!(connected.ac().get(&ctx, &digest(b"absent")).await.unwrap_err().is_not_found());
    // Nobody listens there.
    let absent = remote(format!("unix:{}/absent", tempfile::tempdir().unwrap().path().display()));
    assert_eq!(absent.ac().get(&ctx, &digest(b"absent")).await.unwrap_err().kind(), ErrorKind::Unavailable);

    let name = "build.bazel.remote.execution.v2.ActionCache/GetActionResult unary";
    let Counts(begun, received, _, codes) = observer.counts(name);
    assert_eq!((begun, received, codes), (2, 0, vec![Code::NotFound, Code::Unavailable]));
    let Counts(begun, received, sent, codes) = observer.counts("google.bytestream.ByteStream/Read server_stream");
    assert_eq!((begun, sent, codes), (1, 1, vec![Code::Ok]));
    assert!(received > 1, "{received}");
    let Counts(begun, received, sent, codes) = observer.counts("google.bytestream.ByteStream/Write client_stream");
    assert_eq!((begun, received, codes), (1, 1, vec![Code::Ok]));
    assert!(sent >= 1, "{sent}");
    // What clients do not call is not announced.
    assert!(!observer.methods.lock().unwrap().keys().any(|name| name.starts_with("grpc.health")));
}
