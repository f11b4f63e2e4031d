//! A fixture for decorators, over stores in memory that outlive them and can break down.

use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, PoisonError};

use blobaccess::{BlobAccess, Context, Error, Kind, MemoryStore, Result};

use crate::fakes::{InterruptibleStore, Outage};
use crate::{Fixture, Promises};

/// The capacity of each store beneath a decorator, in bytes: more than any contract puts, yet a blob of that size is
/// quickly made.
const CAPACITY_BYTES: u64 = 16 << 20;

/// The store beneath a decorator under test: in memory, and down while the contract wants it to be.
pub type InnerStore<K> = InterruptibleStore<Arc<MemoryStore<K>>>;

/// A [`Fixture`] for decorators, over stores in memory that outlive them and can break down.
///
/// It promises to be durable, because the store beneath must have whatever the decorator acknowledged. It keeps 1 MiB
/// of further puts and evicts nothing. Its maximum blob size is that of the stores beneath.
///
/// # Examples
///
/// A decorator over one store takes one line. Put its constructor in place of `identity`:
///
/// ```
/// use std::convert::identity;
///
/// use blobaccess::Cas;
/// use blobaccess_testkit::{Layered, check, contracts};
///
/// let fixture = Layered::<Cas, _>::new(|stores| identity(stores.store("inner")));
/// assert_eq!(check(contracts::outages::an_outage_is_never_not_found(&fixture)), Ok(()));
/// ```
pub struct Layered<K: Kind, M> {
    make: M,
    stores: Stores<K>,
    promises: Promises,
    context: Context,
    layers: Vec<String>,
}

/// The stores beneath a decorator under test, by name.
pub struct Stores<K: Kind> {
    by_name: Mutex<HashMap<&'static str, Arc<MemoryStore<K>>>>,
    outage: Outage,
}

impl<K: Kind> Stores<K> {
    /// Returns the store of this name, which is made when it is first asked for.
    pub fn store(&self, name: &'static str) -> InnerStore<K> {
        // Nothing that panics is called while the lock is held.
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        let store = by_name.entry(name).or_insert_with(|| Arc::new(MemoryStore::new(CAPACITY_BYTES)));
        InterruptibleStore::new(Arc::clone(store), self.outage.clone())
    }
}

impl<K: Kind, S: BlobAccess, M: Fn(&Stores<K>) -> S> Layered<K, M> {
    /// Makes a fixture for the decorator that `make` puts above stores that it takes by name.
    pub fn new(make: M) -> Self {
        let stores = Stores { by_name: Mutex::default(), outage: Outage::default() };
        let promises = Promises::for_memory_store(CAPACITY_BYTES)
            .with_durable(true)
            .with_keeps_bytes(Some(1 << 20))
            .with_capacity_bytes(None);
        Self { make, stores, promises, context: Context::background(), layers: vec!["memory".to_owned()] }
    }

    /// Changes the promises by `change`.
    #[must_use]
    pub fn promising(mut self, change: impl FnOnce(Promises) -> Promises) -> Self {
        self.promises = change(self.promises);
        self
    }

    /// Sets the context of every call.
    #[must_use]
    pub fn with_context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// Sets what the decorator's `Display` must mention, outermost first. The default is `memory`; a decorator that
    /// does not print its inner store needs another.
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

    fn break_down_with(&self, error: Error) -> bool {
        self.stores.outage.begin(error);
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
