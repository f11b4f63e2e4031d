//! Tools can ask which services there are.

use std::sync::Arc;

use blobaccess::replication::LocalReplicator;
use blobaccess::{Cas, MemoryStore};
use blobaccess_grpc::{ServiceOptions, Services};
use futures::stream;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1alpha;
use tonic_reflection::pb::v1alpha::server_reflection_client::ServerReflectionClient as OldClient;

use crate::fake::Fake;
use crate::wired::Wired;

async fn ask(services: &Services, request: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let mut client = ServerReflectionClient::new(services.routes().unwrap());
    let mut answers = client.server_reflection_info(stream::iter([request])).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap().message_response.unwrap()
}

#[tokio::test]
async fn services_are_listed_and_described() {
    let stores = || Arc::new(MemoryStore::<Cas>::new(1 << 20));
    let services = Wired::new(ServiceOptions::default()).services;
    let services = services
        .with_icas(Fake::new())
        .with_iscc(Fake::new())
        .with_fsac(Fake::new())
        .with_replicator(LocalReplicator::new(stores(), stores()));
    let MessageResponse::ListServicesResponse(listed) =
        ask(&services, MessageRequest::ListServices(String::new())).await
    else {
        panic!("not a list");
    };
    let mut names: Vec<_> = listed.service.iter().map(|service| service.name.as_str()).collect();
    names.sort_unstable();
    let expected = [
        "build.bazel.remote.execution.v2.ActionCache",
        "build.bazel.remote.execution.v2.Capabilities",
        "build.bazel.remote.execution.v2.ContentAddressableStorage",
        "buildbarn.fsac.FileSystemAccessCache",
        "buildbarn.icas.IndirectContentAddressableStorage",
        "buildbarn.iscc.InitialSizeClassCache",
        "buildbarn.replicator.Replicator",
        "google.bytestream.ByteStream",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
    ];
    assert_eq!(names, expected);
    for name in names {
        let described = ask(&services, MessageRequest::FileContainingSymbol(name.to_owned())).await;
        assert!(matches!(described, MessageResponse::FileDescriptorResponse(_)), "{name}: {described:?}");
    }
}

#[tokio::test]
async fn tools_of_before_are_answered_too() {
    let wired = Wired::new(ServiceOptions::default());
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::ListServices(String::new())),
    };
    let mut client = OldClient::new(wired.services.routes().unwrap());
    let mut answers = client.server_reflection_info(stream::iter([request])).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().unwrap().message_response.is_some());
}
