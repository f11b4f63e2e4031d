//! A storage server whose stores are open.

use std::sync::{Arc, Mutex, PoisonError};

use blobaccess::decorators::Authorizing;
use blobaccess::{Error, InstanceName, Result, StorageType};
use blobaccess_grpc::{BoundListeners, ListenerGroup, ServiceOptions, Services};

use super::diagnostics::{Diagnostics, DiagnosticsPlan};
use super::probe::probe_context;
use super::{Application, ApplicationPlan};
use crate::background::Background;
use crate::{Faults, Registry, Stacks};

/// A storage server whose stores are open.
///
/// # Examples
///
/// ```no_run
/// use blobaccess_config::{Application, Document, Registry};
///
/// # async fn example(file: &str) -> Result<(), Box<dyn std::error::Error>> {
/// let document = Document::from_json(file, "storage.json")?;
/// let server = Application::from_document(&document, &Registry::new())?.open().await?;
/// let listeners = server.bind().await?;
/// let shutdown = async { drop(tokio::signal::ctrl_c().await) };
/// tokio::select! {
///     served = server.services().serve_listeners(listeners, shutdown) => served?,
///     () = server.run() => {}
/// }
/// server.stacks().close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct OpenApplication {
    services: Services,
    stacks: Arc<Stacks>,
    groups: Vec<ListenerGroup>,
    diagnostics: Option<Diagnostics>,
    background: Mutex<Option<Background>>,
}

impl Application {
    /// Opens the stores. It must be called within a tokio runtime.
    ///
    /// Archives that are to be written are replaced here. An address that turns out to be in use when it is
    /// [bound](OpenApplication::bind) does not bring them back.
    ///
    /// # Errors
    ///
    /// The paths that cannot be listened on, before anything is opened. Otherwise as [`StacksPlan::open`].
    ///
    /// [`StacksPlan::open`]: crate::StacksPlan::open
    pub async fn open(self) -> Result<OpenApplication, Faults> {
        let Self { plan, stacks, registry } = self;
        Faults::of(plan.inspect_sockets()).map_or(Ok(()), Err)?;
        let stacks = Arc::new(stacks.open().await?);
        let mut background = Background::new(registry.clock());
        let failed = |error: Error| Faults::one(None, error.to_string());
        let services = build_services(&plan, &stacks, &registry, &mut background).map_err(failed)?;
        let groups = plan.servers.iter().map(|server| server.build(&mut background)).collect::<Result<_>>();
        let groups = groups.map_err(failed)?;
        let diagnostics = plan.global.diagnostics.as_ref().map(|plan| DiagnosticsPlan::build(plan, &mut background));
        let background = Mutex::new(Some(background));
        Ok(OpenApplication { services, stacks, groups, diagnostics, background })
    }
}

fn build_services(
    plan: &ApplicationPlan,
    stacks: &Stacks,
    registry: &Registry,
    background: &mut Background,
) -> Result<Services> {
    let options = ServiceOptions::default()
        .with_max_message_size_bytes(plan.max_message_bytes)
        .with_compression_level(plan.compression.level)
        .with_forwarded_metadata(plan.forwarded_metadata());
    let options = if plan.needs_all_metadata { options.with_all_metadata() } else { options };
    let mut services = Services::new(options).with_probe(probe_context(), InstanceName::empty());
    for access in &plan.stores {
        macro_rules! serve {
            ($store:ident, $with:ident) => {
                if let Some(store) = stacks.$store() {
                    services = services.$with(Authorizing::new(Arc::clone(store), access.build(background)));
                }
            };
        }
        match access.kind {
            StorageType::Cas => serve!(cas, with_cas),
            StorageType::Ac => serve!(ac, with_ac),
            StorageType::Icas => serve!(icas, with_icas),
            StorageType::Iscc => serve!(iscc, with_iscc),
            StorageType::Fsac => serve!(fsac, with_fsac),
        }
    }
    plan.schedulers.add_to(services, &plan.forwarded_metadata(), registry, background)
}

impl OpenApplication {
    /// Returns the services, over the stores that the file configures.
    #[must_use]
    pub const fn services(&self) -> &Services {
        &self.services
    }

    /// Returns the stores, without the authorizers that are around them for callers.
    #[must_use]
    pub const fn stacks(&self) -> &Arc<Stacks> {
        &self.stacks
    }

    /// Returns the servers of pages, if there are any.
    #[must_use]
    pub const fn diagnostics(&self) -> Option<&Diagnostics> {
        self.diagnostics.as_ref()
    }

    /// Listens on all addresses and paths, for [`Services::serve_listeners`].
    ///
    /// # Errors
    ///
    /// As [`ListenerGroup::bind`]. Nothing stays listened on then.
    pub async fn bind(&self) -> Result<Vec<BoundListeners>> {
        let mut bound = Vec::with_capacity(self.groups.len());
        for group in &self.groups {
            bound.push(group.bind().await?);
        }
        Ok(bound)
    }

    /// Does the background work of the stores, and reads files again that policies name, for as long as it is polled. It
    /// does not end.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped. Of a second one, only the stores' work is done.
    pub async fn run(&self) {
        let background = self.background.lock().unwrap_or_else(PoisonError::into_inner).take();
        let background = async {
            if let Some(background) = background {
                background.run().await;
            }
        };
        futures::future::join(self.stacks.run(), background).await;
    }
}
