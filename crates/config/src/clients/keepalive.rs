//! Pings of a connection that has been silent for some time.

use std::time::Duration;

use crate::section::Section;

/// The least interval between pings, as in Go's client.
const MIN_INTERVAL: Duration = Duration::from_secs(10);

/// The time for an answer unless set, as in Go's client.
const TIMEOUT: Duration = Duration::from_secs(20);

/// When a connection is pinged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keepalive {
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    pub(super) pings_when_idle: bool,
}

impl Keepalive {
    /// Reads a `ClientKeepaliveConfiguration`. Returns `None` if a fault was noted.
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let interval = match section.seconds_and_nanos("time") {
            None => {
                section.fault_at("time", "is required");
                None
            }
            Some((seconds, nanos)) => {
                let interval = u64::try_from(seconds).ok().zip(u32::try_from(nanos).ok());
                let interval = interval.map(|(seconds, nanos)| Duration::new(seconds, nanos.min(999_999_999)));
                let interval = interval.filter(|interval| *interval >= MIN_INTERVAL);
                if interval.is_none() {
                    section.notice_at("time", "is raised to 10s, the least interval");
                }
                Some(interval.unwrap_or(MIN_INTERVAL))
            }
        };
        let timeout = section.required_duration("timeout").map(|timeout| {
            if timeout.is_zero() {
                section.notice_at("timeout", "is 20s, as it is not positive");
            }
            if timeout.is_zero() { TIMEOUT } else { timeout }
        });
        let pings_when_idle = section.flag("permit_without_stream");
        Some(Self { interval: interval?, timeout: timeout?, pings_when_idle })
    }
}
