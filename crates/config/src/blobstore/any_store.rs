//! A store whose kind is a value.

use std::any::Any;
use std::sync::Arc;

use blobaccess::{Ac, BlobAccess, Cas, Error, Fsac, Icas, Iscc, Kind, Result};

/// A store of a kind, shared.
pub(crate) type Store<K> = Arc<dyn BlobAccess<Kind = K>>;

/// A store whose kind is a value, as a file of configuration has it.
#[derive(Clone, Debug)]
pub(crate) enum AnyStore {
    Cas(Store<Cas>),
    Ac(Store<Ac>),
    Icas(Store<Icas>),
    Iscc(Store<Iscc>),
    Fsac(Store<Fsac>),
}

impl AnyStore {
    /// Makes the kind of `store` a value.
    pub(crate) fn of<K: Kind>(store: &Store<K>) -> Result<Self> {
        let any: &dyn Any = store;
        let cas = any.downcast_ref::<Store<Cas>>().cloned().map(Self::Cas);
        let ac = || any.downcast_ref::<Store<Ac>>().cloned().map(Self::Ac);
        let icas = || any.downcast_ref::<Store<Icas>>().cloned().map(Self::Icas);
        let iscc = || any.downcast_ref::<Store<Iscc>>().cloned().map(Self::Iscc);
        let fsac = || any.downcast_ref::<Store<Fsac>>().cloned().map(Self::Fsac);
        cas.or_else(ac).or_else(icas).or_else(iscc).or_else(fsac).ok_or_else(|| mismatch::<K>("another"))
    }

    /// Returns the store as one of kind `K`.
    pub(crate) fn get<K: Kind>(&self) -> Result<Store<K>> {
        let (any, name): (&dyn Any, _) = match self {
            Self::Cas(store) => (store, "cas"),
            Self::Ac(store) => (store, "ac"),
            Self::Icas(store) => (store, "icas"),
            Self::Iscc(store) => (store, "iscc"),
            Self::Fsac(store) => (store, "fsac"),
        };
        any.downcast_ref::<Store<K>>().cloned().ok_or_else(|| mismatch::<K>(name))
    }
}

/// Returns the error of a store that is taken for one of another kind. Plans rule it out.
fn mismatch<K: Kind>(is: &str) -> Error {
    Error::internal(format!("a store of kind {} is used as one of {}", is, K::STORAGE_TYPE.name()))
}

#[cfg(test)]
mod tests {
    use blobaccess::MemoryStore;

    use super::*;

    fn goes_through<K: Kind>() {
        let store: Store<K> = Arc::new(MemoryStore::<K>::new(1));
        let any = AnyStore::of(&store).unwrap();
        assert!(Arc::ptr_eq(&any.get::<K>().unwrap(), &store));
    }

    #[test]
    fn a_store_is_returned_as_what_it_is_and_as_nothing_else() {
        goes_through::<Cas>();
        goes_through::<Ac>();
        goes_through::<Icas>();
        goes_through::<Iscc>();
        goes_through::<Fsac>();
        let store: Store<Cas> = Arc::new(MemoryStore::<Cas>::new(1));
        assert!(AnyStore::of(&store).unwrap().get::<Ac>().is_err());
    }
}
