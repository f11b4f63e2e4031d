//! Digests and sizes as messages carry them.

use blobaccess::Digest;
use blobaccess_proto::remote_execution as re;

/// Returns the message that names `digest`.
pub(crate) fn to_proto(digest: &Digest) -> re::Digest {
    re::Digest { hash: digest.hash().to_string(), size_bytes: i64::try_from(digest.size_bytes()).unwrap_or(i64::MAX) }
}

/// Converts a number of bytes to the signed number of the protocol.
pub(crate) fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
