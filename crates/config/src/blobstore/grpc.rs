//! Stores of other servers.

use std::sync::Arc;

use blobaccess::{Kind, Result, StorageType};
use blobaccess_grpc::Remote;

use super::any_store::{AnyStore, Store};
use crate::Registry;
use crate::clients::GrpcClientPlan;
use crate::section::Section;

/// A store of another server, from a `GrpcBlobAccessConfiguration`.
#[derive(Debug)]
pub(crate) struct GrpcPlan {
    pub(crate) client: GrpcClientPlan,
    pub(crate) compresses: bool,
}

impl GrpcPlan {
    /// Reads the plan of a store of blobs of `kind`.
    pub(crate) fn read(section: &Section<'_>, kind: StorageType) -> Option<Self> {
        let client = section.required("client").and_then(|client| GrpcClientPlan::read(&client));
        let compresses = section.flag("enable_compression") && kind == StorageType::Cas;
        if kind != StorageType::Cas {
            section.notice_at("enable_compression", "has no effect: only contents are compressed");
        }
        Some(Self { client: client?, compresses })
    }

    /// Makes a client, which connects when it is used.
    pub(crate) fn connect(&self, registry: &Registry) -> Result<Remote> {
        registry.observe(self.client.connect(self.compresses, registry.forwarded_metadata(), &registry.clock())?)
    }
}

/// Returns the store of kind `K` of a server.
pub(super) fn store_of<K: Kind>(remote: &Remote) -> Result<Store<K>> {
    let store = match K::STORAGE_TYPE {
        StorageType::Cas => AnyStore::Cas(Arc::new(remote.cas())),
        StorageType::Ac => AnyStore::Ac(Arc::new(remote.ac())),
        StorageType::Icas => AnyStore::Icas(Arc::new(remote.icas())),
        StorageType::Iscc => AnyStore::Iscc(Arc::new(remote.iscc())),
        StorageType::Fsac => AnyStore::Fsac(Arc::new(remote.fsac())),
    };
    store.get()
}
