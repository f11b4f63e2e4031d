//! The states of the layers of open stores.

use std::sync::Arc;

use blobaccess::StorageType;
use blobaccess::decorators::{
    CompletenessSnapshot, ExpirySnapshot, MirroredSnapshot, ReadCachingSnapshot, ReadCanaryingSnapshot, RepairSnapshot,
    ShardSnapshot,
};
use blobaccess::replication::{ConcurrencySnapshot, DeduplicationSnapshot, LocalReplicatorSnapshot, QueuedSnapshot};
use blobaccess_grpc::RemoteSnapshot;
use blobaccess_icas::ExpandingSnapshot;
use blobaccess_local_store::Snapshot;
use blobaccess_zip_store::{ZipReadingSnapshot, ZipWritingSnapshot};

/// The state of one layer of an open store.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LayerSnapshot {
    /// The path of the backend or replicator in the configuration.
    pub path: Arc<str>,
    /// The kind of the store.
    pub storage_type: StorageType,
    /// The state.
    pub state: LayerState,
}

/// The state of a layer that has one.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum LayerState {
    /// The state of `actionResultExpiring`.
    ActionResultExpiring(ExpirySnapshot),
    /// The state of `completenessChecking`.
    CompletenessChecking(CompletenessSnapshot),
    /// The state of `local`.
    Local(Box<Snapshot>),
    /// The state of `grpc`, and of a replicator that is `remote`.
    Remote(RemoteSnapshot),
    /// The state of `mirrored`.
    Mirrored(MirroredSnapshot),
    /// The state of `readCaching`.
    ReadCaching(ReadCachingSnapshot),
    /// The state of `readCanarying`.
    ReadCanarying(ReadCanaryingSnapshot),
    /// The state of `readFallback`.
    ReadFallback(RepairSnapshot),
    /// The state of `referenceExpanding`.
    ReferenceExpanding(ExpandingSnapshot),
    /// The state of `sharding`, for each shard.
    Sharding(Vec<ShardSnapshot>),
    /// The state of `zipReading`.
    ZipReading(ZipReadingSnapshot),
    /// The state of `zipWriting`.
    ZipWriting(ZipWritingSnapshot),
    /// The state of a replicator that is `concurrencyLimiting`.
    ConcurrencyLimiting(ConcurrencySnapshot),
    /// The state of a replicator that is `deduplicating`.
    Deduplicating(DeduplicationSnapshot),
    /// The state of a replicator that is `local`.
    LocalReplicator(LocalReplicatorSnapshot),
    /// The state of a replicator that is `queued`.
    Queued(QueuedSnapshot),
}
