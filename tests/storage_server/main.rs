//! `storage_server` starts with files as Buildbarn's deployments lay them out, and checks files.
//!
//! Needs the examples, built in the same profile: `cargo build --examples`.

#![expect(clippy::expect_used, clippy::panic, reason = "a failed expectation is a failed test")]

mod checks;
mod deployments;
mod metrics;
#[path = "../bazel/process.rs"]
#[expect(dead_code, reason = "the tests with Bazel use all of it")]
mod process;
mod server;
mod signals;
mod site;
#[path = "../bazel/watchdog.rs"]
mod watchdog;

use blobaccess::{
    Ac, Blob, BlobAccess, Cas, Context, Digest, DigestFunction, DigestSet, ErrorKind, Fsac, InstanceName, Kind,
};
use blobaccess_grpc::{Remote, RemoteOptions};
use blobaccess_proto::remote_execution as re;
use prost::Message;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

use server::StorageServer;
use site::{Site, list};

/// Returns the digest of contents of the name "site".
fn digest(contents: &[u8]) -> Digest {
    Digest::of(InstanceName::new("site").expect("a name"), DigestFunction::Sha256, contents)
}

/// Returns a client of a server.
fn client(server: &StorageServer) -> Remote {
    Remote::new(RemoteOptions::new(format!("grpc://{}", server.address()))).expect("an address")
}

async fn put<K: Kind>(store: &impl BlobAccess<Kind = K>, digest: &Digest, contents: impl Into<bytes::Bytes>) {
    store.put(&Context::background(), digest, Blob::from_bytes(contents)).await.expect("it is stored");
}

async fn get<K: Kind>(store: &impl BlobAccess<Kind = K>, digest: &Digest) -> Option<bytes::Bytes> {
    match store.get(&Context::background(), digest).await {
        Ok(blob) => Some(blob.into_bytes(1 << 20).await.expect("it is read")),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            None
        }
    }
}

/// Returns an action result with one output file.
fn result(output: &[u8]) -> Vec<u8> {
    let of =
        re::Digest { hash: digest(output).hash().to_string(), size_bytes: output.len().try_into().expect("small") };
    let file = re::OutputFile { path: "out".into(), digest: Some(of), ..re::OutputFile::default() };
    re::ActionResult { output_files: vec![file], ..re::ActionResult::default() }.encode_to_vec()
}

/// Puts 40 blobs, a result for each and a profile into `server`.
async fn fill(server: &StorageServer) {
    let remote = client(server);
    for number in 0..40_u8 {
        put::<Cas>(&remote.cas(), &digest(&[number]), vec![number]).await;
        put::<Ac>(&remote.ac(), &digest(&[number, 1]), result(&[number])).await;
    }
    put::<Fsac>(&remote.fsac(), &digest(b"profile"), &b"\x0a\x00"[..]).await;
}

/// Checks that everything of [`fill`] is there.
async fn check_filled(server: &StorageServer) {
    let remote = client(server);
    let digests: DigestSet = (0..40_u8).map(|number| digest(&[number])).collect();
    let missing = remote.cas().find_missing(&Context::background(), &digests).await.expect("the question is answered");
    assert!(missing.is_empty(), "{} blobs are missing", missing.len());
    for number in 0..40_u8 {
        assert_eq!(get::<Cas>(&remote.cas(), &digest(&[number])).await.as_deref(), Some(&[number][..]));
        let found = get::<Ac>(&remote.ac(), &digest(&[number, 1])).await.expect("the result is there");
        let found = re::ActionResult::decode(found).expect("a result");
        assert_eq!(found.output_files.len(), 1);
    }
    assert!(get::<Fsac>(&remote.fsac(), &digest(b"profile")).await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the examples, built: see CONTRIBUTING.md"]
async fn a_node_keeps_its_blobs_over_a_restart() {
    let site = Site::new(128);
    let variables = [("SITE_FOLDER", &*site.node("node"))];
    let node = StorageServer::start(&site.path("storage.jsonnet"), &variables);
    fill(&node).await;
    check_filled(&node).await;
    assert!(node.page("/-/healthy").starts_with("HTTP/1.1 200"));
    assert!(node.page("/").contains("local"), "{}", node.page("/"));
    node.stop();
    let node = StorageServer::start(&site.path("storage.jsonnet"), &variables);
    check_filled(&node).await;
    node.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the examples, built: see CONTRIBUTING.md"]
async fn a_frontend_over_two_shards_serves_what_lies_on_either() {
    let site = Site::new(128);
    let nodes = ["a", "b"].map(|name| {
        let folder = site.node(name);
        StorageServer::start(&site.path("storage.jsonnet"), &[("SITE_FOLDER", &folder)])
    });
    let addresses = [nodes[0].address(), nodes[1].address()];
    let frontend = StorageServer::start(&site.path("frontend.jsonnet"), &[("SITE_NODES", &list(&addresses))]);
    fill(&frontend).await;
    check_filled(&frontend).await;

    // The results and their outputs are on both nodes together, and neither node checks any.
    let mut found = [0, 0];
    for (node, found) in nodes.iter().zip(&mut found) {
        for number in 0..40_u8 {
            *found += usize::from(get::<Ac>(&client(node).ac(), &digest(&[number, 1])).await.is_some());
        }
    }
    assert!(found[0] > 5 && found[1] > 5 && found[0] + found[1] == 40, "the shards have {found:?} results");

    // The frontend does.
    let remote = client(&frontend);
    put::<Ac>(&remote.ac(), &digest(b"incomplete"), result(b"never put")).await;
    assert_eq!(get::<Ac>(&remote.ac(), &digest(b"incomplete")).await, None);
    frontend.stop();
    nodes.into_iter().for_each(StorageServer::stop);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the examples, built: see CONTRIBUTING.md"]
async fn a_frontend_over_one_node_forwards_actions_to_its_scheduler() {
    let site = Site::new(128);
    let node = StorageServer::start(&site.path("storage.jsonnet"), &[("SITE_FOLDER", &*site.node("node"))]);
    let frontend = StorageServer::start(&site.path("frontend.jsonnet"), &[("SITE_NODES", &list(&[node.address()]))]);
    fill(&frontend).await;
    check_filled(&node).await;

    // Nobody listens where the scheduler should be, so that the attempt shows.
    let channel = Endpoint::from_shared(format!("http://{}", frontend.address())).expect("an address").connect().await;
    let mut grpc = Grpc::new(channel.expect("the frontend listens"));
    grpc.ready().await.expect("the frontend listens");
    // Of the request, the instance name suffices, which is the first field of either message.
    let request = Request::new(re::GetCapabilitiesRequest::default());
    let codec = ProstCodec::<_, re::GetCapabilitiesRequest>::default();
    let path = PathAndQuery::from_static("/build.bazel.remote.execution.v2.Execution/Execute");
    let refused = grpc.server_streaming(request, path, codec).await.expect_err("there is no scheduler");
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    frontend.stop();
    node.stop();
}
