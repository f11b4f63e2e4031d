//! Puts into a mirror: into both halves at the same time, or into one while the other rests.

use futures::future::join;

use super::pending_put::PendingPut;
use super::{Half, Mirrored};
use crate::decorators::upload_source::UploadSource;
use crate::{Blob, Context, Digest, Error, Kind, PutOutcome, Result, combine_puts};

/// The distance that the puts into the two halves may be apart, in bytes: 4 MiB. At 1 GB/s, one half may pause for 4 ms
/// without holding up the other.
const MAX_APART_BYTES: u64 = 4 << 20;

/// One of the two halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    A,
    B,
}

/// One put, and what is known of it.
struct Put<'a> {
    ctx: &'a Context,
    digest: &'a Digest,
    pending: PendingPut<'a>,
    /// Whether `a` was noted to need the blob when the put began. Another put may have filled it and taken the note back by
    /// the time that this one ends.
    a_lacked: bool,
}

impl<K: Kind> Mirrored<K> {
    pub(super) async fn put_admitted(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let pending = PendingPut::new(digest, K::STORAGE_TYPE.is_mutable(), &self.to_a, &self.to_b);
        let put = Put { ctx, digest, pending, a_lacked: self.to_a.is_noted(digest) };
        let admitted = if self.needs_either() { self.admitted() } else { [true, true] };
        let (from_a, from_b) = match admitted {
            [true, true] | [false, false] => {
                let (to_a, to_b) = blob.tee(MAX_APART_BYTES);
                join(self.put_into(Side::A, &put, to_a), self.put_into(Side::B, &put, to_b)).await
            }
            // The half that rests is tried after all if the other fails and the blob can be read again.
            [true, false] => {
                let (blob, second) = blob.with_second();
                let (blob, source) = UploadSource::observe(blob);
                match (self.put_into(Side::A, &put, blob).await, second) {
                    (Err(error), Some(second)) if error.is_infrastructure() => {
                        (Err(error), self.put_into(Side::B, &put, second).await)
                    }
                    (result, _) => return self.conclude_one(&put, Side::A, &source, result),
                }
            }
            [false, true] => {
                let (blob, second) = blob.with_second();
                let (blob, source) = UploadSource::observe(blob);
                match (self.put_into(Side::B, &put, blob).await, second) {
                    (Err(error), Some(second)) if error.is_infrastructure() => {
                        (self.put_into(Side::A, &put, second).await, Err(error))
                    }
                    (result, _) => return self.conclude_one(&put, Side::B, &source, result),
                }
            }
        };
        for (half, result) in [(&self.a, &from_a), (&self.b, &from_b)] {
            if result.is_ok() {
                half.rest.end();
            }
        }
        // If both fail, the fault may be that of the source of the blob.
        match (from_a, from_b) {
            (Ok(outcome), Ok(other)) => {
                let outcome = if self.deciding(&put) == Side::A { outcome } else { other };
                self.to_a.settle_put(digest);
                self.to_b.settle_put(digest);
                Ok(outcome)
            }
            (Ok(outcome), Err(error)) => self.conclude(&put, Side::A, outcome, Side::B, error),
            (Err(error), Ok(outcome)) => self.conclude(&put, Side::B, outcome, Side::A, error),
            (Err(error), Err(other)) => combine_puts(Err(error.at(self.a.name)), Err(other.at(self.b.name))),
        }
    }

    async fn put_into(&self, side: Side, put: &Put<'_>, blob: Blob) -> Result<PutOutcome> {
        let result = self.half(side).store.put(put.ctx, put.digest, blob).await;
        match side {
            Side::A => put.pending.a(result),
            Side::B => put.pending.b(result),
        }
    }

    /// Returns the result of a put that `taker` has taken with this `outcome`, and `other` has not.
    fn conclude(
        &self,
        put: &Put<'_>,
        taker: Side,
        outcome: PutOutcome,
        other: Side,
        error: Error,
    ) -> Result<PutOutcome> {
        let half = self.half(other);
        let is_down = error.is_infrastructure();
        if is_down {
            half.rest.begin_after(put.ctx);
        }
        if is_down && self.needs_either() {
            tracing::debug!(%error, half = half.name, "a put is to be repaired");
            put.pending.acknowledge(outcome);
            return Ok(self.outcome_of_one(put, taker, outcome));
        }
        combine_puts(Err(error.at(half.name)), Ok(outcome))
    }

    /// Returns the result of a put that went to `side` alone, while the other half rests.
    fn conclude_one(
        &self,
        put: &Put<'_>,
        side: Side,
        source: &UploadSource,
        result: Result<PutOutcome>,
    ) -> Result<PutOutcome> {
        let half = self.half(side);
        if let Ok(outcome) = &result {
            put.pending.acknowledge(*outcome);
        }
        // A source that fails, such as a client that stalls, is not the fault of the half.
        let result = if source.has_failed() { result } else { half.judge(put.ctx, result) };
        result.map(|outcome| self.outcome_of_one(put, side, outcome)).map_err(|error| error.at(half.name))
    }

    /// Returns the outcome of a put that only `taker` has taken, where its outcome is `outcome`.
    ///
    /// Unless the outcome of that half is the one that counts, it tells little about the other half. That one may have the
    /// blob where this one has evicted it, so nothing says that this put has added it. And if the two halves are known to
    /// differ, nothing says that the value before was the one that this half had.
    fn outcome_of_one(&self, put: &Put<'_>, taker: Side, outcome: PutOutcome) -> PutOutcome {
        if taker == self.deciding(put) {
            return outcome;
        }
        let differs = K::STORAGE_TYPE.is_mutable() && taker == Side::A;
        match outcome {
            PutOutcome::AlreadyExists { .. } | PutOutcome::Replaced { .. } if !differs => outcome,
            PutOutcome::Created { .. }
            | PutOutcome::AlreadyExists { .. }
            | PutOutcome::Replaced { .. }
            | PutOutcome::Unclassified { .. } => PutOutcome::Unclassified { stored_bytes: outcome.stored_bytes() },
        }
    }

    /// Returns the half whose outcome counts: `a`, unless it is noted to need the blob.
    fn deciding(&self, put: &Put<'_>) -> Side {
        if put.a_lacked || self.to_a.is_noted(put.digest) { Side::B } else { Side::A }
    }

    fn half(&self, side: Side) -> &Half<K> {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }
}
