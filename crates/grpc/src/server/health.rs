//! The health service: whether the stores answer, and whether the server takes calls.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{
    BlobAccess, Clock, Context, Digest, DigestFunction, DigestSet, Error, ErrorKind, InstanceName, Kind, Result,
    StorageType,
};
use futures::future::{self, Either};
use futures::stream::{self, BoxStream, StreamExt};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use uuid::Uuid;

/// The interval between probes. A probe that takes longer has failed.
const INTERVAL: Duration = Duration::from_secs(10);

/// The number of failures in a row after which a store counts as not serving. A single one may be an accident.
const FAILURES: u32 = 2;

/// The stores that a service needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    Store(StorageType),
    All,
    /// None: the service is there as long as the server is.
    Nothing,
}

/// The known state of the stores and of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Known {
    failed: FailedStores,
    /// The stores of which a part is out, while the rest serves.
    degraded: FailedStores,
    draining: bool,
}

impl Known {
    fn serving(self, needs: Needs) -> bool {
        !self.draining
            && match needs {
                Needs::Store(store) => !self.failed.has(store),
                Needs::All => self.failed == FailedStores::default(),
                Needs::Nothing => true,
            }
    }
}

/// The set of stores that have failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct FailedStores(u8);

impl FailedStores {
    fn bit(store: StorageType) -> u8 {
        match store {
            StorageType::Cas => 1,
            StorageType::Ac => 2,
            StorageType::Icas => 4,
            StorageType::Iscc => 8,
            StorageType::Fsac => 16,
        }
    }

    fn has(self, store: StorageType) -> bool {
        self.0 & Self::bit(store) != 0
    }

    fn with(self, store: StorageType) -> Self {
        Self(self.0 | Self::bit(store))
    }
}

/// The health of the services by name, and of the server as a whole under the empty name.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    known: Arc<watch::Sender<Known>>,
    services: Arc<[(&'static str, Needs)]>,
    /// Another name of the server as a whole.
    name: Option<Arc<str>>,
}

impl Health {
    /// Makes a health that is serving until more is known.
    pub(crate) fn new(services: impl IntoIterator<Item = (&'static str, Needs)>) -> Self {
        let all = [("", Needs::All)].into_iter().chain(services);
        Self { known: Arc::new(watch::Sender::new(Known::default())), services: all.collect(), name: None }
    }

    /// Returns the same health, by which the server as a whole is known under `name` too.
    pub(crate) fn with_name(&self, name: &str) -> Self {
        Self { name: Some(Arc::from(name)), ..self.clone() }
    }

    /// Reports not serving from now on, whatever the stores do. Watchers are notified, and their streams end.
    pub(crate) fn drain(&self) {
        self.change(|known| known.draining = true);
    }

    /// Returns whether all stores are serving, and the server is not draining.
    pub(crate) fn is_serving(&self) -> bool {
        self.known.borrow().serving(Needs::All)
    }

    /// Returns whether a part of a store is out, while the rest serves.
    pub(crate) fn is_degraded(&self) -> bool {
        self.known.borrow().degraded != FailedStores::default()
    }

    /// Returns whether [`drain`](Self::drain) was called.
    pub(crate) fn is_draining(&self) -> bool {
        self.known.borrow().draining
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        self.known.send_if_modified(|known| {
            let before = *known;
            change(known);
            *known != before
        });
    }

    fn needs(&self, service: &str) -> Option<Needs> {
        let own = self.services.iter().find_map(|(name, needs)| (*name == service).then_some(*needs));
        own.or_else(|| self.name.as_ref().filter(|name| ***name == *service).map(|_| Needs::All))
    }
}

/// A store of any kind, as a probe asks it.
#[async_trait]
pub(crate) trait Probed: Send + Sync {
    /// Returns the kind of the store.
    fn storage_type(&self) -> StorageType;

    /// Asks the store for one blob.
    async fn ask(&self, ctx: &Context, digest: DigestSet) -> Result<()>;
}

#[async_trait]
impl<B: BlobAccess> Probed for B {
    fn storage_type(&self) -> StorageType {
        B::Kind::STORAGE_TYPE
    }

    async fn ask(&self, ctx: &Context, digest: DigestSet) -> Result<()> {
        self.find_missing(ctx, &digest).await.map(drop)
    }
}

/// A check of a store beside what it is asked.
#[derive(Clone)]
pub(crate) struct Check {
    pub(crate) storage_type: StorageType,
    pub(crate) check: Arc<dyn Fn() -> Result<()> + Send + Sync>,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("storage_type", &self.storage_type).finish_non_exhaustive()
    }
}

/// Says whether a part of a store is out, while the rest serves.
#[derive(Clone)]
pub(crate) struct Degradation {
    pub(crate) storage_type: StorageType,
    pub(crate) is_degraded: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl fmt::Debug for Degradation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Degradation").field("storage_type", &self.storage_type).finish_non_exhaustive()
    }
}

