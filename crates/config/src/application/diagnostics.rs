//! The pages about a running server: who may see them, and where.

use std::fmt::{self, Debug, Display, Formatter};
use std::net::SocketAddr;
use std::sync::Arc;

use blobaccess::{Error, Result};
use blobaccess_grpc::{Authenticator, ListenerGroup, ListenerOptions, RequestParts};
use tokio::net::TcpListener;

use super::server::{TakenAddresses, check_address};
use crate::authentication::AuthenticationPlan;
use crate::background::Background;
use crate::section::Section;

/// The plan of a `buildbarn.configuration.global.DiagnosticsHTTPServerConfiguration`.
#[derive(Debug)]
pub(super) struct DiagnosticsPlan {
    servers: Vec<HttpServerPlan>,
    serves_metrics: bool,
}

/// The plan of a `buildbarn.configuration.http.server.Configuration`.
#[derive(Debug)]
struct HttpServerPlan {
    addresses: Vec<String>,
    authentication: AuthenticationPlan,
}

impl DiagnosticsPlan {
    /// Reads the plan. `None` says that faults were noted.
    pub(super) fn read(section: &Section<'_>, taken: &mut TakenAddresses) -> Option<Self> {
        section.notice_at("enable_pprof", "has no effect: there is no profiler");
        section.notice_at("enable_active_spans", "has no effect: there are no spans");
        let servers = section.messages("http_servers");
        let servers: Vec<_> = servers.iter().map(|section| HttpServerPlan::read(section, taken)).collect();
        let serves_metrics = section.flag("enable_prometheus");
        Some(Self { servers: servers.into_iter().collect::<Option<_>>()?, serves_metrics })
    }

    /// Returns whether there is an address to listen on.
    pub(super) fn listens(&self) -> bool {
        self.servers.iter().any(|server| !server.addresses.is_empty())
    }

    /// Makes the servers, which do not listen yet.
    pub(super) fn build(&self, background: &mut Background) -> Diagnostics {
        let servers = self.servers.iter().map(|server| {
            let policy = DiagnosticsPolicy { authenticator: server.authentication.build(background) };
            (server.addresses.clone(), policy)
        });
        Diagnostics { servers: servers.collect(), serves_metrics: self.serves_metrics }
    }
}

impl HttpServerPlan {
    fn read(section: &Section<'_>, taken: &mut TakenAddresses) -> Option<Self> {
        let addresses = section.texts("listen_addresses");
        for (index, address) in addresses.iter().enumerate() {
            check_address(section, "listen_addresses", index, address);
            taken.take(section, "listen_addresses", index, address);
        }
        section.refuse("tls", "these pages are served without encryption; put them behind a proxy that has it");
        let authentication = section.required("authentication_policy");
        let authentication = authentication.and_then(|section| AuthenticationPlan::read(&section))?;
        Some(Self { addresses: addresses.into_iter().map(str::to_owned).collect(), authentication })
    }
}

impl Display for DiagnosticsPlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let pages = if self.serves_metrics { "/, /-/healthy, /metrics" } else { "/, /-/healthy" };
        for address in self.servers.iter().flat_map(|server| &server.addresses) {
            writeln!(f, "HTTP on {address}: {pages}")?;
        }
        Ok(())
    }
}

/// The servers of pages about a running server. The pages themselves are up to the host program.
#[derive(Clone, Debug)]
pub struct Diagnostics {
    servers: Vec<(Vec<String>, DiagnosticsPolicy)>,
    serves_metrics: bool,
}

impl Diagnostics {
    /// Returns whether there is to be a page of metrics, `/metrics`.
    #[must_use]
    pub const fn serves_metrics(&self) -> bool {
        self.serves_metrics
    }

    /// Listens on all addresses.
    ///
    /// # Errors
    ///
    /// `FailedPrecondition` if an address is in use, else as [`ListenerGroup::bind`].
    pub async fn bind(&self) -> Result<Vec<DiagnosticsListener>> {
        let mut listeners = Vec::new();
        for (addresses, policy) in &self.servers {
            for address in addresses {
                let group = ListenerGroup::new(ListenerOptions::default()).with_address(address);
                for listener in group.bind().await?.into_tcp_listeners() {
                    listeners.push(DiagnosticsListener { listener, policy: policy.clone() });
                }
            }
        }
        Ok(listeners)
    }
}

/// An address on which pages are served.
#[derive(Debug)]
pub struct DiagnosticsListener {
    listener: TcpListener,
    policy: DiagnosticsPolicy,
}

impl DiagnosticsListener {
    /// Returns the address that is listened on, with the port that was chosen.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the system does not tell.
    pub fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr().map_err(|error| Error::unavailable("a listener has no address").with_source(error))
    }

    /// Returns the socket, and the policy that its requests must pass.
    #[must_use]
    pub fn into_parts(self) -> (TcpListener, DiagnosticsPolicy) {
        (self.listener, self.policy)
    }
}

/// Decides who may see pages.
#[derive(Clone)]
pub struct DiagnosticsPolicy {
    authenticator: Arc<dyn Authenticator>,
}

impl DiagnosticsPolicy {
    /// Checks whether the sender of a request may see a page.
    ///
    /// # Errors
    ///
    /// `Unauthenticated` or `PermissionDenied` for one that may not, `Unavailable` if that cannot be told now.
    pub async fn authenticate(&self, request: &http::request::Parts) -> Result<()> {
        self.authenticator.authenticate(&RequestParts::new(request)).await.map(drop)
    }
}

impl Debug for DiagnosticsPolicy {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiagnosticsPolicy").field("authenticator", &self.authenticator).finish()
    }
}
