//! A scheduler, to which requests to execute actions are forwarded.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use blobaccess::{Context, Error, InstanceName, Result};
use blobaccess_proto::remote_execution as re;
use bytes::Bytes;
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::{Status, Streaming};

use super::connection::Connection;
use super::failure;
use crate::raw_codec::RawCodec;
use crate::status::to_status;
use crate::stubs::remote_execution::capabilities_client::CapabilitiesClient;

/// The scheduler of a [`Remote`](crate::Remote), for
/// [`Services::with_schedulers`](crate::Services::with_schedulers).
///
/// Its calls take no part in the limit of concurrent calls of the remote: they last as long as actions do.
#[derive(Clone, Debug)]
pub struct Scheduler {
    connection: Arc<Connection>,
    added_prefix: InstanceName,
}

impl Scheduler {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self { connection, added_prefix: InstanceName::empty() }
    }

    /// Puts `prefix` before the instance names that are sent to the scheduler, in place of the prefix by which it was
    /// chosen. The default is the empty name.
    #[must_use]
    pub fn with_added_instance_name_prefix(mut self, prefix: InstanceName) -> Self {
        self.added_prefix = prefix;
        self
    }

    /// Returns the prefix of instance names that are sent to the scheduler.
    pub(crate) const fn added_prefix(&self) -> &InstanceName {
        &self.added_prefix
    }

    /// Calls a method that returns a stream of operations. Messages stay as they are encoded.
    pub(crate) async fn operations(
        &self,
        ctx: &Context,
        path: &'static str,
        message: Bytes,
    ) -> Result<Streaming<Bytes>, Status> {
        let connection = &self.connection;
        let prepared = connection.within(connection.silence_deadline(ctx), async {
            let request = connection.request(ctx, ctx.deadline(), message).await?;
            let channel = connection.channel()?;
            let mut grpc = Grpc::new(channel).max_decoding_message_size(connection.options.max_message_size_bytes);
            grpc.ready().await.map_err(|error| failure::from_status(Status::from_error(error.into())))?;
            Ok((grpc, request))
        });
        let (mut grpc, request) = prepared.await.map_err(|error| to_status(&error))?;
        // From here on, the scheduler may be silent for as long as the action takes.
        let answer = grpc.server_streaming(request, PathAndQuery::from_static(path), RawCodec).await;
        answer.map(tonic::Response::into_inner).map_err(passed_on)
    }

    /// Asks what the scheduler can do in `instance_name`.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if it executes nothing there; those of the call.
    pub(crate) async fn capabilities(
        &self,
        ctx: &Context,
        instance_name: &InstanceName,
    ) -> Result<re::ServerCapabilities> {
        let message = re::GetCapabilitiesRequest { instance_name: instance_name.as_str().to_owned() };
        let max = self.connection.options.max_message_size_bytes;
        let call = self.connection.call(ctx, message, |channel, request| async move {
            CapabilitiesClient::new(channel).max_decoding_message_size(max).get_capabilities(request).await
        });
        let capabilities = call.await?.into_inner();
        if capabilities.execution_capabilities.is_none() {
            let message = format!("scheduler executes nothing in instance name {:?}", instance_name.as_str());
            return Err(Error::invalid_argument(message));
        }
        Ok(re::ServerCapabilities { cache_capabilities: None, ..capabilities })
    }
}

/// Returns the status to answer with: that of the scheduler, with its details, or that it cannot be reached.
pub(crate) fn passed_on(status: Status) -> Status {
    if std::error::Error::source(&status).is_some() {
        return to_status(&failure::from_status(status));
    }
    let message = crate::answer_text::tell(status.message());
    Status::with_details(status.code(), message, Bytes::copy_from_slice(status.details()))
}

impl Display for Scheduler {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "grpc({})", self.connection.options.address)
    }
}
