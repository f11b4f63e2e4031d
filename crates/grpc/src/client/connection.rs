//! The part that all stores of one server share: channels, headers and limits, and making a call.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use blobaccess::{Clock, Context, Error, Result};
use tokio::sync::{Semaphore, SemaphorePermit};
use tonic::{Request, Response, Status};

use super::call_channel::CallChannel;
use super::call_metadata::CallMetadata;
use super::channel::Channels;
use super::failure;
use super::known_offers::KnownOffers;
use super::options::RemoteOptions;
use super::request_metadata::{append, insert, insert_one};
use super::retry_policy::RetryWaits;
use super::snapshot::Counters;
use crate::metadata_keys::OUTCOME_REQUEST;
use crate::metadata_keys::UPLOAD_TOKEN;
#[cfg(feature = "server")]
use crate::server::ObservedMethods;

/// The W3C trace context of a call.
const TRACE_PARENT: &str = "traceparent";

#[derive(Debug)]
pub(super) struct Connection {
    channels: Arc<Channels>,
    permits: Semaphore,
    pub(super) waits: RetryWaits,
    pub(super) known_offers: KnownOffers,
    pub(super) counters: Counters,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) options: RemoteOptions,
    call_metadata: Option<Arc<dyn CallMetadata>>,
    /// The observers of calls, if there are any.
    #[cfg(feature = "server")]
    methods: Option<ObservedMethods>,
}

impl Connection {
    pub(super) fn new(options: RemoteOptions, channels: Arc<Channels>, clock: Arc<dyn Clock>) -> Self {
        Self {
            channels,
            permits: Semaphore::new(options.max_concurrent_calls),
            waits: RetryWaits::new(options.retry.clone()),
            known_offers: KnownOffers::default(),
            counters: Counters::default(),
            clock,
            options,
            call_metadata: None,
            #[cfg(feature = "server")]
            methods: None,
        }
    }

    /// Makes a connection over the same channels, with the same settings and components, that shares nothing else.
    fn renewed(&self) -> Self {
        Self {
            call_metadata: self.call_metadata.clone(),
            #[cfg(feature = "server")]
            methods: self.methods.clone(),
            ..Self::new(self.options.clone(), Arc::clone(&self.channels), Arc::clone(&self.clock))
        }
    }

    /// Makes a connection over the same channels that tells time by `clock`.
    pub(super) fn with_clock(&self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self.renewed() }
    }

    /// Makes a connection over the same channels that asks `call_metadata` before each call.
    pub(super) fn with_call_metadata(&self, call_metadata: Arc<dyn CallMetadata>) -> Self {
        Self { call_metadata: Some(call_metadata), ..self.renewed() }
    }

    /// Makes a connection over the same channels whose calls `methods` observe.
    #[cfg(feature = "server")]
    pub(super) fn with_methods(&self, methods: ObservedMethods) -> Self {
        Self { methods: Some(methods), ..self.renewed() }
    }

    /// Returns whether what is sent with a call depends on more than its context's metadata.
    pub(super) fn has_call_metadata(&self) -> bool {
        self.call_metadata.is_some()
    }

    /// Returns the time now.
    pub(super) fn now(&self) -> Instant {
        self.clock.monotonic()
    }

    /// Returns the time until which the server may be silent on behalf of `ctx`.
    pub(super) fn silence_deadline(&self, ctx: &Context) -> Option<Instant> {
        let silence_deadline = self.now().checked_add(self.options.silence_timeout);
        match (silence_deadline, ctx.deadline()) {
            (Some(silence_deadline), Some(deadline)) => Some(silence_deadline.min(deadline)),
            (silence_deadline, deadline) => silence_deadline.or(deadline),
        }
    }

    /// Waits for `work`, but no longer than until `deadline`.
    pub(super) async fn within<T>(
        &self,
        deadline: Option<Instant>,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let ended = self.clock.timeout(deadline, work).await;
        ended.unwrap_or_else(|_| Err(Error::deadline_exceeded("remote store did not answer in time")))
    }

    /// Makes a call that has one message each way.
    pub(super) async fn call<M, R, F>(
        &self,
        ctx: &Context,
        message: M,
        send: impl FnOnce(CallChannel, Request<M>) -> F,
    ) -> Result<Response<R>>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        self.call_until(ctx, self.silence_deadline(ctx), message, send).await
    }

    /// Makes a call that has one message each way, and is answered by `deadline`.
    pub(super) async fn call_until<M, R, F>(
        &self,
        ctx: &Context,
        deadline: Option<Instant>,
        message: M,
        send: impl FnOnce(CallChannel, Request<M>) -> F,
    ) -> Result<Response<R>>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        self.within(deadline, async {
            let _permit = self.permit().await?;
            let request = self.request(ctx, deadline, message).await?;
            Box::pin(send(self.channel()?, request)).await.map_err(failure::from_status)
        })
        .await
    }

    /// Waits for one of the calls that may be under way at once.
    pub(super) async fn permit(&self) -> Result<SemaphorePermit<'_>> {
        let permit = self.permits.acquire().await;
        permit.map_err(|_| Error::internal("the limit of calls was closed"))
    }

    /// Returns the channel for a call that is made now.
    pub(super) fn channel(&self) -> Result<CallChannel> {
        self.counters.calls.fetch_add(1, Ordering::Relaxed);
        let channel = self.channels.pick()?;
        #[cfg(feature = "server")]
        return Ok(CallChannel::new(channel, self.methods.clone()));
        #[cfg(not(feature = "server"))]
        return Ok(CallChannel::new(channel));
    }

    /// Makes a request of `message`, with the metadata that goes with it.
    pub(super) async fn request<M>(&self, ctx: &Context, deadline: Option<Instant>, message: M) -> Result<Request<M>> {
        let mut request = Request::new(message);
        if let Some(deadline) = deadline {
            request.set_timeout(deadline.saturating_duration_since(self.now()));
        }
        let metadata = request.metadata_mut();
        match &self.options.forwarded_metadata {
            None => insert(metadata, ctx.metadata())?,
            Some(names) => {
                for (name, value) in names.iter().filter_map(|name| Some((name, ctx.metadata().get(name)?))) {
                    insert_one(metadata, name, value)?;
                }
            }
        }
        if let Some(parent) = ctx.trace_parent() {
            insert_one(metadata, TRACE_PARENT, parent.as_bytes())?;
        }
        if let Some(token) = ctx.upload_token() {
            insert_one(metadata, UPLOAD_TOKEN, token.as_bytes())?;
        }
        insert_one(metadata, OUTCOME_REQUEST, b"1")?;
        insert(metadata, &self.options.headers)?;
        self.options.added_headers.iter().try_for_each(|header| append(metadata, header))?;
        if let Some(source) = &self.call_metadata {
            source.add_to(ctx, metadata).await?;
        }
        Ok(request)
    }
}
