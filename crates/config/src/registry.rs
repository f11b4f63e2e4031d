//! Backends of a host program, under names of its own, and what else the host gives to stores.

use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{BlobAccess, Clock, Error, Icas, Kind, NoObserver, Observer, Result, StorageType, SystemClock};
use blobaccess_grpc::{CallObserver, Remote};
use blobaccess_icas::{AllowedHosts, BucketSource, ExpandingOptions, ReferenceExpanding};

use crate::blobstore::{AnyStore, Store, name_of_kind};

/// The largest message that is held in memory unless set, in bytes.
const MAX_MESSAGE_SIZE_BYTES: u64 = 16 << 20;

/// A backend of a host program, for stores of one kind.
///
/// A file uses it by a label that is declared nowhere: `{ label: 'NAME' }` or `{ label: 'NAME:SETTINGS' }`, with the
/// name that the [`Registry`] has for it.
#[async_trait]
pub trait Backend<K: Kind>: Debug + Send + Sync + 'static {
    /// Checks settings, without a look at anything outside of this process. They are empty for a label without any.
    ///
    /// Nothing of a file is opened until all of its settings have been checked.
    ///
    /// # Errors
    ///
    /// If the settings cannot work. The message is reported with the path of the label.
    fn check(&self, settings: &str) -> Result<()>;

    /// Opens a store. A file that uses one label several times for one kind gets one store.
    ///
    /// # Errors
    ///
    /// If it cannot be opened. The stores of the file that were opened before are dropped then.
    async fn open(&self, settings: &str) -> Result<Arc<dyn BlobAccess<Kind = K>>>;
}

/// Backends of a host program, under names of its own, and what else the host gives to the stores of a file.
///
/// # Backends
///
/// A configuration refers to a backend of the host by a label that it does not declare. So files with such backends are
/// messages of Buildbarn like all others, in Jsonnet, JSON and bytes, and no file means anything else because of a
/// registry: a label that is declared goes before a name that is registered, and one that is neither is refused.
///
/// The part of a label behind the first colon is for the backend. A backend that needs several values may take JSON, which
/// Jsonnet makes by `'bucket:' + std.manifestJsonMinified({ url: 's3://builds', prefix: 'cas/' })`.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
///
/// use async_trait::async_trait;
/// use blobaccess::{BlobAccess, BlobAccessExt, Cas, Context, Digest, DigestFunction, Error, InstanceName, MemoryStore};
/// use blobaccess_config::{Backend, Document, Registry, Stacks};
///
/// /// A store in memory, whose settings are its size in bytes.
/// #[derive(Debug)]
/// struct Memory;
///
/// fn size(settings: &str) -> blobaccess::Result<u64> {
///     settings.parse().map_err(|_| Error::invalid_argument("the size is no number"))
/// }
///
/// #[async_trait]
/// impl Backend<Cas> for Memory {
///     fn check(&self, settings: &str) -> blobaccess::Result<()> {
///         size(settings).map(drop)
///     }
///
///     async fn open(&self, settings: &str) -> blobaccess::Result<Arc<dyn BlobAccess<Kind = Cas>>> {
///         Ok(Arc::new(MemoryStore::<Cas>::new(size(settings)?)))
///     }
/// }
///
/// let registry = Registry::new().with_backend("memory", Arc::new(Memory));
/// let text = r#"{ "contentAddressableStorage": {
///     "deadlineEnforcing": { "timeout": "30s", "backend": { "label": "memory:1048576" } }
/// } }"#;
/// let stacks = Stacks::from_document(&Document::from_json(text, "example.json")?, &registry).await?;
///
/// let cas = stacks.cas().ok_or("there is no store of contents")?;
/// let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello");
/// cas.put_bytes(&Context::background(), &digest, "hello").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Registry {
    backends: HashMap<(String, StorageType), Arc<dyn ErasedBackend>>,
    observer: Arc<dyn Observer>,
    client_observer: Option<Arc<dyn CallObserver>>,
    clock: Arc<dyn Clock>,
    max_message_size_bytes: u64,
    forwarded_metadata: Option<Vec<String>>,
    expanding: ExpandingOptions,
    s3_buckets: Vec<(String, BucketSource)>,
    gcs_buckets: Vec<(String, BucketSource)>,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            backends: HashMap::new(),
            observer: Arc::new(NoObserver),
            client_observer: None,
            clock: Arc::new(SystemClock),
            max_message_size_bytes: MAX_MESSAGE_SIZE_BYTES,
            forwarded_metadata: None,
            expanding: ExpandingOptions::new(AllowedHosts::any_public()),
            s3_buckets: Vec::new(),
            gcs_buckets: Vec::new(),
        }
    }
}

impl Registry {
    /// Makes a registry without backends.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a backend for stores of kind `K`, in place of any of the same name. One name may have a backend for each
    /// kind.
    ///
    /// The name ends at its first colon, if it has any, since settings begin there.
    #[must_use]
    pub fn with_backend<K: Kind>(mut self, name: &str, backend: Arc<dyn Backend<K>>) -> Self {
        let name = name.split(':').next().unwrap_or_default().to_owned();
        self.backends.insert((name, K::STORAGE_TYPE), Arc::new(Erased { backend }));
        self
    }

    /// Adds a store that is open already, as a backend without settings.
    #[must_use]
    pub fn with_store<K: Kind>(self, name: &str, store: Arc<dyn BlobAccess<Kind = K>>) -> Self {
        self.with_backend(name, Arc::new(Opened { store }))
    }

