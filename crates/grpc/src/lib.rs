//! The storage services of the Remote Execution API and of Buildbarn over any store, and a remote server as a store.
//!
//! Start here: [`Services`] serves stores to Bazel and other build clients; [`Remote`] makes a server of the protocol
//! into stores.
//!
//! # A server
//!
//! ```no_run
//! use blobaccess::{Ac, Cas, MemoryStore};
//! use blobaccess_grpc::{ServiceOptions, Services};
//! use tokio::net::TcpListener;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let services = Services::new(ServiceOptions::default())
//!         .with_cas(MemoryStore::<Cas>::new(1 << 30))
//!         .with_ac(MemoryStore::<Ac>::new(64 << 20));
//!     let listener = TcpListener::bind("127.0.0.1:8980").await?;
//!     let shutdown = async { drop(tokio::signal::ctrl_c().await) };
//!     services.serve(listener, shutdown).await?;
//!     Ok(())
//! }
//! ```
//!
//! # A server that asks for tokens
//!
//! An [`Authenticator`] turns a request into an [`Identity`]: a caller and, if wanted, the account that its puts go to.
//! [`Authorizing`](blobaccess::decorators::Authorizing) stores decide what the caller may do. [`BearerTokens`],
//! [`ClientCertificates`] and [`JsonWebTokens`] are ready-made; [`authenticator_fn`] makes one of a closure.
//!
//! ```
//! use std::sync::Arc;
//!
//! use async_trait::async_trait;
//! use blobaccess::decorators::{Authorizer, Authorizers, Authorizing, StaticAuthorizer};
//! use blobaccess::{Caller, Cas, Context, Error, InstanceName, MemoryStore, Result};
//! use blobaccess_grpc::{BearerTokens, ServiceOptions, Services};
//!
//! /// Lets only callers with a name pass.
//! #[derive(Debug)]
//! struct Named;
//!
//! #[async_trait]
//! impl Authorizer for Named {
//!     async fn authorize(&self, ctx: &Context, instance_names: &[InstanceName]) -> Vec<Result<()>> {
//!         let answer = || match ctx.caller() {
//!             Some(_) => Ok(()),
//!             None => Err(Error::permission_denied("anonymous callers may not write")),
//!         };
//!         instance_names.iter().map(|_| answer()).collect()
//!     }
//! }
//!
//! fn services() -> Services {
//!     // Anybody may read; only callers with a token may put.
//!     let anybody = Arc::new(StaticAuthorizer::Allow);
//!     let authorizers = Authorizers::new(anybody.clone(), Arc::new(Named), anybody);
//!     let cas = Authorizing::new(MemoryStore::<Cas>::new(1 << 30), authorizers);
//!     let tokens = BearerTokens::new().with_anonymous().with_token("CyzAVbDPUQzKXV8rVLYJZg", Caller::new("ci"));
//!     Services::new(ServiceOptions::default()).with_cas(cas).with_authenticator(tokens)
//! }
//! # let _services = services();
//! ```
//!
//! The token of Bazel: `--remote_header="authorization=Bearer CyzAVbDPUQzKXV8rVLYJZg"`. The token of a [`Remote`]:
//! `RemoteOptions::new(address).with_header("authorization", "Bearer CyzAVbDPUQzKXV8rVLYJZg")`.
//!
//! # A client
//!
//! ```no_run
//! use blobaccess::{Blob, BlobAccess, Context, Digest, DigestFunction, InstanceName};
//! use blobaccess_grpc::{Remote, RemoteOptions};
//!
//! #[tokio::main]
//! async fn main() -> blobaccess::Result<()> {
//!     let cas = Remote::new(RemoteOptions::new("grpc://cache.example.com:8980"))?.cas();
//!     let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello");
//!     let ctx = Context::background();
//!     cas.put(&ctx, &digest, Blob::from_bytes("hello")).await?;
//!     let contents = cas.get(&ctx, &digest).await?.into_bytes(1 << 20).await?;
//!     assert_eq!(contents, "hello");
//!     Ok(())
//! }
//! ```
//!
//! # Which services
//!
//! | kind | server | client | service |
//! |---|---|---|---|
//! | contents | [`Services::with_cas`] | [`Remote::cas`] | `ContentAddressableStorage`, `google.bytestream.ByteStream` |
//! | action results | [`Services::with_ac`] | [`Remote::ac`] | `ActionCache` |
//! | references | [`Services::with_icas`] | [`Remote::icas`] | `buildbarn.icas.IndirectContentAddressableStorage` |
//! | size classes | [`Services::with_iscc`] | [`Remote::iscc`] | `buildbarn.iscc.InitialSizeClassCache` |
//! | access profiles | [`Services::with_fsac`] | [`Remote::fsac`] | `buildbarn.fsac.FileSystemAccessCache` |
//! | copies | [`Services::with_replicator`] | [`Remote::replicator`] | `buildbarn.replicator.Replicator` |
//! | executions, forwarded | [`Services::with_schedulers`] | [`Remote::scheduler`] | `Execution` |
//!
//! # Features
//!
//! All are on by default.
//!
//! | feature | adds |
//! |---|---|
//! | `server` | [`Services`] |
//! | `client` | [`Remote`] and its stores |
//! | `tls` | encryption for either side, and callers by their certificates |
//! | `jwt` | callers by signed tokens; needs `server` |
//! | `reflection` | descriptions of the services for tools such as grpcurl; needs `server` |
//!
//! # Other crates in this interface
//!
//! [`Services::routes`] and [`Remote::with_channels`] name types of [`tonic`], which this crate re-exports. Your own
//! [`Authenticator`] needs `async-trait` 0.1, and [`JsonWebTokens`] gives claims as values of `serde_json` 1. The messages
//! of [`services`] are those of `blobaccess-proto`.

