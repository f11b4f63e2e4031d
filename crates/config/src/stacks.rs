//! The open stores of a configuration.

use std::fmt::{self, Debug, Formatter};
use std::path::Path;
use std::sync::Arc;

use blobaccess::{Ac, BlobAccess, Cas, Fsac, Icas, Iscc, Result, StorageType};
use futures::future::join_all;

use crate::blobstore::{AnyStore, OpenPart, OpenStores, StoresPlan, StoresReader};
use crate::section::Section;
use crate::{Document, Environment, Faults, LayerSnapshot, Notice, Registry};

/// The name of the message with a store of contents and one of action results.
const BLOBSTORE: &str = "buildbarn.configuration.blobstore.BlobstoreConfiguration";

/// The name of the message of one store.
const BLOB_ACCESS: &str = "buildbarn.configuration.blobstore.BlobAccessConfiguration";

/// The stores of a configuration that was read and found to be in order. Nothing is opened yet.
#[derive(Clone)]
pub struct StacksPlan {
    plan: Arc<StoresPlan>,
    registry: Registry,
    notices: Vec<Notice>,
}

impl StacksPlan {
    /// Reads a `BlobstoreConfiguration`, which has a store of contents, one of action results, or both.
    ///
    /// # Errors
    ///
    /// All that is wrong with it, in one order.
    pub fn of_blobstore(document: &Document, registry: &Registry) -> Result<Self, Faults> {
        Self::read(document, BLOBSTORE, registry, |root, stores| {
            let fields = [("content_addressable_storage", StorageType::Cas), ("action_cache", StorageType::Ac)];
            let sections = fields.map(|(field, kind)| (root.message(field), kind));
            if sections.iter().all(|(section, _)| section.is_none()) {
                root.fault("there is no store: contentAddressableStorage or actionCache is required");
            }
            for (section, kind) in sections {
                if let Some(section) = section {
                    stores.read(section, kind);
                }
            }
        })
    }

    /// Reads a `BlobAccessConfiguration`, as that of a store of `kind`.
    ///
    /// # Errors
    ///
    /// All that is wrong with it, in one order.
    pub fn of_store(document: &Document, kind: StorageType, registry: &Registry) -> Result<Self, Faults> {
        Self::read(document, BLOB_ACCESS, registry, |root, stores| stores.read(root, kind))
    }

    fn read(
        document: &Document,
        message: &str,
        registry: &Registry,
        read: impl for<'a> FnOnce(Section<'a>, &mut StoresReader<'a>),
    ) -> Result<Self, Faults> {
        let (message, reading) = document.read_as(message)?;
        let plan = {
            let mut stores = StoresReader::new(registry);
            read(Section::root(&message, &reading), &mut stores);
            stores.finish()
        };
        let notices = reading.finish(&message)?;
        let plan = plan.ok_or_else(|| Faults::one(None, "the stores cannot be planned"))?;
        Ok(Self::new(plan, registry.clone(), notices))
    }

    /// Makes a plan of stores that were read.
    pub(crate) fn new(plan: StoresPlan, registry: Registry, notices: Vec<Notice>) -> Self {
        Self { plan: Arc::new(plan), registry, notices }
    }

    /// Returns what the configuration says that has no effect, or another than one may expect.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// Describes the stores as a tree: a line for each backend, with its sizes, what it promises and what it costs.
    #[must_use]
    pub fn describe(&self) -> String {
        self.plan.describe()
    }

    /// Looks at the files that the stores are to be in. Nothing is created, changed or opened to be written.
    ///
    /// # Errors
    ///
    /// All that is wrong with them.
    pub async fn inspect(&self) -> Result<(), Faults> {
        self.plan.inspect().await
    }

    /// Opens the stores, after [`inspect`](Self::inspect).
    ///
    /// Files of archives that are to be written are replaced once all other backends are open.
    ///
    /// # Errors
    ///
    /// Those of `inspect`. Otherwise the first backend that cannot be opened; those that were opened before are dropped.
    pub async fn open(self) -> Result<Stacks, Faults> {
        self.plan.inspect().await?;
        let OpenStores { stores, parts } = self.plan.open(&self.registry).await?;
        let (description, notices) = (self.plan.describe(), self.notices);
        let mut stacks =
            Stacks { cas: None, ac: None, icas: None, iscc: None, fsac: None, parts, description, notices };
        for store in stores {
            match store {
                AnyStore::Cas(store) => stacks.cas = Some(store),
                AnyStore::Ac(store) => stacks.ac = Some(store),
                AnyStore::Icas(store) => stacks.icas = Some(store),
                AnyStore::Iscc(store) => stacks.iscc = Some(store),
                AnyStore::Fsac(store) => stacks.fsac = Some(store),
            }
        }
        Ok(stacks)
    }
}

impl Debug for StacksPlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("StacksPlan").field("notices", &self.notices).finish_non_exhaustive()
    }
}

