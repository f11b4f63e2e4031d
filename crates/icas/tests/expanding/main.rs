//! References are followed, and refused, as they must be.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail so")]

mod buckets;
mod forwarding;
mod hosts;
mod http;
mod limits;
mod resuming;
mod server;
mod stores;

use std::sync::Arc;

use blobaccess::{BlobAccessExt, Context, Digest, Icas, MemoryStore, Result};
use blobaccess_icas::{AllowedHosts, ExpandingOptions, Reference, ReferenceExpanding};
use blobaccess_testkit::digest_of;
use bytes::Bytes;

use crate::server::Server;

type Store = ReferenceExpanding<Arc<MemoryStore<Icas>>>;

/// Returns options that allow the server.
fn options(server: &Server) -> ExpandingOptions {
    ExpandingOptions::new(AllowedHosts::none().with_host(&server.address.to_string()).unwrap())
}

/// Returns a store without references.
fn store(options: ExpandingOptions) -> Store {
    ReferenceExpanding::new(Arc::new(MemoryStore::new(1 << 20)), options).unwrap()
}

/// Returns a store that may read from no web server.
fn store_without_hosts() -> Store {
    store(ExpandingOptions::new(AllowedHosts::none()))
}

async fn refer(store: &Store, digest: &Digest, reference: &Reference) {
    store.references().put_bytes(&Context::background(), digest, reference.to_bytes()).await.unwrap();
}

async fn read(store: &Store, digest: &Digest) -> Result<Bytes> {
    store.get_bytes(&Context::background(), digest, u64::MAX).await
}

/// Reads `contents` by `reference`.
async fn read_by(store: &Store, contents: impl AsRef<[u8]>, reference: Reference) -> Result<Bytes> {
    let digest = digest_of(contents);
    refer(store, &digest, &reference).await;
    read(store, &digest).await
}

fn deflated(contents: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(contents).unwrap();
    encoder.finish().unwrap()
}

fn zstd_compressed(contents: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(contents, 3).unwrap()
}
