//! The message of a reference, as it is read.
//!
//! It is that of [`blobaccess_proto::icas::Reference`], whose strings of a digest are copies. Here they are parts of the
//! message, so that to follow a reference to another store takes no allocation.

use blobaccess::{Digest, DigestFunction, Error, ErrorKind, InstanceName, Result};
use blobaccess_proto::icas::reference::{Gcs, S3};
use bytes::Bytes;
use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(super) struct StoredReference {
    #[prost(oneof = "Medium", tags = "1, 2, 7, 8")]
    pub(super) medium: Option<Medium>,
    #[prost(int64, tag = "3")]
    pub(super) offset_bytes: i64,
    #[prost(int64, tag = "4")]
    pub(super) size_bytes: i64,
    #[prost(int32, tag = "6")]
    pub(super) decompressor: i32,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Medium {
    #[prost(string, tag = "1")]
    HttpUrl(String),
    #[prost(message, tag = "2")]
    S3(S3),
    #[prost(message, tag = "7")]
    Gcs(Gcs),
    #[prost(message, tag = "8")]
    Blob(StoredBlob),
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub(super) struct StoredBlob {
    #[prost(bytes = "bytes", tag = "1")]
    instance_name: Bytes,
    #[prost(int32, tag = "2")]
    digest_function: i32,
    #[prost(message, optional, tag = "3")]
    blob_digest: Option<StoredDigest>,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
struct StoredDigest {
    #[prost(bytes = "bytes", tag = "1")]
    hash: Bytes,
    #[prost(int64, tag = "2")]
    size_bytes: i64,
}

impl StoredBlob {
    /// Returns the digest. If its instance name is `known`, that is shared.
    pub(super) fn parse(&self, known: &InstanceName) -> Result<Digest> {
        let invalid = |error: Error| error.with_kind(ErrorKind::Internal).at("digest of the reference");
        let digest = self.blob_digest.as_ref();
        let digest = digest.ok_or_else(|| Error::internal("the reference leads to a blob without a digest"))?;
        let (instance_name, hash) = (text(&self.instance_name)?, text(&digest.hash)?);
        let instance_name = if instance_name == known.as_str() {
            known.clone()
        } else {
            InstanceName::new(instance_name).map_err(invalid)?
        };
        let function = DigestFunction::resolve(self.digest_function, hash.len()).map_err(invalid)?;
        Digest::parse(instance_name, function, hash, digest.size_bytes).map_err(invalid)
    }
}

/// Returns the text of a field. The format requires it to be UTF-8.
fn text(field: &Bytes) -> Result<&str> {
    str::from_utf8(field).map_err(|error| {
        Error::data_loss(format!("the stored reference cannot be decoded: {error}")).with_source(error)
    })
}
