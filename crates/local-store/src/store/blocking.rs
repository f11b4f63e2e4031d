//! Runs blocking work off the executor threads.

use blobaccess::{Error, Result};

/// Runs `work` on the runtime's threads for blocking work; on this thread where there is no runtime.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => match runtime.spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => Err(Error::internal("work that may block did not end").with_source(error)),
        },
        Err(_) => work(),
    }
}
