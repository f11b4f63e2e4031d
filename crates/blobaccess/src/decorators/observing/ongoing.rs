//! A call that has begun, whose end is reported exactly once.

use std::sync::Arc;
use std::time::Instant;

use tracing::{Level, Span};

use crate::{
    Blob, Call, Caller, Clock, Context, Digest, Error, ErrorKind, Finish, Observer, Operation, PutOutcome, Result,
    StorageType,
};

/// The observer, its label and the clock.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) backend: &'static str,
    pub(super) storage_type: StorageType,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Told {
    pub(super) fn with_clock(&self, clock: Arc<dyn Clock>) -> Self {
        Self { backend: self.backend, storage_type: self.storage_type, observer: Arc::clone(&self.observer), clock }
    }
}

/// A call that has begun. If it is dropped, its caller has given up.
pub(super) struct Ongoing {
    told: Arc<Told>,
    operation: Operation,
    began: Instant,
    ctx: Context,
    digest: Option<Digest>,
    pub(super) blob_size_bytes: Option<u64>,
    pub(super) digests: Option<usize>,
    pub(super) missing: Option<usize>,
    pub(super) outcome: Option<PutOutcome>,
    ended: bool,
}

impl Ongoing {
    pub(super) fn begin(told: Arc<Told>, operation: Operation, ctx: &Context, digest: Option<&Digest>) -> Self {
        Self {
            operation,
            began: told.clock.monotonic(),
            told,
            ctx: ctx.clone(),
            digest: digest.cloned(),
            blob_size_bytes: None,
            digests: None,
            missing: None,
            outcome: None,
            ended: false,
        }
    }

    pub(super) fn span(&self) -> Span {
        tracing::debug_span!(
            "blob_access",
            operation = self.operation.name(),
            backend = self.told.backend,
            storage_type = self.told.storage_type.name(),
            digest = self.digest.as_ref().map(display),
            caller = self.ctx.caller().map(Caller::name),
            trace_parent = self.ctx.trace_parent(),
        )
    }

    /// Ends the call with `result`.
    pub(super) fn end<T>(mut self, result: Result<T>) -> Result<T> {
        match &result {
            Ok(_) => self.tell(None, None),
            Err(error) => self.tell(Some(error.kind()), Some(error)),
        }
        result
    }

    /// Ends the call with `result`; if that is a blob, when the blob is finished.
    pub(super) fn until_finished(mut self, result: Result<Blob>) -> Result<Blob> {
        match result {
            Err(_) => self.end(result),
            Ok(blob) => {
                self.blob_size_bytes = Some(blob.size_bytes());
                Ok(blob.on_finish(move |finish| match finish {
                    Finish::Complete | Finish::Dropped => self.tell(None, None),
                    Finish::Failed(kind) => self.tell(Some(kind), None),
                }))
            }
        }
    }

    fn tell(&mut self, kind: Option<ErrorKind>, error: Option<&Error>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let told = &*self.told;
        let duration = told.clock.monotonic().saturating_duration_since(self.began);
        let mut call = Call::new(told.storage_type, told.backend, self.operation, duration);
        call.blob_size_bytes = self.blob_size_bytes;
        call.digests = self.digests;
        call.missing = self.missing;
        call.outcome = self.outcome;
        call.error = kind;
        self.trace(&call, error);
        told.observer.call_ended(&call);
    }

    fn trace(&self, call: &Call, error: Option<&Error>) {
        macro_rules! event {
            ($level:expr) => {
                tracing::event!(
                    $level,
                    operation = call.operation.name(),
                    backend = call.backend,
                    storage_type = call.storage_type.name(),
                    digest = self.digest.as_ref().map(display),
                    caller = self.ctx.caller().map(Caller::name),
                    trace_parent = self.ctx.trace_parent(),
                    code = call.code_name(),
                    error = error.map(display),
                    duration = ?call.duration,
                    blob_size_bytes = call.blob_size_bytes,
                    digests = call.digests,
                    outcome = call.outcome.map(PutOutcome::name),
                    "call ended"
                )
            };
        }
        if call.error.is_some_and(ErrorKind::is_store_fault) {
            event!(Level::WARN);
        } else {
            event!(Level::DEBUG);
        }
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        self.tell(Some(ErrorKind::Cancelled), None);
    }
}
