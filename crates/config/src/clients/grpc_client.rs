//! Clients of gRPC.

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;
use std::time::Duration;

use blobaccess::{Clock, Error, Result};
use blobaccess_grpc::{Remote, RemoteOptions};

use super::client_tls::ClientTlsPlan;
use super::forwarded_metadata::ForwardedMetadata;
use super::keepalive::Keepalive;
use super::metadata::{ClientMetadata, FixedMetadata};
use super::oauth2::{OAuth2Plan, UsedBy};
use super::service_config::{LoadBalancing, read_load_balancing};
use super::token_source::TokenSource;
use crate::background::Background;
use crate::jmespath::ExpressionPlan;
use crate::section::Section;

/// The time that connecting may take, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// The least window that gRPC lets be set, in bytes. Smaller ones have no effect, as in Go's client.
const MIN_WINDOW_BYTES: u32 = 64 << 10;

/// The number of connections to a server, and to all servers of a name that calls are spread over.
const CONNECTIONS: (usize, usize) = (2, 8);

/// The most bytes of a batch: Buildbarn's servers take 2 MiB in its examples, and do not say so in their capabilities.
const MAX_BATCH_BYTES: u64 = 1 << 20;

/// A client of gRPC.
#[derive(Clone, Debug)]
pub(crate) struct GrpcClientPlan {
    /// The address, as gRPC's libraries take it.
    address: String,
    tls: Option<ClientTlsPlan>,
    keepalive: Option<Keepalive>,
    metadata: FixedMetadata,
    expression: Option<ExpressionPlan>,
    oauth2: Option<OAuth2Plan>,
    stream_window_bytes: Option<u32>,
    connection_window_bytes: Option<u32>,
    proxy_url: Option<ProxyUrl>,
    load_balancing: LoadBalancing,
    /// The path in the configuration, for errors.
    path: String,
}

impl GrpcClientPlan {
    /// Reads a `grpc.ClientConfiguration`, with the files that it names. Returns `None` if a fault was noted.
    pub(crate) fn read(section: &Section<'_>) -> Option<Self> {
        let address = section.required_text("address").and_then(|address| match check_address(address) {
            Ok(()) => Some(address.to_owned()),
            Err(reason) => {
                section.fault_at("address", reason);
                None
            }
        });
        let tls = match section.message("tls") {
            None => Some(None),
            Some(tls) => ClientTlsPlan::read(&tls).map(Some),
        };
        let keepalive = match section.message("keepalive") {
            None => Some(None),
            Some(keepalive) => Keepalive::read(&keepalive).map(Some),
        };
        let metadata = FixedMetadata::read(section);
        let expression = match section.message("add_metadata_jmespath_expression") {
            None => Some(None),
            Some(expression) => {
                if expression.is_set("files") {
                    let name = "add_metadata_jmespath_expression";
                    section.notice_at(name, "its files are read once, when the server starts");
                }
                ExpressionPlan::read(&expression).map(Some)
            }
        };
        let oauth2 = match section.message("oauth2") {
            None => Some(None),
            Some(oauth2) => OAuth2Plan::read(&oauth2, UsedBy::Grpc).map(Some),
        };
        if oauth2.as_ref().is_some_and(Option::is_some) && !section.is_set("tls") {
            section.fault_at("oauth2", "needs tls, as tokens must not be sent over connections that are not encrypted");
        }
        let proxy_url = if section.is_set("proxy_url") { read_proxy(section).map(Some) } else { Some(None) };
        let load_balancing = read_load_balancing(section);
        let stream_window_bytes = read_window(section, "initial_window_size_bytes");
        let connection_window_bytes = read_window(section, "initial_conn_window_size_bytes");
        section.disregard("tracing", "no attributes of traces are taken from messages");
        if proxy_url.as_ref().is_some_and(Option::is_some) && section.text("address").starts_with("unix:") {
            section.fault_at("proxy_url", "cannot be used with a socket as the address");
        }
        Some(Self {
            address: address?,
            tls: tls?,
            keepalive: keepalive?,
            metadata: metadata?,
            expression: expression?,
            oauth2: oauth2?,
            stream_window_bytes,
            connection_window_bytes,
            proxy_url: proxy_url?,
            load_balancing: load_balancing?,
            path: section.path().to_string(),
        })
    }

