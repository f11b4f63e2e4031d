//! Servers within this process: of storage, of tokens, and a proxy.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use blobaccess::{Cas, Context, MemoryStore, Result};
use blobaccess_grpc::{Authenticator, Identity, RequestParts, ServerTls, ServiceOptions, Services};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// An authority that certifies servers and clients.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) certificate_pem: String,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate_pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), certificate_pem }
    }

    /// Makes a certificate for `name`, and its key.
    pub(super) fn certify(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// The names of metadata that a server of storage takes note of.
const NOTED: [&str; 8] = [
    "x-cluster",
    "x-raw-bin",
    "x-user",
    "build.bazel.remote.execution.v2.requestmetadata-bin",
    "authorization",
    "x-secret",
    "x-forwarded",
    "x-site",
];

/// The metadata of the last call that a server has had.
#[derive(Clone, Debug, Default)]
pub(super) struct SeenMetadata(Arc<Mutex<Vec<(&'static str, String)>>>);

impl SeenMetadata {
    /// Returns the values of `name` in the last call.
    pub(super) fn last(&self, name: &str) -> Vec<String> {
        let seen = self.0.lock().unwrap();
        seen.iter().filter(|(noted, _)| *noted == name).map(|(_, value)| value.clone()).collect()
    }
}

#[async_trait::async_trait]
impl Authenticator for SeenMetadata {
    async fn authenticate(&self, request: &RequestParts<'_>) -> Result<Identity> {
        let values = |name| request.metadata_values(name).map(move |value| (name, value.to_owned()));
        *self.0.lock().unwrap() = NOTED.into_iter().flat_map(values).collect();
        Ok(Identity::anonymous())
    }
}

/// A server of storage, until it is dropped.
pub(super) struct StorageServer {
    pub(super) address: SocketAddr,
    pub(super) seen: SeenMetadata,
    task: tokio::task::JoinHandle<()>,
}

impl StorageServer {
    pub(super) async fn start(tls: Option<ServerTls>) -> Self {
        let seen = SeenMetadata::default();
        let mut services = Services::new(ServiceOptions::default())
            .with_cas(MemoryStore::<Cas>::new(1 << 20))
            .with_authenticator(seen.clone());
        if let Some(tls) = tls {
            services = services.with_tls(tls);
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { services.serve(listener, std::future::pending()).await.unwrap() });
        Self { address, seen, task }
    }
}

impl Drop for StorageServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An endpoint for tokens that notes what it is asked, and answers as it is told.
#[derive(Clone)]
pub(super) struct TokenServer {
    pub(super) address: SocketAddr,
    pub(super) requests: Arc<Mutex<Vec<String>>>,
    pub(super) answers: Arc<Mutex<VecDeque<(u16, String)>>>,
}

impl TokenServer {
    pub(super) async fn start(answers: impl IntoIterator<Item = (u16, &str)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let answers = answers.into_iter().map(|(status, body)| (status, body.to_owned())).collect();
        let server = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            answers: Arc::new(Mutex::new(answers)),
        };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.answer(stream).await;
            }
        });
        server
    }

    async fn answer(&self, mut stream: TcpStream) {
        let mut request = read_head(&mut stream).await;
        let length = request.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut body).await.unwrap();
        request.push_str(&String::from_utf8(body).unwrap());
        self.requests.lock().unwrap().push(request);
        let (status, body) = self.answers.lock().unwrap().pop_front().unwrap_or((500, String::new()));
        let answer =
            format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

/// Reads up to the end of the head of a request.
async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Starts a proxy that connects anywhere if `status` is 200. Returns its address, and the heads of its requests.
pub(super) async fn start_proxy(status: u16) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&heads);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let head = read_head(&mut stream).await;
            let target = head.split(' ').nth(1).unwrap().to_owned();
            noted.lock().unwrap().push(head);
            stream.write_all(format!("HTTP/1.1 {status} X\r\n\r\n").as_bytes()).await.unwrap();
            if status == 200 {
                let mut server = TcpStream::connect(target).await.unwrap();
                tokio::spawn(async move { tokio::io::copy_bidirectional(&mut stream, &mut server).await });
            }
        }
    });
    (address, heads)
}

/// Returns a context with the metadata that a service forwards.
pub(super) fn forwarding(name: &'static str, value: &[u8]) -> Context {
    Context::background().with_metadata(blobaccess::Metadata::new().with(name, value))
}
