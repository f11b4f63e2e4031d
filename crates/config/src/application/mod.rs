//! A storage server, as a file of Buildbarn's `bb_storage` describes it.

mod compression;
#[cfg(test)]
mod coverage_tests;
mod diagnostics;
mod global;
mod inspection;
mod open_application;
mod probe;
mod process_settings;
mod schedulers;
mod server;
mod store_access;
mod tracing_settings;

use std::fmt::{self, Debug, Display, Formatter};

use blobaccess::StorageType;

use self::compression::Compression;
pub use self::diagnostics::{Diagnostics, DiagnosticsListener, DiagnosticsPolicy};
use self::global::GlobalPlan;
pub use self::open_application::OpenApplication;
pub use self::process_settings::ProcessSettings;
use self::schedulers::SchedulersPlan;
use self::server::{ServerPlan, TakenAddresses};
use self::store_access::StoreAccessPlan;
use crate::blobstore::{Claims, StoresPlan, StoresReader};
use crate::reading::Reading;
use crate::section::Section;
use crate::{Document, Faults, Notice, Registry, StacksPlan};

/// The message that a file of `bb_storage` is.
const APPLICATION: &str = "buildbarn.configuration.bb_storage.ApplicationConfiguration";

/// The largest message unless the file sets another, in bytes: the one that gRPC takes.
const DEFAULT_MAX_MESSAGE_BYTES: usize = 4 << 20;

/// The request metadata that tells which tool makes a call.
const REQUEST_METADATA: &str = "build.bazel.remote.execution.v2.requestmetadata-bin";

/// The kinds of stores, with their fields, in the order in which they are opened.
const STORES: [(&str, StorageType); 5] = [
    ("content_addressable_storage", StorageType::Cas),
    ("action_cache", StorageType::Ac),
    ("indirect_content_addressable_storage", StorageType::Icas),
    ("initial_size_class_cache", StorageType::Iscc),
    ("file_system_access_cache", StorageType::Fsac),
];

/// A storage server, as a file of Buildbarn's `bb_storage` describes it: read and checked, but not started.
///
/// # Order
///
/// 1. [`from_document`](Self::from_document) reads the file, and finds all that is wrong with it.
/// 2. [`process`](Self::process) has what the file asks of the whole process.
/// 3. [`open`](Self::open) opens the stores. Nothing was created or written until then.
/// 4. [`OpenApplication`] has the services, and serves them.
///
/// # Examples
///
/// ```
/// use blobaccess_config::{Application, Document, Registry};
///
/// let file = r#"{
///     "grpcServers": [{ "listenAddresses": [":8980"], "authenticationPolicy": { "allow": {} } }],
///     "contentAddressableStorage": {
///         "backend": { "error": { "code": 14, "message": "under repair" } },
///         "getAuthorizer": { "allow": {} },
///         "putAuthorizer": { "deny": {} },
///         "findMissingAuthorizer": { "allow": {} }
///     },
///     "maximumMessageSizeBytes": 2097152
/// }"#;
/// let application = Application::from_document(&Document::from_json(file, "storage.json")?, &Registry::new())?;
/// assert!(application.listens());
/// assert!(application.to_string().contains(":8980"));
///
/// let wrong = file.replace("putAuthorizer", "putter").replace(":8980", "8980");
/// let faults = Application::from_document(&Document::from_json(&wrong, "storage.json")?, &Registry::new());
/// assert_eq!(faults.unwrap_err().as_slice().len(), 3);
/// # Ok::<(), blobaccess_config::Faults>(())
/// ```
pub struct Application {
    plan: ApplicationPlan,
    stacks: StacksPlan,
    registry: Registry,
}

/// The plan of all but the stores.
#[derive(Debug)]
struct ApplicationPlan {
    servers: Vec<ServerPlan>,
    stores: Vec<StoreAccessPlan>,
    schedulers: SchedulersPlan,
    global: GlobalPlan,
    compression: Compression,
    max_message_bytes: usize,
    /// Whether clients of other servers make metadata of all that a call had.
    needs_all_metadata: bool,
}

impl ApplicationPlan {
    /// Returns the names of the request metadata that stores and other servers are to see.
    fn forwarded_metadata(&self) -> Vec<String> {
        let always = [REQUEST_METADATA.to_owned()];
        always.into_iter().chain(self.global.forwarded_metadata.iter().cloned()).collect()
    }
}

