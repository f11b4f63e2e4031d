//! The opening of replicators.

use std::sync::Arc;

use blobaccess::replication::{
    ConcurrencyLimitingReplicator, DeduplicatingReplicator, EntryLocks, LocalReplicator, NoopReplicator, QueuedOptions,
    QueuedReplicator,
};
use blobaccess::{BulkKind, Cas, Error, Icas, Kind, Result, StorageType};

use super::any_store::Store;
use super::cast::cast;
use super::opening::Opening;
use super::part::{Copier, Part};
use super::replicator::{ReplicatorLayer, ReplicatorPlan};

/// The stores that a replicator copies between, and what it shares with the layer that it is for.
pub(super) struct Copying<'o, 'p, K: Kind> {
    pub(super) opening: &'o mut Opening<'p>,
    /// The path of the backend that the replicator is for.
    pub(super) path: Arc<str>,
    pub(super) source: Store<K>,
    pub(super) sink: Store<K>,
    pub(super) locks: Arc<EntryLocks>,
}

impl<K: Kind> Copying<'_, '_, K> {
    /// Opens a replicator: the innermost layer first.
    pub(super) fn open(mut self, plan: &ReplicatorPlan) -> Result<Copier<K>> {
        let mut opened = None;
        for layer in plan.layers.iter().rev() {
            opened = Some(self.open_layer(layer, opened)?);
        }
        opened.ok_or_else(|| Error::internal("a replicator has no layers"))
    }

    fn open_layer(&mut self, layer: &ReplicatorLayer, base: Option<Copier<K>>) -> Result<Copier<K>> {
        let (source, sink) = (Arc::clone(&self.source), Arc::clone(&self.sink));
        let clock = self.opening.clock();
        let base = || base.ok_or_else(|| Error::internal("a replicator has nothing beneath it"));
        match layer {
            ReplicatorLayer::Noop => Ok(Arc::new(NoopReplicator::new(source))),
            ReplicatorLayer::Local => {
                let local = LocalReplicator::new(source, sink).with_entry_locks(Arc::clone(&self.locks));
                Ok(self.keep(local.with_clock(clock)))
            }
            ReplicatorLayer::Remote(client) => {
                let remote = self.opening.connect(client)?;
                self.opening.keep(&self.path, K::STORAGE_TYPE, Arc::new(remote.clone()));
                let source: Store<Cas> = cast(source)?;
                let replicator: Copier<Cas> = Arc::new(remote.replicator(source));
                cast(replicator)
            }
            ReplicatorLayer::Queued(cache) => {
                let options = QueuedOptions::new().with_remembered(cache.capacity, cache.duration);
                let format = sink.key_format();
                Ok(self.keep(QueuedReplicator::new(source, base()?, format, options).with_clock(clock)))
            }
            ReplicatorLayer::ConcurrencyLimiting(max) => {
                Ok(self.keep(ConcurrencyLimitingReplicator::new(source, sink, base()?, *max).with_clock(clock)))
            }
            ReplicatorLayer::Deduplicating => match K::STORAGE_TYPE {
                StorageType::Cas => self.deduplicate::<Cas>(base()?),
                StorageType::Icas => self.deduplicate::<Icas>(base()?),
                StorageType::Ac | StorageType::Iscc | StorageType::Fsac => {
                    Err(Error::internal("copies of this kind cannot be deduplicated"))
                }
            },
        }
    }

    /// Deduplicates copies of kind `B`, which is `K`.
    fn deduplicate<B: BulkKind>(&mut self, base: Copier<K>) -> Result<Copier<K>> {
        let source: Store<B> = cast(Arc::clone(&self.source))?;
        let sink: Store<B> = cast(Arc::clone(&self.sink))?;
        let base: Copier<B> = cast(base)?;
        let layer = Arc::new(DeduplicatingReplicator::new(source, sink, base).with_clock(self.opening.clock()));
        self.opening.keep(&self.path, K::STORAGE_TYPE, Arc::<DeduplicatingReplicator<_, _, _>>::clone(&layer));
        let layer: Copier<B> = layer;
        cast(layer)
    }

    /// Keeps a layer that has a state or work to do.
    fn keep<R: blobaccess::replication::Replicator<Kind = K> + Part>(&mut self, layer: R) -> Copier<K> {
        let layer = Arc::new(layer);
        self.opening.keep(&self.path, K::STORAGE_TYPE, Arc::<R>::clone(&layer));
        layer
    }
}
