//! TLS on both sides: a server that admits only clients with a certificate, and a client that has one.
//!
//! The certificates are made at start. A server of yours reads them from files, as `remote_cache --tls-certificate`
//! does.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example prints what it did")]

use std::error::Error;
use std::process::ExitCode;

use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore};
use blobaccess_grpc::{Remote, RemoteOptions, RemoteTls, RetryPolicy, ServerTls, ServiceOptions, Services};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tls: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let authority = Authority::new()?;
    let (server_certificate, server_key) = authority.certify("localhost")?;
    let (client_certificate, client_key) = authority.certify("a build client")?;

    // The server: it shows its own certificate, and asks clients for one of the same authority.
    let server_tls = ServerTls::new(server_certificate, server_key).with_client_authority(&authority.certificate_pem);
    let services =
        Services::new(ServiceOptions::default()).with_tls(server_tls).with_cas(MemoryStore::<Cas>::new(1 << 20));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("grpcs://{}", listener.local_addr()?);
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(async move { services.serve(listener, async { drop(stopped.await) }).await });
    println!("serving on {address}");

    // The client: it trusts the authority in place of those of the system.
    let trusting = RemoteTls::new().with_ca_pem(authority.certificate_pem.as_str()).with_server_name("localhost");
    let certified = trusting.clone().with_client_certificate(client_certificate, client_key);
    put(&address, certified, "with a certificate").await;
    put(&address, trusting, "without a certificate").await;

    drop(stop);
    Ok(server.await??)
}

/// Puts a blob into the server at `address`, and prints how that ended.
async fn put(address: &str, tls: RemoteTls, client: &'static str) {
    let options = RemoteOptions::new(address).with_tls(tls).with_retry(RetryPolicy::never());
    let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, client.as_bytes());
    let put = async {
        let store = Remote::new(options)?.cas();
        store.put(&Context::background(), &digest, Blob::from_bytes(client)).await
    };
    match put.await {
        Ok(outcome) => println!("client {client}: {outcome:?}"),
        Err(error) => println!("client {client}: {error}"),
    }
}

/// A certificate authority of our own.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
}

impl Authority {
    fn new() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let certificate_pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate_pem })
    }

    /// Makes a certificate for `name`, and its key, both in PEM.
    fn certify(&self, name: &str) -> Result<(String, String)> {
        let key = KeyPair::generate()?;
        let params = CertificateParams::new(vec![name.to_owned()])?;
        Ok((params.signed_by(&key, &self.issuer)?.pem(), key.serialize_pem()))
    }
}
