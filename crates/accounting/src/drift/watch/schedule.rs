//! The schedule of scans, also after failures.

use std::time::Duration;

use blobaccess::Context;

use super::DriftWatch;

/// The time after the first failure until a scan goes on. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(30);

/// The longest time until a scan that failed goes on.
const MAX_PAUSE: Duration = Duration::from_hours(1);

impl DriftWatch {
    /// Scans whenever a scan is due, for as long as the future is polled.
    pub(super) async fn run_on_schedule(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            self.until_due().await;
            match self.run_once(&Context::background()).await {
                Ok(_) => pause = FIRST_PAUSE,
                Err(error) => {
                    let now = self.clock.monotonic();
                    if let Some(left_out) = self.failure_line.due(now) {
                        tracing::warn!(%error, left_out, "a scan for drift failed: it goes on later");
                    }
                    if let Some(until) = now.checked_add(pause) {
                        self.clock.sleep_until(until).await;
                    }
                    pause = pause.saturating_mul(2).min(MAX_PAUSE);
                }
            }
        }
    }

    async fn until_due(&self) {
        let due = {
            let mut turn = self.turn.lock().await;
            self.load(&mut turn).await;
            let is_scanning = self.progress().scan.is_some();
            turn.due.filter(|_| !is_scanning)
        };
        if let Some(due) = due {
            self.clock.sleep_until(due).await;
        }
    }
}
