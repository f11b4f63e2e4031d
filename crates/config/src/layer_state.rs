//! The states of the layers of open stores.

use std::sync::Arc;

use blobaccess::StorageType;
use blobaccess::decorators::{
    CompletenessSnapshot, ExpirySnapshot, MirroredSnapshot, ReadCachingSnapshot, ReadCanaryingSnapshot, RepairSnapshot,
    ShardSnapshot,
};
use blobaccess::replication::{
    ConcurrencySnapshot, DeduplicationSnapshot, LocalReplicatorSnapshot, QueuedSnapshot,
};
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
    /// Of `actionResultExpiring`.
    ActionResultExpiring(ExpirySnapshot),
    /// Of `completenessChecking`.
    CompletenessChecking(CompletenessSnapshot),
    /// Of `mirrored`.
    Mirrored(MirroredSnapshot),
    /// Of `readCaching`.
    ReadCaching(ReadCachingSnapshot),
    /// Of `readCanarying`.
    ReadCanarying(ReadCanaryingSnapshot),
    /// Of `readFallback`.
    ReadFallback(RepairSnapshot),
    /// Of `sharding`, for each shard.
    Sharding(Vec<ShardSnapshot>),
    /// Of `zipReading`.
    ZipReading(ZipReadingSnapshot),
    /// Of `zipWriting`.
    ZipWriting(ZipWritingSnapshot),
    /// Of a replicator that is `concurrencyLimiting`.
    ConcurrencyLimiting(ConcurrencySnapshot),
    /// Of a replicator that is `deduplicating`.
    Deduplicating(DeduplicationSnapshot),
    /// Of a replicator that is `local`.
    LocalReplicator(LocalReplicatorSnapshot),
    /// Of a replicator that is `queued`.
    Queued(QueuedSnapshot),
}
