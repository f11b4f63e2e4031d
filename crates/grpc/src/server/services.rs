//! All services over a set of stores, to be served or to be mounted elsewhere.

use std::convert::Infallible;
use std::sync::Arc;

use blobaccess::replication::Replicator;
use blobaccess::{
    Ac, BlobAccess, Cas, Clock, Context, Fsac, Icas, InstanceName, Iscc, Result, StorageType, SystemClock,
};

use super::authentication::Authenticator;
use super::call::CallLimits;
use super::call_observer::CallObserver;
use super::failed_puts::{FailedPuts, PutFailures};
use super::health::{Check, Degradation, Health, Probe};
use super::in_flight::InFlight;
use super::open_calls::OpenCalls;
use super::open_connections::OpenConnections;
use super::options::ServiceOptions;
use super::served::Served;
#[cfg(feature = "tls")]
use super::tls::ServerTls;
use super::uploads_under_way::UploadsUnderWay;

/// The storage services of the Remote Execution API over stores: content-addressable storage with byte stream, action
/// cache, capabilities; those of Buildbarn: indirect content-addressable storage, initial size class cache, file system
/// access cache, replicator; besides, health and reflection.
///
/// [`serve`](Self::serve) runs them on a listener. [`routes`](Self::routes) are for programs with a tonic server of
/// their own. Clones share limits, health and what the [snapshot](Self::snapshot) tells.
///
/// # Health
///
/// Each store is asked every 10 seconds whether a random digest is stored, and
/// [checked](Self::with_health_check). After two failures in a row, other than
/// `Unimplemented`, the services that need it are `NOT_SERVING`, until it answers again; so are all of them from the
/// moment that the server is told to stop. Health is known by the name of each service, and as a whole by the empty
/// name. A store of which a part is out may [serve on](Self::with_degraded_while).
///
/// # Limits
///
/// One call beyond [`with_max_open_calls`](ServiceOptions::with_max_open_calls) is refused at once. Health and
/// reflection are exempt, so that a server at its limit is not taken for dead.
///
/// A call that has not been answered when the time of its `grpc-timeout` is up ends with `DeadlineExceeded`.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> blobaccess::Result<()> {
/// use blobaccess::MemoryStore;
/// use blobaccess_grpc::{ServiceOptions, Services};
///
/// let services = Services::new(ServiceOptions::default())
///     .with_cas(MemoryStore::new(1 << 30))
///     .with_ac(MemoryStore::new(64 << 20));
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:8980").await.unwrap();
/// let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
/// # drop(stop);
/// services.serve(listener, async { drop(stopped.await) }).await
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Services {
    pub(super) served: Served,
    checks: Vec<Check>,
    degradations: Vec<Degradation>,
    probe_ctx: Context,
    probe_instance_name: InstanceName,
    pub(super) authenticator: Option<Arc<dyn Authenticator>>,
    pub(super) in_flight: InFlight,
    pub(super) put_failures: PutFailures,
    pub(super) uploads: UploadsUnderWay,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<ServerTls>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) options: Arc<ServiceOptions>,
    pub(super) open_calls: OpenCalls,
    pub(super) executions: OpenCalls,
    pub(super) connections: OpenConnections,
    pub(super) call_observer: Option<Arc<dyn CallObserver>>,
    pub(super) health: Health,
}

/// The state of [`Services`] at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServicesSnapshot {
    /// The number of open calls.
    pub open_calls: usize,
    /// The maximum number of open calls.
    pub max_open_calls: usize,
    /// The calls refused so far because the maximum was reached, executions included.
    pub refused_calls: u64,
    /// The number of open calls to execute actions, of which there may be as many again.
    pub open_executions: usize,
    /// The number of connections of [`serve`](Services::serve) and its kin.
    pub connections: usize,
    /// The connections refused so far because there were too many.
    pub refused_connections: u64,
    /// The puts that failed or were refused so far, by kind.
    pub failed_puts: FailedPuts,
    /// The bytes of requests and answers that are held in memory, besides the first 32 KiB of each.
    pub in_flight_bytes: u64,
    /// The maximum of `in_flight_bytes`, unless one message alone is larger.
    pub max_in_flight_bytes: u64,
    /// Whether the server as a whole reports `SERVING`.
    pub serving: bool,
    /// Whether a part of a store is out, as [`with_degraded_while`](Services::with_degraded_while) tells, at the last probe.
    pub degraded: bool,
    /// Whether the server was told to stop.
    pub draining: bool,
}

