//! Clients of configurations at servers within this process.

use std::sync::Arc;
use std::time::Duration;

use blobaccess::{
    Blob, BlobAccess as _, BlobAccessExt as _, Clock, Context, Digest, DigestFunction, InstanceName, SystemClock,
};
use blobaccess_grpc::{CallMetadata, Remote, ServerTls};
use blobaccess_testkit::ManualClock;
use serde_json::json;
use tonic::metadata::MetadataMap;

use super::fakes::{Authority, StorageServer, forwarding, start_proxy};
use super::plans::read_grpc;
use crate::background::Background;
use crate::clients::ServerTlsPlan;
use crate::section::section_of;

fn connect(configuration: &serde_json::Value) -> Remote {
    let (plan, end) = read_grpc(&configuration.to_string());
    plan.unwrap_or_else(|| panic!("{end:?}")).connect(false, None, &clock()).unwrap()
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

fn background() -> Background {
    Background::new(clock())
}

async fn assert_works(remote: &Remote, ctx: &Context) {
    let contents = b"hello".as_slice();
    let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents);
    remote.cas().put(ctx, &digest, Blob::from_bytes(contents)).await.unwrap();
    assert_eq!(remote.cas().get_bytes(ctx, &digest, 100).await.unwrap(), contents);
}

async fn failure(remote: &Remote) -> String {
    let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello");
    let ctx = Context::background().with_deadline(SystemClock.monotonic() + Duration::from_secs(10));
    format!("{:?}", remote.cas().get_bytes(&ctx, &digest, 100).await.unwrap_err())
}

#[tokio::test]
async fn fixed_metadata_goes_along_with_all_its_values() {
    let server = StorageServer::start(None).await;
    let remote = connect(&json!({
        "address": server.address.to_string(),
        "addMetadata": [{"header": "X-Cluster", "values": ["a", "b"]}, {"header": "x-raw-bin", "values": ["\u{e9}"]}],
        "keepalive": {"time": "60s", "timeout": "20s"},
        "defaultServiceConfig": {"loadBalancingConfig": [{"round_robin": {}}]},
    }));
    assert_works(&remote, &Context::background()).await;
    assert_eq!(server.seen.last("x-cluster"), ["a", "b"]);
    assert_eq!(server.seen.last("x-raw-bin").len(), 1);
}

#[tokio::test]
async fn a_socket_is_an_address() {
    let directory = tempfile::tempdir().unwrap();
    let remote = connect(&json!({"address": format!("unix:{}/absent.sock", directory.path().display())}));
    assert!(failure(&remote).await.contains("Unavailable"));
}

#[tokio::test]
async fn expressions_make_metadata_of_what_is_forwarded() {
    const NAME: &str = "build.bazel.remote.execution.v2.requestmetadata-bin";
    let server = StorageServer::start(None).await;
    let configuration = json!({
        "address": server.address.to_string(),
        "addMetadataJmespathExpression": {
            "expression": format!("{{\"{NAME}\": incomingGRPCMetadata.\"{NAME}\", \"x-user\": authenticationMetadata.public.user}}")
        },
    });
    let remote = connect(&configuration);
    let value = b"\x0a\x05bazel\xc8\x01\xff".as_slice();
    assert_works(&remote, &forwarding(NAME, value)).await;
    let sent = server.seen.last(NAME);
    assert_eq!(sent.len(), 1, "it replaces what is forwarded anyway: {sent:?}");
    assert!(server.seen.last("x-user").is_empty());

    let plan = read_grpc(&configuration.to_string()).0.unwrap();
    let source = plan.call_metadata(&mut background()).unwrap();
    let (ctx, mut outgoing) = (forwarding(NAME, value), MetadataMap::new());
    source.add_to(&ctx, &mut outgoing).await.unwrap();
    assert_eq!(outgoing.get_bin(NAME).unwrap().to_bytes().unwrap(), value);
    assert_eq!(outgoing.len(), 1);

    for (expression, reason) in [
        ("nothing", "has no value"),
        ("`5`", "no object of lists"),
        ("`{\"x-a\": \"b\"}`", "the value of \"x-a\" is no list"),
        ("`{\"x-a\": [5]}`", "a value of \"x-a\" is no text"),
        ("`{\"x-a\": [\"\\n\"]}`", "has characters"),
        ("`{\"grpc-x\": [\"a\"]}`", "is reserved"),
    ] {
        let json = json!({"address": "a:1", "addMetadataJmespathExpression": {"expression": expression}});
        let source = read_grpc(&json.to_string()).0.unwrap().call_metadata(&mut background()).unwrap();
        let refused = source.add_to(&ctx, &mut MetadataMap::new()).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind(), blobaccess::ErrorKind::FailedPrecondition);
        assert!(refused.message().contains(reason), "{expression}: {refused}");
    }
    let wrong = json!({"address": "a:1", "addMetadataJmespathExpression": {"expression": "a["}});
    assert!(read_grpc(&wrong.to_string()).1.unwrap_err()[0].starts_with("addMetadataJmespathExpression.expression: "));
}

