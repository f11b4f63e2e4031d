//! The opening of stores by their plans.

use std::sync::Arc;

use blobaccess::decorators::{
    ActionResultExpiring, ActionResultTimestampInjecting, CompletenessChecking, CompletenessOptions, DeadlineEnforcing,
    Demultiplexing, EmptyBlobInjecting, ExistenceCaching, ExpiryOptions, HierarchicalInstanceNames, Mirrored,
    MirroredOptions, Observing, ReadCaching, ReadCachingOptions, ReadCanarying, ReadFallback, ReadFallbackOptions,
    Route, Shard, Sharding,
};
use blobaccess::replication::EntryLocks;
use blobaccess::{
    Ac, BlobAccess, Cas, Clock, Error, FailingStore, Fsac, Icas, InstanceName, Iscc, Kind, Result, StorageType,
    blocking,
};
use blobaccess_grpc::Remote;
use blobaccess_local_store::Environment;
use blobaccess_zip_store::{ZipReadingStore, ZipWritingStore};

use super::any_store::{AnyStore, Store};
use super::archive::ArchivePlan;
use super::copying::Copying;
use super::grpc::store_of;
use super::node::{Node, NodeId, PlannedNode, RoutePlan, ShardPlan};
use super::part::Part;
use super::plan::StoresPlan;
use super::replicator::ReplicatorPlan;
use crate::clients::GrpcClientPlan;
use crate::{Fault, Faults, Registry};

/// The stores of a plan, as far as they are open.
#[derive(Debug)]
pub(super) struct Opening<'p> {
    registry: &'p Registry,
    stores: Vec<Option<AnyStore>>,
    parts: Vec<OpenPart>,
}

/// A layer of an open store that has a state, or work to do.
#[derive(Clone, Debug)]
pub(crate) struct OpenPart {
    pub(crate) path: Arc<str>,
    pub(crate) kind: StorageType,
    pub(crate) part: Arc<dyn Part>,
}

/// The open stores of a plan.
#[derive(Debug)]
pub(crate) struct OpenStores {
    /// The stores as they are used, in the order of the plan.
    pub(crate) stores: Vec<AnyStore>,
    pub(crate) parts: Vec<OpenPart>,
}

/// The turn in which a backend is opened.
///
/// An archive that is there is replaced when one is written. So that comes once all else that can fail is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Backend,
    Replacing,
    Layer,
}

impl Turn {
    const fn of(node: &Node) -> Self {
        if matches!(node, Node::ZipWriting(_)) {
            Self::Replacing
        } else if matches!(node, Node::Local(_) | Node::Grpc(_) | Node::ZipReading(_) | Node::Host { .. }) {
            Self::Backend
        } else {
            Self::Layer
        }
    }
}

impl StoresPlan {
    /// Opens the stores.
    ///
    /// # Errors
    ///
    /// The first backend that cannot be opened. Those that were opened before are dropped.
    pub(crate) async fn open(&self, registry: &Registry) -> Result<OpenStores, Faults> {
        let stores = std::iter::repeat_with(|| None).take(self.nodes.len()).collect();
        let mut opening = Opening { registry, stores, parts: Vec::new() };
        let order = self.order();
        for turn in [Turn::Backend, Turn::Replacing, Turn::Layer] {
            for id in &order {
                let Some(planned) = self.node(*id) else { continue };
                if Turn::of(&planned.node) == turn {
                    let store = opening.open(planned).await;
                    let store = store.map_err(|error| Faults::from(planned.fault(error.to_string())))?;
                    if let Some(place) = opening.stores.get_mut(id.0) {
                        *place = Some(store);
                    }
                }
            }
        }
        let roots = self.roots.iter().map(|root| opening.any(root.outermost).cloned());
        let stores = roots.collect::<Result<_>>().map_err(|error| Faults::one(None, error.to_string()))?;
        Ok(OpenStores { stores, parts: opening.parts })
    }
}

impl PlannedNode {
    /// Makes a fault of what is wrong when the backend is opened.
    pub(super) fn fault(&self, message: String) -> Fault {
        let path = if matches!(self.node, Node::ZipWriting(_)) { self.path.field("path") } else { self.path.clone() };
        Fault { path: path.to_string(), position: self.position.clone(), message }
    }
}

impl<'p> Opening<'p> {
    /// Makes a client, which connects when it is used.
    pub(super) fn connect(&self, client: &GrpcClientPlan) -> Result<Remote> {
        let remote = client.connect(false, self.registry.forwarded_metadata(), &self.registry.clock())?;
        self.registry.observe(remote)
    }

