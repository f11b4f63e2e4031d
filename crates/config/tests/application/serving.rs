//! Servers from whole files: services, rights, policies and pages.

use std::sync::Arc;

use blobaccess::{BlobAccessExt, Cas, Context, Digest, DigestFunction, ErrorKind, InstanceName, MemoryStore};
use blobaccess_config::{OpenApplication, Registry};
use blobaccess_grpc::{BoundListeners, Remote, RemoteOptions};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::read_with;

/// A server that runs until it is told to stop.
struct Running {
    addresses: Vec<String>,
    server: Arc<OpenApplication>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<blobaccess::Result<()>>,
}

impl Running {
    async fn start(more: &str) -> Self {
        let registry = Registry::new()
            .with_store("cas", Arc::new(MemoryStore::<Cas>::new(1 << 20)))
            .with_store("ac", Arc::new(MemoryStore::<blobaccess::Ac>::new(1 << 20)))
            .with_store("fsac", Arc::new(MemoryStore::<blobaccess::Fsac>::new(1 << 20)));
        let server = Arc::new(read_with(more, &registry).unwrap().open().await.unwrap());
        let listeners = server.bind().await.unwrap();
        let addresses = listeners.iter().flat_map(BoundListeners::addresses).map(|address| format!("grpc://{address}"));
        let addresses = addresses.collect();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = Arc::clone(&server);
        let shutdown = async { drop(stopped.await) };
        let task = tokio::spawn(async move { serving.services().serve_listeners(listeners, shutdown).await });
        Self { addresses, server, stop, served: task }
    }

    fn client(&self, index: usize) -> Remote {
        Remote::new(RemoteOptions::new(&self.addresses[index])).unwrap()
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.served.await.unwrap().unwrap();
        self.server.stacks().close().await.unwrap();
    }
}

fn digest(name: &str) -> Digest {
    Digest::of(InstanceName::new(name).unwrap(), DigestFunction::Sha256, b"hello")
}

fn kind<T: std::fmt::Debug>(result: blobaccess::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[tokio::test]
async fn a_store_is_served_with_the_rights_of_each_operation() {
    let running = Running::start(
        "{ contentAddressableStorage+: { backend: { label: 'cas' }, putAuthorizer: { instanceNamePrefix: {
            allowedInstanceNamePrefixes: ['writers'] } }, findMissingAuthorizer: { deny: {} } } }",
    )
    .await;
    let (cas, ctx) = (running.client(0).cas(), Context::background());
    cas.put_bytes(&ctx, &digest("writers"), "hello").await.unwrap();
    assert_eq!(kind(cas.put_bytes(&ctx, &digest("readers"), "hello").await), ErrorKind::PermissionDenied);
    assert_eq!(cas.get_bytes(&ctx, &digest("readers"), 9).await.unwrap(), "hello");
    assert_eq!(kind(cas.contains(&ctx, &digest("writers")).await), ErrorKind::PermissionDenied);
    // The probes of health are not refused.
    assert!(running.server.services().snapshot().serving);
    running.stop().await;
}

#[tokio::test]
async fn a_service_is_there_if_its_store_is_configured() {
    let running = Running::start(
        "{ contentAddressableStorage:: null, actionCache:: null, fileSystemAccessCache: { backend: { label: 'fsac' },
            getAuthorizer: { allow: {} }, putAuthorizer: { allow: {} } } }",
    )
    .await;
    let (remote, ctx) = (running.client(0), Context::background());
    assert_eq!(kind(remote.fsac().get_bytes(&ctx, &digest(""), 9).await), ErrorKind::NotFound);
    for absent in [
        kind(remote.cas().get_bytes(&ctx, &digest(""), 9).await),
        kind(remote.ac().get_bytes(&ctx, &digest(""), 9).await),
        kind(remote.iscc().get_bytes(&ctx, &digest(""), 9).await),
        kind(remote.icas().get_bytes(&ctx, &digest(""), 9).await),
    ] {
        assert_eq!(absent, ErrorKind::Unimplemented);
    }
    running.stop().await;
}

#[tokio::test]
async fn each_server_has_a_policy_of_its_own_over_the_same_stores() {
    let running = Running::start(
        "{ grpcServers+: [{ listenAddresses: ['127.0.0.1:0'], authenticationPolicy: { deny: 'closed today' } }],
           contentAddressableStorage+: { backend: { label: 'cas' }, putAuthorizer: { allow: {} } } }",
    )
    .await;
    let ctx = Context::background();
    running.client(0).cas().put_bytes(&ctx, &digest(""), "hello").await.unwrap();
    let refused = running.client(1).cas().get_bytes(&ctx, &digest(""), 9).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unauthenticated);
    assert!(refused.to_string().contains("closed today"), "{refused}");
    running.stop().await;
}

#[tokio::test]
async fn results_are_not_checked_unless_the_file_says_so() {
    use blobaccess_proto::remote_execution as re;
    use prost::Message;

    let file = re::OutputFile {
        path: "out".into(),
        digest: Some(re::Digest { hash: digest("").hash().to_string(), size_bytes: 5 }),
        ..re::OutputFile::default()
    };
    let result = re::ActionResult { output_files: vec![file], ..re::ActionResult::default() }.encode_to_vec();
    for (backend, is_found) in [
        ("{ label: 'ac' }", true),
        ("{ completenessChecking: { backend: { label: 'ac' }, maximumTotalTreeSizeBytes: 1 } }", false),
    ] {
        let running = Running::start(&format!(
            "{{ contentAddressableStorage+: {{ backend: {{ label: 'cas' }} }}, actionCache+: {{ backend: {backend},
               getAuthorizer: {{ allow: {{}} }}, putAuthorizer: {{ allow: {{}} }} }} }}"
        ))
        .await;
        let (ac, ctx) = (running.client(0).ac(), Context::background());
        ac.put_bytes(&ctx, &digest("a"), result.clone()).await.unwrap();
        assert_eq!(ac.get_bytes(&ctx, &digest("a"), 1 << 10).await.is_ok(), is_found, "{backend}");
        running.stop().await;
    }
}

#[tokio::test]
async fn pages_are_shown_to_those_that_the_policy_lets_pass() {
    for (policy, is_shown) in [("allow: {}", true), ("deny: 'no'", false)] {
        let more = format!(
            "{{ global: {{ diagnosticsHttpServer: {{ enablePrometheus: true, httpServers: [{{
               listenAddresses: ['127.0.0.1:0'], authenticationPolicy: {{ {policy} }} }}] }} }} }}"
        );
        let server = read_with(&more, &Registry::new()).unwrap().open().await.unwrap();
        let diagnostics = server.diagnostics().unwrap();
        assert!(diagnostics.serves_metrics());
        let listener = diagnostics.bind().await.unwrap().pop().unwrap();
        assert!(listener.address().unwrap().ip().is_loopback());
        let (_, policy) = listener.into_parts();
        let (request, ()) = http::Request::new(()).into_parts();
        assert_eq!(policy.authenticate(&request).await.is_ok(), is_shown);
    }
}
