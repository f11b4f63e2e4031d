//! Layers of open stores that have a state, or work to do.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::decorators::{
    ActionResultExpiring, CompletenessChecking, Mirrored, ReadCaching, ReadCanarying, ReadFallback, Sharding,
};
use blobaccess::replication::{
    ConcurrencyLimitingReplicator, DeduplicatingReplicator, LocalReplicator, QueuedReplicator, Replicator,
};
use blobaccess::{Ac, BlobAccess, BulkKind, Cas, Icas, Kind, Result};
use blobaccess_grpc::Remote;
use blobaccess_icas::ReferenceExpanding;
use blobaccess_local_store::LocalStore;
use blobaccess_zip_store::{ZipReadingStore, ZipWritingStore};

use super::any_store::Store;
use crate::layer_state::LayerState;

/// A way to copy blobs of a kind, shared.
pub(super) type Copier<K> = Arc<dyn Replicator<Kind = K>>;

/// Blobs of a kind, from a store of whatever layers.
type Blobs<K> = dyn BlobAccess<Kind = K>;

/// A layer of an open store that has a state, or work to do.
#[async_trait]
pub(crate) trait Part: Debug + Send + Sync {
    /// Does the background work, for as long as it is polled. It does not end.
    async fn run(&self) {
        std::future::pending::<()>().await;
    }

    /// Makes durable what is to outlive the process.
    async fn sync(&self) -> Result<()> {
        Ok(())
    }

    /// Does what ends the use of the layer, after a [`sync`](Self::sync) of all.
    async fn finish(&self) -> Result<()> {
        Ok(())
    }

    /// Returns the present state.
    fn state(&self) -> LayerState;
}

#[async_trait]
impl<K: Kind> Part for Mirrored<K> {
    async fn run(&self) {
        Self::run(self).await;
    }

    fn state(&self) -> LayerState {
        LayerState::Mirrored(self.snapshot())
    }
}

#[async_trait]
impl<K: Kind> Part for ReadCaching<Store<K>, Store<K>, Copier<K>> {
    async fn run(&self) {
        Self::run(self).await;
    }

    fn state(&self) -> LayerState {
        LayerState::ReadCaching(self.snapshot())
    }
}

#[async_trait]
impl<K: Kind> Part for ReadFallback<Store<K>, Store<K>, Copier<K>> {
    async fn run(&self) {
        Self::run(self).await;
    }

    fn state(&self) -> LayerState {
        LayerState::ReadFallback(self.snapshot())
    }
}

impl<K: Kind> Part for ReadCanarying<Store<K>, Store<K>> {
    fn state(&self) -> LayerState {
        LayerState::ReadCanarying(self.snapshot())
    }
}

impl<K: Kind> Part for Sharding<Store<K>> {
    fn state(&self) -> LayerState {
        LayerState::Sharding(self.snapshot())
    }
}

impl Part for ActionResultExpiring<Store<Ac>> {
    fn state(&self) -> LayerState {
        LayerState::ActionResultExpiring(self.snapshot())
    }
}

impl Part for CompletenessChecking<Store<Ac>, Store<Cas>> {
    fn state(&self) -> LayerState {
        LayerState::CompletenessChecking(self.snapshot())
    }
}

impl Part for ReferenceExpanding<Store<Icas>> {
    fn state(&self) -> LayerState {
        LayerState::ReferenceExpanding(self.snapshot())
    }
}

impl<K: Kind> Part for ZipReadingStore<K> {
    fn state(&self) -> LayerState {
        LayerState::ZipReading(self.snapshot())
    }
}

#[async_trait]
impl<K: Kind> Part for ZipWritingStore<K> {
    async fn finish(&self) -> Result<()> {
        Self::finish(self).await
    }

    fn state(&self) -> LayerState {
        LayerState::ZipWriting(self.snapshot())
    }
}

#[async_trait]
impl<K: Kind> Part for LocalStore<K> {
    async fn run(&self) {
        Self::run(self).await;
    }

    async fn sync(&self) -> Result<()> {
        Self::sync(self).await
    }

    fn state(&self) -> LayerState {
        LayerState::Local(Box::new(self.snapshot()))
    }
}

impl Part for Remote {
    fn state(&self) -> LayerState {
        LayerState::Remote(self.snapshot())
    }
}

impl<K: Kind> Part for LocalReplicator<Blobs<K>, Blobs<K>> {
    fn state(&self) -> LayerState {
        LayerState::LocalReplicator(self.snapshot())
    }
}

#[async_trait]
impl<K: Kind> Part for QueuedReplicator<Blobs<K>, Copier<K>> {
    async fn run(&self) {
        Self::run(self).await;
    }

    fn state(&self) -> LayerState {
        LayerState::Queued(self.snapshot())
    }
}

impl<K: BulkKind> Part for DeduplicatingReplicator<Blobs<K>, Blobs<K>, Copier<K>> {
    fn state(&self) -> LayerState {
        LayerState::Deduplicating(self.snapshot())
    }
}

impl<K: Kind> Part for ConcurrencyLimitingReplicator<Blobs<K>, Blobs<K>, Copier<K>> {
    fn state(&self) -> LayerState {
        LayerState::ConcurrencyLimiting(self.snapshot())
    }
}