    pub(super) fn clock(&self) -> Arc<dyn Clock> {
        self.registry.clock()
    }

    /// Keeps a layer that has a state or work to do.
    pub(super) fn keep(&mut self, path: &Arc<str>, kind: StorageType, part: Arc<dyn Part>) {
        self.parts.push(OpenPart { path: Arc::clone(path), kind, part });
    }

    fn any(&self, id: NodeId) -> Result<&AnyStore> {
        self.stores
            .get(id.0)
            .and_then(Option::as_ref)
            .ok_or_else(|| Error::internal("a store is used before it is open"))
    }

    fn store<K: Kind>(&self, id: NodeId) -> Result<Store<K>> {
        self.any(id)?.get()
    }

    /// Opens a backend whose backends beneath are open.
    async fn open(&mut self, planned: &PlannedNode) -> Result<AnyStore> {
        if let Node::WithLabels { backend: target, .. } | Node::Label { target, .. } = &planned.node {
            return self.any(*target).cloned();
        }
        match planned.kind {
            StorageType::Cas => self.open_as::<Cas>(planned).await,
            StorageType::Ac => self.open_as::<Ac>(planned).await,
            StorageType::Icas => self.open_as::<Icas>(planned).await,
            StorageType::Iscc => self.open_as::<Iscc>(planned).await,
            StorageType::Fsac => self.open_as::<Fsac>(planned).await,
        }
    }

    /// Opens a backend of kind `K`, and observes it.
    async fn open_as<K: Kind>(&mut self, planned: &PlannedNode) -> Result<AnyStore> {
        let store = self.open_unobserved::<K>(planned).await?;
        if !planned.node.is_observed() {
            return AnyStore::of(store);
        }
        let observing = Observing::new(store, planned.node.name(), self.registry.observer());
        AnyStore::of::<K>(Arc::new(observing.with_clock(self.clock())))
    }

    async fn open_unobserved<K: Kind>(&mut self, planned: &PlannedNode) -> Result<Store<K>> {
        let path = &planned.path.shared();
        match &planned.node {
            Node::ReadCaching { slow, fast, replicator } => self.open_read_caching(path, *slow, *fast, replicator),
            Node::Grpc(plan) => {
                let remote = plan.connect(self.registry)?;
                let store = store_of(&remote);
                self.keep(path, K::STORAGE_TYPE, Arc::new(remote));
                store
            }
            Node::Local(plan) => {
                let environment = Environment::default().with_observer(self.registry.observer());
                let store = plan.open::<K>(environment.with_clock(self.clock())).await?;
                Ok(self.keep_store(path, store))
            }
            Node::Failing(failure) => Ok(Arc::new(FailingStore::new(failure.error()))),
            Node::Sharding(shards) => self.open_sharding(path, shards),
            Node::Mirrored { a, b, a_to_b, b_to_a } => self.open_mirrored(path, [*a, *b], [a_to_b, b_to_a]),
            Node::ReadFallback { primary, secondary, replicator } => {
                self.open_read_fallback(path, *primary, *secondary, replicator)
            }
            Node::Demultiplexing(routes) => self.open_demultiplexing(routes),
            Node::ReadCanarying { source, replica, capacity, duration } => {
                let (source, replica) = (self.store::<K>(*source)?, self.store::<K>(*replica)?);
                let layer = ReadCanarying::new(source, replica, *capacity, *duration).with_clock(self.clock());
                Ok(self.keep_store(path, layer))
            }
            Node::DeadlineEnforcing { backend, timeout } => {
                let layer = DeadlineEnforcing::new(self.store::<K>(*backend)?, *timeout);
                Ok(Arc::new(layer.with_clock(self.clock())))
            }
            Node::ZipReading(archive) => {
                let store = ZipReadingStore::<K>::open(archive.path.clone(), self.zip_options(archive)).await?;
                Ok(self.keep_store(path, store.with_clock(self.clock())))
            }
            Node::ZipWriting(archive) => {
                let replaced = archive.clone();
                let former = blocking(move || replaced.remove_former()).await?;
                let store = ZipWritingStore::<K>::create(archive.path.clone(), self.zip_options(archive)).await?;
                drop(former);
                Ok(self.keep_store(path, store.with_clock(self.clock())))
            }
            Node::Host { name, settings } => self.registry.open(name, K::STORAGE_TYPE, settings).await?.get(),
            Node::ExistenceCaching { .. }
            | Node::CompletenessChecking { .. }
            | Node::ReferenceExpanding { .. }
            | Node::HierarchicalInstanceNames { .. }
            | Node::ActionResultExpiring { .. }
            | Node::EmptyBlobInjecting { .. }
            | Node::TimestampInjecting { .. } => self.open_of_one_kind(planned, path)?.get(),
            Node::WithLabels { .. } | Node::Label { .. } => Err(Error::internal("a label is no store")),
        }
    }

