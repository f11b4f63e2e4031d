//! Ways to copy blobs from one backend into another.

use std::num::NonZeroUsize;

use blobaccess::StorageType;

use super::existence_cache::ExistenceCachePlan;
use super::kind_name::name_of_kind;
use crate::clients::GrpcClientPlan;
use crate::section::Section;

/// A way to copy blobs, from a `BlobReplicatorConfiguration`: its layers, outermost first.
#[derive(Debug)]
pub(crate) struct ReplicatorPlan {
    pub(crate) layers: Vec<ReplicatorLayer>,
}

/// One layer of a way to copy blobs.
#[derive(Debug)]
pub(crate) enum ReplicatorLayer {
    Local,
    /// A server that copies.
    Remote(Box<GrpcClientPlan>),
    Noop,
    Queued(ExistenceCachePlan),
    Deduplicating,
    ConcurrencyLimiting(NonZeroUsize),
}

impl ReplicatorPlan {
    /// Reads the replicator of blobs of `kind` in `field`, which must be set.
    pub(crate) fn read(parent: &Section<'_>, field: &str, kind: StorageType) -> Option<Self> {
        let mut section = parent.required(field)?;
        let (mut layers, mut is_whole) = (Vec::new(), true);
        loop {
            let (layer, base) = match section.member("mode") {
                Some("local") => (take_empty(&section, "local", ReplicatorLayer::Local), None),
                Some("noop") => (take_empty(&section, "noop", ReplicatorLayer::Noop), None),
                Some("remote") => (read_remote(&section, kind), None),
                Some("queued") => read_queued(&section),
                Some("deduplicating") => {
                    let is_supported = matches!(kind, StorageType::Cas | StorageType::Icas);
                    if !is_supported {
                        refuse(&section, "deduplicating", kind, "only for contents and references");
                    }
                    (is_supported.then_some(ReplicatorLayer::Deduplicating), section.message("deduplicating"))
                }
                Some("concurrency_limiting") => read_concurrency_limiting(&section),
                Some(_) | None => {
                    section.fault("is required: local, noop or another mode");
                    (None, None)
                }
            };
            is_whole &= layer.is_some();
            layers.extend(layer);
            match base {
                Some(base) => section = base,
                None => return is_whole.then_some(Self { layers }),
            }
        }
    }

    /// Returns whether blobs are copied by this process.
    pub(crate) fn copies(&self) -> bool {
        self.layers.iter().any(|layer| matches!(layer, ReplicatorLayer::Local))
    }
}

fn take_empty(section: &Section<'_>, field: &str, layer: ReplicatorLayer) -> Option<ReplicatorLayer> {
    section.message(field).map(|_| layer)
}

fn read_remote(section: &Section<'_>, kind: StorageType) -> Option<ReplicatorLayer> {
    if kind != StorageType::Cas {
        refuse(section, "remote", kind, "only for contents");
    }
    let client = section.message("remote").and_then(|client| GrpcClientPlan::read(&client))?;
    Some(ReplicatorLayer::Remote(Box::new(client)))
}

fn read_queued<'a>(section: &Section<'a>) -> (Option<ReplicatorLayer>, Option<Section<'a>>) {
    let Some(queued) = section.message("queued") else { return (None, None) };
    let base = queued.required("base");
    let cache = ExistenceCachePlan::read_required(&queued, "existence_cache");
    (cache.filter(|_| base.is_some()).map(ReplicatorLayer::Queued), base)
}

fn read_concurrency_limiting<'a>(section: &Section<'a>) -> (Option<ReplicatorLayer>, Option<Section<'a>>) {
    const FIELD: &str = "maximum_concurrency";
    let Some(limiting) = section.message("concurrency_limiting") else { return (None, None) };
    let base = limiting.required("base");
    let max = usize::try_from(limiting.int(FIELD)).ok().and_then(NonZeroUsize::new);
    if max.is_none() {
        limiting.fault_at(FIELD, "must be positive");
    }
    (max.filter(|_| base.is_some()).map(ReplicatorLayer::ConcurrencyLimiting), base)
}

fn refuse(section: &Section<'_>, field: &str, kind: StorageType, only: &str) {
    section.fault_at(field, format!("is not supported for {}: {only}", name_of_kind(kind)));
}
