//! The locks of threads that recycle and copy, in the order in which they are taken.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::key_location_map::Record;
use crate::machine::casts;
use crate::machine::concurrency::locks::{AtomicU32, Mutex, MutexGuard, enter};

/// The most objects that are copied concurrently.
const COPIED_AT_ONCE: usize = 16;

/// The locks of threads that recycle and copy.
///
/// [`recycle`](Self::recycle) comes first, then [`set_aside`](Self::set_aside), then [`copy`](Self::copy). All of them
/// come before the locks of syncs, of the flusher and of the space.
#[derive(Debug)]
pub(super) struct Upkeep {
    recycling: Mutex<()>,
    setting_aside: Mutex<()>,
    /// By the sequence of an object.
    copying: [Mutex<()>; COPIED_AT_ONCE],
    /// The number of [`Runner`]s.
    runners: AtomicU32,
}

/// The right to take blocks out of use, and to look at the share that is set aside.
#[derive(Debug)]
pub(super) struct Recycling<'a> {
    _guard: MutexGuard<'a, ()>,
}

/// A background task that recycles and copies, until this is dropped.
#[derive(Debug)]
pub(crate) struct Runner(Arc<Upkeep>);

impl Drop for Runner {
    fn drop(&mut self) {
        self.0.runners.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Upkeep {
    pub(super) fn new() -> Self {
        Self {
            recycling: Mutex::new(()),
            setting_aside: Mutex::new(()),
            copying: std::array::from_fn(|_| Mutex::new(())),
            runners: AtomicU32::new(0),
        }
    }

    /// Waits for the right to recycle.
    pub(super) fn recycle(&self) -> Recycling<'_> {
        Recycling { _guard: enter(&self.recycling) }
    }

    /// Waits for the right to find the promised objects of a block that is being recycled. The right is held until all
    /// of them are set aside.
    pub(super) fn set_aside(&self) -> MutexGuard<'_, ()> {
        enter(&self.setting_aside)
    }

    /// Waits until every promised object of the block that is being recycled is set aside.
    pub(super) fn wait_until_set_aside(&self) {
        drop(self.set_aside());
    }

    /// Waits for the right to copy an object, so that no two threads copy the same one: a second copy would take space
    /// that was left for another object.
    pub(super) fn copy(&self, record: &Record) -> Option<MutexGuard<'_, ()>> {
        self.copying.get(casts::in_memory(record.sequence) % self.copying.len()).map(enter)
    }

    /// Begins to recycle and copy in the background.
    pub(super) fn begin_to_run(self: &Arc<Self>) -> Runner {
        self.runners.fetch_add(1, Ordering::Relaxed);
        Runner(Arc::clone(self))
    }

    /// Returns whether a background task recycles and copies.
    pub(super) fn has_runner(&self) -> bool {
        self.runners.load(Ordering::Relaxed) > 0
    }
}
