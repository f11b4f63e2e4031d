//! The action cache service: action results, by the digest of their action.

use std::sync::Arc;

use blobaccess::{Ac, BlobAccess, Cas, Result};
use blobaccess_proto::remote_execution as re;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use prost::Message;
use tonic::{Request, Response};

use super::call::CallMemory;
use super::encoded_service::{EncodedService, not_a_request};
use super::failed_puts::PutFailures;
use super::inlining::Inlining;
use super::messages::{self, MessageMethod, Messages, Stored};
use super::options::ServiceOptions;
use super::request;
use crate::message_protocol::MessageProtocol;

/// The action cache over a store of action results.
#[derive(Clone, Debug)]
pub(crate) struct ActionCacheService {
    messages: Messages<Ac>,
    inlining: Option<Inlining>,
}

impl ActionCacheService {
    /// Makes the service over `ac`; files to be inlined come from `cas`, where there is one.
    pub(crate) fn new(
        ac: Arc<dyn BlobAccess<Kind = Ac>>,
        cas: Option<Arc<dyn BlobAccess<Kind = Cas>>>,
        options: Arc<ServiceOptions>,
        put_failures: PutFailures,
    ) -> Self {
        let inlining = cas.map(|cas| Inlining::new(cas, Arc::clone(&options)));
        Self { messages: Messages::new(ac, options, put_failures), inlining }
    }

    async fn get_action_result(&self, request: Request<Bytes>) -> Result<Response<Bytes>> {
        let Some(inlining) = &self.inlining else { return self.messages.answer_get(request).await };
        let ctx = request::context(&request, self.messages.options());
        let memory = CallMemory::of(request.extensions());
        let asked = re::GetActionResultRequest::decode(request.into_inner()).map_err(not_a_request)?;
        let digest = messages::digest(&asked.instance_name, asked.digest_function, asked.action_digest.as_ref())?;
        let stored = self.messages.get(&ctx, &memory, &digest).await?;
        inlining.inline(&ctx, &memory, &digest, &asked, stored).await.map(Response::new)
    }
}

impl EncodedService for ActionCacheService {
    const SERVICE: &'static str = Ac::SERVICE;

    type Method = MessageMethod;

    fn method(path: &str) -> Option<MessageMethod> {
        MessageMethod::of::<Ac>(path)
    }

    fn options(&self) -> &ServiceOptions {
        self.messages.options()
    }

    fn call(self, method: MessageMethod, request: Request<Bytes>) -> BoxFuture<'static, Result<Response<Bytes>>> {
        async move {
            match method {
                MessageMethod::Get => self.get_action_result(request).await,
                MessageMethod::Update => self.messages.update(request).await.map(Stored::into_response),
            }
        }
        .boxed()
    }
}