/// A probe that asks the stores every ten seconds whether a random digest is stored, and makes the checks of them.
pub(crate) struct Probe {
    pub(crate) stores: Vec<Box<dyn Probed>>,
    pub(crate) checks: Vec<Check>,
    pub(crate) degradations: Vec<Degradation>,
    pub(crate) ctx: Context,
    pub(crate) instance_name: InstanceName,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Probe {
    /// Probes without end, and reports the results to `health`.
    pub(crate) async fn run(&self, health: &Health) -> ! {
        let mut failures: Vec<_> = self.stores.iter().map(|store| Failures(store.storage_type(), 0)).collect();
        loop {
            let due = self.clock.monotonic() + INTERVAL;
            let answers = future::join_all(self.stores.iter().map(|store| self.ask(&**store, due))).await;
            let mut failed = FailedStores::default();
            for (failures, answer) in failures.iter_mut().zip(answers) {
                if failures.count(answer) {
                    failed = failed.with(failures.0);
                }
            }
            let degraded = self.degraded();
            if health.known.borrow().degraded != degraded {
                let is_degraded = degraded != FailedStores::default();
                tracing::info!(is_degraded, "serving what does not need the part of a store that is out");
            }
            health.change(|known| {
                known.failed = failed;
                known.degraded = degraded;
            });
            self.clock.sleep_until(due).await;
        }
    }

    /// Returns the stores of which a part is out.
    fn degraded(&self) -> FailedStores {
        let degraded = self.degradations.iter().filter(|degradation| (degradation.is_degraded)());
        degraded.fold(FailedStores::default(), |degraded, degradation| degraded.with(degradation.storage_type))
    }

    async fn ask(&self, store: &dyn Probed, due: Instant) -> Result<()> {
        let nonce = Uuid::new_v4();
        let digest = Digest::of(self.instance_name.clone(), DigestFunction::Sha256, nonce.as_bytes());
        let ctx = self.ctx.clone().with_deadline(due);
        let answer = pin!(store.ask(&ctx, DigestSet::from(digest)));
        match future::select(answer, self.clock.sleep_until(due)).await {
            Either::Left((Ok(()), _)) => {}
            // A random digest is asked of the part that is out, too.
            _ if self.degraded().has(store.storage_type()) => {}
            // The store was reached, and does not find in bulk.
            Either::Left((Err(error), _)) if error.kind() == ErrorKind::Unimplemented => {}
            Either::Left((Err(error), _)) => return Err(error),
            Either::Right(_) => {
                let message = format!("store did not answer within {} s", INTERVAL.as_secs());
                return Err(Error::deadline_exceeded(message));
            }
        }
        let mut checks = self.checks.iter().filter(|check| check.storage_type == store.storage_type());
        checks.try_for_each(|check| (check.check)())
    }
}

/// The number of failures of a store in a row.
struct Failures(StorageType, u32);

impl Failures {
    /// Returns whether the store counts as failed after this result.
    fn count(&mut self, answer: Result<()>) -> bool {
        let Self(store, failures) = self;
        let store = store.name();
        match answer {
            Ok(()) => {
                if *failures >= FAILURES {
                    tracing::info!(store, "serving again");
                }
                *failures = 0;
            }
            Err(error) => {
                *failures = failures.saturating_add(1);
                if *failures == FAILURES {
                    tracing::warn!(store, %error, "not serving");
                }
            }
        }
        *failures >= FAILURES
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

fn status(serving: bool) -> ServingStatus {
    if serving { ServingStatus::Serving } else { ServingStatus::NotServing }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let service = &request.get_ref().service;
        let needs = self.needs(service).ok_or_else(|| Status::not_found(format!("there is no service {service:?}")))?;
        Ok(Response::new(answer(status(self.known.borrow().serving(needs)))))
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    /// Ends when the server drains, which would otherwise wait for it.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let needs = self.needs(&request.get_ref().service);
        let known = self.known.subscribe();
        let answers = stream::unfold((known, None), move |(mut known, told)| async move {
            loop {
                let seen = *known.borrow_and_update();
                let now = needs.map_or(ServingStatus::ServiceUnknown, |needs| status(seen.serving(needs)));
                if told != Some(now) {
                    return Some((Ok(answer(now)), (known, Some(now))));
                }
                if seen.draining {
                    return None;
                }
                known.changed().await.ok()?;
            }
        });
        Ok(Response::new(answers.boxed()))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tonic_health::pb::health_server::Health as _;

    use super::*;

    fn health() -> Health {
        let store = |store: StorageType| (store.name(), Needs::Store(store));
        let stores = [StorageType::Cas, StorageType::Ac, StorageType::Icas, StorageType::Iscc, StorageType::Fsac];
        Health::new(stores.map(store).into_iter().chain([("replicator", Needs::Nothing)]))
    }

    async fn check(health: &Health, service: &str) -> Result<ServingStatus, tonic::Code> {
        let request = Request::new(HealthCheckRequest { service: service.to_owned() });
        health.check(request).await.map(|answer| answer.into_inner().status()).map_err(|status| status.code())
    }

    #[tokio::test]
    async fn a_store_that_fails_concerns_the_services_that_need_it() {
        let health = health();
        health.change(|known| known.failed = known.failed.with(StorageType::Ac));
        assert_eq!(check(&health, "").await, Ok(ServingStatus::NotServing));
        assert_eq!(check(&health, "cas").await, Ok(ServingStatus::Serving));
        assert_eq!(check(&health, "ac").await, Ok(ServingStatus::NotServing));
        for other in ["icas", "iscc", "fsac", "replicator"] {
            assert_eq!(check(&health, other).await, Ok(ServingStatus::Serving), "{other}");
        }
        assert_eq!(check(&health, "other").await, Err(tonic::Code::NotFound));
    }

    #[tokio::test]
    async fn a_store_that_answers_and_fails_its_check_has_failed() {
        let check = |storage_type, result: Result<()>| Check { storage_type, check: Arc::new(move || result.clone()) };
        let clock: Arc<dyn Clock> = Arc::new(blobaccess::SystemClock);
        let probe = |checks| Probe {
            stores: Vec::new(),
            checks,
            degradations: Vec::new(),
            ctx: Context::background(),
            instance_name: InstanceName::empty(),
            clock: Arc::clone(&clock),
        };
        let store = blobaccess::MemoryStore::<blobaccess::Cas>::new(1000);
        let due = clock.monotonic() + INTERVAL;
        let full = || Err(Error::unavailable("the device failed to write"));
        let failing = probe(vec![check(StorageType::Cas, Ok(())), check(StorageType::Cas, full())]);
        assert_eq!(failing.ask(&store, due).await.unwrap_err().kind(), ErrorKind::Unavailable);
        let others = probe(vec![check(StorageType::Cas, Ok(())), check(StorageType::Ac, full())]);
        assert!(others.ask(&store, due).await.is_ok());
    }

    #[tokio::test]
    async fn whoever_watches_is_told_of_changes_and_let_go_when_the_server_drains() {
        let health = health();
        let request = Request::new(HealthCheckRequest { service: "cas".to_owned() });
        let mut told = health.watch(request).await.unwrap().into_inner().map(|answer| answer.unwrap().status());
        assert_eq!(told.next().await, Some(ServingStatus::Serving));
        health.change(|known| known.failed = known.failed.with(StorageType::Ac));
        assert_eq!(told.next().now_or_never(), None);
        health.change(|known| known.failed = known.failed.with(StorageType::Cas));
        assert_eq!(told.next().await, Some(ServingStatus::NotServing));
        health.change(|known| known.failed = FailedStores::default());
        assert_eq!(told.next().await, Some(ServingStatus::Serving));
        health.drain();
        assert_eq!(told.next().await, Some(ServingStatus::NotServing));
        assert_eq!(told.next().await, None);
    }

    #[tokio::test]
    async fn a_service_that_is_not_there_is_watched_as_unknown() {
        let health = health();
        let request = Request::new(HealthCheckRequest { service: "other".to_owned() });
        let mut told = health.watch(request).await.unwrap().into_inner().map(|answer| answer.unwrap().status());
        assert_eq!(told.next().await, Some(ServingStatus::ServiceUnknown));
        assert_eq!(told.next().now_or_never(), None);
        health.drain();
        assert_eq!(told.next().await, None);
    }
}