    /// Notifies `observer` of the calls of every backend, under the names that Buildbarn's metrics have for them, and of
    /// evictions and corruptions. Nobody is notified unless set.
    #[must_use]
    pub fn with_observer(mut self, observer: impl Observer) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Tells `observer` of every call that clients of gRPC make for the stores of a file, and for its schedulers. Nobody is
    /// told unless set.
    #[must_use]
    pub fn with_client_observer(mut self, observer: Arc<dyn CallObserver>) -> Self {
        self.client_observer = Some(observer);
        self
    }

    /// Takes the time from `clock`: from that of the system unless set.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the size of the largest message that is held in memory, such as an action result, in bytes: 16 MiB unless
    /// set. Buildbarn has the same as `maximum_message_size_bytes`.
    #[must_use]
    pub const fn with_max_message_size_bytes(mut self, bytes: u64) -> Self {
        self.max_message_size_bytes = bytes;
        self
    }

    /// Sets the web servers that `referenceExpanding` may read from, and its limits. All servers at public addresses are
    /// allowed unless set.
    #[must_use]
    pub fn with_expanding_options(mut self, options: ExpandingOptions) -> Self {
        self.expanding = options;
        self
    }

    /// Lets references of `referenceExpanding` lead into the bucket of S3 that they call `name`.
    #[must_use]
    pub fn with_s3_bucket(mut self, name: impl Into<String>, bucket: BucketSource) -> Self {
        self.s3_buckets.push((name.into(), bucket));
        self
    }

    /// Lets references of `referenceExpanding` lead into the bucket of Google Cloud Storage that they call `name`.
    #[must_use]
    pub fn with_gcs_bucket(mut self, name: impl Into<String>, bucket: BucketSource) -> Self {
        self.gcs_buckets.push((name.into(), bucket));
        self
    }

    /// Returns whether references may lead into any bucket.
    pub(crate) fn has_buckets(&self) -> bool {
        !self.s3_buckets.is_empty() || !self.gcs_buckets.is_empty()
    }

    /// Makes a store of what `references` lead to.
    pub(crate) fn expand(&self, references: Store<Icas>) -> Result<ReferenceExpanding<Store<Icas>>> {
        let mut store = ReferenceExpanding::new(references, self.expanding.clone())?.with_clock(self.clock());
        for (name, bucket) in &self.s3_buckets {
            store = store.with_s3_bucket(name, bucket.clone());
        }
        for (name, bucket) in &self.gcs_buckets {
            store = store.with_gcs_bucket(name, bucket.clone());
        }
        Ok(store)
    }

    /// Splits a label into the name of a backend and its settings. Returns `None` if no backend has the name.
    pub(crate) fn find<'n>(&self, label: &'n str) -> Option<(&'n str, &'n str)> {
        let (name, settings) = label.split_once(':').unwrap_or((label, ""));
        self.backends.keys().any(|(known, _)| known == name).then_some((name, settings))
    }

    /// Checks the settings of a backend for stores of `kind`.
    pub(crate) fn check(&self, name: &str, kind: StorageType, settings: &str) -> Result<()> {
        self.get(name, kind)?.check(settings)
    }

    /// Opens a store of a backend.
    pub(crate) async fn open(&self, name: &str, kind: StorageType, settings: &str) -> Result<AnyStore> {
        self.get(name, kind)?.open(settings).await
    }

    fn get(&self, name: &str, kind: StorageType) -> Result<&Arc<dyn ErasedBackend>> {
        self.backends.get(&(name.to_owned(), kind)).ok_or_else(|| {
            Error::invalid_argument(format!("{name:?} is a backend of the host, but not for {}", name_of_kind(kind)))
        })
    }

    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.observer)
    }

    /// Returns a client whose calls are observed, if anybody observes them.
    pub(crate) fn observe(&self, remote: Remote) -> Result<Remote> {
        match &self.client_observer {
            None => Ok(remote),
            Some(observer) => remote.with_call_observer(&**observer),
        }
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// Sets the names of the metadata of calls that is passed on to other servers. Without any, all is that a context has.
    pub(crate) fn with_forwarded_metadata(mut self, names: Vec<String>) -> Self {
        self.forwarded_metadata = Some(names);
        self
    }

    pub(crate) fn forwarded_metadata(&self) -> Option<Vec<String>> {
        self.forwarded_metadata.clone()
    }

    pub(crate) const fn max_message_size_bytes(&self) -> u64 {
        self.max_message_size_bytes
    }
}

impl Debug for Registry {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut names: Vec<_> = self.backends.keys().map(|(name, kind)| (name, kind.name())).collect();
        names.sort_unstable();
        f.debug_struct("Registry").field("backends", &names).finish_non_exhaustive()
    }
}

/// A backend of any kind.
#[async_trait]
trait ErasedBackend: Debug + Send + Sync {
    fn check(&self, settings: &str) -> Result<()>;

    async fn open(&self, settings: &str) -> Result<AnyStore>;
}

#[derive(Debug)]
struct Erased<K: Kind> {
    backend: Arc<dyn Backend<K>>,
}

#[async_trait]
impl<K: Kind> ErasedBackend for Erased<K> {
    fn check(&self, settings: &str) -> Result<()> {
        self.backend.check(settings)
    }

    async fn open(&self, settings: &str) -> Result<AnyStore> {
        AnyStore::of::<K>(self.backend.open(settings).await?)
    }
}

/// A store that was open before the file was read.
#[derive(Debug)]
struct Opened<K: Kind> {
    store: Store<K>,
}

#[async_trait]
impl<K: Kind> Backend<K> for Opened<K> {
    fn check(&self, settings: &str) -> Result<()> {
        if settings.is_empty() {
            Ok(())
        } else {
            Err(Error::invalid_argument("this backend of the host has no settings"))
        }
    }

    async fn open(&self, _settings: &str) -> Result<Store<K>> {
        Ok(Arc::clone(&self.store))
    }
}
