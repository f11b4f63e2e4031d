//! A store that is down, as its failures tell: then one upload at a time looks whether it is back.

use std::time::{Duration, Instant};

/// The number of failures in a row that make an outage. One key that cannot be put is none.
const FAILURES: u32 = 3;

/// The state of a store, as its failures and successes tell.
#[derive(Debug)]
pub(super) struct Outage {
    first: Duration,
    max: Duration,
    /// The failures since the last success.
    failures: u32,
    /// The end of the pause, and its length, while the store is down.
    paused: Option<(Instant, Duration)>,
    /// The upload that looks whether the store is back, by its sequence number.
    probe: Option<u64>,
}

impl Outage {
    pub(super) const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, failures: 0, paused: None, probe: None }
    }

    /// Notes a failure that is one of the store. Those that had begun before a pause do not make it longer.
    pub(super) fn note_failure(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        let pause = match self.paused {
            None if self.failures < FAILURES => return,
            None => self.first,
            Some((until, _)) if now < until => return,
            Some((_, pause)) => pause.saturating_mul(2),
        };
        let pause = pause.min(self.max);
        self.paused = now.checked_add(pause).map(|until| (until, pause));
    }

    /// Notes that an upload which the store had refused before was refused again. This may be the fault of that upload alone,
    /// so it makes no outage, and no pause longer. A pause that is over begins anew.
    pub(super) fn note_refused_again(&mut self, now: Instant) {
        if let Some((until, pause)) = self.paused
            && now >= until
        {
            self.paused = now.checked_add(pause).map(|until| (until, pause));
        }
    }

    /// Notes a success. Returns whether the store had been down.
    pub(super) const fn end(&mut self) -> bool {
        self.failures = 0;
        self.probe = None;
        self.paused.take().is_some()
    }

    /// Returns whether another upload may begin. Those that began before the pause do not matter.
    pub(super) fn permits(&self, now: Instant) -> bool {
        self.paused.is_none_or(|(until, _)| now >= until && self.probe.is_none())
    }

    /// Notes that the upload with this sequence number begins. While the store is down, it looks whether it is back.
    pub(super) fn begin_upload(&mut self, sequence: u64) {
        if self.is_paused() {
            self.probe = Some(sequence);
        }
    }

    /// Lets another upload look whether the store is back, if the one with this sequence number did so. Returns whether it did.
    pub(super) fn end_probe(&mut self, sequence: u64) -> bool {
        self.probe.take_if(|probe| *probe == sequence).is_some()
    }

    /// Returns whether uploads begin only to look whether the store is back.
    pub(super) const fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// Returns the end of the pause, while the store is down.
    pub(super) fn until(&self) -> Option<Instant> {
        self.paused.map(|(until, _)| until)
    }
}
