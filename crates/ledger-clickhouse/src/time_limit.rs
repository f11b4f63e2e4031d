//! The time that a call to the server may take.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::{Clock, Error, Result, SystemClock};

/// The time that a call to the server may take.
#[derive(Clone, Debug)]
pub(crate) struct TimeLimit {
    pub(crate) timeout: Duration,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Default for TimeLimit {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), clock: Arc::new(SystemClock) }
    }
}

impl TimeLimit {
    /// Waits for `call` for as long as a call may take.
    pub(crate) async fn keep<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let deadline = self.clock.monotonic().checked_add(self.timeout);
        self.clock
            .timeout(deadline, call)
            .await
            .unwrap_or_else(|_| Err(Error::unavailable(format!("clickhouse: timed out after {:?}", self.timeout))))
    }
}
