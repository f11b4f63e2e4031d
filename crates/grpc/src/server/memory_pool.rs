//! A number of bytes that calls share.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blobaccess::{Error, Result};
use tokio::sync::oneshot;

/// A number of bytes that calls share, so that no connection can take what others need.
///
/// A connection that holds some gets more as long as it then holds no more than is free. One that is alone so has half of
/// all, each of three a quarter, and there is always something left for the next. This is the dynamic threshold of Choudhury and
/// Hahne (Dynamic queue length thresholds for shared-memory packet switches, 1998), with a factor of 1.
#[derive(Clone, Debug)]
pub(crate) struct MemoryPool(Arc<State>);

#[derive(Debug)]
struct State {
    capacity: u64,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    taken: u64,
    /// The requests that wait, in their order.
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    bytes: u64,
    holder: Holder,
    grant: oneshot::Sender<Share>,
}

/// The place of one that waits. Once it is left, those behind are looked at again.
struct Place<'a> {
    pool: &'a MemoryPool,
    holder: &'a Holder,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.pool.give_back(0, self.holder);
    }
}

/// The bytes that one connection holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holder(Arc<AtomicU64>);

/// A number of bytes that are taken, until this is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    pool: MemoryPool,
    holder: Holder,
    bytes: u64,
}

