//! A remote store as a [`BlobAccess`](blobaccess::BlobAccess).

mod batch_answers;
mod batch_key;
mod batch_read;
mod batch_write;
mod batching;
mod call_channel;
mod call_metadata;
mod capabilities;
mod cas;
mod channel;
#[cfg(feature = "tls")]
mod client_certificate;
mod connection;
mod connector;
mod failure;
mod find_missing;
mod icas;
mod known_offers;
mod link;
mod messages;
mod not_grpc;
mod options;
mod proxy;
mod read;
mod remote;
mod replicator;
mod request_metadata;
mod retries;
mod retry_policy;
#[cfg(feature = "server")]
mod scheduler;
mod server_offer;
mod snapshot;
mod target;
#[cfg(feature = "tls")]
mod tls;
mod upload;
mod write;

pub use self::call_metadata::CallMetadata;
pub use self::cas::RemoteCasStore;
#[cfg(feature = "tls")]
pub use self::client_certificate::ClientCertificate;
pub use self::icas::RemoteIcasStore;
pub use self::messages::{RemoteAcStore, RemoteFsacStore, RemoteIsccStore, RemoteMessageStore};
pub use self::options::RemoteOptions;
pub use self::remote::Remote;
pub use self::replicator::RemoteReplicator;
pub use self::retry_policy::RetryPolicy;
#[cfg(feature = "server")]
pub use self::scheduler::Scheduler;
#[cfg(feature = "server")]
pub(crate) use self::scheduler::passed_on;
pub use self::snapshot::RemoteSnapshot;
#[cfg(feature = "tls")]
pub use self::tls::RemoteTls;
