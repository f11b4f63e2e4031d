//! One piece of work for all that ask for the same at the same time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::{self, Debug, Formatter};
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context as Poller, Poll};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};

use crate::locks::{Mutex, MutexGuard};

/// The number of keys that are removed before others get a turn at the lock. One removal from 200,000 keys took up to
/// 1 µs on a loaded machine.
const KEYS_PER_LOCK: usize = 256;

/// Work under way, by key, which callers join that need the same result.
///
/// A [`Flight`] is driven by whichever caller polls it. So the caller that began it may stop polling or go away, and
/// the others still get its result. A flight that nobody waits for any more is dropped, with whatever it holds.
///
/// A flight can stand for several keys. A key belongs to at most one flight at a time, and to none once that has
/// landed: results are not remembered.
///
/// # Memory
///
/// About 50 bytes and the key for each key under way.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use blobaccess::SingleFlight;
///
/// let flights = SingleFlight::<&str, u32>::new();
/// let first = flights.join("answer", || async { 42 });
/// let second = flights.join("answer", || async { unreachable!("the first is still under way") });
/// assert!(first.is_own && !second.is_own);
/// drop(first);
/// assert_eq!(second.flight.await, 42);
/// # }
/// ```
pub struct SingleFlight<K, T>(Arc<Mutex<Flights<K, T>>>);

/// The result of work that several callers may wait for.
///
/// # Cancel safety
///
/// It may be dropped at any time. The work goes on as long as another caller waits for it.
pub struct Flight<T>(Shared<BoxFuture<'static, T>>);

/// A flight that a caller has joined or begun, and the items it stands for.
#[derive(Debug)]
#[non_exhaustive]
pub struct Joined<I, T> {
    /// Whether this caller began the flight.
    pub is_own: bool,
    /// The caller's items that this flight gives the result of.
    pub items: Vec<I>,
    /// The work.
    pub flight: Flight<T>,
}

struct Flights<K, T> {
    by_key: HashMap<K, UnderWay<T>>,
    /// The number of flights so far, which numbers them.
    begun: u64,
}

/// The flight that a key belongs to.
///
/// It is not kept alive from here, so that it ends with its last waiter.
struct UnderWay<T> {
    number: u64,
    /// `None` while the flight is being made.
    work: Option<WeakShared<BoxFuture<'static, T>>>,
}

impl<K, T> SingleFlight<K, T> {
    /// Makes an empty set of flights.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Flights { by_key: HashMap::new(), begun: 0 })))
    }

    /// Returns the number of keys under way.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.0).by_key.len()
    }

    /// Returns whether no key is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K, T> SingleFlight<K, T>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// Joins the flight of `key`, or begins one with the work that `begin` makes.
    ///
    /// `begin` is called under a lock: it makes a future and does nothing else.
    pub fn join<F>(&self, key: K, begin: impl FnOnce() -> F) -> Joined<(), T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let joined = self.join_all([(key, ())], |_| begin());
        // One key belongs to one flight.
        joined.into_iter().next().unwrap_or_else(|| unreachable!("a key without a flight"))
    }

    /// Joins the flights that the keys of `items` belong to, and begins one for all others.
    ///
    /// `begin` makes the work from the items of the keys that nobody asked for yet: of several items in a row under
    /// one key, from the first. It is called under a lock: it makes a future and does nothing else. Items under one
    /// key stand together.
    pub fn join_all<I, F>(
        &self,
        items: impl IntoIterator<Item = (K, I)>,
        begin: impl FnOnce(&[I]) -> F,
    ) -> Vec<Joined<I, T>>
    where
        F: Future<Output = T> + Send + 'static,
    {
        // Declared before the lock is taken: with the last handle of a flight goes its ticket, which locks too.
        let mut joined: Vec<Joined<I, T>> = Vec::new();
        let mut passed_over: Vec<Flight<T>> = Vec::new();
        let mut place_of_flight = HashMap::new();
        let (mut own, mut own_keys, mut repeated) = (Vec::new(), Vec::new(), Vec::new());

        let mut flights = lock(&self.0);
        let number = flights.begun + 1;
        for (key, item) in items {
            match flights.by_key.entry(key) {
                Entry::Occupied(entry) if entry.get().number == number => repeated.push(item),
                Entry::Occupied(mut entry) => {
                    let known = entry.get();
                    let Some(flight) = known.work.as_ref().and_then(WeakShared::upgrade).map(Flight) else {
                        own_keys.push(entry.key().clone());
                        entry.insert(UnderWay { number, work: None });
                        own.push(item);
                        continue;
                    };
                    let place = *place_of_flight.entry(known.number).or_insert(joined.len());
                    match joined.get_mut(place) {
                        Some(joined) => {
                            joined.items.push(item);
                            passed_over.push(flight);
                        }
                        None => joined.push(Joined { is_own: false, items: vec![item], flight }),
                    }
                }
                Entry::Vacant(entry) => {
                    own_keys.push(entry.key().clone());
                    entry.insert(UnderWay { number, work: None });
                    own.push(item);
                }
            }
        }
        if own.is_empty() {
            return joined;
        }
        flights.begun = number;
        let ticket = Ticket { flights: Arc::clone(&self.0), number, keys: own_keys.clone() };
        let work = begin(&own);
        let work = async move {
            let result = work.await;
            drop(ticket);
            result
        };
        let work = work.boxed().shared();
        let weak = work.downgrade();
        for key in own_keys {
            flights.by_key.insert(key, UnderWay { number, work: weak.clone() });
        }
        drop(flights);
        own.append(&mut repeated);
        joined.push(Joined { is_own: true, items: own, flight: Flight(work) });
        joined
    }

    /// Lets nobody join the flight of `key` from now on. Those that wait for it already get its result.
    ///
    /// Call this when the result no longer holds for a caller that asks now.
    pub fn forget(&self, key: &K) {
        let forgotten = lock(&self.0).by_key.remove(key);
        drop(forgotten);
    }
}

