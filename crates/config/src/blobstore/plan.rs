//! The plan of all stores of a configuration.

use std::collections::HashMap;

use blobaccess::StorageType;

use super::claims::Claims;
use super::node::{Node, NodeId, PlannedNode};
use super::reader::NodeReader;
use crate::Registry;
use crate::section::Section;

/// The stores of a configuration, as they were read. Nothing is opened yet.
#[derive(Debug)]
pub(crate) struct StoresPlan {
    pub(super) nodes: Vec<PlannedNode>,
    pub(super) roots: Vec<RootPlan>,
}

/// A store of a configuration: the outermost layer of a backend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RootPlan {
    pub(crate) kind: StorageType,
    /// The store as it is used.
    pub(crate) outermost: NodeId,
}

/// Reads the stores of a configuration, one after the other. They share the files that they claim.
#[derive(Debug)]
pub(crate) struct StoresReader<'a> {
    registry: &'a Registry,
    pub(super) nodes: Vec<Option<PlannedNode>>,
    pub(super) claims: Claims,
    pub(super) hosts: HashMap<(&'a str, StorageType), NodeId>,
    /// The store of contents, once one was read.
    pub(super) contents: Option<NodeId>,
    roots: Vec<RootPlan>,
}

impl<'a> StoresReader<'a> {
    /// Begins to read. Backends of the host program are those of `registry`.
    pub(crate) fn new(registry: &'a Registry) -> Self {
        Self {
            registry,
            nodes: Vec::new(),
            claims: Claims::default(),
            hosts: HashMap::new(),
            contents: None,
            roots: Vec::new(),
        }
    }

    /// Takes over the files that are claimed already.
    #[must_use]
    pub(crate) fn with_claims(mut self, claims: Claims) -> Self {
        self.claims = claims;
        self
    }

    /// Returns the registry of the host program.
    pub(super) const fn registry(&self) -> &'a Registry {
        self.registry
    }

    /// Reads the store of `kind` that a `BlobAccessConfiguration` describes. Faults are noted.
    ///
    /// That of contents comes first, since action results are checked against it.
    pub(crate) fn read(&mut self, section: Section<'a>, kind: StorageType) {
        let (path, position) = (section.path().clone(), section.position().cloned());
        let backend = self.reserve();
        let outermost = match kind {
            StorageType::Cas => Some(Node::EmptyBlobInjecting { backend }),
            StorageType::Ac => Some(Node::TimestampInjecting { backend }),
            StorageType::Icas | StorageType::Iscc | StorageType::Fsac => None,
        };
        let outermost = outermost.map_or(backend, |node| {
            let id = self.reserve();
            self.fill(id, PlannedNode { path, position, kind, node });
            id
        });
        NodeReader::read(self, section, kind, backend);
        if kind == StorageType::Cas {
            self.contents = Some(outermost);
        }
        self.roots.push(RootPlan { kind, outermost });
    }

    /// Returns the plan, or `None` if faults were noted.
    pub(crate) fn finish(self) -> Option<StoresPlan> {
        let nodes = self.nodes.into_iter().collect::<Option<Vec<_>>>()?;
        Some(StoresPlan { nodes, roots: self.roots })
    }

    /// Makes place for a plan.
    pub(super) fn reserve(&mut self) -> NodeId {
        self.nodes.push(None);
        NodeId(self.nodes.len() - 1)
    }

    /// Puts a plan into its place.
    pub(super) fn fill(&mut self, id: NodeId, planned: PlannedNode) {
        if let Some(place) = self.nodes.get_mut(id.0) {
            *place = Some(planned);
        }
    }
}

impl StoresPlan {
    /// Returns a plan.
    pub(crate) fn node(&self, id: NodeId) -> Option<&PlannedNode> {
        self.nodes.get(id.0)
    }

    /// Returns the stores.
    pub(crate) fn roots(&self) -> &[RootPlan] {
        &self.roots
    }

    /// Returns the plans in the order in which they are opened: each after those that it needs.
    pub(crate) fn order(&self) -> Vec<NodeId> {
        let mut order = Vec::with_capacity(self.nodes.len());
        let mut is_known = vec![false; self.nodes.len()];
        let mut pending: Vec<_> = self.roots.iter().rev().map(|root| (root.outermost, false)).collect();
        while let Some((id, needs_are_known)) = pending.pop() {
            if needs_are_known {
                order.push(id);
                continue;
            }
            match is_known.get_mut(id.0) {
                Some(known) if !*known => *known = true,
                Some(_) | None => continue,
            }
            pending.push((id, true));
            let needs = self.node(id).map(|planned| planned.node.needs()).unwrap_or_default();
            pending.extend(needs.into_iter().rev().map(|id| (id, false)));
        }
        order
    }
}
