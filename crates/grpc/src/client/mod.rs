//! A remote store as a [`BlobAccess`](blobaccess::BlobAccess).

mod ac;
mod answers;
mod batch_key;
mod batch_read;
mod batch_write;
mod batching;
mod capabilities;
mod cas;
mod channel;
mod failure;
mod find_missing;
mod link;
mod options;
mod read;
mod remote;
mod retry;
mod snapshot;
mod tls;
mod upload;
mod write;

pub use self::ac::RemoteAcStore;
pub use self::cas::RemoteCasStore;
pub use self::options::RemoteOptions;
pub use self::remote::Remote;
pub use self::retry::RetryPolicy;
pub use self::snapshot::RemoteSnapshot;
pub use self::tls::RemoteTls;