impl Services {
    /// Makes services without a store, which offer only empty capabilities.
    #[must_use]
    pub fn new(options: ServiceOptions) -> Self {
        let served = Served::default();
        Self {
            checks: Vec::new(),
            degradations: Vec::new(),
            probe_ctx: Context::background(),
            probe_instance_name: InstanceName::empty(),
            authenticator: None,
            in_flight: InFlight::new(options.max_in_flight_bytes),
            put_failures: PutFailures::default(),
            uploads: UploadsUnderWay::default(),
            #[cfg(feature = "tls")]
            tls: None,
            clock: Arc::new(SystemClock),
            open_calls: OpenCalls::new(options.max_open_calls),
            executions: OpenCalls::new(options.max_open_calls),
            connections: OpenConnections::new(options.max_connections, options.max_connections_per_address),
            call_observer: None,
            health: Health::new(served.names()),
            served,
            options: Arc::new(options),
        }
    }

    /// Offers content-addressable storage and the byte stream.
    #[must_use]
    pub fn with_cas(self, store: impl BlobAccess<Kind = Cas>) -> Self {
        self.serving(|served| served.cas = Some(Arc::new(store)))
    }

    /// Offers the action cache.
    #[must_use]
    pub fn with_ac(self, store: impl BlobAccess<Kind = Ac>) -> Self {
        self.serving(|served| served.ac = Some(Arc::new(store)))
    }

    /// Offers Buildbarn's indirect content-addressable storage.
    ///
    /// References of one batch that have the same digest are stored in their order: the last one stays. A batch of one
    /// that fails fails the call, because Buildbarn's client ignores the status of an entry.
    #[must_use]
    pub fn with_icas(self, store: impl BlobAccess<Kind = Icas>) -> Self {
        self.serving(|served| served.icas = Some(Arc::new(store)))
    }

    /// Offers Buildbarn's initial size class cache.
    #[must_use]
    pub fn with_iscc(self, store: impl BlobAccess<Kind = Iscc>) -> Self {
        self.serving(|served| served.iscc = Some(Arc::new(store)))
    }

    /// Offers Buildbarn's file system access cache.
    #[must_use]
    pub fn with_fsac(self, store: impl BlobAccess<Kind = Fsac>) -> Self {
        self.serving(|served| served.fsac = Some(Arc::new(store)))
    }

    /// Offers Buildbarn's replicator, which copies the blobs that callers name.
    /// [`RemoteReplicator`](crate::RemoteReplicator) is its client.
    ///
    /// Whether a caller may copy is decided by the stores that `replicator` copies between: they get the caller of the
    /// request.
    #[must_use]
    pub fn with_replicator(self, replicator: impl Replicator<Kind = Cas>) -> Self {
        self.serving(|served| served.replicator = Some(Arc::new(replicator)))
    }

