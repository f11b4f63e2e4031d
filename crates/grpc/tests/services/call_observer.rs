//! An observer hears of every call of a server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use blobaccess_grpc::services::bytestream::byte_stream_client::ByteStreamClient;
use blobaccess_grpc::services::remote_execution::action_cache_client::ActionCacheClient;
use blobaccess_grpc::{CallMethod, CallObserver, MethodObserver, ServiceOptions};
use blobaccess_proto::bytestream::{ReadRequest, WriteRequest};
use blobaccess_proto::remote_execution as re;
use futures::{StreamExt, stream};
use tonic::Code;
use tonic::codegen::http::uri::PathAndQuery;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::wired::{Wired, get, update};

/// The calls of one method: begun, received, sent, and the codes with which they ended.
#[derive(Clone, Debug, Default, PartialEq)]
struct Told(u64, u64, u64, Vec<Code>);

#[derive(Debug, Default)]
struct Recording {
    methods: Mutex<BTreeMap<String, Arc<Method>>>,
}

#[derive(Debug, Default)]
struct Method(Mutex<Told>);

impl CallObserver for Recording {
    fn observe_method(&self, method: &CallMethod) -> Arc<dyn MethodObserver> {
        let name = format!("{}/{} {}", method.service, method.method, method.streams.name());
        let observer = Arc::new(Method::default());
        assert!(self.methods.lock().unwrap().insert(name, Arc::clone(&observer)).is_none());
        observer
    }
}

impl Recording {
    fn told(&self, name: &str) -> Told {
        self.methods.lock().unwrap().get(name).unwrap().0.lock().unwrap().clone()
    }
}

impl MethodObserver for Method {
    fn call_started(&self) {
        self.0.lock().unwrap().0 += 1;
    }

    fn messages_received(&self, count: u64) {
        self.0.lock().unwrap().1 += count;
    }

    fn messages_sent(&self, count: u64) {
        self.0.lock().unwrap().2 += count;
    }

    fn call_ended(&self, code: Code, _: Duration) {
        self.0.lock().unwrap().3.push(code);
    }
}

#[tokio::test]
async fn calls_messages_and_codes_are_told_by_method() {
    let observer = Arc::new(Recording::default());
    let mut wired = Wired::new(ServiceOptions::default());
    let shared: Arc<dyn CallObserver> = Arc::<Recording>::clone(&observer);
    wired.services = wired.services.with_call_observer(shared);
    let digest = wired.store(&vec![7; 300 << 10]).await;
    let server = wired.serve(None).await;
    let channel = server.connect().await;

    let mut ac = ActionCacheClient::new(channel.clone());
    ac.get_action_result(get()).await.unwrap_err();
    ac.update_action_result(update(re::ActionResult { exit_code: 9, ..Default::default() })).await.unwrap();
    ac.get_action_result(get()).await.unwrap();
    let mut stream = ByteStreamClient::new(channel.clone());
    let resource_name = format!("blobs/{}/{}", digest.hash, digest.size_bytes);
    let request = ReadRequest { resource_name, ..ReadRequest::default() };
    assert_eq!(stream.read(request).await.unwrap().into_inner().count().await, 3);
    let parts = (0..4).map(|_| WriteRequest { resource_name: "nonsense".into(), ..WriteRequest::default() });
    stream.write(stream::iter(parts)).await.unwrap_err();
    HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.unwrap();
    let mut unknown = tonic::client::Grpc::new(channel.clone());
    unknown.ready().await.unwrap();
    let path = PathAndQuery::from_static("/no.such.Service/Method");
    let empty = tonic_prost::ProstCodec::<(), ()>::default();
    let answer: Result<tonic::Response<()>, _> = unknown.unary(tonic::Request::new(()), path, empty).await;
    assert_eq!(answer.unwrap_err().code(), Code::Unimplemented);
    // A call that its client gives up.
    wired.ac.hang();
    let hanging = tokio::spawn(async move { ac.get_action_result(get()).await });
    while wired.services.snapshot().open_calls == 0 {
        tokio::task::yield_now().await;
    }
    hanging.abort();
    while wired.services.snapshot().open_calls > 0 {
        tokio::task::yield_now().await;
    }

    let name = "build.bazel.remote.execution.v2.ActionCache/GetActionResult unary";
    assert_eq!(observer.told(name), Told(3, 3, 1, vec![Code::NotFound, Code::Ok, Code::Cancelled]));
    let name = "build.bazel.remote.execution.v2.ActionCache/UpdateActionResult unary";
    assert_eq!(observer.told(name), Told(1, 1, 1, vec![Code::Ok]));
    assert_eq!(observer.told("google.bytestream.ByteStream/Read server_stream"), Told(1, 1, 3, vec![Code::Ok]));
    let Told(begun, _, sent, codes) = observer.told("google.bytestream.ByteStream/Write client_stream");
    assert_eq!((begun, sent, codes), (1, 0, vec![Code::InvalidArgument]));
    assert_eq!(observer.told("grpc.health.v1.Health/Check unary"), Told(1, 1, 1, vec![Code::Ok]));
    let Told(begun, _, sent, codes) = observer.told("unknown/unknown bidi_stream");
    assert_eq!((begun, sent, codes), (1, 0, vec![Code::Unimplemented]));
    // Services that are not offered are not told of.
    assert!(!observer.methods.lock().unwrap().keys().any(|name| name.starts_with("buildbarn.")));
    server.stop().await.unwrap();
}
