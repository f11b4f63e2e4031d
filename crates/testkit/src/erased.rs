//! A store of a fixture, as a store of any type.

use std::sync::Arc;

use blobaccess::{BlobAccess, Context, InstanceName, Kind, Result};
use bytes::Bytes;

use crate::{Fixture, Promises};

/// A fixture whose store is open already, and of any type: so a long contract is compiled once for each kind.
pub(crate) struct ErasedFixture<'f, K: Kind> {
    store: Arc<dyn BlobAccess<Kind = K>>,
    promises: Promises,
    context: Context,
    instance_names: [InstanceName; 2],
    message: Box<dyn Fn(&Bytes) -> Bytes + Send + Sync + 'f>,
}

impl<'f, K: Kind> ErasedFixture<'f, K> {
    /// Opens the store of `fixture`.
    pub(crate) async fn open<F: Fixture<Store: BlobAccess<Kind = K>>>(fixture: &'f F) -> Result<Self> {
        let store = fixture.open().await.map_err(|error| error.at("opening the store"))?;
        Ok(Self {
            store: Arc::new(store),
            promises: fixture.promises(),
            context: fixture.context(),
            instance_names: fixture.instance_names(),
            message: Box::new(|filling| fixture.message(filling)),
        })
    }
}

impl<K: Kind> Fixture for ErasedFixture<'_, K> {
    type Store = Arc<dyn BlobAccess<Kind = K>>;

    fn promises(&self) -> Promises {
        self.promises
    }

    async fn open(&self) -> Result<Self::Store> {
        Ok(Arc::clone(&self.store))
    }

    fn context(&self) -> Context {
        self.context.clone()
    }

    fn instance_names(&self) -> [InstanceName; 2] {
        self.instance_names.clone()
    }

    fn message(&self, filling: &Bytes) -> Bytes {
        (self.message)(filling)
    }
}