    /// Opens a layer that exists for some kinds only.
    fn open_of_one_kind(&mut self, planned: &PlannedNode, path: &Arc<str>) -> Result<AnyStore> {
        let (clock, observer) = (self.clock(), self.registry.observer());
        let max_message = self.registry.max_message_size_bytes();
        match &planned.node {
            Node::ExistenceCaching { backend, cache } => {
                let layer = ExistenceCaching::new(self.store::<Cas>(*backend)?, cache.capacity, cache.duration);
                Ok(AnyStore::Cas(Arc::new(layer.with_clock(clock).with_observer(observer))))
            }
            Node::CompletenessChecking { backend, contents, max_total_tree_size_bytes } => {
                let options = CompletenessOptions::new()
                    .with_max_message_size_bytes(max_message)
                    .with_max_total_tree_size_bytes(*max_total_tree_size_bytes);
                let (results, contents) = (self.store::<Ac>(*backend)?, self.store::<Cas>(*contents)?);
                let layer = CompletenessChecking::new(results, contents, options).with_clock(clock);
                Ok(AnyStore::Ac(self.keep_store(path, layer)))
            }
            Node::ReferenceExpanding { references, contents, headers } => {
                let mut layer = self.registry.expand(self.store::<Icas>(*references)?)?;
                for (name, value) in headers {
                    layer = layer.with_http_header(name.as_str(), value.as_bytes())?;
                }
                if let Some(contents) = contents {
                    layer = layer.with_store(&InstanceName::empty(), self.store::<Cas>(*contents)?);
                }
                Ok(AnyStore::Cas(self.keep_store(path, layer)))
            }
            Node::ActionResultExpiring { backend, validity, jitter, since } => {
                let options = ExpiryOptions::new(*validity)
                    .with_max_validity_jitter(*jitter)
                    .with_minimum_timestamp(*since)
                    .with_max_message_size_bytes(max_message);
                let layer = ActionResultExpiring::new(self.store::<Ac>(*backend)?, options).with_clock(clock);
                Ok(AnyStore::Ac(self.keep_store(path, layer)))
            }
            Node::HierarchicalInstanceNames { backend } => match self.any(*backend)? {
                AnyStore::Ac(inner) => Ok(AnyStore::Ac(Arc::new(HierarchicalInstanceNames::new(Arc::clone(inner))))),
                AnyStore::Icas(inner) => {
                    Ok(AnyStore::Icas(Arc::new(HierarchicalInstanceNames::new(Arc::clone(inner)))))
                }
                AnyStore::Iscc(inner) => {
                    Ok(AnyStore::Iscc(Arc::new(HierarchicalInstanceNames::new(Arc::clone(inner)))))
                }
                AnyStore::Fsac(inner) => {
                    Ok(AnyStore::Fsac(Arc::new(HierarchicalInstanceNames::new(Arc::clone(inner)))))
                }
                AnyStore::Cas(_) => Err(Error::internal("a store of contents cannot be hierarchical")),
            },
            Node::EmptyBlobInjecting { backend } => {
                Ok(AnyStore::Cas(Arc::new(EmptyBlobInjecting::new(self.store::<Cas>(*backend)?))))
            }
            Node::TimestampInjecting { backend } => {
                let layer = ActionResultTimestampInjecting::new(self.store::<Ac>(*backend)?, max_message);
                Ok(AnyStore::Ac(Arc::new(layer.with_clock(clock).with_observer(observer))))
            }
            Node::ReadCaching { .. }
            | Node::Grpc(_)
            | Node::Local(_)
            | Node::Failing(_)
            | Node::Sharding(_)
            | Node::Mirrored { .. }
            | Node::ReadFallback { .. }
            | Node::Demultiplexing(_)
            | Node::ReadCanarying { .. }
            | Node::ZipReading(_)
            | Node::ZipWriting(_)
            | Node::WithLabels { .. }
            | Node::Label { .. }
            | Node::DeadlineEnforcing { .. }
            | Node::Host { .. } => Err(Error::internal("this backend exists for all kinds")),
        }
    }

