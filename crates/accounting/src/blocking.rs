//! Work that blocks, off the threads of an executor.

use blobaccess::{Error, Result};

/// Runs what blocks on tokio's threads for that, if there is a runtime, else here.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => match runtime.spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => Err(Error::internal("work that may block did not end").with_source(error)),
        },
        Err(_) => work(),
    }
}
