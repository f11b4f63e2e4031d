//! The backends of a configuration, as plans that refer to each other.

use std::time::{Duration, SystemTime};

use blobaccess::{InstanceName, StorageType};
use reqwest::header::HeaderMap;

use super::archive::ArchivePlan;
use super::existence_cache::ExistenceCachePlan;
use super::failure::FailurePlan;
use super::grpc::GrpcPlan;
use super::replicator::ReplicatorPlan;
use crate::Position;
use crate::field_path::FieldPath;
use crate::local::LocalPlan;

/// The place of a plan among those of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NodeId(pub(super) usize);

/// The plan of one backend, with its place in the file.
#[derive(Debug)]
pub(crate) struct PlannedNode {
    pub(crate) path: FieldPath,
    pub(crate) position: Option<Position>,
    pub(crate) kind: StorageType,
    pub(crate) node: Node,
}

/// The plan of one backend. Backends beneath it are referred to, so that many levels of them need no deep stack.
#[derive(Debug)]
pub(crate) enum Node {
    ReadCaching {
        slow: NodeId,
        fast: NodeId,
        replicator: ReplicatorPlan,
    },
    Grpc(Box<GrpcPlan>),
    Failing(FailurePlan),
    Local(Box<LocalPlan>),
    Sharding(Vec<ShardPlan>),
    Mirrored {
        a: NodeId,
        b: NodeId,
        a_to_b: ReplicatorPlan,
        b_to_a: ReplicatorPlan,
    },
    ExistenceCaching {
        backend: NodeId,
        cache: ExistenceCachePlan,
    },
    /// The check of action results against the contents of the same configuration.
    CompletenessChecking {
        backend: NodeId,
        contents: NodeId,
        max_total_tree_size_bytes: u64,
    },
    ReadFallback {
        primary: NodeId,
        secondary: NodeId,
        replicator: ReplicatorPlan,
    },
    ReferenceExpanding {
        references: NodeId,
        contents: Option<NodeId>,
        /// The headers of requests to web servers.
        headers: HeaderMap,
    },
    Demultiplexing(Vec<RoutePlan>),
    HierarchicalInstanceNames {
        backend: NodeId,
    },
    ActionResultExpiring {
        backend: NodeId,
        validity: Duration,
        jitter: Duration,
        since: SystemTime,
    },
    ReadCanarying {
        source: NodeId,
        replica: NodeId,
        capacity: usize,
        duration: Duration,
    },
    ZipReading(ArchivePlan),
    ZipWriting(ArchivePlan),
    /// A backend, and labels that it may refer to.
    WithLabels {
        backend: NodeId,
        labels: Vec<(String, NodeId)>,
    },
    /// The backend that a label was given to.
    Label {
        name: String,
        target: NodeId,
    },
    DeadlineEnforcing {
        backend: NodeId,
        timeout: Duration,
    },
    /// A backend of the host program.
    Host {
        name: String,
        settings: String,
    },
    /// The outermost layer of contents.
    EmptyBlobInjecting {
        backend: NodeId,
    },
    /// The outermost layer of action results.
    TimestampInjecting {
        backend: NodeId,
    },
}

/// A shard.
#[derive(Debug)]
pub(crate) struct ShardPlan {
    pub(crate) key: String,
    pub(crate) weight: u32,
    pub(crate) backend: NodeId,
}

/// A backend for the instance names that begin with a prefix.
#[derive(Debug)]
pub(crate) struct RoutePlan {
    pub(crate) prefix: InstanceName,
    pub(crate) added_prefix: InstanceName,
    pub(crate) backend: NodeId,
}

impl Node {
    /// Returns the backends that must be opened before this one.
    pub(crate) fn needs(&self) -> Vec<NodeId> {
        match self {
            Self::ReadCaching { slow, fast, .. } => vec![*slow, *fast],
            Self::Sharding(shards) => shards.iter().map(|shard| shard.backend).collect(),
            Self::Mirrored { a, b, .. } => vec![*a, *b],
            Self::CompletenessChecking { backend, contents, .. } => vec![*backend, *contents],
            Self::ReadFallback { primary, secondary, .. } => vec![*primary, *secondary],
            Self::ReferenceExpanding { references, contents, .. } => {
                [*references].into_iter().chain(*contents).collect()
            }
            Self::Demultiplexing(routes) => routes.iter().map(|route| route.backend).collect(),
            Self::ReadCanarying { source, replica, .. } => vec![*source, *replica],
            // Labels are opened whether anything refers to them or not, as Buildbarn does.
            Self::WithLabels { backend, labels } => labels.iter().map(|(_, id)| *id).chain([*backend]).collect(),
            Self::Label { target, .. } => vec![*target],
            Self::ExistenceCaching { backend, .. }
            | Self::HierarchicalInstanceNames { backend }
            | Self::ActionResultExpiring { backend, .. }
            | Self::DeadlineEnforcing { backend, .. }
            | Self::EmptyBlobInjecting { backend }
            | Self::TimestampInjecting { backend } => vec![*backend],
            Self::Local(_)
            | Self::Grpc(_)
            | Self::Failing(_)
            | Self::ZipReading(_)
            | Self::ZipWriting(_)
            | Self::Host { .. } => Vec::new(),
        }
    }

    /// Returns the name of the backend in metrics and descriptions; that of Buildbarn, if it has one.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::ReadCaching { .. } => "read_caching",
            Self::Grpc(_) => "grpc",
            Self::Failing(_) => "error",
            Self::Sharding(_) => "sharding",
            Self::Mirrored { .. } => "mirrored",
            Self::Local(plan) if plan.is_in_memory() => "local_in_memory",
            Self::Local(_) => "local_block_device",
            Self::ExistenceCaching { .. } => "existence_caching",
            Self::CompletenessChecking { .. } => "completeness_checking",
            Self::ReadFallback { .. } => "read_fallback",
            Self::ReferenceExpanding { .. } => "reference_expanding",
            Self::Demultiplexing(_) => "demultiplexing",
            Self::HierarchicalInstanceNames { .. } => "hierarchical_instance_names",
            Self::ActionResultExpiring { .. } => "action_result_expiring",
            Self::ReadCanarying { .. } => "read_canarying",
            Self::ZipReading(_) => "zip_reading",
            Self::ZipWriting(_) => "zip_writing",
            Self::WithLabels { .. } => "with_labels",
            Self::Label { .. } => "label",
            Self::DeadlineEnforcing { .. } => "deadline_enforcing",
            Self::Host { .. } => "host",
            Self::EmptyBlobInjecting { .. } => "empty_blob_injecting",
            Self::TimestampInjecting { .. } => "action_result_timestamp_injecting",
        }
    }

    /// Returns whether calls are observed under the [name](Self::name), as Buildbarn's are.
    pub(crate) const fn is_observed(&self) -> bool {
        !matches!(
            self,
            Self::WithLabels { .. }
                | Self::Label { .. }
                | Self::EmptyBlobInjecting { .. }
                | Self::TimestampInjecting { .. }
        )
    }
}
