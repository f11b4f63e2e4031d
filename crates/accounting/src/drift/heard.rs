//! The lives that have reported everything until the end of a listing, told without any clock of theirs.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use xxhash_rust::xxh3::xxh3_128;

use crate::{Epoch, Life, Reporter, unix_millis};

/// The number of reports that have to come in after a listing. The first may have been made before its end. The second was
/// made after the first had arrived.
const REPORTS: u8 = 2;

/// The number of silences for which lives are waited for at most, as new lives may come without end.
const MAX_SILENCES: u32 = 4;

/// A life, as a hash of its name and epoch.
pub(super) type LifeKey = u128;

/// The latest report of a life: its number and time. Some lives repeat a number while they have nothing new.
pub(super) type Mark = (u64, u64);

pub(super) fn life_key(reporter: &Reporter, epoch: Epoch) -> LifeKey {
    let mut key = epoch.as_bytes().to_vec();
    key.extend(reporter.as_str().as_bytes());
    xxh3_128(&key)
}

fn mark(life: &Life) -> Mark {
    (life.seq, unix_millis(life.taken_at))
}

/// Returns the latest report of each life that is open.
pub(super) fn marks(lives: &[Life]) -> HashMap<LifeKey, Mark> {
    let open = lives.iter().filter(|life| life.is_open());
    open.map(|life| (life_key(&life.reporter, life.epoch), mark(life))).collect()
}

/// The lives that are awaited after a listing.
#[derive(Debug)]
pub(super) struct Awaited {
    lives: HashMap<LifeKey, Awaiting>,
    began: Instant,
    silent_after: Duration,
}

#[derive(Debug)]
struct Awaiting {
    mark: Mark,
    reports: u8,
    last_heard: Instant,
    /// Whether nothing was heard of it for so long before that it is not waited for.
    known_silent: bool,
}

/// The end of waiting: the lives of which not everything is known.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Silence {
    pub(super) silent: Vec<Life>,
    pub(super) returned_lives: usize,
}

impl Awaited {
    /// Begins to wait at the end of a listing. `known` has the latest reports of lives that were silent before.
    pub(super) fn new(lives: &[Life], known: &HashMap<LifeKey, Mark>, now: Instant, silent_after: Duration) -> Self {
        let mut awaited = Self { lives: HashMap::new(), began: now, silent_after };
        for life in lives.iter().filter(|life| life.is_open()) {
            let (key, mark) = (life_key(&life.reporter, life.epoch), mark(life));
            let known_silent = known.get(&key) == Some(&mark);
            awaited.lives.insert(key, Awaiting { mark, reports: 0, last_heard: now, known_silent });
        }
        awaited
    }

    /// Notes the present state of the lives, and returns whether nobody is waited for any more.
    pub(super) fn note(&mut self, lives: &[Life], now: Instant) -> bool {
        let mut open = HashSet::new();
        for life in lives.iter().filter(|life| life.is_open()) {
            let (key, mark) = (life_key(&life.reporter, life.epoch), mark(life));
            open.insert(key);
            // A life that is new may have begun before the end of the listing.
            let life =
                self.lives.entry(key).or_insert(Awaiting { mark, reports: 0, last_heard: now, known_silent: false });
            if life.mark != mark {
                life.reports = life.reports.saturating_add(1);
                (life.mark, life.last_heard, life.known_silent) = (mark, now, false);
            }
        }
        // The others are over, or retired.
        self.lives.retain(|key, _| open.contains(key));
        let patience = self.silent_after.saturating_mul(MAX_SILENCES);
        now.saturating_duration_since(self.began) >= patience
            || self.lives.values().all(|life| self.is_settled(life, now))
    }

    fn is_settled(&self, life: &Awaiting, now: Instant) -> bool {
        let since = now.saturating_duration_since(life.last_heard);
        life.reports >= REPORTS || life.known_silent || since >= self.silent_after
    }