impl Holder {
    fn held(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl MemoryPool {
    /// Makes a pool of `capacity` bytes.
    pub(crate) fn new(capacity: u64) -> Self {
        Self(Arc::new(State { capacity, queue: Mutex::default() }))
    }

    /// Waits for a share of `bytes`, in the order of those who wait. Who waits for bytes that its own connection holds is passed by others.
    /// More than there is at all is granted to who is alone.
    pub(crate) async fn share(&self, bytes: u64, holder: &Holder) -> Result<Share> {
        let (grant, granted) = oneshot::channel();
        {
            let mut queue = self.queue();
            if queue.waiting.is_empty() && self.fits(&queue, bytes, holder) {
                return Ok(self.take(&mut queue, bytes, holder));
            }
            queue.waiting.push_back(Waiting { bytes, holder: holder.clone(), grant });
        }
        // It is left after `granted` has been dropped.
        let _place = Place { pool: self, holder };
        // Those before it may all be waiting for their own connections.
        self.give_back(0, holder);
        granted.await.map_err(|_| Error::unavailable("server is shutting down"))
    }

    /// Returns an empty share, to be grown.
    pub(crate) fn empty_share(&self, holder: &Holder) -> Share {
        Share { pool: self.clone(), holder: holder.clone(), bytes: 0 }
    }

    /// Returns the number of bytes that are taken now.
    pub(crate) fn taken_bytes(&self) -> u64 {
        self.queue().taken
    }

    /// Returns the number of bytes that there are.
    pub(crate) fn capacity(&self) -> u64 {
        self.0.capacity
    }

    /// Returns whether more than three quarters are taken, or one waits for what others hold. Whoever would wait without them as well
    /// presses nobody.
    pub(crate) fn is_pressed(&self) -> bool {
        let (queue, capacity) = (self.queue(), self.0.capacity);
        let waits_for_others = |waiting: &Waiting| {
            let held = waiting.holder.held();
            let is_own_limit = held > 0 && held.saturating_mul(2).saturating_add(waiting.bytes) > capacity;
            !is_own_limit && !waiting.grant.is_closed()
        };
        queue.taken > capacity / 4 * 3 || queue.waiting.iter().any(waits_for_others)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Each change is one step; nothing panics while it is held.
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fits(&self, queue: &Queue, bytes: u64, holder: &Holder) -> bool {
        let (free, held) = (self.0.capacity.saturating_sub(queue.taken), holder.held());
        let is_alone = queue.taken == held;
        match held {
            0 => bytes <= free || is_alone,
            _ => held.saturating_add(bytes) <= free,
        }
    }

    fn take(&self, queue: &mut Queue, bytes: u64, holder: &Holder) -> Share {
        queue.taken = queue.taken.saturating_add(bytes);
        holder.0.fetch_add(bytes, Ordering::Relaxed);
        Share { pool: self.clone(), holder: holder.clone(), bytes }
    }

    fn give_back(&self, bytes: u64, holder: &Holder) {
        let mut granted = Vec::new();
        {
            let mut queue = self.queue();
            queue.taken = queue.taken.saturating_sub(bytes);
            holder.0.fetch_sub(bytes, Ordering::Relaxed);
            let mut at = 0;
            while let Some(next) = queue.waiting.get(at) {
                let gone = next.grant.is_closed();
                if gone || self.fits(&queue, next.bytes, &next.holder) {
                    let Some(next) = queue.waiting.remove(at) else { break };
                    if !gone {
                        granted.push((self.take(&mut queue, next.bytes, &next.holder), next.grant));
                    }
                } else if next.holder.held() > 0 {
                    at += 1;
                } else {
                    // It needs more than is free. What comes behind must not keep it waiting.
                    break;
                }
            }
        }
        for (share, grant) in granted {
            // Who has gone gives it back.
            drop(grant.send(share));
        }
    }
}

impl Share {
    /// Takes `bytes` more, if there are as many for this connection now and nobody waits.
    pub(crate) fn grow(&mut self, bytes: u64) -> bool {
        let pool = self.pool.clone();
        let mut queue = pool.queue();
        let is_alone = queue.taken == self.bytes;
        if !is_alone && (!queue.waiting.is_empty() || !pool.fits(&queue, bytes, &self.holder)) {
            return false;
        }
        queue.taken = queue.taken.saturating_add(bytes);
        self.holder.0.fetch_add(bytes, Ordering::Relaxed);
        self.bytes = self.bytes.saturating_add(bytes);
        true
    }

    /// Returns the bytes of the share.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds `other`, which is of the same pool and connection.
    pub(crate) fn merge(&mut self, mut other: Self) {
        self.bytes = self.bytes.saturating_add(std::mem::take(&mut other.bytes));
    }

    /// Gives all back, and stays empty.
    pub(crate) fn clear(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if bytes > 0 {
            self.pool.give_back(bytes, &self.holder);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn what_is_beyond_waits_until_a_share_is_given_back() {
        let pool = MemoryPool::new(10);
        let first = pool.share(8, &Holder::default()).await.unwrap();
        assert_eq!(pool.taken_bytes(), 8);
        let other = Holder::default();
        let mut waiting = Box::pin(pool.share(4, &other));
        assert!((&mut waiting).now_or_never().is_none() && pool.is_pressed());
        drop(first);
        assert_eq!(waiting.await.unwrap().bytes(), 4);
        assert_eq!(pool.taken_bytes(), 0);
    }

    #[tokio::test]
    async fn more_than_there_is_at_all_is_let_in_alone() {
        let (pool, holder) = (MemoryPool::new(10), Holder::default());
        let all = pool.share(u64::MAX, &holder).await.unwrap();
        assert!(pool.share(1, &Holder::default()).now_or_never().is_none());
        drop(all);
        assert_eq!((pool.taken_bytes(), holder.held()), (0, 0));
        let mut growing = pool.empty_share(&holder);
        assert!(growing.grow(8) && growing.grow(8), "nobody else is there");
        assert!(pool.share(1, &Holder::default()).now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_connection_has_at_most_as_much_as_it_leaves_and_holds_up_nobody_else() {
        let (pool, greedy, modest) = (MemoryPool::new(100), Holder::default(), Holder::default());
        let mut held = Vec::new();
        while let Some(share) = pool.share(10, &greedy).now_or_never() {
            held.push(share.unwrap());
        }
        assert_eq!(pool.taken_bytes(), 50);
        let mut growing = pool.empty_share(&greedy);
        assert!(!growing.grow(10));
        let mut waiting = Box::pin(pool.share(10, &greedy));
        assert!((&mut waiting).now_or_never().is_none());
        assert!(!pool.is_pressed(), "it waits for itself");
        // It would be granted in the order of those who wait, were the first not waiting for itself.
        let behind = pool.share(40, &modest).await.unwrap();
        assert!((&mut waiting).now_or_never().is_none());
        drop(behind);
        assert!((&mut waiting).now_or_never().is_none());
        drop(held.pop());
        assert_eq!(waiting.await.unwrap().bytes(), 10);
    }

    #[tokio::test]
    async fn who_waits_for_others_presses_them_even_if_it_holds_some() {
        let (pool, holder) = (MemoryPool::new(100), Holder::default());
        let others = pool.share(60, &Holder::default()).await.unwrap();
        let own = pool.share(10, &holder).await.unwrap();
        assert!(!pool.is_pressed());
        let mut more = Box::pin(pool.share(30, &holder));
        assert!((&mut more).now_or_never().is_none() && pool.is_pressed());
        drop(others);
        assert_eq!(more.await.unwrap().bytes() + own.bytes(), 40);
    }

    #[tokio::test]
    async fn those_behind_one_that_has_gone_wait_for_nobody() {
        let pool = MemoryPool::new(10);
        let first = pool.share(8, &Holder::default()).await.unwrap();
        let (one, other) = (Holder::default(), Holder::default());
        let mut gone = Box::pin(pool.share(4, &one));
        let mut next = Box::pin(pool.share(2, &other));
        assert!((&mut gone).now_or_never().is_none() && (&mut next).now_or_never().is_none());
        drop(gone);
        assert_eq!(next.now_or_never().unwrap().unwrap().bytes(), 2);
        drop(first);
    }

    #[tokio::test]
    async fn who_has_gone_gives_its_place_to_the_next() {
        let (pool, holder) = (MemoryPool::new(10), Holder::default());
        let first = pool.share(10, &holder).await.unwrap();
        let (one, other) = (Holder::default(), Holder::default());
        let mut gone = Box::pin(pool.share(10, &one));
        let mut next = Box::pin(pool.share(10, &other));
        assert!((&mut gone).now_or_never().is_none() && (&mut next).now_or_never().is_none());
        drop(gone);
        drop(first);
        assert_eq!(next.await.unwrap().bytes(), 10);
    }
}