/// The open stores of a configuration.
///
/// # Background work
///
/// [`run`](Self::run) does that of all layers. Poll it beside what uses the stores. At the end, call
/// [`close`](Self::close).
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use blobaccess_config::{Document, Registry, Stacks};
///
/// let text = r#"{
///     "contentAddressableStorage": { "error": { "code": 14, "message": "under repair" } },
///     "actionCache": { "completenessChecking": {
///         "backend": { "error": { "code": 14, "message": "under repair" } },
///         "maximumTotalTreeSizeBytes": "16777216"
///     } }
/// }"#;
/// let stacks = Stacks::from_document(&Document::from_json(text, "storage.json")?, &Registry::new()).await?;
/// print!("{}", stacks.describe());
/// assert!(stacks.cas().is_some() && stacks.ac().is_some() && stacks.fsac().is_none());
/// stacks.close().await?;
/// # Ok(())
/// # }
/// ```
pub struct Stacks {
    cas: Option<Arc<dyn BlobAccess<Kind = Cas>>>,
    ac: Option<Arc<dyn BlobAccess<Kind = Ac>>>,
    icas: Option<Arc<dyn BlobAccess<Kind = Icas>>>,
    iscc: Option<Arc<dyn BlobAccess<Kind = Iscc>>>,
    fsac: Option<Arc<dyn BlobAccess<Kind = Fsac>>>,
    parts: Vec<OpenPart>,
    description: String,
    notices: Vec<Notice>,
}

impl Stacks {
    /// Opens the stores of a `BlobstoreConfiguration` in a file of Jsonnet, or of JSON. The variables of the process are
    /// external variables of the file.
    ///
    /// # Errors
    ///
    /// All that is wrong with the file, before anything is opened. Otherwise as [`StacksPlan::open`].
    pub async fn from_jsonnet(path: impl AsRef<Path>, registry: &Registry) -> Result<Self, Faults> {
        let document = Document::from_jsonnet_file(path, &Environment::of_process())?;
        Self::from_document(&document, registry).await
    }

    /// Opens the stores of a `BlobstoreConfiguration`.
    ///
    /// # Errors
    ///
    /// As [`StacksPlan::of_blobstore`] and [`StacksPlan::open`].
    pub async fn from_document(document: &Document, registry: &Registry) -> Result<Self, Faults> {
        let plan = StacksPlan::of_blobstore(document, registry)?;
        plan.open().await
    }

    /// Returns the store of contents, if there is one.
    #[must_use]
    pub const fn cas(&self) -> Option<&Arc<dyn BlobAccess<Kind = Cas>>> {
        self.cas.as_ref()
    }

    /// Returns the store of action results, if there is one.
    #[must_use]
    pub const fn ac(&self) -> Option<&Arc<dyn BlobAccess<Kind = Ac>>> {
        self.ac.as_ref()
    }

    /// Returns the store of references, if there is one.
    #[must_use]
    pub const fn icas(&self) -> Option<&Arc<dyn BlobAccess<Kind = Icas>>> {
        self.icas.as_ref()
    }

    /// Returns the store of size classes, if there is one.
    #[must_use]
    pub const fn iscc(&self) -> Option<&Arc<dyn BlobAccess<Kind = Iscc>>> {
        self.iscc.as_ref()
    }

    /// Returns the store of file system access profiles, if there is one.
    #[must_use]
    pub const fn fsac(&self) -> Option<&Arc<dyn BlobAccess<Kind = Fsac>>> {
        self.fsac.as_ref()
    }

    /// Describes the stores as a tree: a line for each backend, with its sizes, what it promises and what it costs.
    #[must_use]
    pub fn describe(&self) -> &str {
        &self.description
    }

    /// Returns what the configuration says that has no effect, or another than one may expect.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// Returns the states of all layers that have one.
    #[must_use]
    pub fn snapshot(&self) -> Vec<LayerSnapshot> {
        let snapshots = self.parts.iter().map(|OpenPart { path, kind, part }| LayerSnapshot {
            path: Arc::clone(path),
            storage_type: *kind,
            state: part.state(),
        });
        snapshots.collect()
    }

    /// Does the background work of all layers, for as long as it is polled: repairs of mirrors, copies of queued
    /// replicators, refreshes of caches, syncs of local stores. It does not end.
    ///
    /// At most one may run at a time.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any time, and another be made.
    pub async fn run(&self) {
        join_all(self.parts.iter().map(|open| open.part.run())).await;
        std::future::pending::<()>().await;
    }

    /// Makes durable what is to outlive the process, such as all that was put into persistent local stores before.
    ///
    /// # Errors
    ///
    /// The first store that fails, with its path. The others are synced nevertheless.
    pub async fn sync(&self) -> Result<()> {
        let synced = join_all(self.parts.iter().map(|open| async { at(open, open.part.sync().await) })).await;
        synced.into_iter().collect()
    }

    /// Ends the use of the stores: [syncs](Self::sync) them, and writes the directories of archives. Archives take no
    /// more puts then.
    ///
    /// # Errors
    ///
    /// The first store that fails, with its path. The others are closed nevertheless.
    pub async fn close(&self) -> Result<()> {
        let synced = self.sync().await;
        let finished = join_all(self.parts.iter().map(|open| async { at(open, open.part.finish().await) })).await;
        synced.and(finished.into_iter().collect())
    }
}

fn at(open: &OpenPart, result: Result<()>) -> Result<()> {
    result.map_err(|error| error.at(open.path.to_string()))
}

impl Debug for Stacks {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // A layer and its replicators have the stores beneath in common. So their text doubles with every level.
        f.debug_struct("Stacks").field("description", &self.description).finish_non_exhaustive()
    }
}
