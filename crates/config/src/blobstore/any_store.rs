//! A store whose kind is a value.

use std::sync::Arc;

use blobaccess::{Ac, BlobAccess, Cas, Fsac, Icas, Iscc, Kind, Result, StorageType};

use super::cast::cast;

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
    pub(crate) fn of<K: Kind>(store: Store<K>) -> Result<Self> {
        match K::STORAGE_TYPE {
            StorageType::Cas => cast(store).map(Self::Cas),
            StorageType::Ac => cast(store).map(Self::Ac),
            StorageType::Icas => cast(store).map(Self::Icas),
            StorageType::Iscc => cast(store).map(Self::Iscc),
            StorageType::Fsac => cast(store).map(Self::Fsac),
        }
    }

    /// Returns the store as one of kind `K`.
    pub(crate) fn get<K: Kind>(&self) -> Result<Store<K>> {
        match self {
            Self::Cas(store) => cast(Arc::clone(store)),
            Self::Ac(store) => cast(Arc::clone(store)),
            Self::Icas(store) => cast(Arc::clone(store)),
            Self::Iscc(store) => cast(Arc::clone(store)),
            Self::Fsac(store) => cast(Arc::clone(store)),
        }
    }
}

#[cfg(test)]
mod tests {
    use blobaccess::MemoryStore;

    use super::*;

    fn goes_through<K: Kind>() {
        let store: Store<K> = Arc::new(MemoryStore::<K>::new(1));
        let any = AnyStore::of(Arc::clone(&store)).unwrap();
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
        assert!(AnyStore::of(store).unwrap().get::<Ac>().is_err());
    }
}
