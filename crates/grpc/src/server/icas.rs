//! The indirect content-addressable storage service: references, by the digest of the blob that they lead to.

use std::collections::HashSet;
use std::sync::Arc;

use blobaccess::{BlobAccess, Context, Digest, Icas, PutOutcome, Result};
use blobaccess_proto::remote_execution as re;
use blobaccess_proto::rpc;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use prost::Message;
use re::batch_update_blobs_response::Response as Entry;
use tonic::{Request, Response};

use super::cas::{MessageBudget, batch_function, encode_missing, read_digests};
use super::encoded_service::{EncodedService, not_a_request};
use super::failed_puts::PutFailures;
use super::messages::Messages;
use super::options::ServiceOptions;
use super::{request, requested_digest};
use crate::message_protocol::MessageProtocol;
use crate::message_request::concatenate;
use crate::outcome;
use crate::reference_updates::{ReferenceUpdate, ReferenceUpdates};

const FIND_MISSING: &str = "/buildbarn.icas.IndirectContentAddressableStorage/FindMissingReferences";

/// The indirect content-addressable storage over a store of references.
#[derive(Clone, Debug)]
pub(crate) struct IcasService {
    messages: Messages<Icas>,
}

/// The methods of the service.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Method {
    FindMissing,
    BatchUpdate,
    Get,
}

impl IcasService {
    pub(crate) fn new(
        store: Arc<dyn BlobAccess<Kind = Icas>>,
        options: Arc<ServiceOptions>,
        put_failures: PutFailures,
    ) -> Self {
        Self { messages: Messages::new(store, options, put_failures) }
    }

    async fn find_missing(&self, request: Request<Bytes>) -> Result<Response<Bytes>> {
        let ctx = request::context(&request, self.messages.options());
        let digests = read_digests(request.into_inner()).map_err(not_a_request)??;
        if digests.is_empty() {
            return Ok(Response::new(Bytes::new()));
        }
        let missing = self.messages.store().find_missing(&ctx, &digests).await?;
        Ok(Response::new(encode_missing(&missing)))
    }

    /// Stores each reference, and reports its error in its place.
    ///
    /// A batch of one fails as a whole. Buildbarn's client sends those, and takes any answer for a success.
    async fn batch_update(&self, request: Request<Bytes>) -> Result<Response<Bytes>> {
        let ctx = request::context(&request, self.messages.options());
        let wants_outcome = request::wants_outcome(&request);
        let batch = ReferenceUpdates::decode(request.into_inner()).map_err(not_a_request)?;
        if batch.requests.is_empty() {
            return Ok(Response::new(Bytes::new()));
        }
        let instance_name = requested_digest::instance_name(&batch.instance_name)?;
        let digests = batch.requests.iter().map(|entry| entry.digest.as_ref());
        let function = batch_function(batch.digest_function, digests.clone())?;
        let mut budget = MessageBudget::new(digests, wants_outcome, self.messages.options())?;

        let mut names = Vec::with_capacity(batch.requests.len());
        let mut puts = Vec::with_capacity(batch.requests.len());
        for ReferenceUpdate { digest, reference } in batch.requests {
            let parsed = function
                .map_or_else(|| requested_digest::digest_function(0, digest.as_ref()), Ok)
                .and_then(|function| requested_digest::digest(&instance_name, function, digest.as_ref()));
            puts.push(parsed.map(|parsed| (parsed, concatenate(reference))));
            names.push(digest);
        }
        let results = self.put_all(&ctx, puts).await;
        if let [Err(error)] = &*results {
            return Err(error.clone());
        }
        let entries = names.into_iter().zip(results).map(|(digest, result)| {
            let outcome = result.as_ref().ok().filter(|_| wants_outcome).map(|put| outcome::to_proto(*put));
            let status = result.map_or_else(|error| budget.status(&error), |_| rpc::Status::default());
            Entry { digest, status: Some(status), outcome }
        });
        let answer = re::BatchUpdateBlobsResponse { responses: entries.collect() };
        Ok(Response::new(answer.encode_to_vec().into()))
    }

    /// Stores all references, and returns the results in their order. References of one digest are stored in their
    /// order, so that the last one stays.
    async fn put_all(&self, ctx: &Context, puts: Vec<Result<(Digest, Option<Bytes>)>>) -> Vec<Result<PutOutcome>> {
        let mut seen = HashSet::with_capacity(puts.len());
        let all_differ = puts.iter().flatten().all(|(digest, _)| seen.insert(digest));
        let concurrency = if all_differ { self.messages.options().batch_concurrency } else { 1 };
        let put = |put: Result<(Digest, Option<Bytes>)>| {
            let (messages, ctx) = (self.messages.clone(), ctx.clone());
            async move {
                let (digest, reference) = put?;
                messages.put(&ctx, &digest, reference).await
            }
        };
        stream::iter(puts).map(put).buffered(concurrency).collect().await
    }
}

impl EncodedService for IcasService {
    const SERVICE: &'static str = Icas::SERVICE;

    type Method = Method;

    fn method(path: &str) -> Option<Method> {
        match path {
            FIND_MISSING => Some(Method::FindMissing),
            Icas::UPDATE => Some(Method::BatchUpdate),
            Icas::GET => Some(Method::Get),
            _ => None,
        }
    }

    fn options(&self) -> &ServiceOptions {
        self.messages.options()
    }

    fn call(self, method: Method, request: Request<Bytes>) -> BoxFuture<'static, Result<Response<Bytes>>> {
        async move {
            match method {
                Method::FindMissing => self.find_missing(request).await,
                Method::BatchUpdate => self.batch_update(request).await,
                Method::Get => self.messages.answer_get(request).await,
            }
        }
        .boxed()
    }
}