fn lock<K, T>(flights: &Mutex<Flights<K, T>>) -> MutexGuard<'_, Flights<K, T>> {
    // Each change is of one key, and complete by itself; a key whose flight was never made is taken for free.
    flights.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the keys of a flight taken until it has landed or was dropped.
struct Ticket<K: Eq + Hash, T> {
    flights: Arc<Mutex<Flights<K, T>>>,
    number: u64,
    keys: Vec<K>,
}

impl<K: Eq + Hash, T> Drop for Ticket<K, T> {
    fn drop(&mut self) {
        for keys in self.keys.chunks(KEYS_PER_LOCK) {
            let mut flights = lock(&self.flights);
            for key in keys {
                if flights.by_key.get(key).is_some_and(|known| known.number == self.number) {
                    flights.by_key.remove(key);
                }
            }
        }
    }
}

impl<T: Clone> Future for Flight<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<T> {
        self.0.poll_unpin(poller)
    }
}

impl<T> Debug for Flight<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Flight")
    }
}

impl<K, T> Default for SingleFlight<K, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, T> Debug for SingleFlight<K, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("SingleFlight").field("keys", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::channel::oneshot;
    use futures::poll;

    use super::*;

    type Numbers = SingleFlight<&'static str, u32>;

    async fn never() -> u32 {
        std::future::pending().await
    }

    #[tokio::test]
    async fn callers_of_one_key_share_one_flight_and_later_ones_begin_anew() {
        let flights = Numbers::new();
        let (send, receive) = oneshot::channel();
        let first = flights.join("a", || async { receive.await.unwrap() });
        let second = flights.join("a", never);
        assert_eq!((first.is_own, second.is_own, flights.len()), (true, false, 1));
        send.send(7).unwrap();
        assert_eq!((second.flight.await, first.flight.await), (7, 7));
        assert!(flights.is_empty());
        assert!(flights.join("a", never).is_own);
    }

    #[tokio::test]
    async fn a_flight_outlives_the_caller_that_began_it_but_not_its_last_waiter() {
        let flights = Numbers::new();
        let (send, receive) = oneshot::channel();
        let first = flights.join("a", || async { receive.await.unwrap() });
        let mut second = flights.join("a", never).flight;
        drop(first);
        assert!(poll!(&mut second).is_pending());
        assert!(!send.is_canceled());
        drop(second);
        assert!(send.is_canceled() && flights.is_empty());
    }

    #[tokio::test]
    async fn keys_are_divided_between_flights_under_way_and_a_new_one() {
        let flights = Numbers::new();
        let first = flights.join_all([("a", 1), ("b", 2)], |_| async { 10 });
        let mut asked = Vec::new();
        let items = [("a", 3), ("c", 4), ("c", 5), ("b", 6), ("d", 7)];
        let second = flights.join_all(items, |items| {
            asked = items.to_vec();
            async { 20 }
        });
        assert_eq!(asked, [4, 7]);
        let parts: Vec<_> = second.iter().map(|joined| (joined.is_own, joined.items.clone())).collect();
        assert_eq!(parts, [(false, vec![3, 6]), (true, vec![4, 7, 5])]);
        drop(first);
        for (joined, result) in second.into_iter().zip([10, 20]) {
            assert_eq!(joined.flight.await, result);
        }
        assert!(flights.is_empty());
    }

    #[tokio::test]
    async fn nobody_joins_a_flight_that_was_forgotten() {
        let flights = Numbers::new();
        let first = flights.join("a", || async { 1 });
        flights.forget(&"a");
        let second = flights.join("a", || async { 2 });
        assert!(second.is_own);
        // The first takes nothing of the second away when it lands.
        assert_eq!(first.flight.await, 1);
        assert!(!flights.join("a", never).is_own);
        assert_eq!(second.flight.await, 2);
    }
}