    /// Makes a client of the storage services. It connects when it is used. It must be made within a tokio runtime.
    ///
    /// Of the metadata of calls, those that `forwarded` names are passed on, or all if it is `None`. An expression for
    /// metadata sees what the context of a call has, and its files as they were when the configuration was read.
    ///
    /// # Errors
    ///
    /// `FailedPrecondition` or `InvalidArgument`, with the path in the configuration, if certificates cannot be read or
    /// used.
    pub(crate) fn connect(
        &self,
        compresses: bool,
        forwarded: Option<Vec<String>>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Remote> {
        let at = |error: Error| error.at(self.path.clone());
        let options = self.options(clock).map_err(at)?;
        let options = options.with_forwarded_metadata(forwarded).with_compression_level(compresses.then_some(1));
        let remote = Remote::new(options).map_err(at)?.with_clock(Arc::clone(clock));
        let metadata = self.call_metadata(&mut Background::new(Arc::clone(clock))).map_err(at)?;
        Ok(if metadata.is_empty() { remote } else { remote.with_call_metadata(Arc::new(metadata)) })
    }

    /// Returns the address, for people.
    pub(crate) fn address(&self) -> String {
        self.address.clone()
    }

    /// Returns whether connections are encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    pub(super) fn call_metadata(&self, background: &mut Background) -> Result<ClientMetadata> {
        let tokens = match &self.oauth2 {
            None => None,
            Some(plan) => Some(TokenSource::new(plan.clone(), Arc::clone(background.clock()))?),
        };
        let forwarded = self.expression.as_ref().map(|plan| ForwardedMetadata::new(plan.build(background)));
        Ok(ClientMetadata { fixed: self.metadata.clone(), tokens, forwarded })
    }

    fn options(&self, clock: &Arc<dyn Clock>) -> Result<RemoteOptions> {
        let is_spread = self.load_balancing == LoadBalancing::RoundRobin;
        let mut options = RemoteOptions::new(&self.address)
            .with_max_batch_bytes(MAX_BATCH_BYTES)
            .with_connections(if is_spread { CONNECTIONS.1 } else { CONNECTIONS.0 })
            .with_spread_addresses(is_spread)
            .with_connect_timeout(CONNECT_TIMEOUT);
        if let Some(tls) = &self.tls {
            options = options.with_tls(tls.to_remote_tls(clock)?);
            // As in Go's client, the name is that of calls too.
            if let Some(name) = tls.server_name() {
                options = options.with_authority(name);
            }
        }
        if let Some(keepalive) = &self.keepalive {
            options = options
                .with_keepalive(keepalive.interval, keepalive.timeout)
                .with_keepalive_while_idle(keepalive.pings_when_idle);
        }
        if let Some(bytes) = self.stream_window_bytes {
            options = options.with_stream_window_bytes(bytes);
        }
        if let Some(bytes) = self.connection_window_bytes {
            options = options.with_connection_window_bytes(bytes);
        }
        if let Some(ProxyUrl(url)) = &self.proxy_url {
            options = options.with_proxy(url);
        }
        Ok(options)
    }
}

/// The URL of a proxy, which may have a password.
#[derive(Clone, PartialEq, Eq)]
struct ProxyUrl(String);

impl Debug for ProxyUrl {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ProxyUrl").finish_non_exhaustive()
    }
}

/// Checks an address. The error completes a sentence that begins with it.
fn check_address(address: &str) -> std::result::Result<(), String> {
    // Good for our own client, and for no client of Buildbarn's.
    if let Some((scheme @ ("http" | "https" | "grpc" | "grpcs"), _)) = address.split_once("://") {
        return Err(format!(
            "must not begin with {scheme}://: write host:port, and set tls if connections are encrypted"
        ));
    }
    RemoteOptions::new(address).check().map_err(|error| error.message().to_owned())
}

/// Reads the field `proxy_url`, which is set. Returns `None` if a fault was noted.
fn read_proxy(section: &Section<'_>) -> Option<ProxyUrl> {
    let url = section.text("proxy_url");
    match RemoteOptions::new("localhost").with_proxy(url).check() {
        Ok(()) => Some(ProxyUrl(url.to_owned())),
        Err(error) => {
            section.fault_at("proxy_url", error.message());
            None
        }
    }
}

/// Reads the size of a window. One that is too small has no effect.
fn read_window(section: &Section<'_>, name: &str) -> Option<u32> {
    let window = u32::try_from(section.int(name)).ok().filter(|bytes| *bytes >= MIN_WINDOW_BYTES);
    if window.is_none() {
        section.notice_at(name, format!("has no effect, as the least size is {MIN_WINDOW_BYTES} bytes"));
    }
    window
}