impl Application {
    /// Reads an `ApplicationConfiguration`, and the files that it names. Backends of the host program are those of
    /// `registry`.
    ///
    /// # Errors
    ///
    /// All that is wrong with it, in one order.
    pub fn from_document(document: &Document, registry: &Registry) -> Result<Self, Faults> {
        let (message, reading) = document.read_as(APPLICATION)?;
        let root = Section::root(&message, &reading);
        let max_message_bytes = read_max_message_bytes(&root);
        let registry =
            registry.clone().with_max_message_size_bytes(u64::try_from(max_message_bytes).unwrap_or(u64::MAX));
        let (mut plan, stores) = read(&root, &registry, max_message_bytes);
        if let Some(plan) = &mut plan {
            plan.needs_all_metadata = message.has_anywhere("add_metadata_jmespath_expression");
        }
        drop(root);
        let notices = Reading::finish(reading, &message)?;
        match (plan, stores) {
            (Some(plan), Some(stores)) => {
                // The contexts of calls may have all metadata, for expressions. Credentials must not go with it.
                let registry = registry.with_forwarded_metadata(plan.forwarded_metadata());
                let stacks = StacksPlan::new(stores, registry.clone(), notices);
                Ok(Self { plan, stacks, registry })
            }
            _ => Err(Faults::one(None, "cannot be planned")),
        }
    }

    /// Returns what the file says that has no effect, or another than one may expect.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        self.stacks.notices()
    }

    /// Returns what the file asks of the whole process.
    #[must_use]
    pub fn process(&self) -> &ProcessSettings {
        &self.plan.global.process
    }

    /// Returns whether there is anything to listen on. A server without has nothing to do, and ends at once.
    #[must_use]
    pub fn listens(&self) -> bool {
        let diagnostics = self.plan.global.diagnostics.as_ref();
        !self.plan.servers.is_empty() || diagnostics.is_some_and(diagnostics::DiagnosticsPlan::listens)
    }

    /// Looks at the files that the stores are to be in, at those of the log, and at the paths that are to be listened on.
    /// Nothing is created, changed, opened to be written, or connected to.
    ///
    /// # Errors
    ///
    /// All that is wrong with them.
    pub async fn inspect(&self) -> Result<(), Faults> {
        let mut faults = self.plan.inspect_sockets();
        faults.extend(self.plan.global.process.inspect());
        if let Err(stores) = self.stacks.inspect().await {
            faults.extend_from_slice(stores.as_slice());
        }
        Faults::of(faults).map_or(Ok(()), Err)
    }
}

fn read(
    root: &Section<'_>,
    registry: &Registry,
    max_message_bytes: usize,
) -> (Option<ApplicationPlan>, Option<StoresPlan>) {
    let (mut taken, mut claims) = (TakenAddresses::default(), Claims::default());
    let sections = root.messages("grpc_servers");
    let servers: Vec<_> = sections.iter().map(|section| ServerPlan::read(section, &mut taken, &mut claims)).collect();
    let schedulers = SchedulersPlan::read(root);
    let global = root.message("global").map(|section| GlobalPlan::read(&section, &mut taken, &mut claims));
    let global = global.unwrap_or_default();
    let compression = Compression::read(root);

    let mut backends = StoresReader::new(registry).with_claims(claims);
    let mut stores = Vec::new();
    for (field, kind) in STORES {
        if let Some(section) = root.message(field) {
            if let Some(backend) = section.required("backend") {
                backends.read(backend, kind);
            }
            stores.push(StoreAccessPlan::read(&section, kind));
        }
    }
    let plan = || {
        Some(ApplicationPlan {
            servers: servers.into_iter().collect::<Option<_>>()?,
            stores: stores.into_iter().collect::<Option<_>>()?,
            schedulers: schedulers?,
            global,
            compression: compression?,
            max_message_bytes,
            needs_all_metadata: false,
        })
    };
    (plan(), backends.finish())
}

fn read_max_message_bytes(root: &Section<'_>) -> usize {
    const FIELD: &str = "maximum_message_size_bytes";
    match usize::try_from(root.int(FIELD)) {
        Ok(0) => DEFAULT_MAX_MESSAGE_BYTES,
        Ok(bytes) => bytes,
        Err(_) => {
            root.notice_at(FIELD, format!("is negative; the maximum is {DEFAULT_MAX_MESSAGE_BYTES} bytes instead"));
            DEFAULT_MAX_MESSAGE_BYTES
        }
    }
}

impl Display for Application {
    /// Writes what the file comes to: its servers, its stores as trees, and who may use them.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let ApplicationPlan { servers, stores, schedulers, global, compression, max_message_bytes, .. } = &self.plan;
        for server in servers {
            writeln!(f, "gRPC on {server}")?;
        }
        if servers.is_empty() {
            writeln!(f, "no gRPC: there are no grpcServers")?;
        }
        if let Some(diagnostics) = &global.diagnostics {
            write!(f, "{diagnostics}")?;
        }
        writeln!(f, "messages of up to {max_message_bytes} bytes, {compression}")?;
        write!(f, "{}", global.process)?;
        write!(f, "{schedulers}")?;
        for store in stores {
            writeln!(f, "{store}")?;
        }
        f.write_str(&self.stacks.describe())
    }
}

impl Debug for Application {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Application").field("plan", &self.plan).field("stacks", &self.stacks).finish_non_exhaustive()
    }
}
