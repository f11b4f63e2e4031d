//! The services by the paths of their methods, with their limits.

use std::sync::Arc;

use blobaccess::Result;
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;
#[cfg(feature = "client")]
use tower::Layer as _;

use super::action_cache::ActionCacheService;
use super::answer_status::AnswerStatusLayer;
use super::authentication::AuthenticationLayer;
use super::byte_stream::ByteStreamService;
use super::capabilities::CapabilitiesService;
use super::cas::{CasService, CasWireService};
use super::deadlines::Deadlines;
use super::encoded_service::Wired;
#[cfg(feature = "client")]
use super::execution::ExecutionService;
use super::icas::IcasService;
use super::listening::GroupPolicy;
use super::messages::Messages;
use super::new_calls::NewCalls;
use super::options::ServiceOptions;
use super::outcome_trailer::OutcomeTrailerLayer;
use super::received_messages::{CODINGS, limited};
use super::replicator::ReplicatorService;
use super::served::Served;
use super::services::Services;
use crate::stubs::bytestream::byte_stream_server::ByteStreamServer;
use crate::stubs::remote_execution::capabilities_server::CapabilitiesServer;

impl Services {
    /// Returns all services, with their limits, for a tonic server of the caller's own.
    ///
    /// What is added to them is not subject to the limit of open calls. Let [`run`](Self::run) run alongside that server,
    /// and call [`drain`](Self::drain) before it stops.
    ///
    /// Messages are limited as those of [`serve`](Self::serve) are, except that it is not known which calls share a connection, and that
    /// answers that nobody reads have no time-out: that server must end connections that do not read.
    ///
    /// # Errors
    ///
    /// `Internal` if reflection cannot describe the services.
    pub fn routes(&self) -> Result<Routes> {
        // What a server of our own does for each connection.
        let calls = self.group_routes(&GroupPolicy::default())?.into_axum_router().layer(NewCalls(self.call_limits()));
        Ok(Routes::from(calls))
    }

    /// Returns the services as a group of listeners offers them.
    #[cfg_attr(not(feature = "reflection"), expect(clippy::unnecessary_wraps, reason = "only reflection can fail"))]
    pub(super) fn group_routes(&self, policy: &GroupPolicy) -> Result<Routes> {
        let own_options = match policy.options.max_received_message_size_bytes {
            Some(bytes) => {
                Arc::new(ServiceOptions { max_received_message_size_bytes: Some(bytes), ..(*self.options).clone() })
            }
            None => Arc::clone(&self.options),
        };
        let (max_received, max_sent) = (own_options.max_received_message_bytes(), own_options.max_message_size_bytes);
        let options = || Arc::clone(&own_options);
        let failures = || self.put_failures.clone();
        let Served {
            cas,
            ac,
            icas,
            iscc,
            fsac,
            replicator,
            #[cfg(feature = "client")]
            schedulers,
        } = &self.served;
        let capabilities = CapabilitiesService::new(&self.served, options());
        let mut limited = Routes::new(limited!(CapabilitiesServer::new(capabilities), max_received, max_sent));
        if let Some(store) = cas {
            let storage = CasService::new(Arc::clone(store), options(), failures(), self.uploads.clone());
            let clock = Arc::clone(&self.clock);
            let stream = ByteStreamService::new(Arc::clone(store), options(), clock, failures(), self.uploads.clone());
            let stream = ByteStreamServer::new(stream);
            limited =
                limited.add_service(CasWireService::new(storage)).add_service(limited!(stream, max_received, max_sent));
        }
        if let Some(store) = ac {
            let service = ActionCacheService::new(Arc::clone(store), cas.clone(), options(), failures());
            limited = limited.add_service(Wired(service));
        }
        if let Some(store) = icas {
            limited = limited.add_service(Wired(IcasService::new(Arc::clone(store), options(), failures())));
        }
        if let Some(store) = iscc {
            limited = limited.add_service(Wired(Messages::new(Arc::clone(store), options(), failures())));
        }
        if let Some(store) = fsac {
            limited = limited.add_service(Wired(Messages::new(Arc::clone(store), options(), failures())));
        }
        if let Some(replicator) = replicator {
            limited = limited.add_service(Wired(ReplicatorService::new(Arc::clone(replicator), options())));
        }
        let authenticator = policy.authenticator.as_ref().or(self.authenticator.as_ref());
        // A layer concerns the services added before it. The last layer is outermost.
        let authenticated = limited.into_axum_router().layer(AuthenticationLayer::new(authenticator.cloned()));
        let health = match &policy.options.health_check_service {
            Some(name) => self.health.with_name(name),
            None => self.health.clone(),
        };
        let timed = authenticated.layer(Deadlines::new(Arc::clone(&self.clock)));
        let limited = timed.layer(OutcomeTrailerLayer).layer(self.open_calls.clone());
        let health = CODINGS.into_iter().fold(HealthServer::new(health), HealthServer::accept_compressed);
        let routes = Routes::from(limited).add_service(health);
        #[cfg(feature = "client")]
        let routes = match schedulers {
            Some(schedulers) => {
                let service = ExecutionService::new(Arc::clone(schedulers), options());
                let authenticated = AuthenticationLayer::new(authenticator.cloned()).layer(service);
                let timed = Deadlines::new(Arc::clone(&self.clock)).layer(authenticated);
                routes.add_service(self.executions.layer(timed))
            }
            None => routes,
        };
        #[cfg(feature = "reflection")]
        let routes = super::reflection::add_to(routes, &self.served.names())?;
        Ok(Routes::from(routes.into_axum_router().layer(AnswerStatusLayer)))
    }
}