    /// Returns the lives that did not report everything, and their latest reports for the next scan.
    pub(super) fn end(&self, lives: &[Life]) -> (Silence, HashMap<LifeKey, Mark>) {
        let (mut silence, mut known) = (Silence::default(), HashMap::new());
        for life in lives {
            silence.returned_lives += usize::from(life.has_returned() && !life.closed);
            if life.is_open() {
                let key = life_key(&life.reporter, life.epoch);
                if self.lives.get(&key).is_none_or(|awaited| awaited.reports < REPORTS) {
                    silence.silent.push(life.clone());
                    known.insert(key, mark(life));
                }
            }
        }
        (silence, known)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "any instant will do to count from")]
mod tests {
    use std::time::SystemTime;

    use super::*;

    const SILENT: Duration = Duration::from_secs(100);

    fn life(name: &str, seq: u64, millis: u64) -> Life {
        let taken_at = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        Life::new(Reporter::new(name), Epoch::from_bytes([1; 16]), seq, taken_at)
    }

    #[test]
    fn a_life_is_awaited_until_its_second_report_whatever_its_clock_says() {
        let now = Instant::now();
        let mut awaited = Awaited::new(&[life("a", 5, 1_000)], &HashMap::new(), now, SILENT);
        assert!(!awaited.note(&[life("a", 5, 1_000)], now));
        // Its clock is a year ahead, then a year behind.
        assert!(!awaited.note(&[life("a", 6, 1 << 40)], now));
        assert!(!awaited.note(&[life("a", 6, 1 << 40)], now));
        let last = [life("a", 7, 1)];
        assert!(awaited.note(&last, now));
        assert_eq!(awaited.end(&last).0, Silence::default());
    }

    #[test]
    fn a_dead_life_is_waited_for_once_and_named() {
        let (now, dead) = (Instant::now(), life("dead", 3, 1));
        let lives = |seq| [dead.clone(), life("a", seq, seq)];
        let mut awaited = Awaited::new(&lives(1), &HashMap::new(), now, SILENT);
        assert!(!awaited.note(&lives(2), now) && !awaited.note(&lives(3), now + SILENT / 2));
        assert!(awaited.note(&lives(3), now + SILENT));
        let (silence, known) = awaited.end(&lives(3));
        assert_eq!(silence.silent, std::slice::from_ref(&dead));
        // The next scan knows it.
        let mut awaited = Awaited::new(&lives(3), &known, now, SILENT);
        assert!(!awaited.note(&lives(4), now));
        assert!(awaited.note(&lives(5), now));
        // It was not dead.
        let mut awaited = Awaited::new(&[dead], &known, now, SILENT);
        assert!(!awaited.note(&[life("dead", 4, 2)], now));
        assert!(awaited.note(&[life("dead", 5, 2)], now));
    }

    #[test]
    fn lives_that_end_or_are_retired_are_not_awaited_and_new_ones_do_not_hold_up_for_ever() {
        let now = Instant::now();
        let mut awaited = Awaited::new(&[life("a", 1, 1), life("b", 1, 1)], &HashMap::new(), now, SILENT);
        assert!(!awaited.note(&[life("a", 1, 1), life("b", 1, 1)], now));
        assert!(awaited.note(&[life("a", 1, 1).with_closed(true), life("b", 1, 1).with_retired_seq(1)], now));
        let mut rounds = 0_u32;
        while !awaited.note(&[life(&rounds.to_string(), 1, 1)], now + SILENT * rounds / 2) {
            rounds += 1;
        }
        assert_eq!(rounds, 2 * MAX_SILENCES);
    }

    #[test]
    fn a_life_that_was_retired_and_reports_is_counted() {
        let now = Instant::now();
        let lives = [life("a", 5, 1).with_retired_seq(4)];
        let mut awaited = Awaited::new(&lives, &HashMap::new(), now, SILENT);
        assert!(awaited.note(&lives, now + SILENT));
        assert_eq!(awaited.end(&lives).0.returned_lives, 1);
    }
}
