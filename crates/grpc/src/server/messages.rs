//! A store of messages, as services read and replace them.

use std::sync::Arc;

use blobaccess::{Blob, BlobAccess, Context, Digest, Error, PutOutcome, Result};
use blobaccess_proto::remote_execution as re;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tonic::{Request, Response};

use super::call::CallMemory;
use super::encoded_service::{EncodedService, not_a_request};
use super::failed_puts::PutFailures;
use super::options::ServiceOptions;
use super::outcome_trailer::OutcomeTrailer;
use super::{request, requested_digest};
use crate::message_protocol::{MessageProtocol, UpdateProtocol};
use crate::message_request::MessageRequest;

/// A store of messages of kind `K`.
///
/// As a service, it is that of the initial size class cache and of the file system access cache.
#[derive(Clone, Debug)]
pub(crate) struct Messages<K: MessageProtocol> {
    store: Arc<dyn BlobAccess<Kind = K>>,
    options: Arc<ServiceOptions>,
    put_failures: PutFailures,
}

/// A message that was stored.
#[derive(Debug)]
pub(crate) struct Stored {
    message: Bytes,
    /// The outcome of the put, if the caller asks for it.
    outcome: Option<PutOutcome>,
}

impl<K: MessageProtocol> Messages<K> {
    pub(crate) fn new(
        store: Arc<dyn BlobAccess<Kind = K>>,
        options: Arc<ServiceOptions>,
        put_failures: PutFailures,
    ) -> Self {
        Self { store, options, put_failures }
    }

    pub(crate) fn store(&self) -> &Arc<dyn BlobAccess<Kind = K>> {
        &self.store
    }

    pub(crate) fn options(&self) -> &Arc<ServiceOptions> {
        &self.options
    }

    /// Returns the message of `digest`.
    ///
    /// # Errors
    ///
    /// `ResourceExhausted` if no answer holds it.
    pub(crate) async fn get(&self, ctx: &Context, memory: &CallMemory, digest: &Digest) -> Result<Bytes> {
        let blob = self.store.get(ctx, digest).await?;
        let max = self.options.max_message_bytes();
        let size = blob.size_bytes();
        if size > max {
            return Err(Error::resource_exhausted(format!(
                "{} of {digest} is {size} bytes, while messages have at most {max}",
                K::NOUN
            )));
        }
        memory.hold(size).await?;
        blob.into_bytes(max).await
    }

    /// Stores the message of `digest`. A put that fails is counted.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if there is none, or if it is no message of this kind.
    pub(crate) async fn put(&self, ctx: &Context, digest: &Digest, message: Option<Bytes>) -> Result<PutOutcome> {
        let noun = K::NOUN;
        let message = message.ok_or_else(|| Error::invalid_argument(format!("no {noun} was provided for {digest}")))?;
        K::check(message.clone())
            .map_err(|error| Error::invalid_argument(format!("{noun} of {digest} cannot be decoded: {error}")))?;
        let outcome = self.store.put(ctx, digest, Blob::from_bytes(message)).await;
        outcome.inspect_err(|error| self.put_failures.record(digest, error))
    }

    /// Answers an encoded request to read.
    pub(crate) async fn answer_get(&self, request: Request<Bytes>) -> Result<Response<Bytes>> {
        let ctx = request::context(&request, &self.options);
        let memory = CallMemory::of(request.extensions());
        let asked = MessageRequest::decode(K::GET_LAYOUT, request.into_inner()).map_err(not_a_request)?;
        let digest = digest(&asked.instance_name, asked.digest_function, asked.digest.as_ref())?;
        self.get(&ctx, &memory, &digest).await.map(Response::new)
    }
}

impl<K: UpdateProtocol> Messages<K> {
    /// Stores the message of an encoded request to replace.
    pub(crate) async fn update(&self, request: Request<Bytes>) -> Result<Stored> {
        let ctx = request::context(&request, &self.options);
        let wants_outcome = request::wants_outcome(&request);
        let asked = MessageRequest::decode(K::UPDATE_LAYOUT, request.into_inner()).map_err(not_a_request)?;
        let digest = digest(&asked.instance_name, asked.digest_function, asked.digest.as_ref())?;
        let outcome = self.put(&ctx, &digest, asked.message.clone()).await?;
        Ok(Stored { message: asked.message.unwrap_or_default(), outcome: wants_outcome.then_some(outcome) })
    }
}

impl Stored {
    /// Returns the response that repeats the message.
    pub(crate) fn into_response(self) -> Response<Bytes> {
        let mut response = Response::new(self.message);
        if let Some(outcome) = self.outcome {
            response.extensions_mut().insert(OutcomeTrailer(outcome));
        }
        response
    }

    /// Returns the response that has no fields.
    pub(crate) fn into_empty_response(self) -> Response<Bytes> {
        Self { message: Bytes::new(), ..self }.into_response()
    }
}

/// Parses the digest of a request.
pub(crate) fn digest(instance_name: &str, function: i32, digest: Option<&re::Digest>) -> Result<Digest> {
    let instance_name = requested_digest::instance_name(instance_name)?;
    let function = requested_digest::digest_function(function, digest)?;
    requested_digest::digest(&instance_name, function, digest)
}

/// The methods of a service of messages.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MessageMethod {
    Get,
    Update,
}

impl MessageMethod {
    /// Returns the method of the service of `K` at `path`.
    pub(crate) fn of<K: MessageProtocol>(path: &str) -> Option<Self> {
        match path {
            path if path == K::GET => Some(Self::Get),
            path if path == K::UPDATE => Some(Self::Update),
            _ => None,
        }
    }
}

impl<K: UpdateProtocol> EncodedService for Messages<K> {
    const SERVICE: &'static str = K::SERVICE;

    type Method = MessageMethod;

    fn method(path: &str) -> Option<MessageMethod> {
        MessageMethod::of::<K>(path)
    }

    fn options(&self) -> &ServiceOptions {
        &self.options
    }

    fn call(self, method: MessageMethod, request: Request<Bytes>) -> BoxFuture<'static, Result<Response<Bytes>>> {
        async move {
            match method {
                MessageMethod::Get => self.answer_get(request).await,
                MessageMethod::Update => self.update(request).await.map(Stored::into_empty_response),
            }
        }
        .boxed()
    }
}
