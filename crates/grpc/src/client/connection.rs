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
use super::link::Attempt;
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
            let attempt = self.attempt()?;
            let answer = Box::pin(send(attempt.channel(), request)).await;
            if !answer.as_ref().is_err_and(failure::is_time_out) {
                attempt.answered();
            }
            answer.map_err(failure::from_status)
        })
        .await
    }

    /// Waits for one of the calls that may be under way at once.
    pub(super) async fn permit(&self) -> Result<SemaphorePermit<'_>> {
        let permit = self.permits.acquire().await;
        permit.map_err(|_| Error::internal("the limit of calls was closed"))
    }

    /// Begins a call that is made now, on the connection whose turn it is.
    pub(super) fn attempt(&self) -> Result<Attempt> {
        self.counters.calls.fetch_add(1, Ordering::Relaxed);
        let link = self.channels.pick()?;
        let (channel, is_new) = link.channel();
        if is_new {
            self.counters.left_connections.fetch_add(1, Ordering::Relaxed);
            let address = &self.options.address;
            tracing::warn!(address, "a connection that did not answer is left for a new one");
        }
        #[cfg(feature = "server")]
        let channel = CallChannel::new(channel, self.methods.clone());
        #[cfg(not(feature = "server"))]
        let channel = CallChannel::new(channel);
        Ok(Attempt::new(link, channel, Arc::clone(&self.clock)))
    }

    /// Returns the channel for a call that is made now, and that may be silent for as long as it takes.
    #[cfg(feature = "server")]
    pub(super) fn channel(&self) -> Result<CallChannel> {
        let attempt = self.attempt()?;
        let channel = attempt.channel();
        attempt.leave();
        Ok(channel)
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
