//! Stores as a tree of lines: the backends, their sizes, what they promise and what they cost.

use std::fmt::Write;

use crate::blobstore::{ByteCount, Node, NodeId, ReplicatorLayer, ReplicatorPlan, StoresPlan, name_of_kind};

/// The memory that a digest takes which is remembered as present, in bytes.
const BYTES_PER_REMEMBERED: u64 = 170;

/// The memory that an instance name takes whose health is remembered, in bytes.
const BYTES_PER_INSTANCE_NAME: u64 = 150;

/// A backend that is to be described.
struct Pending {
    id: NodeId,
    /// The place of the backend in the one around it, such as `slow`.
    role: String,
    /// The lines that lead to the backends beside the ones around it.
    indent: String,
    is_last: bool,
}

impl StoresPlan {
    /// Describes the stores: a line for each backend, beneath the one that it is for.
    pub(crate) fn describe(&self) -> String {
        let mut text = String::new();
        for root in self.roots() {
            let _ = writeln!(text, "{}", name_of_kind(root.kind));
            let mut pending = vec![Pending::root(root.outermost)];
            while let Some(at) = pending.pop() {
                let Some(planned) = self.node(at.id) else { continue };
                let branch = if at.is_last { "└ " } else { "├ " };
                let _ = writeln!(text, "{}{branch}{}{}", at.indent, at.role, title(&planned.node));
                let indent = format!("{}{}", at.indent, if at.is_last { "  " } else { "│ " });
                let beneath = beneath(&planned.node);
                let count = beneath.len();
                let beneath = beneath.into_iter().enumerate().map(|(index, (role, id))| Pending {
                    id,
                    role: if role.is_empty() { role } else { format!("{role}: ") },
                    indent: indent.clone(),
                    is_last: index + 1 == count,
                });
                pending.extend(beneath.rev());
            }
        }
        text
    }
}

impl Pending {
    const fn root(id: NodeId) -> Self {
        Self { id, role: String::new(), indent: String::new(), is_last: true }
    }
}

/// Returns the backends beneath one, with their roles.
fn beneath(node: &Node) -> Vec<(String, NodeId)> {
    let one = |id: &NodeId| vec![(String::new(), *id)];
    let two = |first: &str, a: &NodeId, second: &str, b: &NodeId| vec![(first.to_owned(), *a), (second.to_owned(), *b)];
    match node {
        Node::ReadCaching { slow, fast, .. } => two("slow", slow, "fast", fast),
        Node::Mirrored { a, b, .. } => two("a", a, "b", b),
        Node::ReadFallback { primary, secondary, .. } => two("primary", primary, "secondary", secondary),
        Node::ReadCanarying { source, replica, .. } => two("source", source, "replica", replica),
        Node::Sharding(shards) => {
            let total: u64 = shards.iter().map(|shard| u64::from(shard.weight)).sum();
            let role = |key: &str, weight: u32| {
                let permille = u64::from(weight) * 1000 / total.max(1);
                format!("shard {key:?}, {}.{} % of the blobs", permille / 10, permille % 10)
            };
            shards.iter().map(|shard| (role(&shard.key, shard.weight), shard.backend)).collect()
        }
        Node::Demultiplexing(routes) => {
            let routes = routes.iter().map(|route| {
                let (prefix, added) = (route.prefix.as_str(), route.added_prefix.as_str());
                let added = if added.is_empty() { String::new() } else { format!(", there {added:?}") };
                (format!("instance names from {prefix:?}{added}"), route.backend)
            });
            routes.collect()
        }
        Node::WithLabels { backend, labels } => {
            let labels = labels.iter().map(|(name, id)| (format!("label {name:?}"), *id));
            labels.chain([(String::new(), *backend)]).collect()
        }
        Node::ReferenceExpanding { references, contents, .. } => {
            let contents = contents.map(|contents| ("contents".to_owned(), contents));
            [("references".to_owned(), *references)].into_iter().chain(contents).collect()
        }
        Node::ExistenceCaching { backend, .. }
        | Node::CompletenessChecking { backend, .. }
        | Node::HierarchicalInstanceNames { backend }
        | Node::ActionResultExpiring { backend, .. }
        | Node::DeadlineEnforcing { backend, .. }
        | Node::EmptyBlobInjecting { backend }
        | Node::TimestampInjecting { backend } => one(backend),
        Node::Local(_)
        | Node::Grpc(_)
        | Node::Failing(_)
        | Node::ZipReading(_)
        | Node::ZipWriting(_)
        | Node::Label { .. }
        | Node::Host { .. } => Vec::new(),
    }
}