    /// Offers to execute actions, by schedulers to which the calls are forwarded.
    ///
    /// The scheduler of an action is the one whose prefix is the longest that the instance name equals or begins with,
    /// by whole components. The prefix is taken off the name, and the one that
    /// [`Scheduler::with_added_instance_name_prefix`](crate::Scheduler::with_added_instance_name_prefix) has set is put
    /// before it. The names of operations begin with the prefix and `/operations/`, so that waiting for them finds the
    /// way back. Of two schedulers for one prefix, the last one is taken.
    ///
    /// `authorizer` decides who may execute in an instance name, and who sees that it can be done. Deadlines, the
    /// metadata that is [forwarded](crate::ServiceOptions::with_forwarded_metadata) and cancellation are passed on.
    /// Messages are passed on as they are encoded, and errors with their details.
    ///
    /// Capabilities are those of the stores and those of the scheduler, with the versions of the protocol that both
    /// speak. A scheduler that refuses the caller or does not know the instance name leaves those of the stores. One in
    /// trouble fails the call, as a client that took it for absent would build without it.
    ///
    /// # Limits
    ///
    /// Executions last long, so that they count apart from other calls: there may be as many of them
    /// [open](crate::ServiceOptions::with_max_open_calls).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use blobaccess::decorators::StaticAuthorizer;
    /// use blobaccess::{Cas, InstanceName, MemoryStore};
    /// use blobaccess_grpc::{Remote, RemoteOptions, ServiceOptions, Services};
    ///
    /// # fn main() -> blobaccess::Result<()> {
    /// let scheduler = Remote::new(RemoteOptions::new("scheduler:8982"))?.scheduler();
    /// let services = Services::new(ServiceOptions::default())
    ///     .with_cas(MemoryStore::<Cas>::new(1 << 30))
    ///     .with_schedulers([(InstanceName::empty(), scheduler)], Arc::new(StaticAuthorizer::Allow));
    /// # drop(services);
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "client")]
    #[must_use]
    pub fn with_schedulers(
        self,
        schedulers: impl IntoIterator<Item = (InstanceName, crate::Scheduler)>,
        authorizer: Arc<dyn blobaccess::decorators::Authorizer>,
    ) -> Self {
        let schedulers = Arc::new(super::execution::Schedulers::new(schedulers, authorizer));
        self.serving(|served| served.schedulers = Some(schedulers))
    }

    /// Returns the limits that each call is held to.
    pub(super) fn call_limits(&self) -> Arc<CallLimits> {
        Arc::new(CallLimits {
            in_flight: self.in_flight.clone(),
            clock: Arc::clone(&self.clock),
            idle_timeout: self.options.upload_idle_timeout,
        })
    }

    fn serving(mut self, add: impl FnOnce(&mut Served)) -> Self {
        add(&mut self.served);
        self.health = Health::new(self.served.names());
        self
    }

    /// Sets the context and instance name of health probes. The defaults are the background context and the empty name.
    ///
    /// Set them where callers are authorized, or where the empty instance name is not served: if the probe is refused,
    /// the server reports itself as not serving.
    #[must_use]
    pub fn with_probe(mut self, ctx: Context, instance_name: InstanceName) -> Self {
        self.probe_ctx = ctx;
        self.probe_instance_name = instance_name;
        self
    }

    /// Has the store of this kind count as failed as well while `check` fails, though it answers what it is asked: such as a
    /// local store that is read, and takes nothing more. The check must not block. Several may be added.
    #[must_use]
    pub fn with_health_check(
        mut self,
        storage_type: StorageType,
        check: impl Fn() -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.checks.push(Check { storage_type, check: Arc::new(check) });
        self
    }

    /// Has the store of this kind count as serving while `is_degraded`, whether or not it answers the probe: a part of it is
    /// out, and the rest serves. Such is a disk in front of a bucket that has not answered yet (`BucketStore::has_answered`).
    /// [Checks](Self::with_health_check) count all the same, and the [snapshot](Self::snapshot) says that it is degraded. The
    /// function must not block. Several may be added.
    #[must_use]
    pub fn with_degraded_while(
        mut self,
        storage_type: StorageType,
        is_degraded: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        self.degradations.push(Degradation { storage_type, is_degraded: Arc::new(is_degraded) });
        self
    }

    /// Identifies the callers of the storage services by `authenticator`, so that
    /// [`Authorizing`](blobaccess::decorators::Authorizing) stores and accounts can distinguish them.
    ///
    /// Without one, the caller of a request is the [`Caller`](blobaccess::Caller) in its extensions, and its account
    /// the [`AccountName`](blobaccess::AccountName) there, if a layer in front of [`routes`](Self::routes) has set
    /// them.
    #[must_use]
    pub fn with_authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.authenticator = Some(Arc::new(authenticator));
        self
    }

    /// Encrypts the connections of [`serve`](Self::serve) and [`serve_incoming`](Self::serve_incoming).
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls(mut self, tls: ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Tells `observer` of the calls of [`serve`](Self::serve), [`serve_incoming`](Self::serve_incoming) and
    /// [`serve_listeners`](Self::serve_listeners), those of health and those that are refused included.
    #[must_use]
    pub fn with_call_observer(mut self, observer: Arc<dyn CallObserver>) -> Self {
        self.call_observer = Some(observer);
        self
    }

    /// Sets the clock. The default is that of the system.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Watches the health of the stores, without end. [`serve`](Self::serve) does so itself.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time; health then stays as it was last found.
    pub async fn run(&self) -> Infallible {
        let probe = Probe {
            stores: self.served.probed(),
            checks: self.checks.clone(),
            degradations: self.degradations.clone(),
            ctx: self.probe_ctx.clone(),
            instance_name: self.probe_instance_name.clone(),
            clock: Arc::clone(&self.clock),
        };
        probe.run(&self.health).await
    }

    /// Reports all services as `NOT_SERVING` from now on, so that clients go elsewhere, while calls are still served.
    /// There is no way back.
    pub fn drain(&self) {
        self.health.drain();
    }

    /// Returns the state of the services now.
    #[must_use]
    pub fn snapshot(&self) -> ServicesSnapshot {
        ServicesSnapshot {
            open_calls: self.open_calls.open(),
            max_open_calls: self.options.max_open_calls,
            refused_calls: self.open_calls.refused().saturating_add(self.executions.refused()),
            open_executions: self.executions.open(),
            connections: self.connections.count(),
            refused_connections: self.connections.refused(),
            failed_puts: self.put_failures.snapshot(),
            in_flight_bytes: self.in_flight.taken_bytes(),
            max_in_flight_bytes: self.options.max_in_flight_bytes,
            serving: self.health.is_serving(),
            degraded: self.health.is_degraded(),
            draining: self.health.is_draining(),
        }
    }
}
