//! Work that blocks, shared by callers: one of them has it done by another thread, and the rest wait without a thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use blobaccess::{Result, blocking};
use tokio::sync::Notify;

use crate::machine::concurrency::locks::AtomicBool;

/// Work that blocks, done by one thread at a time for all callers.
#[derive(Debug, Default)]
pub(super) struct SharedWork {
    is_running: AtomicBool,
    /// Notified when the work has ended.
    ended: Notify,
}

/// Work that runs, until this is dropped.
struct Running(Arc<SharedWork>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.is_running.store(false, Ordering::Release);
        self.0.ended.notify_waiters();
    }
}

impl SharedWork {
    /// Waits until `is_done`. Has `work` done for that, unless another caller does.
    ///
    /// # Errors
    ///
    /// That of the work, if this caller had it done. The others try it themselves.
    ///
    /// # Cancel safety
    ///
    /// Work that has begun goes on if this is dropped.
    pub(super) async fn run(
        self: &Arc<Self>,
        is_done: impl Fn() -> bool + Send,
        work: impl FnOnce() -> Result<()> + Send + 'static,
    ) -> Result<()> {
        loop {
            let mut ended = std::pin::pin!(self.ended.notified());
            // From here on nothing is missed.
            ended.as_mut().enable();
            if is_done() {
                return Ok(());
            }
            if !self.is_running.swap(true, Ordering::AcqRel) {
                let running = Running(Arc::clone(self));
                return blocking(move || {
                    let result = work();
                    drop(running);
                    result
                })
                .await;
            }
            ended.await;
        }
    }
}

#[cfg(test)]
#[cfg(not(any(loom, shuttle)))]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;

    use blobaccess::Error;

    use super::*;

    #[tokio::test]
    async fn many_callers_share_one_thread_and_a_failure_is_told_to_each_that_tried() {
        let (shared, done) = (Arc::new(SharedWork::default()), Arc::new(AtomicUsize::new(0)));
        let barrier = Arc::new(Barrier::new(2));
        let (counted, waited) = (Arc::clone(&done), Arc::clone(&barrier));
        let first = Arc::clone(&shared);
        let first = tokio::spawn(async move {
            let work = move || {
                waited.wait();
                waited.wait();
                counted.fetch_add(1, Ordering::SeqCst);
                Ok(())
            };
            first.run(|| false, work).await
        });
        let reached = Arc::clone(&barrier);
        tokio::task::spawn_blocking(move || reached.wait()).await.unwrap();
        let is_done = || done.load(Ordering::SeqCst) > 0;
        let others = futures::future::join_all((0..100).map(|_| shared.run(is_done, || panic!("it is shared"))));
        let release = tokio::task::spawn_blocking(move || barrier.wait());
        assert!(others.await.into_iter().all(|result| result.is_ok()));
        release.await.unwrap();
        first.await.unwrap().unwrap();
        for _ in 0..2 {
            let failed = shared.run(|| false, || Err(Error::unavailable("disk on fire"))).await;
            assert_eq!(failed.unwrap_err().to_string(), "disk on fire");
        }
    }
}
