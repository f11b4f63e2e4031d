//! An observer hears of every call of a server.

use std::sync::Arc;

use blobaccess_grpc::services::bytestream::byte_stream_client::ByteStreamClient;
use blobaccess_grpc::services::remote_execution::action_cache_client::ActionCacheClient;
use blobaccess_grpc::{CallObserver, ServiceOptions};
use blobaccess_proto::bytestream::{ReadRequest, WriteRequest};
use blobaccess_proto::remote_execution as re;
use futures::{StreamExt, stream};
use tonic::Code;
use tonic::codegen::http::uri::PathAndQuery;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::recorded_calls::{Counts, RecordedCalls};
use crate::wired::{Wired, get, update};

#[tokio::test]
async fn calls_messages_and_codes_are_told_by_method() {
    let observer = Arc::new(RecordedCalls::default());
    let mut wired = Wired::new(ServiceOptions::default());
    let shared: Arc<dyn CallObserver> = Arc::<RecordedCalls>::clone(&observer);
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
    assert_eq!(observer.counts(name), Counts(3, 3, 1, vec![Code::NotFound, Code::Ok, Code::Cancelled]));
    let name = "build.bazel.remote.execution.v2.ActionCache/UpdateActionResult unary";
    assert_eq!(observer.counts(name), Counts(1, 1, 1, vec![Code::Ok]));
    assert_eq!(observer.counts("google.bytestream.ByteStream/Read server_stream"), Counts(1, 1, 3, vec![Code::Ok]));
    let Counts(begun, _, sent, codes) = observer.counts("google.bytestream.ByteStream/Write client_stream");
    assert_eq!((begun, sent, codes), (1, 0, vec![Code::InvalidArgument]));
    assert_eq!(observer.counts("grpc.health.v1.Health/Check unary"), Counts(1, 1, 1, vec![Code::Ok]));
    let Counts(begun, _, sent, codes) = observer.counts("unknown/unknown bidi_stream");
    assert_eq!((begun, sent, codes), (1, 0, vec![Code::Unimplemented]));
    // Services that are not offered are not told of.
    assert!(!observer.methods.lock().unwrap().keys().any(|name| name.starts_with("buildbarn.")));
    server.stop().await.unwrap();
}
