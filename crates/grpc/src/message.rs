//! Digests and sizes as messages carry them.

use blobaccess::Digest;
use blobaccess_proto::remote_execution as re;

/// The message that names `digest`.
pub(crate) fn to_proto(digest: &Digest) -> re::Digest {
    re::Digest { hash: digest.hash().to_string(), size_bytes: i64::try_from(digest.size_bytes()).unwrap_or(i64::MAX) }
}

/// The number of bytes as the protocol has it, signed.
pub(crate) fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
