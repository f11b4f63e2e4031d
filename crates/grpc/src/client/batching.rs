//! Gathers requests for small blobs into calls, without any timer.

use std::collections::{HashMap, VecDeque};
use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blobaccess::{Context, Error, Result};
use futures::FutureExt;
use futures::future::{self, BoxFuture, Either, Shared, WeakShared};
use tokio::sync::oneshot;

use super::batch_key::{self, BatchKey};

/// How many entries one call has at most, however small they are.
const MAX_ENTRIES: usize = 4096;

/// Makes the calls for what was gathered.
pub(super) trait BatchCall: Send + Sync + 'static {
    /// An item that is asked for.
    type Item: Send + 'static;
    /// The answer to one item.
    type Answer: Clone + Send + Sync + 'static;

    /// Makes one call for all of `items`: an answer for each, in their order.
    fn call(
        &self,
        key: BatchKey,
        ctx: Context,
        items: Vec<Self::Item>,
    ) -> BoxFuture<'static, Result<Vec<Result<Self::Answer>>>>;
}

type Answers<C> = Result<Arc<Vec<Result<<C as BatchCall>::Answer>>>>;
type Running<C> = Shared<BoxFuture<'static, Answers<C>>>;
type Started<C> = WeakShared<BoxFuture<'static, Answers<C>>>;

/// Gathers requests into calls: the first goes out at once, alone; what arrives while a call is under way goes out
/// together once it has ended, or as soon as it fills a call.
///
/// # Cancel safety
///
/// Nobody owns a call. Everyone who waits for it polls it, and so does everyone who waits for a later one, so that it
/// goes on whoever is dropped, or merely not polled. It is given up once nobody waits for it any more, and the next one
/// goes out then. A request that is dropped before its call goes out is left out of it.
pub(super) struct Batching<C: BatchCall> {
    shared: Arc<Queues<C>>,
}

struct Queues<C: BatchCall> {
    call: C,
    /// Only those with something under way.
    queues: Mutex<HashMap<BatchKey, Queue<C>>>,
}

struct Queue<C: BatchCall> {
    waiting: VecDeque<Waiting<C>>,
    /// The sum of theirs.
    cost: u64,
    /// The maximum cost of a call.
    max_cost: u64,
    /// The calls under way, by their numbers.
    started: Vec<(u64, Started<C>)>,
    last_number: u64,
}

struct Waiting<C: BatchCall> {
    item: C::Item,
    cost: u64,
    ctx: Context,
    ticket: oneshot::Sender<Ticket<C>>,
}

/// The call that a request goes out with, and its place there.
struct Ticket<C: BatchCall> {
    running: Running<C>,
    place: usize,
}

impl<C: BatchCall> Batching<C> {
    pub(super) fn new(call: C) -> Self {
        Self { shared: Arc::new(Queues { call, queues: Mutex::default() }) }
    }

    /// Returns the answer to `item`, which takes `cost` of the `max_cost` of a call.
    pub(super) async fn ask(
        &self,
        ctx: &Context,
        key: BatchKey,
        item: C::Item,
        cost: u64,
        max_cost: u64,
    ) -> Result<C::Answer> {
        let (ticket, mut receiver) = oneshot::channel();
        let start = self.shared.enqueue(&key, Waiting { item, cost, ctx: ctx.clone(), ticket }, max_cost);
        if start {
            Queues::start(&self.shared, &key);
        }
        let ticket = loop {
            let Some(earlier) = self.shared.under_way(&key) else {
                break receiver.await.ok();
            };
            match future::select(&mut receiver, earlier).await {
                Either::Left((ticket, _)) => break ticket.ok(),
                Either::Right(_) => {}
            }
        };
        let lost = || Error::internal("a batch ended without an answer");
        let Ticket { running, place } = ticket.ok_or_else(lost)?;
        running.await?.get(place).cloned().ok_or_else(lost)?
    }
}

impl<C: BatchCall> Queues<C> {
    fn lock(&self) -> MutexGuard<'_, HashMap<BatchKey, Queue<C>>> {
        // Each change is complete before anything that could panic.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether a call is to be started now.
    fn enqueue(&self, key: &BatchKey, waiting: Waiting<C>, max_cost: u64) -> bool {
        let mut queues = self.lock();
        let queue = queues.entry(key.clone()).or_default();
        queue.max_cost = max_cost;
        queue.cost = queue.cost.saturating_add(waiting.cost);
        queue.waiting.push_back(waiting);
        queue.started.is_empty() || queue.cost > max_cost || queue.waiting.len() > MAX_ENTRIES
    }

    /// Returns a call of this key that is under way, to be polled while waiting for the next one.
    fn under_way(&self, key: &BatchKey) -> Option<Running<C>> {
        self.lock().get(key)?.started.iter().find_map(|(_, started)| started.upgrade())
    }

    /// Starts a call for what waits first.
    fn start(self: &Arc<Self>, key: &BatchKey) {
        let mut queues = self.lock();
        let Some(queue) = queues.get_mut(key) else { return };
        let batch = queue.take();
        if batch.is_empty() {
            if queue.started.is_empty() {
                queues.remove(key);
            }
            return;
        }
        let (mut items, mut contexts, mut tickets) = (Vec::new(), Vec::new(), Vec::new());
        for Waiting { item, ctx, ticket, .. } in batch {
            items.push(item);
            contexts.push(ctx);
            tickets.push(ticket);
        }
        queue.last_number += 1;
        let number = queue.last_number;
        let end = End { queues: Arc::clone(self), key: key.clone(), number };
        let call = self.call.call(key.clone(), batch_key::common(&contexts), items);
        let running = async move {
            let answers = call.await.map(Arc::new);
            drop(end);
            answers
        };
        let running = running.boxed().shared();
        queue.started.extend(running.downgrade().map(|started| (number, started)));
        // From here on the call may be dropped, which takes the lock.
        drop(queues);
        for (place, ticket) in tickets.into_iter().enumerate() {
            // Whoever is gone needs no answer.
            let _gone = ticket.send(Ticket { running: running.clone(), place });
        }
    }
}

impl<C: BatchCall> Default for Queue<C> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), cost: 0, max_cost: 0, started: Vec::new(), last_number: 0 }
    }
}

impl<C: BatchCall> Queue<C> {
    /// Takes the items of the next call. An item that costs more than a call may goes out alone.
    fn take(&mut self) -> Vec<Waiting<C>> {
        let mut batch = Vec::new();
        let mut cost: u64 = 0;
        while let Some(first) = self.waiting.front() {
            let gone = first.ticket.is_closed();
            let more = cost.saturating_add(first.cost);
            if !gone && !batch.is_empty() && (more > self.max_cost || batch.len() >= MAX_ENTRIES) {
                break;
            }
            let Some(first) = self.waiting.pop_front() else { break };
            self.cost = self.cost.saturating_sub(first.cost);
            if !gone {
                cost = more;
                batch.push(first);
            }
        }
        batch
    }
}

/// Starts the next call when the one that holds this ends, or is given up.
struct End<C: BatchCall> {
    queues: Arc<Queues<C>>,
    key: BatchKey,
    number: u64,
}

impl<C: BatchCall> Drop for End<C> {
    fn drop(&mut self) {
        if let Some(queue) = self.queues.lock().get_mut(&self.key) {
            queue.started.retain(|(number, _)| *number != self.number);
        }
        Queues::start(&self.queues, &self.key);
    }
}

impl<C: BatchCall> Debug for Batching<C> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batching").field("keys", &self.shared.lock().len()).finish_non_exhaustive()
    }
}
