//! The stores that services are over, and the names of those services.

use std::sync::Arc;

use blobaccess::replication::Replicator;
use blobaccess::{Ac, BlobAccess, Cas, Fsac, Icas, Iscc, Kind, StorageType};

use super::health::{Needs, Probed};
use super::replicator;
use crate::message_protocol::MessageProtocol;
use crate::stubs::bytestream::byte_stream_server;
use crate::stubs::remote_execution::{capabilities_server, content_addressable_storage_server};

/// The stores that services are over; `None` for those that are not offered.
#[derive(Clone, Debug, Default)]
pub(super) struct Served {
    pub(super) cas: Option<Arc<dyn BlobAccess<Kind = Cas>>>,
    pub(super) ac: Option<Arc<dyn BlobAccess<Kind = Ac>>>,
    pub(super) icas: Option<Arc<dyn BlobAccess<Kind = Icas>>>,
    pub(super) iscc: Option<Arc<dyn BlobAccess<Kind = Iscc>>>,
    pub(super) fsac: Option<Arc<dyn BlobAccess<Kind = Fsac>>>,
    pub(super) replicator: Option<Arc<dyn Replicator<Kind = Cas>>>,
    #[cfg(feature = "client")]
    pub(super) schedulers: Option<Arc<super::execution::Schedulers>>,
}

impl Served {
    /// Returns the services by name, with the store that each needs.
    pub(super) fn names(&self) -> Vec<(&'static str, Needs)> {
        let mut names = vec![(capabilities_server::SERVICE_NAME, Needs::All)];
        if self.cas.is_some() {
            names.push((content_addressable_storage_server::SERVICE_NAME, Needs::Store(StorageType::Cas)));
            names.push((byte_stream_server::SERVICE_NAME, Needs::Store(StorageType::Cas)));
        }
        let messages = [
            self.ac.is_some().then_some((Ac::SERVICE, StorageType::Ac)),
            self.icas.is_some().then_some((Icas::SERVICE, StorageType::Icas)),
            self.iscc.is_some().then_some((Iscc::SERVICE, StorageType::Iscc)),
            self.fsac.is_some().then_some((Fsac::SERVICE, StorageType::Fsac)),
        ];
        names.extend(messages.into_iter().flatten().map(|(name, store)| (name, Needs::Store(store))));
        if self.replicator.is_some() {
            names.push((replicator::SERVICE, Needs::Nothing));
        }
        #[cfg(feature = "client")]
        if self.schedulers.is_some() {
            names.push((super::execution::SERVICE, Needs::Nothing));
        }
        names
    }

    /// Returns the stores, to be probed.
    pub(super) fn probed(&self) -> Vec<Box<dyn Probed>> {
        let all = [
            probed(self.cas.as_ref()),
            probed(self.ac.as_ref()),
            probed(self.icas.as_ref()),
            probed(self.iscc.as_ref()),
            probed(self.fsac.as_ref()),
        ];
        all.into_iter().flatten().collect()
    }
}

fn probed<K: Kind>(store: Option<&Arc<dyn BlobAccess<Kind = K>>>) -> Option<Box<dyn Probed>> {
    store.map(|store| -> Box<dyn Probed> { Box::new(Arc::clone(store)) })
}
