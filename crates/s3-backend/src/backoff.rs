//! The pauses between attempts, which grow with each failure.

use std::time::Duration;

/// The pauses between attempts. Each doubles, up to a maximum, and is drawn from the upper half of its range, so that
/// callers spread out.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    max: Duration,
    state: u64,
}

impl Backoff {
    pub(crate) fn new(first: Duration, max: Duration, seed: u64) -> Self {
        Self { next: first.min(max), max, state: seed | 1 }
    }

    pub(crate) fn next(&mut self) -> Duration {
        // Xorshift: enough to spread callers.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let pause = self.next;
        self.next = (self.next * 2).min(self.max);
        let half = pause / 2;
        let per_mille = u32::try_from(self.state % 1000).unwrap_or_default();
        half + half * per_mille / 1000
    }
}

/// Makes the seed of a backoff from random bytes.
pub(crate) fn seed(bytes: &[u8; 16]) -> u64 {
    bytes.first_chunk().map_or(1, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_are_never_less_than_half() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(400), 7);
        for longest in [100, 200, 400, 400, 400] {
            let pause = backoff.next();
            assert!(
                pause <= Duration::from_millis(longest) && pause >= Duration::from_millis(longest / 2),
                "{pause:?}"
            );
        }
    }
}
