//! Work that goes on beside the calls of stores: uploads of a queue, repairs of a mirror, syncs by interval.

mod watch;
mod work;

use std::any::Any;
use std::borrow::Cow;
use std::fmt::{self, Debug, Formatter};
use std::panic::AssertUnwindSafe;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};

pub use self::watch::{BackgroundWatch, Running};
pub use self::work::BackgroundWork;

/// All the background work of a stack, as one future to spawn.
///
/// A library starts no task. So each component with work of its own has a `run`, which its host must poll: one that is
/// forgotten acknowledges uploads and never sends them, or never syncs. With this, a host lists its components where it
/// makes them, and spawns once.
///
/// Each work is polled only when it is woken. One that panics takes nothing along: [`run`](Self::run) returns its name,
/// and may be called again for the others.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use blobaccess::decorators::Mirrored;
/// use blobaccess::replication::LocalReplicator;
/// use blobaccess::{Background, Cas, MemoryStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let (a, b) = (Arc::new(MemoryStore::<Cas>::new(1 << 20)), Arc::new(MemoryStore::<Cas>::new(1 << 20)));
/// let to_b = Arc::new(LocalReplicator::new(Arc::clone(&a), Arc::clone(&b)));
/// let to_a = Arc::new(LocalReplicator::new(Arc::clone(&b), Arc::clone(&a)));
/// let mirror = Arc::new(Mirrored::new(a, b, to_b, to_a));
///
/// let mut background = Background::new().with(Arc::clone(&mirror)).with_future("greeting", async { println!("up") });
/// let running = tokio::spawn(async move { background.run().await });
/// // Serve. A host that awaits `running` beside its server learns of work that has panicked.
/// running.abort();
/// # }
/// ```
#[derive(Default)]
pub struct Background {
    works: FuturesUnordered<BoxFuture<'static, Ended>>,
}

type Ended = (Cow<'static, str>, Result<(), Box<dyn Any + Send>>);

/// Background work has panicked, which is a defect of its component.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the background work of {name} has panicked: {message}")]
pub struct WorkPanicked {
    name: Cow<'static, str>,
    message: String,
}

impl WorkPanicked {
    /// Returns the name of the component.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Background {
    /// Makes a list without any work.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the work of a component, as a rule an `Arc` of it.
    #[must_use]
    pub fn with(self, work: impl BackgroundWork + 'static) -> Self {
        let name = work.name();
        self.with_future(name, async move { work.run().await })
    }

    /// Adds work under a name, which is for the log.
    #[must_use]
    pub fn with_future(
        self,
        name: impl Into<Cow<'static, str>>,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let name = name.into();
        let work = AssertUnwindSafe(work).catch_unwind();
        self.works.push(async move { (name, work.await) }.boxed());
        self
    }

    /// Returns the number of works that have not ended.
    #[must_use]
    pub fn len(&self) -> usize {
        self.works.len()
    }

    /// Returns whether all work has ended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.works.is_empty()
    }

    /// Does all work, for as long as it is polled. It ends once all work has ended, such as that of queues that were
    /// closed; that of most components never does.
    ///
    /// # Errors
    ///
    /// [`WorkPanicked`] as soon as one work has panicked. The others wait for the next call.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any time; the work waits for the next call.
    pub async fn run(&mut self) -> Result<(), WorkPanicked> {
        while let Some((name, ended)) = self.works.next().await {
            let Err(panic) = ended else { continue };
            let panicked = WorkPanicked { name, message: message_of(&*panic) };
            tracing::error!("{panicked}");
            return Err(panicked);
        }
        Ok(())
    }
}

impl Debug for Background {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Background").field("works", &self.works.len()).finish()
    }
}

/// Returns the message of a panic, if it has one.
fn message_of(panic: &(dyn Any + Send)) -> String {
    let message = panic.downcast_ref::<&str>().copied().map(str::to_owned);
    message.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn work_that_panics_is_named_and_the_others_go_on() {
        let done = Arc::new(AtomicUsize::new(0));
        let counted = |done: &Arc<AtomicUsize>| {
            let done = Arc::clone(done);
            async move {
                done.fetch_add(1, Ordering::Relaxed);
            }
        };
        let mut background = Background::new()
            .with_future("first", counted(&done))
            .with_future("broken", async { panic!("no {}", "way") })
            .with_future("last", counted(&done));
        let panicked = background.run().await.unwrap_err();
        assert_eq!(panicked.name(), "broken");
        assert_eq!(panicked.to_string(), "the background work of broken has panicked: no way");
        assert_eq!(background.run().await, Ok(()));
        assert_eq!(done.load(Ordering::Relaxed), 2);
        assert!(background.is_empty());
    }

    #[tokio::test]
    async fn work_outlives_a_run_that_is_dropped() {
        let (say, heard) = tokio::sync::oneshot::channel::<()>();
        let mut background = Background::new().with_future("listener", async { heard.await.unwrap() });
        assert_eq!(background.run().now_or_never(), None);
        say.send(()).unwrap();
        assert_eq!(background.run().await, Ok(()));
    }
}
