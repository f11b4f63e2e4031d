//! The attempts of a put, for the error that the put ends with.

use std::fmt::{self, Display, Formatter};
use std::time::{Duration, Instant};

/// The number of attempts that are listed in full.
const MAX_LISTED: usize = 8;

/// The attempts of a put, with their times and results. It is the source of the error that the put ends with.
#[derive(Clone, Debug)]
pub(crate) struct History {
    begun: Instant,
    attempts: Vec<(Duration, String)>,
    left_out: usize,
}

impl History {
    pub(crate) fn new(begun: Instant) -> Self {
        Self { begun, attempts: Vec::new(), left_out: 0 }
    }

    pub(crate) fn note(&mut self, now: Instant, what: impl Display) {
        if self.attempts.len() < MAX_LISTED {
            self.attempts.push((now.saturating_duration_since(self.begun), what.to_string()));
        } else {
            self.left_out += 1;
        }
    }
}

impl Display for History {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("attempts:")?;
        for (number, (after, what)) in (1_u32..).zip(&self.attempts) {
            write!(f, " {number}. after {} ms {what};", after.as_millis())?;
        }
        if self.left_out > 0 {
            write!(f, " and {} more;", self.left_out)?;
        }
        Ok(())
    }
}

impl std::error::Error for History {}
