//! A service of instance metadata over HTTP, and a bucket over HTTPS, both on loopback.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls;

/// The requests that a server got, as method, path and value of the authorization header.
pub(crate) type Log = Arc<Mutex<Vec<(String, String, String)>>>;

/// A server on loopback.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) log: Log,
}

impl Server {
    /// Returns the paths of the requests so far.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.log.lock().unwrap().iter().map(|(method, path, _)| format!("{method} {path}")).collect()
    }

    /// Returns the authorization of each request so far.
    pub(crate) fn authorizations(&self) -> Vec<String> {
        self.log.lock().unwrap().iter().map(|(_, _, authorization)| authorization.clone()).collect()
    }
}

/// Serves credentials as the metadata services of EC2, ECS, Google and Azure do.
pub(crate) async fn metadata() -> Server {
    serve(None, |path| {
        let body = match path {
            "/latest/api/token" => "session",
            "/latest/meta-data/iam/security-credentials/" => "builder",
            "/latest/meta-data/iam/security-credentials/builder" | "/ecs" => {
                r#"{"AccessKeyId": "ASIAROLE", "SecretAccessKey": "secret", "Token": "token",
                    "Expiration": "2999-01-01T00:00:00Z"}"#
            }
            "/computeMetadata/v1/instance/service-accounts/default/token" => {
                r#"{"access_token": "from-google", "expires_in": 3600, "token_type": "Bearer"}"#
            }
            "/metadata/identity/oauth2/token" => {
                r#"{"access_token": "from-azure", "expires_on": "32503680000", "token_type": "Bearer"}"#
            }
            _ => return None,
        };
        Some(body)
    })
    .await
}

/// Serves a bucket without objects by TLS. Returns the certificate that clients are to trust, as PEM, too.
pub(crate) async fn bucket() -> (Server, String) {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(signed.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .unwrap();
    let server = serve(Some(TlsAcceptor::from(Arc::new(tls))), |_| None).await;
    (server, signed.cert.pem())
}

/// The document in which S3 and Google say that there is no such object. Azure says so in a header.
const ABSENT: &str = "<Error><Code>NoSuchKey</Code></Error>";

/// Answers each request with the body that `answer` has for its path, or with 404, until the runtime ends.
async fn serve(tls: Option<TlsAcceptor>, answer: fn(&str) -> Option<&'static str>) -> Server {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let log = Log::default();
    let server = Server { port, log: Arc::clone(&log) };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (tls, log) = (tls.clone(), Arc::clone(&log));
            tokio::spawn(async move {
                match tls {
                    None => connection(stream, log, answer).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            connection(stream, log, answer).await;
                        }
                    }
                }
            });
        }
    });
    server
}

async fn connection<S>(stream: S, log: Log, answer: fn(&str) -> Option<&'static str>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let authorization = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        let path = request.uri().path().to_owned();
        let body = answer(&path);
        let entry = (request.method().to_string(), path, authorization.unwrap_or_default());
        log.lock().unwrap().push(entry);
        let mut response = Response::new(Full::new(Bytes::from_static(body.unwrap_or(ABSENT).as_bytes())));
        if body.is_none() {
            *response.status_mut() = StatusCode::NOT_FOUND;
            response.headers_mut().insert("x-ms-error-code", "BlobNotFound".parse().unwrap());
        }
        async { Ok::<_, Infallible>(response) }
    });
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}