    fn open_read_caching<K: Kind>(
        &mut self,
        path: &Arc<str>,
        slow: NodeId,
        fast: NodeId,
        replicator: &ReplicatorPlan,
    ) -> Result<Store<K>> {
        let (slow, fast, locks) = (self.store::<K>(slow)?, self.store::<K>(fast)?, Arc::new(EntryLocks::new()));
        let copier = self.copying(path, &slow, &fast, &locks).open(replicator)?;
        // A store that nothing is copied into is not written to either: somebody else fills it.
        let options = ReadCachingOptions::new().with_writes_through(replicator.copies());
        let layer = ReadCaching::new(slow, fast, copier).with_options(options).with_clock(self.clock());
        Ok(self.keep_store(path, layer.with_entry_locks(locks)))
    }

    fn open_sharding<K: Kind>(&mut self, path: &Arc<str>, plans: &[ShardPlan]) -> Result<Store<K>> {
        let mut shards = Vec::with_capacity(plans.len());
        for plan in plans {
            shards.push(Shard::new(&*plan.key, self.store::<K>(plan.backend)?).with_weight(plan.weight));
        }
        let layer = Sharding::new(shards)?.with_clock(self.clock());
        Ok(self.keep_store(path, layer))
    }

    fn open_mirrored<K: Kind>(
        &mut self,
        path: &Arc<str>,
        [a, b]: [NodeId; 2],
        [a_to_b, b_to_a]: [&ReplicatorPlan; 2],
    ) -> Result<Store<K>> {
        let (a, b, locks) = (self.store::<K>(a)?, self.store::<K>(b)?, Arc::new(EntryLocks::new()));
        let a_to_b = self.copying(path, &a, &b, &locks).open(a_to_b)?;
        let b_to_a = self.copying(path, &b, &a, &locks).open(b_to_a)?;
        // Buildbarn answers a query once what one half lacked has been copied.
        let options = MirroredOptions::new().with_waits_for_repairs(true);
        let layer = Mirrored::new(a, b, a_to_b, b_to_a).with_options(options).with_clock(self.clock());
        Ok(self.keep_store(path, layer.with_entry_locks(locks)))
    }

    fn open_read_fallback<K: Kind>(
        &mut self,
        path: &Arc<str>,
        primary: NodeId,
        secondary: NodeId,
        replicator: &ReplicatorPlan,
    ) -> Result<Store<K>> {
        let (primary, secondary) = (self.store::<K>(primary)?, self.store::<K>(secondary)?);
        let locks = Arc::new(EntryLocks::new());
        let copier = self.copying(path, &secondary, &primary, &locks).open(replicator)?;
        // Buildbarn answers a query once what the primary lacked has been copied.
        let options = ReadFallbackOptions::new().with_waits_for_copies(true);
        let layer = ReadFallback::new(primary, secondary, copier).with_options(options).with_clock(self.clock());
        Ok(self.keep_store(path, layer.with_entry_locks(locks)))
    }

    fn open_demultiplexing<K: Kind>(&self, plans: &[RoutePlan]) -> Result<Store<K>> {
        if plans.is_empty() {
            return Ok(Arc::new(FailingStore::new(Error::invalid_argument("unknown instance name"))));
        }
        let mut routes = Vec::with_capacity(plans.len());
        for plan in plans {
            let route = Route::new(plan.prefix.clone(), self.store::<K>(plan.backend)?);
            routes.push(route.with_added_prefix(plan.added_prefix.clone()));
        }
        Ok(Arc::new(Demultiplexing::new(routes)?))
    }

    /// Begins to open a replicator from `source` into `sink`.
    fn copying<K: Kind>(
        &mut self,
        path: &Arc<str>,
        source: &Store<K>,
        sink: &Store<K>,
        locks: &Arc<EntryLocks>,
    ) -> Copying<'_, 'p, K> {
        let (source, sink) = (Arc::clone(source), Arc::clone(sink));
        Copying { opening: self, path: Arc::clone(path), source, sink, locks: Arc::clone(locks) }
    }

    /// Keeps a layer that has a state or work to do, and returns it as a store.
    fn keep_store<K: Kind, L: BlobAccess<Kind = K> + Part>(&mut self, path: &Arc<str>, layer: L) -> Store<K> {
        let layer = Arc::new(layer);
        self.keep(path, K::STORAGE_TYPE, Arc::<L>::clone(&layer));
        layer
    }

    fn zip_options(&self, archive: &ArchivePlan) -> blobaccess_zip_store::ZipOptions {
        archive.options.with_max_message_size_bytes(self.registry.max_message_size_bytes())
    }
}
