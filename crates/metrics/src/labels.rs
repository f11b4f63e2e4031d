//! The labels of metrics.

use prometheus_client::encoding::EncodeLabelSet;

/// The kind of a store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Storage {
    pub(crate) storage_type: &'static str,
}

/// A store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Backend {
    pub(crate) storage_type: &'static str,
    pub(crate) backend_type: &'static str,
}

/// A method of a store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Method {
    pub(crate) storage_type: &'static str,
    pub(crate) backend_type: &'static str,
    pub(crate) operation: &'static str,
}

/// A method of a store, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Ended {
    pub(crate) storage_type: &'static str,
    pub(crate) backend_type: &'static str,
    pub(crate) operation: &'static str,
    pub(crate) grpc_code: &'static str,
}

/// A store, and the outcome of a put into it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct PutEnded {
    pub(crate) storage_type: &'static str,
    pub(crate) backend_type: &'static str,
    pub(crate) outcome: &'static str,
}

/// Whether an action result had the time at which its worker completed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Timestamp {
    pub(crate) worker_completed_timestamp: &'static str,
}

/// Whether a cache could answer for a digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Asked {
    pub(crate) result: &'static str,
}

/// A cache of digests, and what was done with a digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct EvictionSet {
    pub(crate) name: &'static str,
    pub(crate) operation: &'static str,
}
