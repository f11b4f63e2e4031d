//! The replicator service: copies blobs on behalf of all that ask for it.

use std::sync::Arc;

use blobaccess::replication::Replicator;
use blobaccess::{Cas, Result};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tonic::{Request, Response};

use super::cas::read_digests;
use super::encoded_service::{EncodedService, not_a_request};
use super::options::ServiceOptions;
use super::request;

/// The full name of the service.
pub(crate) const SERVICE: &str = "buildbarn.replicator.Replicator";

const REPLICATE_BLOBS: &str = "/buildbarn.replicator.Replicator/ReplicateBlobs";

/// The service over a replicator.
#[derive(Clone, Debug)]
pub(crate) struct ReplicatorService {
    replicator: Arc<dyn Replicator<Kind = Cas>>,
    options: Arc<ServiceOptions>,
}

/// The only method of the service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReplicateBlobs;

impl ReplicatorService {
    pub(crate) fn new(replicator: Arc<dyn Replicator<Kind = Cas>>, options: Arc<ServiceOptions>) -> Self {
        Self { replicator, options }
    }

    /// Copies the blobs of a request. Its fields are those of a request to find missing blobs.
    async fn replicate(&self, request: Request<Bytes>) -> Result<Response<Bytes>> {
        let ctx = request::context(&request, &self.options);
        let digests = read_digests(request.into_inner()).map_err(not_a_request)??;
        if !digests.is_empty() {
            self.replicator.replicate_all(&ctx, &digests).await?;
        }
        Ok(Response::new(Bytes::new()))
    }
}

impl EncodedService for ReplicatorService {
    const SERVICE: &'static str = SERVICE;

    type Method = ReplicateBlobs;

    fn method(path: &str) -> Option<ReplicateBlobs> {
        (path == REPLICATE_BLOBS).then_some(ReplicateBlobs)
    }

    fn options(&self) -> &ServiceOptions {
        &self.options
    }

    fn call(self, _: ReplicateBlobs, request: Request<Bytes>) -> BoxFuture<'static, Result<Response<Bytes>>> {
        async move { self.replicate(request).await }.boxed()
    }
}
