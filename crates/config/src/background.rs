//! Work that runs beside the servers, such as reading files again.

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;
use std::time::Duration;

use blobaccess::Clock;
use futures::future::{self, BoxFuture};
use futures::{FutureExt, StreamExt};

/// Work that the parts of a configuration need done beside the servers, and the clock that it is done by.
pub(crate) struct Background {
    clock: Arc<dyn Clock>,
    work: Vec<BoxFuture<'static, ()>>,
}

impl Background {
    /// Makes a place for work that is done by `clock`.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, work: Vec::new() }
    }

    /// Returns the clock.
    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Adds a job that blocks, and that is done each time after `interval` has passed.
    pub(crate) fn add_job(&mut self, interval: Duration, job: impl Fn() + Send + Sync + 'static) {
        let (clock, job) = (Arc::clone(&self.clock), Arc::new(job));
        self.work.push(Box::pin(async move {
            while let Some(next) = clock.monotonic().checked_add(interval) {
                clock.sleep_until(next).await;
                let job = Arc::clone(&job);
                if tokio::task::spawn_blocking(move || job()).await.is_err() {
                    tracing::warn!("a job in the background has failed");
                }
            }
        }));
    }

    /// Does all work, without end.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time. A job that is being done then is done to its end.
    pub(crate) async fn run(self) {
        let mut work: futures::stream::FuturesUnordered<_> = self.work.into_iter().collect();
        while work.next().await.is_some() {}
        future::pending::<()>().boxed().await;
    }
}

impl Debug for Background {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Background").field("work", &self.work.len()).finish_non_exhaustive()
    }
}
