//! Waits no longer than the caller does.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use blobaccess::{Clock, Context, Error, Result};

/// Ends with `work`, or with `DeadlineExceeded` once the caller's deadline has come.
pub(crate) async fn within<T>(
    ctx: &Context,
    clock: &Arc<dyn Clock>,
    work: impl Future<Output = T> + Send,
) -> Result<T> {
    let Some(deadline) = ctx.deadline() else {
        return Ok(work.await);
    };
    until(clock, deadline, work)
        .await
        .ok_or_else(|| Error::deadline_exceeded("the time for the call ran out before the bucket answered"))
}

/// What `work` ends with, if it does before `deadline`.
pub(crate) async fn until<T>(
    clock: &Arc<dyn Clock>,
    deadline: Instant,
    work: impl Future<Output = T> + Send,
) -> Option<T> {
    if clock.monotonic() >= deadline {
        return None;
    }
    clock.timeout(Some(deadline), work).await.ok()
}
