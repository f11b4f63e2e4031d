//! Tests of what a server passes on to the servers behind it.

use blobaccess::{BlobAccess, Context, Digest, DigestFunction, InstanceName, Metadata};
use blobaccess_grpc::{Remote, RemoteOptions};
use serde_json::json;
use tokio::sync::oneshot;

use super::fakes::StorageServer;
use crate::{Application, Document, Registry};

#[tokio::test]
async fn credentials_of_callers_stay_here_although_expressions_see_them() {
    let behind = StorageServer::start(None).await;
    let client = json!({
        "address": behind.address.to_string(),
        "addMetadataJmespathExpression": { "expression": "{\"x-site\": incomingGRPCMetadata.\"x-secret\"}" },
    });
    let configuration = json!({
        "grpcServers": [{ "listenAddresses": ["127.0.0.1:0"], "authenticationPolicy": { "allow": {} } }],
        "maximumMessageSizeBytes": 2 << 20,
        "global": { "grpcForwardAndReuseMetadata": ["x-forwarded"] },
        "contentAddressableStorage": {
            "backend": { "grpc": { "client": client } },
            "getAuthorizer": { "allow": {} }, "putAuthorizer": { "allow": {} }, "findMissingAuthorizer": { "allow": {} },
        },
    });
    let document = Document::from_json(&configuration.to_string(), "frontend.json").unwrap();
    let frontend = Application::from_document(&document, &Registry::new()).unwrap().open().await.unwrap();
    let listeners = frontend.bind().await.unwrap();
    let address = listeners[0].addresses()[0];
    let (stop, stopped) = oneshot::channel::<()>();
    let services = frontend.services().clone();
    let shutdown = async { drop(stopped.await) };
    let serving = tokio::spawn(async move { services.serve_listeners(listeners, shutdown).await });

    let headers = [("authorization", "Bearer secret"), ("x-secret", "word"), ("x-forwarded", "this")];
    let metadata = headers.iter().fold(Metadata::new(), |all, (name, value)| all.with((*name).to_owned(), *value));
    let cas = Remote::new(RemoteOptions::new(format!("grpc://{address}"))).unwrap().cas();
    let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello");
    let ctx = Context::background().with_metadata(metadata);
    drop(cas.find_missing(&ctx, &digest.into()).await.unwrap());

    assert_eq!(behind.seen.last("x-forwarded"), ["this"]);
    assert_eq!(behind.seen.last("x-site"), ["word"], "the expression sees it");
    assert!(behind.seen.last("authorization").is_empty() && behind.seen.last("x-secret").is_empty());
    stop.send(()).unwrap();
    drop(cas);
    serving.await.unwrap().unwrap();
    frontend.stacks().close().await.unwrap();
}
