//! One shard of a layer, with its health.

use std::fmt::{self, Display, Formatter};
use std::future::Future;
use std::sync::Arc;
use std::time::SystemTime;

use super::breaker::{Breaker, Turn, Verdict};
use super::shard::Phase;
use super::{Shard, ShardSnapshot, ShardState, ShardingOptions};
use crate::{Clock, Context, Error, ErrorKind, Result};

/// One shard of a layer, with its health.
#[derive(Debug)]
pub(super) struct Member<S> {
    key: Arc<str>,
    store: Arc<S>,
    weight: u32,
    phase: Phase,
    breaker: Breaker,
}

impl<S: Send + Sync> Member<S> {
    pub(super) fn new(shard: Shard<S>, clock: &dyn Clock) -> Self {
        let Shard { key, store, weight, phase } = shard;
        Self { key, store, weight, phase, breaker: Breaker::new(clock.monotonic()) }
    }

    /// Forgets all failures, since instants of another clock cannot be compared.
    pub(super) fn restart(&mut self, clock: &dyn Clock) {
        self.breaker = Breaker::new(clock.monotonic());
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn shared_key(&self) -> Arc<str> {
        Arc::clone(&self.key)
    }

    /// Returns the store. A call of the pointer to it would make two futures.
    pub(super) fn store(&self) -> &S {
        &self.store
    }

    pub(super) const fn shared_store(&self) -> &Arc<S> {
        &self.store
    }

    /// Returns whether some blobs of this shard may be elsewhere, or some of others here.
    pub(super) fn is_moving(&self) -> bool {
        self.phase != Phase::Settled
    }

    /// Returns whether calls are let through.
    pub(super) fn is_up(&self) -> bool {
        self.breaker.is_up()
    }

    /// Returns whether the shard takes no more blobs.
    pub(super) fn is_drained(&self) -> bool {
        self.phase == Phase::Drained
    }

    /// Returns the part of the shard in a change of the topology, at the time `now`.
    pub(super) fn state(&self, now: SystemTime) -> ShardState {
        match self.phase {
            Phase::Settled => ShardState::Settled,
            Phase::Added { until: Some(until) } if until <= now => ShardState::Settled,
            Phase::Added { .. } => ShardState::Added,
            Phase::Drained => ShardState::Drained,
        }
    }

    pub(super) fn snapshot(&self, now: SystemTime) -> ShardSnapshot {
        let (failures_in_a_row, failures) = self.breaker.failures();
        ShardSnapshot {
            key: Arc::clone(&self.key),
            weight: self.weight,
            state: self.state(now),
            is_up: self.breaker.is_up(),
            failures_in_a_row,
            failures,
        }
    }

    /// Makes a call of this shard, unless the shard is down, and records how it ends.
    ///
    /// `is_callers_fault` says whether a failure was the caller's.
    pub(super) async fn call<T: Send>(
        &self,
        ctx: &Context,
        options: &ShardingOptions,
        clock: &dyn Clock,
        work: impl Future<Output = Result<T>> + Send,
        is_callers_fault: impl Fn() -> bool + Send,
    ) -> Result<T> {
        if let Err(rest) = self.breaker.admit(options, || clock.monotonic()) {
            let (in_a_row, _) = self.breaker.failures();
            let message = format!("down after {in_a_row} failures in a row; to be tried again in {rest:?}");
            return Err(self.mark(Error::unavailable(message).not_stored()));
        }
        let result = work.await;
        let verdict = match &result {
            Err(error) if error.kind() == ErrorKind::Cancelled => Verdict::Unknown,
            Err(error) if error.is_infrastructure() => {
                if ctx.is_overdue(clock.monotonic()) || is_callers_fault() {
                    Verdict::Unknown
                } else {
                    Verdict::Fails
                }
            }
            Ok(_) | Err(_) => Verdict::Works,
        };
        match self.breaker.record(verdict, options, || clock.monotonic()) {
            Some(Turn::Down) => {
                let error = result.as_ref().err().map(ToString::to_string).unwrap_or_default();
                tracing::warn!(shard = %self.key, error, rest = ?options.rest, "a shard is down");
            }
            Some(Turn::Back) => tracing::info!(shard = %self.key, "a shard is back"),
            None => {}
        }
        result.map_err(|error| self.mark(error))
    }

    /// Adds the place, except to absence: a blob that is nowhere is absent from the layer, not from one shard.
    fn mark(&self, error: Error) -> Error {
        if error.is_not_found() { error } else { error.at(format!("shard {}", self.key)) }
    }
}

impl<S: Display> Display for Member<S> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.store)
    }
}