/// Returns the line of a backend.
fn title(node: &Node) -> String {
    let name = node.name();
    match node {
        Node::ReadCaching { replicator, .. } => {
            let puts = if replicator.copies() { "into both, slow decides" } else { "into slow only" };
            format!("{name}: reads from fast what it has; puts {puts}; copies: {}", copies(replicator))
        }
        Node::Local(plan) => format!("{name}: {}", plan.describe().join("; ")),
        Node::Grpc(plan) => {
            let tls = if plan.client.is_encrypted() { ", with TLS" } else { ", not encrypted" };
            let compression = if plan.compresses { ", compressed" } else { "" };
            format!("{name}: {}{tls}{compression}", plan.client.address())
        }
        Node::Failing(failure) => {
            let error = failure.error();
            format!("{name}: every call fails with {}: {error}", error.kind())
        }
        Node::Sharding(shards) => format!("{name}: {} shards, each blob in one of them", shards.len()),
        Node::Mirrored { a_to_b, b_to_a, .. } => format!(
            "{name}: a put is in both halves, reads need one; copies: {} from a, {} from b",
            copies(a_to_b),
            copies(b_to_a)
        ),
        Node::ExistenceCaching { cache, .. } => format!(
            "{name}: what was found counts as present for {:?}, up to {} digests in {}",
            cache.duration,
            cache.capacity,
            memory(cache.capacity, BYTES_PER_REMEMBERED)
        ),
        Node::CompletenessChecking { max_total_tree_size_bytes, .. } => format!(
            "{name}: results whose outputs are not all stored are absent; reads up to {} of directories for a result",
            ByteCount(*max_total_tree_size_bytes)
        ),
        Node::ReadFallback { replicator, .. } => {
            format!(
                "{name}: reads from secondary what primary lacks; puts into primary; copies: {}",
                copies(replicator)
            )
        }
        Node::ReferenceExpanding { .. } => format!("{name}: reads from where references lead, takes no puts"),
        Node::Demultiplexing(routes) if routes.is_empty() => {
            format!("{name}: every call fails, no instance name is served")
        }
        Node::Demultiplexing(_) => format!("{name}: by instance name, other names are refused"),
        Node::HierarchicalInstanceNames { .. } => format!("{name}: reads from the parents of an instance name too"),
        Node::ActionResultExpiring { validity, jitter, .. } => {
            format!("{name}: results are valid for {validity:?}, and for up to {jitter:?} more")
        }
        Node::ReadCanarying { capacity, duration, .. } => format!(
            "{name}: reads from replica while it is healthy, tried every {duration:?} for each of {capacity} instance names in {}",
            memory(*capacity, BYTES_PER_INSTANCE_NAME)
        ),
        Node::ZipReading(archive) => format!("{name}: {}, takes no puts", archive.path.display()),
        Node::ZipWriting(archive) => {
            format!("{name}: {}, begun anew at each start, durable once closed", archive.path.display())
        }
        Node::WithLabels { .. } => format!("{name}:"),
        Node::Label { name, .. } => format!("label {name:?}, as above"),
        Node::DeadlineEnforcing { timeout, .. } => format!("{name}: calls end after {timeout:?}"),
        Node::Host { name, settings } if settings.is_empty() => format!("{name}: of the host program"),
        Node::Host { name, settings } => format!("{name}: of the host program, {settings}"),
        Node::EmptyBlobInjecting { .. } => format!("{name}: the empty blob is always present"),
        Node::TimestampInjecting { .. } => format!("{name}: results get the time at which they are put"),
    }
}

/// Returns the name of a replicator, with its layers.
fn copies(replicator: &ReplicatorPlan) -> String {
    let mut text = String::new();
    for layer in &replicator.layers {
        let _ = match layer {
            ReplicatorLayer::Local => write!(text, "local"),
            ReplicatorLayer::Remote(client) => write!(text, "by {}", client.address()),
            ReplicatorLayer::Noop => write!(text, "none"),
            ReplicatorLayer::Queued(_) => write!(text, "one at a time, "),
            ReplicatorLayer::Deduplicating => write!(text, "deduplicated, "),
            ReplicatorLayer::ConcurrencyLimiting(max) => write!(text, "up to {max} at a time, "),
        };
    }
    text
}

/// Returns the memory of a number of entries.
fn memory(entries: usize, each: u64) -> String {
    let entries = u64::try_from(entries).unwrap_or(u64::MAX);
    format!("up to {} of memory", ByteCount(entries.saturating_mul(each)))
}
