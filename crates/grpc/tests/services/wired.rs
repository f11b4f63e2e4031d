//! A pair of stores with services over them, and ways to reach those.

use std::net::SocketAddr;
use std::sync::Arc;

use blobaccess::{Ac, Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName, Result};
use blobaccess_grpc::services::remote_execution::action_cache_client::ActionCacheClient;
use blobaccess_grpc::{ServerTls, ServiceOptions, Services};
use blobaccess_proto::remote_execution as re;
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::Request;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};

use crate::fake::Fake;

pub(crate) struct Wired {
    pub(crate) cas: Arc<Fake<Cas>>,
    pub(crate) ac: Arc<Fake<Ac>>,
    pub(crate) services: Services,
}

/// A server on loopback; it stops when `stop` is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) task: JoinHandle<Result<()>>,
}

impl Wired {
    pub(crate) fn new(options: ServiceOptions) -> Self {
        let (cas, ac) = (Fake::new(), Fake::new());
        let services = Services::new(options).with_cas(Arc::clone(&cas)).with_ac(Arc::clone(&ac));
        Self { cas, ac, services }
    }

    pub(crate) fn action_cache(&self) -> ActionCacheClient<Routes> {
        ActionCacheClient::new(self.services.routes().unwrap())
    }

    pub(crate) async fn serve(&self, tls: Option<ServerTls>) -> Server {
        match tls {
            Some(tls) => serve(&self.services.clone().with_tls(tls)).await,
            None => serve(&self.services).await,
        }
    }

    /// Stores contents, and returns their digest as messages have it.
    pub(crate) async fn store(&self, contents: &[u8]) -> re::Digest {
        let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents);
        let blob = Blob::from_bytes(contents.to_vec());
        self.cas.inner.put(&Context::background(), &digest, blob).await.unwrap();
        to_proto(&digest)
    }
}

/// Serves on loopback.
pub(crate) async fn serve(services: &Services) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let services = services.clone();
    let task = tokio::spawn(async move { services.serve(listener, async { drop(stopped.await) }).await });
    Server { address, stop, task }
}

impl Server {
    pub(crate) async fn connect(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    pub(crate) async fn stop(self) -> Result<()> {
        drop(self.stop);
        self.task.await.unwrap()
    }
}

pub(crate) fn to_proto(digest: &Digest) -> re::Digest {
    re::Digest { hash: digest.hash().to_string(), size_bytes: i64::try_from(digest.size_bytes()).unwrap() }
}

/// Returns the digest of an action that is never read.
pub(crate) fn action() -> re::Digest {
    to_proto(&Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"an action"))
}

pub(crate) fn get() -> re::GetActionResultRequest {
    re::GetActionResultRequest { action_digest: Some(action()), ..re::GetActionResultRequest::default() }
}

pub(crate) fn update(result: re::ActionResult) -> re::UpdateActionResultRequest {
    re::UpdateActionResultRequest {
        action_digest: Some(action()),
        action_result: Some(result),
        ..re::UpdateActionResultRequest::default()
    }
}

/// Calls a method by its path, with messages that may differ from the generated ones.
pub(crate) async fn call<Q, R>(services: &Services, method: &'static str, request: Q) -> Result<R, tonic::Status>
where
    Q: Message + 'static,
    R: Message + Default + 'static,
{
    let mut grpc = tonic::client::Grpc::new(services.routes().unwrap());
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<Q, R>::default();
    grpc.unary(Request::new(request), PathAndQuery::from_static(method), codec).await.map(tonic::Response::into_inner)
}