#[tokio::test]
async fn connections_are_encrypted_by_certificates_of_either_side() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (certificate, key) = authority.certify("storage.example.com");
    let tls = ServerTls::new(certificate, key).with_client_authority(&authority.certificate_pem);
    let server = StorageServer::start(Some(tls)).await;
    let directory = tempfile::tempdir().unwrap();
    let (own, own_key) = authority.certify("client");
    let paths = ["client.crt", "client.key"].map(|name| directory.path().join(name));
    std::fs::write(&paths[0], own).unwrap();
    std::fs::write(&paths[1], own_key).unwrap();
    let configuration = |authorities: &str, name: &str| {
        json!({
            "address": server.address.to_string(),
            "tls": {
                "serverCertificateAuthorities": authorities,
                "serverName": name,
                "cipherSuites": ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"],
                "clientKeyPair": {"files": {
                    "certificatePath": paths[0], "privateKeyPath": paths[1], "refreshInterval": "60s",
                }},
            },
        })
    };
    let good = configuration(&authority.certificate_pem, "storage.example.com");
    assert_works(&connect(&good), &Context::background()).await;
    let other_name = configuration(&authority.certificate_pem, "other.example.com");
    assert!(failure(&connect(&other_name)).await.contains("ertificate"));
    let other_authority = configuration(&stranger.certificate_pem, "storage.example.com");
    assert!(failure(&connect(&other_authority)).await.contains("ertificate"));
    let mut anonymous = good.clone();
    anonymous["tls"].as_object_mut().unwrap().remove("clientKeyPair");
    assert!(failure(&connect(&anonymous)).await.contains("Unavailable"));

    // The client's certificate is read again when a connection is made after the interval.
    let clock = ManualClock::new();
    let plan = read_grpc(&good.to_string()).0.unwrap();
    let clock_of_plan: Arc<dyn Clock> = Arc::new(clock.clone());
    let [before, after] = [(); 2].map(|()| plan.connect(false, None, &clock_of_plan).unwrap());
    let before = before.with_clock(Arc::new(SystemClock));
    let after = after.with_clock(Arc::new(SystemClock));
    assert_works(&before, &Context::background()).await;
    let (foreign, foreign_key) = stranger.certify("client");
    std::fs::write(&paths[0], foreign).unwrap();
    std::fs::write(&paths[1], foreign_key).unwrap();
    clock.advance(Duration::from_mins(1));
    // The server does not know the authority of the new certificate.
    assert!(failure(&after).await.contains("Unavailable"));
}

#[tokio::test]
async fn the_certificate_of_a_server_is_read_again() {
    let (authority, successor) = (Authority::new(), Authority::new());
    let directory = tempfile::tempdir().unwrap();
    let paths = ["server.crt", "server.key"].map(|name| directory.path().join(name));
    let write = |authority: &Authority| {
        let (certificate, key) = authority.certify("localhost");
        std::fs::write(&paths[0], certificate).unwrap();
        std::fs::write(&paths[1], key).unwrap();
    };
    write(&authority);
    let json = json!({"serverKeyPair": {"files": {
        "certificatePath": paths[0], "privateKeyPath": paths[1], "refreshInterval": "60s",
    }}});
    let name = "buildbarn.configuration.tls.ServerConfiguration";
    let (plan, end) = section_of(&json.to_string(), name, ServerTlsPlan::read);
    assert_eq!(end, Ok(Vec::new()));
    let clock = ManualClock::new();
    let mut background = Background::new(Arc::new(clock.clone()));
    let server = StorageServer::start(Some(plan.unwrap().build(&mut background).unwrap())).await;
    let trusting = |authority: &Authority| {
        connect(&json!({
            "address": format!("localhost:{}", server.address.port()),
            "tls": {"serverCertificateAuthorities": authority.certificate_pem},
        }))
    };
    assert_works(&trusting(&authority), &Context::background()).await;
    let running = tokio::spawn(background.run());
    clock.until_sleepers(1).await;
    std::fs::write(&paths[0], "broken").unwrap();
    clock.advance(Duration::from_mins(1));
    clock.until_sleepers(1).await;
    assert_works(&trusting(&authority), &Context::background()).await;
    write(&successor);
    clock.advance(Duration::from_mins(1));
    clock.until_sleepers(1).await;
    assert_works(&trusting(&successor), &Context::background()).await;
    running.abort();

    let (_, end) = section_of("{}", name, ServerTlsPlan::read);
    assert_eq!(end.unwrap_err(), ["serverKeyPair: is required"]);
}

#[tokio::test]
async fn a_proxy_is_asked_to_connect() {
    let server = StorageServer::start(None).await;
    let (proxy, heads) = start_proxy(200).await;
    let configuration =
        |proxy| json!({"address": server.address.to_string(), "proxyUrl": format!("http://us%40er:word@{proxy}")});
    assert_works(&connect(&configuration(proxy)), &Context::background()).await;
    let head = heads.lock().unwrap()[0].clone();
    assert!(head.starts_with(&format!("CONNECT {} HTTP/1.1\r\n", server.address)), "{head}");
    assert!(head.contains("proxy-authorization: Basic dXNAZXI6d29yZA==\r\n"), "{head}");
    let (refusing, _) = start_proxy(403).await;
    assert!(failure(&connect(&configuration(refusing))).await.contains("403"));
}
