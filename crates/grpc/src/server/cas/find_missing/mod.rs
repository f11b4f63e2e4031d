//! Tells which of many blobs are not stored.

mod answer;
mod asked;

use blobaccess::{Context, DigestSet, Result};
use bytes::Bytes;
use prost::Message;
use tonic::{Request, Response, Status};

use self::asked::Asked;
use super::{CasService, digests};
use crate::server::request;
use crate::status::to_status;
use crate::stubs::remote_execution::content_addressable_storage_server::ContentAddressableStorage;

impl CasService {
    /// What is missing of `digests`, hashes and sizes. No digests at all need no store.
    pub(super) async fn find_missing<'a>(
        &self,
        ctx: &Context,
        instance_name: &str,
        function: i32,
        digests: impl ExactSizeIterator<Item = (&'a str, i64)> + Clone,
    ) -> Result<DigestSet> {
        if digests.len() == 0 {
            return Ok(DigestSet::new());
        }
        let digests = digests::parse(instance_name, function, digests)?;
        self.store.find_missing(ctx, &DigestSet::from(digests)).await
    }

    /// The same from message to message.
    ///
    /// Clients ask about tens of thousands of digests at once, and a string for each, twice, would take longer than all
    /// the rest. What is written in an unusual way is left to the generated messages.
    pub(super) async fn find_missing_encoded(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
        let ctx = request::context(&request, &self.options);
        let (metadata, extensions, message) = request.into_parts();
        let Some(asked) = Asked::read(&message) else {
            let decoded = Message::decode(message).map_err(|error| Status::internal(error.to_string()))?;
            let answer = self.find_missing_blobs(Request::from_parts(metadata, extensions, decoded)).await?;
            return Ok(answer.map(|answer| answer.encode_to_vec().into()));
        };
        let digests = asked.digests.iter().copied();
        let missing = self.find_missing(&ctx, asked.instance_name, asked.digest_function, digests).await;
        missing.map(|missing| Response::new(answer::encode(&missing))).map_err(|error| to_status(&error))
    }
}
