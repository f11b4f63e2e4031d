//! The lock of the space. A thread that takes it turn by turn lets those in that wait.

use std::ops::{Deref, DerefMut};
use std::sync::TryLockError;
use std::sync::atomic::Ordering;

use tokio::sync::Notify;

use super::Space;
use super::space::News;
use crate::key_location_map::Writers;
use crate::machine::concurrency::locks::{AtomicU32, AtomicU64, Condvar, Mutex, MutexGuard, enter};

/// The lock of the space.
///
/// A lock of the standard library goes to the thread that runs, so a loop that releases it and takes it again keeps
/// those out that sleep. Such a loop calls [`take_turn`](Self::take_turn), which waits until they have been in.
#[derive(Debug)]
pub(super) struct SpaceLock {
    space: Mutex<Space>,
    /// The number of threads that wait for the space.
    waiting: AtomicU32,
    /// The number of threads that have waited for the space and got it.
    served: AtomicU64,
    /// The number of threads that let others in, and the condition that they wait for.
    yielding: AtomicU32,
    yielded: Mutex<()>,
    was_served: Condvar,
    /// Is notified when there is something to recycle.
    pub(super) upkeep: Notify,
    /// Is notified at the first change after a sync.
    pub(super) changed: Notify,
}

/// The space, for as long as this is held. What is new to those who run in the background, they are told afterwards.
#[derive(Debug)]
pub(crate) struct SpaceGuard<'a> {
    // The order matters: the alarm rings once the lock is free.
    guard: MutexGuard<'a, Space>,
    alarm: Alarm<'a>,
}

#[derive(Debug)]
struct Alarm<'a> {
    lock: &'a SpaceLock,
    news: News,
}

impl SpaceLock {
    pub(super) fn new(space: Space) -> Self {
        Self {
            space: Mutex::new(space),
            waiting: AtomicU32::new(0),
            served: AtomicU64::new(0),
            yielding: AtomicU32::new(0),
            yielded: Mutex::new(()),
            was_served: Condvar::new(),
            upkeep: Notify::new(),
            changed: Notify::new(),
        }
    }

    /// Waits for the space.
    pub(super) fn enter(&self) -> SpaceGuard<'_> {
        let guard = match self.space.try_lock() {
            Ok(guard) => guard,
            // As safe as `concurrency::locks::enter` says.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => self.wait(),
        };
        SpaceGuard { guard, alarm: Alarm { lock: self, news: News::default() } }
    }

    #[cold]
    fn wait(&self) -> MutexGuard<'_, Space> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let guard = enter(&self.space);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        self.served.fetch_add(1, Ordering::SeqCst);
        // A thread that lets others in either sees the above, or is seen here.
        if self.yielding.load(Ordering::SeqCst) > 0 {
            drop(enter(&self.yielded));
            self.was_served.notify_all();
        }
        guard
    }

    #[cfg(test)]
    pub(super) fn wait_until_somebody_waits(&self) {
        while self.waiting.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
    }

    /// Waits until everybody who waits for the space now has been in, and then for the space.
    pub(super) fn take_turn(&self) -> SpaceGuard<'_> {
        let served = self.served.load(Ordering::SeqCst);
        let waiting = self.waiting.load(Ordering::SeqCst);
        if waiting > 0 {
            self.let_in(served + u64::from(waiting));
        }
        self.enter()
    }

    /// Waits until this many threads have been served in all, or none waits.
    #[cold]
    fn let_in(&self, served: u64) {
        self.yielding.fetch_add(1, Ordering::SeqCst);
        let mut yielded = enter(&self.yielded);
        while self.waiting.load(Ordering::SeqCst) > 0 && self.served.load(Ordering::SeqCst) < served {
            yielded = self.was_served.wait(yielded).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        drop(yielded);
        self.yielding.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Writers for SpaceLock {
    type Turn<'a> = SpaceGuard<'a>;

    fn enter(&self) -> SpaceGuard<'_> {
        Self::enter(self)
    }
}

impl Deref for SpaceGuard<'_> {
    type Target = Space;

    #[inline]
    fn deref(&self) -> &Space {
        &self.guard
    }
}

impl DerefMut for SpaceGuard<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Space {
        &mut self.guard
    }
}

impl Drop for SpaceGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.alarm.news = self.guard.take_news();
    }
}

impl Drop for Alarm<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.news != News::default() {
            self.ring();
        }
    }
}

impl Alarm<'_> {
    #[cold]
    fn ring(&self) {
        if self.news.is_changed {
            self.lock.changed.notify_one();
        }
        if self.news.needs_upkeep {
            self.lock.upkeep.notify_one();
        }
    }
}
