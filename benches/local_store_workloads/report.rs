//! Measurements as lines of text, each with the limit of the machine and the goal.

use std::time::Duration;

use blobaccess_workbench::{load_average, monotonic_time, real, thread_time};

/// The number of times that work is done. The best time counts, because others share the machine.
pub(crate) const ROUNDS: u64 = 5;

/// A speed.
#[derive(Clone, Copy)]
pub(crate) enum Speed {
    /// The nanoseconds of each call.
    Calls(f64),
    /// The bytes per nanosecond.
    Bytes(f64),
}

impl Speed {
    pub(crate) fn of_calls(count: usize, took: Duration) -> Self {
        Self::Calls(took.as_secs_f64() * 1e9 / real(count.try_into().unwrap()))
    }

    pub(crate) fn of_bytes(bytes: u64, took: Duration) -> Self {
        Self::Bytes(real(bytes) / (took.as_secs_f64() * 1e9))
    }

    pub(crate) fn faster(self, other: Self) -> Self {
        if other.rate() > self.rate() { other } else { self }
    }

    /// Returns millions of calls, or billions of bytes, per second.
    fn rate(self) -> f64 {
        match self {
            Self::Calls(nanoseconds) => 1e3 / nanoseconds,
            Self::Bytes(rate) => rate,
        }
    }

    fn text(self) -> String {
        match self {
            Self::Calls(nanoseconds) => format!("{nanoseconds:9.1} ns {:8.2} M/s", self.rate()),
            Self::Bytes(rate) => format!("{:12} {rate:8.2} GB/s", ""),
        }
    }
}

/// Formats a value with its lower limit.
fn compared(value: f64, goal: Option<f64>) -> String {
    goal.map_or(String::new(), |goal| {
        format!("   goal {goal:.2}: {}", if value >= goal { "reached" } else { "missed" })
    })
}

/// Prints a speed, and the goal for it.
pub(crate) fn speed(what: &str, ours: Speed, goal: Option<f64>) {
    println!("{what:64} {}{}", ours.text(), compared(ours.rate(), goal));
}

/// Prints the limit of the machine, the share of it that is reached, and the goal for that share.
pub(crate) fn share(of: &str, limit: Speed, ours: Speed, goal: Option<f64>) {
    let share = ours.rate() / limit.rate();
    println!("{:64} {}   share {share:.2}{}", format!("    of {of}"), limit.text(), compared(share, goal));
}

/// Prints a value that has an upper limit.
pub(crate) fn bounded(what: &str, value: f64, unit: &str, most: f64) {
    let verdict = if value <= most { "reached" } else { "missed" };
    println!("{what:64} {value:9.2} {unit}   goal {most:.2}: {verdict}");
}

/// Returns the processor time of this thread for `work`, because others share the machine.
pub(crate) fn timed(work: impl FnOnce()) -> Duration {
    let begun = thread_time();
    work();
    thread_time().saturating_sub(begun)
}

/// Returns the elapsed time of `work`, which the disk decides.
pub(crate) fn elapsed(work: impl FnOnce()) -> Duration {
    let begun = monotonic_time();
    work();
    monotonic_time().saturating_sub(begun)
}

/// Returns the least value that `measure` returns over the rounds.
pub(crate) fn best<T: Ord>(measure: impl FnMut(u64) -> T) -> T {
    (0..ROUNDS).map(measure).min().unwrap()
}

/// Does `work` with all items on one thread, then with half of them on each of two. Prints the speedup as a share of
/// two: by elapsed time, which needs two free processors, and by processor time.
///
/// `items` returns the items of a round.
pub(crate) fn scaling<T: Sync>(
    what: &str,
    items: impl Fn(u64) -> Vec<T>,
    work: impl Fn(&[T]) + Sync,
    goal: Option<f64>,
) {
    let (mut one, mut two) = ([Duration::MAX; 2], [Duration::MAX; 2]);
    let mut count = 0;
    let least = |so_far: &mut [Duration; 2], clock: Duration, processor: Duration| {
        *so_far = [so_far[0].min(clock), so_far[1].min(processor)];
    };
    for round in 0..ROUNDS {
        let all = items(2 * round);
        count = all.len();
        let mut processor = Duration::ZERO;
        let clock = elapsed(|| processor = timed(|| work(&all)));
        least(&mut one, clock, processor);
        let all = items(2 * round + 1);
        let (first, second) = all.split_at(all.len() / 2);
        let clock = elapsed(|| {
            std::thread::scope(|scope| {
                let other = scope.spawn(|| timed(|| work(first)));
                processor = timed(|| work(second));
                processor += other.join().unwrap();
            });
        });
        least(&mut two, clock, processor);
    }
    let share = |of: usize, by: f64| one[of].as_secs_f64() / two[of].as_secs_f64() / by;
    speed(&format!("{what}, two threads, by the clock"), Speed::of_calls(count, two[0]), None);
    let (clock, processor) = (share(0, 2.0), share(1, 1.0));
    println!(
        "{:64} by the clock {clock:.2}, by processor time {processor:.2}, load {:.2}{}",
        "    of linear",
        load_average(),
        compared(clock, goal)
    );
}
