//! The reading of one `BlobAccessConfiguration`, with all beneath it.

use blobaccess::decorators::Rendezvous;
use blobaccess::{InstanceName, StorageType};
use reqwest::header::HeaderMap;

use super::archive::{ArchivePlan, ArchiveUse};
use super::existence_cache::ExistenceCachePlan;
use super::failure::FailurePlan;
use super::grpc::GrpcPlan;
use super::kind_name::name_of_kind;
use super::node::{Node, NodeId, PlannedNode, RoutePlan, ShardPlan};
use super::plan::StoresReader;
use super::replicator::ReplicatorPlan;
use super::scope::{Label, Scope};
use crate::clients::read_headers;
use crate::local::LocalPlan;
use crate::section::Section;

/// Reads backends from a list of those that are to be read. So a deep configuration needs no deep stack.
#[derive(Debug)]
pub(super) struct NodeReader<'r, 'a> {
    stores: &'r mut StoresReader<'a>,
    pending: Vec<Pending<'a>>,
}

/// A backend that is to be read.
#[derive(Debug)]
struct Pending<'a> {
    id: NodeId,
    section: Section<'a>,
    kind: StorageType,
    scope: Scope<'a>,
}

impl<'a> NodeReader<'_, 'a> {
    /// Reads the backend that `section` describes, and those beneath it. Faults are noted in the order of the fields:
    /// those of a backend itself before those of the backends beneath it.
    pub(super) fn read(stores: &mut StoresReader<'a>, section: Section<'a>, kind: StorageType, id: NodeId) {
        let pending = vec![Pending { id, section, kind, scope: Scope::default() }];
        let mut reader = NodeReader { stores, pending };
        while let Some(pending) = reader.pending.pop() {
            let beneath = reader.pending.len();
            let node = reader.read_node(&pending);
            if let Some(beneath) = reader.pending.get_mut(beneath..) {
                beneath.reverse();
            }
            if let Some(node) = node {
                let member = pending.section.member("backend").unwrap_or_default();
                let (path, position) = (pending.section.path_of(member), pending.section.position().cloned());
                let planned = PlannedNode { path, position, kind: pending.kind, node };
                reader.stores.fill(pending.id, planned);
            }
        }
    }

    /// Reads one backend, and notes those beneath it to be read.
    fn read_node(&mut self, at: &Pending<'a>) -> Option<Node> {
        let Some(member) = at.section.member("backend") else {
            at.section.fault("is required: local, grpc or another backend");
            return None;
        };
        check_kind(at, member);
        match member {
            "hierarchical_instance_names" => {
                let backend = self.beneath(at, &at.section, member)?;
                Some(Node::HierarchicalInstanceNames { backend })
            }
            "label" => self.read_label(at),
            _ => {
                let section = at.section.message(member)?;
                self.read_message(at, member, &section)
            }
        }
    }

    fn read_message(&mut self, at: &Pending<'a>, member: &str, section: &Section<'a>) -> Option<Node> {
        match member {
            "read_caching" => {
                let (slow, fast) = (self.beneath(at, section, "slow"), self.beneath(at, section, "fast"));
                let replicator = ReplicatorPlan::read(section, "replicator", at.kind);
                Some(Node::ReadCaching { slow: slow?, fast: fast?, replicator: replicator? })
            }
            "grpc" => GrpcPlan::read(section, at.kind).map(|plan| Node::Grpc(Box::new(plan))),
            "error" => FailurePlan::read(section).map(Node::Failing),
            "sharding" => self.read_sharding(at, section),
            "mirrored" => {
                let (a, b) = (self.beneath(at, section, "backend_a"), self.beneath(at, section, "backend_b"));
                let a_to_b = ReplicatorPlan::read(section, "replicator_a_to_b", at.kind);
                let b_to_a = ReplicatorPlan::read(section, "replicator_b_to_a", at.kind);
                Some(Node::Mirrored { a: a?, b: b?, a_to_b: a_to_b?, b_to_a: b_to_a? })
            }
            "local" => self.read_local(at, section),
            "existence_caching" => {
                let backend = self.beneath(at, section, "backend");
                let cache = ExistenceCachePlan::read_required(section, "existence_cache");
                Some(Node::ExistenceCaching { backend: backend?, cache: cache? })
            }
            "completeness_checking" => self.read_completeness_checking(at, section),
            "read_fallback" => {
                let primary = self.beneath(at, section, "primary");
                let secondary = self.beneath(at, section, "secondary");
                let replicator = ReplicatorPlan::read(section, "replicator", at.kind);
                Some(Node::ReadFallback { primary: primary?, secondary: secondary?, replicator: replicator? })
            }
            "reference_expanding" => self.read_reference_expanding(at, section),
            "demultiplexing" => self.read_demultiplexing(at, section),
            "action_result_expiring" => self.read_expiring(at, section),
            "read_canarying" => self.read_canarying(at, section),
            "zip_reading" => {
                ArchivePlan::read(section, ArchiveUse::Reading, &mut self.stores.claims).map(Node::ZipReading)
            }
            "zip_writing" => {
                ArchivePlan::read(section, ArchiveUse::Writing, &mut self.stores.claims).map(Node::ZipWriting)
            }
            "with_labels" => Some(self.read_with_labels(at, section)?),
            "deadline_enforcing" => {
                let timeout = section.required_duration("timeout");
                if timeout.is_some_and(|timeout| timeout.is_zero()) {
                    section.fault_at("timeout", "must be positive: every call would fail");
                }
                let backend = self.beneath(at, section, "backend");
                Some(Node::DeadlineEnforcing { backend: backend?, timeout: timeout? })
            }
            _ => {
                at.section.fault_at(member, "is not supported");
                None
            }
        }
    }

    /// Notes the backend in `field` to be read, which must be set, and returns its place.
    fn beneath(&mut self, at: &Pending<'a>, section: &Section<'a>, field: &str) -> Option<NodeId> {
        self.beneath_of_kind(at, section, field, at.kind)
    }

    fn beneath_of_kind(
        &mut self,
        at: &Pending<'a>,
        section: &Section<'a>,
        field: &str,
        kind: StorageType,
    ) -> Option<NodeId> {
        let section = section.required(field)?;
        Some(self.note(section, kind, at.scope.clone()))
    }

    fn note(&mut self, section: Section<'a>, kind: StorageType, scope: Scope<'a>) -> NodeId {
        let id = self.stores.reserve();
        self.pending.push(Pending { id, section, kind, scope });
        id
    }

    fn read_local(&mut self, at: &Pending<'a>, section: &Section<'a>) -> Option<Node> {
        let plan = LocalPlan::read(section, at.kind)?;
        for used in plan.paths() {
            if let Err(other) = self.stores.claims.write(&used.path, &used.field) {
                let message = format!("is a file of {other} too: a file that is written is of one store");
                section.reading().note_fault(&used.field, used.position.clone(), message);
            }
        }
        Some(Node::Local(Box::new(plan)))
    }

    fn read_sharding(&mut self, at: &Pending<'a>, section: &Section<'a>) -> Option<Node> {
        let entries = section.message_map("shards");
        if entries.is_empty() {
            section.fault_at("shards", "is required: there must be a shard");
        }
        let mut shards = Vec::with_capacity(entries.len());
        let count = entries.len();
        for (key, shard) in entries {
            let backend = self.beneath(at, &shard, "backend");
            let weight = u32::try_from(shard.uint("weight")).ok().filter(|weight| *weight > 0);
            if weight.is_none() {
                shard.fault_at("weight", "must be positive");
            }
            if let (Some(backend), Some(weight)) = (backend, weight) {
                shards.push(ShardPlan { key: key.to_owned(), weight, backend });
            }
        }
        if shards.is_empty() || shards.len() < count {
            return None;
        }
        if let Err(error) = Rendezvous::new(shards.iter().map(|shard| (&shard.key, shard.weight))) {
            section.fault_at("shards", format!("cannot be told apart: {error}"));
            return None;
        }
        Some(Node::Sharding(shards))
    }

    fn read_completeness_checking(&mut self, at: &Pending<'a>, section: &Section<'a>) -> Option<Node> {
        const FIELD: &str = "maximum_total_tree_size_bytes";
        let contents = self.stores.contents;
        if contents.is_none() && at.kind == StorageType::Ac {
            section.fault("needs a store of contents, and none is configured");
        }
        let max = u64::try_from(section.int(FIELD)).ok();
        if max.is_none() {
            section.fault_at(FIELD, "must not be negative");
        }
        let backend = self.beneath(at, section, "backend");
        Some(Node::CompletenessChecking { backend: backend?, contents: contents?, max_total_tree_size_bytes: max? })
    }

    fn read_reference_expanding(&mut self, at: &Pending<'a>, section: &Section<'a>) -> Option<Node> {
        const REFERENCES: &str = "indirect_content_addressable_storage";
        let references = self.beneath_of_kind(at, section, REFERENCES, StorageType::Icas);
        section.refuse("aws_session", "a host program gives the buckets of S3 by its registry");
        let mut headers = Some(HeaderMap::new());
        if let Some(client) = section.message("http_client") {
            for field in ["tls", "proxy_url", "oauth2"] {
                client.refuse(field, "references are read directly, and by the certificates that the system trusts");
            }
            // Only the first version is spoken anyway.
            let _: bool = client.flag("disable_http2");
            headers = read_headers(&client);
        }
        section.refuse("gcp_client_options", "a host program gives the buckets of Google by its registry");
        if !self.stores.registry().has_buckets() {
            section.notice("reads references to web servers and other stores: those into buckets are refused");
        }
        let contents = section.message("content_addressable_storage");
        let contents = contents.map(|contents| self.note(contents, StorageType::Cas, at.scope.clone()));
        Some(Node::ReferenceExpanding { references: references?, contents, headers: headers? })
    }

    fn read_demultiplexing(&mut self, at: &Pending<'a>, section: &Section<'a>) -> Option<Node> {
        const ADDED: &str = "add_instance_name_prefix";
        let entries = section.message_map("instance_name_prefixes");
        if entries.is_empty() {
            section.notice("serves no instance name: every call fails");
        }
        let count = entries.len();
        let mut routes = Vec::with_capacity(count);
        for (prefix, route) in entries {
            let prefix = InstanceName::new(prefix)
                .inspect_err(|error| route.fault(format!("the prefix is no instance name: {error}")))
                .ok();
            let backend = self.beneath(at, &route, "backend");
            let added_prefix = InstanceName::new(route.text(ADDED))
                .inspect_err(|error| route.fault_at(ADDED, format!("is no instance name: {error}")))
                .ok();
            if let (Some(prefix), Some(backend), Some(added_prefix)) = (prefix, backend, added_prefix) {
                routes.push(RoutePlan { prefix, added_prefix, backend });
            }
        }
        (routes.len() == count).then_some(Node::Demultiplexing(routes))
    }

    fn read_expiring(&mut self, at: &Pending<'a>, section: &Section<'a>) -> Option<Node> {
        const SINCE: &str = "minimum_timestamp";
        let backend = self.beneath(at, section, "backend");
        let validity = section.required_duration("minimum_validity");
        let jitter = section.required_duration("maximum_validity_jitter");
        if !section.is_set(SINCE) {
            section.fault_at(SINCE, "is required");
        }
        let since = section.timestamp(SINCE);
        Some(Node::ActionResultExpiring { backend: backend?, validity: validity?, jitter: jitter?, since: since? })
    }

    fn read_canarying(&mut self, at: &Pending<'a>, section: &Section<'a>) -> Option<Node> {
        const SIZE: &str = "maximum_cache_size";
        let (source, replica) = (self.beneath(at, section, "source"), self.beneath(at, section, "replica"));
        let capacity = usize::try_from(section.int(SIZE)).ok();
        if capacity.is_none() {
            section.fault_at(SIZE, "must not be negative");
        }
        let duration = section.required_duration("maximum_cache_duration");
        let (source, replica) = (source?, replica?);
        Some(Node::ReadCanarying { source, replica, capacity: capacity?, duration: duration? })
    }

    fn read_with_labels(&mut self, at: &Pending<'a>, section: &Section<'a>) -> Option<Node> {
        let entries = section.message_map("labels");
        let mut labels = Vec::with_capacity(entries.len());
        let mut noted = Vec::with_capacity(entries.len());
        for (name, label) in &entries {
            if at.scope.get(name).is_some() {
                label.fault(format!("the label {name:?} has already been declared"));
            }
            let target = self.stores.reserve();
            labels.push(((*name).to_owned(), target));
            noted.push((*name, Label { target, kind: at.kind }));
        }
        let backend = section.required("backend");
        let backend = backend.map(|backend| self.note(backend, at.kind, at.scope.with(noted)));
        let scope = at.scope.beside(entries.iter().map(|(name, _)| *name));
        for ((_, section), (_, id)) in entries.into_iter().zip(&labels) {
            self.pending.push(Pending { id: *id, section, kind: at.kind, scope: scope.clone() });
        }
        Some(Node::WithLabels { backend: backend?, labels })
    }

    fn read_label(&mut self, at: &Pending<'a>) -> Option<Node> {
        let name = at.section.text("label");
        let Some(Label { target, kind }) = at.scope.get(name) else { return self.read_host(at, name) };
        if kind != at.kind {
            let (is, needed) = (name_of_kind(kind), name_of_kind(at.kind));
            at.section.fault_at("label", format!("{name:?} is a store of {is}, where one of {needed} is needed"));
            return None;
        }
        Some(Node::Label { name: name.to_owned(), target })
    }

    /// Reads a label that is not declared: it may name a backend of the host program.
    fn read_host(&mut self, at: &Pending<'a>, name: &'a str) -> Option<Node> {
        if let Some(target) = self.stores.hosts.get(&(name, at.kind)) {
            return Some(Node::Label { name: name.to_owned(), target: *target });
        }
        let Some((host, settings)) = self.stores.registry().find(name) else {
            let reason = if at.scope.is_sibling(name) { ": labels of one map do not see each other" } else { "" };
            at.section.fault_at("label", format!("{name:?} is not declared{reason}"));
            return None;
        };
        if let Err(error) = self.stores.registry().check(host, at.kind, settings) {
            at.section.fault_at("label", error.to_string());
            return None;
        }
        self.stores.hosts.insert((name, at.kind), at.id);
        Some(Node::Host { name: host.to_owned(), settings: settings.to_owned() })
    }
}

/// Notes a fault unless a backend exists for the kind.
fn check_kind(at: &Pending<'_>, member: &str) {
    let (kinds, only): (&[StorageType], _) = match member {
        "existence_caching" | "reference_expanding" => (&[StorageType::Cas], "only for contents"),
        "completeness_checking" | "action_result_expiring" => (&[StorageType::Ac], "only for action results"),
        "hierarchical_instance_names" => (
            &[StorageType::Ac, StorageType::Icas, StorageType::Iscc, StorageType::Fsac],
            "use hierarchicalInstanceNames of local",
        ),
        _ => return,
    };
    if !kinds.contains(&at.kind) {
        at.section.fault_at(member, format!("is not supported for {}: {only}", name_of_kind(at.kind)));
    }
}
