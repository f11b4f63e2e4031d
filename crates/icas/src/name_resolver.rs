//! The addresses of names, checked before a connection is made.

use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{Error, Result};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::AllowedHosts;

/// A source of the addresses that a name has.
///
/// [`SystemResolver`] asks the system. A resolver of one's own can ask a server of one's own, or let a test say what a name
/// means.
#[async_trait]
pub trait NameResolver: Debug + Send + Sync + 'static {
    /// Returns the addresses of `name`, best first. They are checked by the caller.
    ///
    /// # Errors
    ///
    /// `Unavailable` if they cannot be found out. That a name has none is no absence of a blob.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time.
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>>;
}

/// The resolver of the system, as other programs use it.
///
/// It runs on the threads that tokio has for blocking work, and needs tokio's runtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

#[async_trait]
impl NameResolver for SystemResolver {
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((name, 0)).await.map_err(|error| {
            Error::unavailable(format!("the addresses of {name} cannot be found: {error}")).with_source(error)
        })?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

/// A resolver for the HTTP client, which passes on only addresses that the list of hosts permits.
///
/// The client connects to these very addresses. So a name cannot change between the check and the connection.
#[derive(Debug)]
pub(crate) struct CheckedResolver {
    pub(crate) inner: Arc<dyn NameResolver>,
    pub(crate) hosts: Arc<AllowedHosts>,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (inner, hosts) = (Arc::clone(&self.inner), Arc::clone(&self.hosts));
        Box::pin(async move {
            let name = name.as_str();
            let found = inner.resolve(name).await?;
            let permitted: Vec<SocketAddr> = found
                .iter()
                .filter(|address| hosts.permits_address(name, **address))
                // The client puts the port of the URL in place of 0.
                .map(|address| SocketAddr::new(*address, 0))
                .collect();
            if permitted.is_empty() {
                return Err(none_permitted(name, &found).into());
            }
            let addresses: Addrs = Box::new(permitted.into_iter());
            Ok(addresses)
        })
    }
}

#[cold]
fn none_permitted(name: &str, found: &[IpAddr]) -> Error {
    match found.first() {
        Some(address) => Error::failed_precondition(format!(
            "{name} is allowed at public addresses only, and has the address {address}"
        )),
        None => Error::unavailable(format!("{name} has no address")),
    }
}