#[cfg(feature = "server")]
mod answer_text;
#[cfg(any(feature = "client", feature = "server"))]
mod bounded_text;
#[cfg(all(feature = "tls", any(feature = "client", feature = "server")))]
mod certificates;
#[cfg(all(feature = "tls", any(feature = "client", feature = "server")))]
mod cipher_suites;
#[cfg(feature = "client")]
mod client;
#[cfg(any(feature = "client", feature = "server"))]
mod compression;
#[cfg(all(feature = "client", feature = "server"))]
mod leading_name;
#[cfg(any(feature = "client", feature = "server"))]
mod message;
#[cfg(any(feature = "client", feature = "server"))]
mod message_protocol;
#[cfg(any(feature = "client", feature = "server"))]
mod message_request;
mod metadata_keys;
#[cfg(any(feature = "client", feature = "server"))]
mod outcome;
#[cfg(any(feature = "client", feature = "server"))]
mod raw_codec;
#[cfg(any(feature = "client", feature = "server"))]
mod reference_updates;
#[cfg(feature = "server")]
mod server;
#[cfg(any(feature = "client", feature = "server"))]
mod status;
#[cfg(any(feature = "client", feature = "server"))]
#[cfg_attr(
    feature = "server",
    expect(
        clippy::allow_attributes,
        clippy::as_conversions,
        clippy::clone_on_ref_ptr,
        clippy::default_trait_access,
        clippy::doc_markdown,
        clippy::too_many_lines,
        reason = "tonic generates servers so"
    )
)]
#[cfg_attr(feature = "client", expect(clippy::missing_errors_doc, reason = "tonic generates clients so"))]
#[expect(clippy::allow_attributes_without_reason, unused_qualifications, reason = "tonic generates services so")]
mod stubs;

#[cfg(all(feature = "client", feature = "server"))]
pub use client::Scheduler;
#[cfg(feature = "client")]
pub use client::{
    CallMetadata, Remote, RemoteAcStore, RemoteCasStore, RemoteFsacStore, RemoteIcasStore, RemoteIsccStore,
    RemoteMessageStore, RemoteOptions, RemoteReplicator, RemoteSnapshot, RetryPolicy,
};
#[cfg(all(feature = "client", feature = "tls"))]
pub use client::{ClientCertificate, RemoteTls};
pub use metadata_keys::{OUTCOME_REQUEST, OUTCOME_RESPONSE, UPLOAD_TOKEN};
#[cfg(all(feature = "server", unix))]
pub use server::PeerUser;
#[cfg(feature = "server")]
pub use server::{
    AnyOf, Authenticator, BearerTokens, BoundListeners, CallMethod, CallObserver, CallStreams, FailedPuts, Identity,
    ListenerGroup, ListenerOptions, MethodObserver, RequestParts, ServiceOptions, Services, ServicesSnapshot,
    authenticator_fn,
};
#[cfg(all(feature = "server", feature = "tls"))]
pub use server::{CertificateName, ClientCertificates, ServerCertificate, ServerTls};
#[cfg(feature = "jwt")]
pub use server::{JsonWebKeys, JsonWebTokens, JsonWebTokensSnapshot};
pub use tonic;

/// The generated clients and servers of all services, for programs that speak the protocol without a store.
///
/// Clients are there with the feature `client`, servers with the feature `server`.
///
/// Their messages are those of [`blobaccess_proto`], in the modules of the same names.
#[cfg(any(feature = "client", feature = "server"))]
pub mod services {
    pub use crate::stubs::{bytestream, fsac, icas, iscc, remote_execution, replicator};
}
