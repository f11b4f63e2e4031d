//! A watch for work that waits while nobody does it.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::Clock;
use crate::locks::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// A watch for background work that nobody does: it says so once, in the log.
///
/// A component keeps one. It [notes](Self::note_work) each piece of work, and its `run` holds [`Running`] for as long as
/// it is polled. If work has waited for [some time](Self::with_patience) and nobody runs, the next note warns. As a
/// library has no task of its own, a component that is not called any more warns when it is
/// [dropped](Self::warn_of_drop).
///
/// A note costs one atomic load while somebody runs.
///
/// # Examples
///
/// ```
/// use blobaccess::{BackgroundWatch, SystemClock};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let watch = BackgroundWatch::new("a queue", "what was put stays in it");
/// watch.note_work(&SystemClock);
/// let running = watch.begin_to_run();
/// assert!(watch.is_running());
/// drop(running);
/// assert!(!watch.is_running());
/// # }
/// ```
#[derive(Debug)]
pub struct BackgroundWatch {
    component: &'static str,
    harm: &'static str,
    patience: Duration,
    running: AtomicUsize,
    /// The time of the first note, from which the others are counted.
    begun_at: OnceLock<Instant>,
    /// The time of the first work that waits, in nanoseconds since `begun_at`, plus 1. 0 if none waits.
    waiting_since: AtomicU64,
    has_warned: AtomicBool,
}

/// Somebody who does the work. Dropping it says that nobody does any more.
#[derive(Debug)]
#[must_use = "nobody runs once this is dropped"]
pub struct Running<'a>(&'a BackgroundWatch);

impl BackgroundWatch {
    /// The time for which work may wait, unless it is set: 30 s, so that a component that is used says within a minute
    /// that nobody runs it.
    pub const PATIENCE: Duration = Duration::from_secs(30);

    /// Makes the watch of a component, such as `"the upload queue"`, with the harm that its log line names, such as
    /// `"nothing is uploaded"`.
    #[must_use]
    pub const fn new(component: &'static str, harm: &'static str) -> Self {
        Self {
            component,
            harm,
            patience: Self::PATIENCE,
            running: AtomicUsize::new(0),
            begun_at: OnceLock::new(),
            waiting_since: AtomicU64::new(0),
            has_warned: AtomicBool::new(false),
        }
    }

    /// Sets the time for which work may wait. With 0, the second note warns at the latest.
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Notes that somebody does the work from now on.
    pub fn begin_to_run(&self) -> Running<'_> {
        self.running.fetch_add(1, Ordering::Relaxed);
        self.note_attention();
        Running(self)
    }

    /// Notes that somebody has seen to the work just now, by a call in place of a run.
    pub fn note_attention(&self) {
        self.waiting_since.store(0, Ordering::Relaxed);
    }

    /// Returns whether somebody does the work.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running.load(Ordering::Relaxed) > 0
    }

    /// Notes that there is work to do, and warns if some has waited for too long. Returns whether it has warned.
    pub fn note_work(&self, clock: &dyn Clock) -> bool {
        if self.is_running() || self.has_warned.load(Ordering::Relaxed) {
            return false;
        }
        let now = clock.monotonic();
        let now = now.saturating_duration_since(*self.begun_at.get_or_init(|| now));
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX - 1).saturating_add(1);
        let Err(since) = self.waiting_since.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed) else {
            return false;
        };
        if Duration::from_nanos(now.saturating_sub(since)) < self.patience
            || self.has_warned.swap(true, Ordering::Relaxed)
        {
            return false;
        }
        tracing::warn!("nobody runs {}, so {}: its `run` must be polled (see `Background`)", self.component, self.harm);
        true
    }

    /// Warns that the component is dropped with `unsaid` pieces of work that nobody has done, if there are any.
    pub fn warn_of_drop(&self, unsaid: usize) {
        if unsaid > 0 {
            tracing::warn!(unsaid, "{} is dropped with work that nobody has done: {}", self.component, self.harm);
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}
