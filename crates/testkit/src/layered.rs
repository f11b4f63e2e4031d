//! A fixture for decorators, over stores in memory that outlive them and can break down.

use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, PoisonError};

use blobaccess::{BlobAccess, Context, Error, Kind, MemoryStore, Result};

use crate::fakes::{InterruptibleStore, Outage};
use crate::{Fixture, Promises};

/// What each store beneath a decorator holds at most, in bytes: more than any contract puts into one that promises no
/// capacity, and the largest blob is still quickly made.
const CAPACITY_BYTES: u64 = 16 << 20;

/// A store beneath the decorator under test: in memory, and down when the contract wants it to be.
pub type Beneath<K> = InterruptibleStore<Arc<MemoryStore<K>>>;

/// A [`Fixture`] for decorators, over stores in memory that outlive them and can break down.
///
/// So it promises to be durable: what a decorator acknowledges must be in the store beneath. It keeps 1 MiB of further
/// puts and evicts nothing; the largest blob is what the stores beneath take.
///
/// # Examples
///
/// One line for a decorator over one store, in place of `identity` its constructor:
///
/// ```
/// use std::convert::identity;
///
/// use blobaccess::Cas;
/// use blobaccess_testkit::{Layered, contracts, hold};
///
/// let fixture = Layered::<Cas, _>::new(|beneath| identity(beneath.store("inner")));
/// assert_eq!(hold(contracts::outages::an_outage_is_never_not_found(&fixture)), Ok(()));
/// ```
pub struct Layered<K: Kind, M> {
    make: M,
    stores: Stores<K>,
    promises: Promises,
    context: Context,
    layers: Vec<String>,
}

/// The stores beneath a decorator, by name.
pub struct Stores<K: Kind> {
    by_name: Mutex<HashMap<&'static str, Arc<MemoryStore<K>>>>,
    outage: Outage,
}

impl<K: Kind> Stores<K> {
    /// The store of this name: made when it is first asked for, and the same from then on.
    pub fn store(&self, name: &'static str) -> Beneath<K> {
        // Nothing that panics is called while the lock is held.
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        let store = by_name.entry(name).or_insert_with(|| Arc::new(MemoryStore::new(CAPACITY_BYTES)));
        InterruptibleStore::new(Arc::clone(store), self.outage.clone())
    }
}

impl<K: Kind, S: BlobAccess, M: Fn(&Stores<K>) -> S> Layered<K, M> {
    /// A fixture for the decorator that `make` puts above stores that it takes by name.
    pub fn new(make: M) -> Self {
        let stores = Stores { by_name: Mutex::default(), outage: Outage::default() };
        let promises = Promises::of_memory(CAPACITY_BYTES)
            .with_durable(true)
            .with_keeps_bytes(Some(1 << 20))
            .with_capacity_bytes(None);
        Self { make, stores, promises, context: Context::background(), layers: vec!["memory".to_owned()] }
    }

    /// The same, with what `change` makes of its promises.
    #[must_use]
    pub fn promising(mut self, change: impl FnOnce(Promises) -> Promises) -> Self {
        self.promises = change(self.promises);
        self
    }

    /// The same, with this context for every call.
    #[must_use]
    pub fn with_context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// The same, with what the decorator's `Display` must mention, outermost first: for one that does not print what is
    /// beneath it. Unless set, `memory`.
    #[must_use]
    pub fn with_layers<L: Into<String>>(mut self, layers: impl IntoIterator<Item = L>) -> Self {
        self.layers = layers.into_iter().map(Into::into).collect();
        self
    }
}

impl<K: Kind, S: BlobAccess, M: Fn(&Stores<K>) -> S + Send + Sync> Fixture for Layered<K, M> {
    type Store = S;

    fn promises(&self) -> Promises {
        self.promises
    }

    async fn open(&self) -> Result<S> {
        Ok((self.make)(&self.stores))
    }

    fn break_down(&self) -> bool {
        self.stores.outage.begin(Error::unavailable("everything beneath is down"));
        true
    }

    fn mend(&self) {
        self.stores.outage.end();
    }

    fn context(&self) -> Context {
        self.context.clone()
    }

    fn layers(&self) -> Vec<String> {
        self.layers.clone()
    }
}

impl<K: Kind> Debug for Stores<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores").field("by_name", &self.by_name).field("outage", &self.outage).finish()
    }
}

impl<K: Kind, M> Debug for Layered<K, M> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layered")
            .field("stores", &self.stores)
            .field("promises", &self.promises)
            .finish_non_exhaustive()
    }
}
