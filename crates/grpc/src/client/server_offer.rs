//! The part of a server's capabilities that decides how blobs travel.

use blobaccess::Compressor;
use blobaccess_proto::remote_execution as re;

/// The part of a server's capabilities for one instance name that decides how blobs travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServerOffer {
    /// The largest total of blobs in one batch, in bytes; `None` if the server has set no limit.
    pub(super) max_batch_bytes: Option<u64>,
    /// Whether zstd is offered for streams and for batches that are read.
    pub(super) zstd: bool,
    /// Whether zstd is offered for batches that are stored.
    pub(super) zstd_batch_updates: bool,
    /// The largest blob, in bytes; `None` if the server has set no limit.
    pub(super) max_blob_bytes: Option<u64>,
}

impl ServerOffer {
    /// Reads the offer from the capabilities of a server.
    pub(super) fn new(cache: &re::CacheCapabilities) -> Self {
        let zstd = Compressor::Zstd.number();
        let limit = |bytes| u64::try_from(bytes).ok().filter(|bytes| *bytes > 0);
        Self {
            max_batch_bytes: limit(cache.max_batch_total_size_bytes),
            max_blob_bytes: limit(cache.max_cas_blob_size_bytes),
            zstd: cache.supported_compressors.contains(&zstd),
            zstd_batch_updates: cache.supported_batch_update_compressors.contains(&zstd),
        }
    }
}
