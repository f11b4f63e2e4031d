//! The progress of one put into the two halves of a mirror.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use crate::decorators::pair::{Need, Repairs};
use crate::{Digest, PutCertainty, PutOutcome, Result};

/// The half has not answered, or its put has failed and may have stored the blob.
const UNKNOWN: u8 = 0;
const STORED: u8 = 1;
const NOT_STORED: u8 = 2;

/// The progress of one put into the two halves of a mirror.
///
/// If exactly one half has stored the blob when this is dropped, the other is noted to need it. If nothing is known of a
/// message, the two halves may differ, which is noted too. So neither a failure nor a put that is dropped midway leaves a
/// difference that nobody knows of.
pub(super) struct PendingPut<'a> {
    digest: &'a Digest,
    is_message: bool,
    /// Whether a half that misses the put has an older value, which must not be read.
    outdates: AtomicBool,
    a: (AtomicU8, &'a Repairs),
    b: (AtomicU8, &'a Repairs),
}

impl<'a> PendingPut<'a> {
    /// Makes the progress of a put. What a half needs is noted in its repairs.
    pub(super) const fn new(digest: &'a Digest, is_message: bool, to_a: &'a Repairs, to_b: &'a Repairs) -> Self {
        Self {
            digest,
            is_message,
            outdates: AtomicBool::new(false),
            a: (AtomicU8::new(UNKNOWN), to_a),
            b: (AtomicU8::new(UNKNOWN), to_b),
        }
    }

    /// Records that the put succeeds with `outcome` although a half has missed it. The value there must not be read any
    /// more, unless the two halves have had equal values, as far as is known, and the value put is equal to them too.
    pub(super) fn acknowledge(&self, outcome: PutOutcome) {
        let is_equal = matches!(outcome, PutOutcome::AlreadyExists { .. });
        let may_differ = self.a.1.is_noted(self.digest) || self.b.1.is_noted(self.digest);
        self.outdates.store(!is_equal || may_differ, Ordering::Relaxed);
    }

    /// Records the answer of the half `a`, and returns it.
    pub(super) fn a(&self, result: Result<PutOutcome>) -> Result<PutOutcome> {
        record(&self.a.0, result)
    }

    /// Records the answer of the half `b`, and returns it.
    pub(super) fn b(&self, result: Result<PutOutcome>) -> Result<PutOutcome> {
        record(&self.b.0, result)
    }
}

fn record(answer: &AtomicU8, result: Result<PutOutcome>) -> Result<PutOutcome> {
    let known = match &result {
        Ok(_) => STORED,
        Err(error) => match error.put_certainty() {
            PutCertainty::NotStored => NOT_STORED,
            PutCertainty::MaybeStored => UNKNOWN,
        },
    };
    answer.store(known, Ordering::Relaxed);
    result
}

impl Drop for PendingPut<'_> {
    fn drop(&mut self) {
        let need = match (self.is_message, *self.outdates.get_mut()) {
            (false, _) => Need::Missing,
            (true, false) => Need::Differs,
            (true, true) => Need::Stale,
        };
        let (a, b) = (*self.a.0.get_mut(), *self.b.0.get_mut());
        let (to_a, to_b) = (self.a.1, self.b.1);
        match (a == STORED, b == STORED) {
            (true, false) => {
                to_b.note_missed_put(self.digest, need);
                // Nothing that `b` has is newer any more.
                to_a.settle_put(self.digest);
            }
            (false, true) => {
                to_a.note_missed_put(self.digest, need);
                to_b.settle_put(self.digest);
            }
            // Either value may be the one that is kept. Unless one half is known to be ahead, it is that of `a`.
            (false, false) if self.is_message && (a == UNKNOWN || b == UNKNOWN) && !to_a.is_outdated(self.digest) => {
                to_b.note_missed_put(self.digest, Need::Differs);
            }
            (true, true) | (false, false) => {}
        }
    }
}
