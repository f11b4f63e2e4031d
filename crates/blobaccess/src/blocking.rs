//! Work that blocks, off the threads of an executor.

use crate::{Error, Result};

/// Runs `work`, which may block, on tokio's threads for that; without a runtime, on the calling thread.
///
/// For stores that read and write files. It needs the cargo feature `blocking`, which is off by default: it is the only
/// thing in this crate that needs more of tokio than its locks and timers.
///
/// # Errors
///
/// The error of `work`; `Internal` if it panicked, or if the runtime is shutting down.
///
/// # Cancel safety
///
/// Work that has begun goes on to its end when the returned future is dropped.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => match runtime.spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => Err(Error::internal("blocking work did not end").with_source(error)),
        },
        Err(_) => work(),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::ErrorKind;

    #[tokio::test]
    async fn with_a_runtime_it_runs_on_another_thread() {
        let here = thread::current().id();
        let there = blocking(|| Ok(thread::current().id())).await.unwrap();
        assert_ne!(here, there);
        let error = blocking(|| Err::<(), _>(Error::unavailable("disk on fire"))).await.unwrap_err();
        assert_eq!(error.to_string(), "disk on fire");
        let error = blocking::<()>(|| panic!("for the test")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
    }

    #[test]
    fn without_a_runtime_it_runs_here() {
        let here = thread::current().id();
        let there = futures::FutureExt::now_or_never(blocking(|| Ok(thread::current().id()))).unwrap().unwrap();
        assert_eq!(here, there);
    }
}
