//! Clients of gRPC.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use blobaccess::{Clock, Error, Result};
use blobaccess_grpc::{Remote, RemoteOptions};
use rustls_pki_types::ServerName;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};

use super::address::Address;
use super::client_tls::ClientTlsPlan;
use super::connector::{Connector, Target};
use super::forwarded_metadata::ForwardedMetadata;
use super::keepalive::Keepalive;
use super::metadata::{ClientMetadata, FixedMetadata};
use super::oauth2::{OAuth2Plan, UsedBy};
use super::proxy::Proxy;
use super::service_config::{LoadBalancing, read_load_balancing};
use super::token_source::TokenSource;
use crate::background::Background;
use crate::jmespath::ExpressionPlan;
use crate::section::Section;

/// The time that connecting may take, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// The least window that gRPC lets be set, in bytes. Smaller ones have no effect, as in Go's client.
const MIN_WINDOW_BYTES: u32 = 64 << 10;

/// The windows of a stream and of a connection unless set, in bytes.
const WINDOW_BYTES: (u32, u32) = (2 << 20, 8 << 20);

/// The number of connections to a server, and to all servers of a name that calls are spread over.
const CONNECTIONS: (usize, usize) = (2, 8);

/// The most bytes of a batch: Buildbarn's servers take 2 MiB in its examples, and do not say so in their capabilities.
const MAX_BATCH_BYTES: u64 = 1 << 20;

/// A client of gRPC.
#[derive(Clone, Debug)]
pub(crate) struct GrpcClientPlan {
    address: Address,
    tls: Option<ClientTlsPlan>,
    keepalive: Option<Keepalive>,
    metadata: FixedMetadata,
    expression: Option<ExpressionPlan>,
    oauth2: Option<OAuth2Plan>,
    stream_window_bytes: Option<u32>,
    connection_window_bytes: Option<u32>,
    proxy: Option<Proxy>,
    load_balancing: LoadBalancing,
    /// The path in the configuration, for errors.
    path: String,
}

impl GrpcClientPlan {
    /// Reads a `grpc.ClientConfiguration`, with the files that it names. Returns `None` if a fault was noted.
    pub(crate) fn read(section: &Section<'_>) -> Option<Self> {
        let address = section.required_text("address").and_then(|target| match Address::parse(target) {
            Ok(address) => Some(address),
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
        let proxy = if section.is_set("proxy_url") { Proxy::read(section).map(Some) } else { Some(None) };
        let load_balancing = read_load_balancing(section);
        section.disregard("tracing", "no attributes of traces are taken from messages");
        if let (Some(Address::Unix(_)), Some(Some(_))) = (&address, &proxy) {
            section.fault_at("proxy_url", "cannot be used with a socket as the address");
        }
        Some(Self {
            address: address?,
            tls: tls?,
            keepalive: keepalive?,
            metadata: metadata?,
            expression: expression?,
            oauth2: oauth2?,
            stream_window_bytes: read_window(section, "initial_window_size_bytes"),
            connection_window_bytes: read_window(section, "initial_conn_window_size_bytes"),
            proxy: proxy?,
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
        let options = RemoteOptions::new(self.address.to_string())
            .with_max_batch_bytes(MAX_BATCH_BYTES)
            .with_forwarded_metadata(forwarded)
            .with_compression_level(compresses.then_some(1));
        let count = match self.load_balancing {
            LoadBalancing::PickFirst => CONNECTIONS.0,
            LoadBalancing::RoundRobin => CONNECTIONS.1,
        };
        let channels = self.channels(count, clock).map_err(at)?;
        let remote = Remote::with_channels(options, channels).map_err(at)?.with_clock(Arc::clone(clock));
        let metadata = self.call_metadata(&mut Background::new(Arc::clone(clock))).map_err(at)?;
        Ok(if metadata.is_empty() { remote } else { remote.with_call_metadata(Arc::new(metadata)) })
    }

    /// Returns the address, for people.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
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

    pub(super) fn channels(&self, count: usize, clock: &Arc<dyn Clock>) -> Result<Vec<Channel>> {
        let endpoint = self.endpoint()?;
        let target = Arc::new(self.target(clock)?);
        let channels = (0..count).map(|first| {
            let attempts = Arc::new(AtomicUsize::new(0));
            endpoint.connect_with_connector_lazy(Connector { target: Arc::clone(&target), first, attempts })
        });
        Ok(channels.collect())
    }

    fn target(&self, clock: &Arc<dyn Clock>) -> Result<Target> {
        let tls = match &self.tls {
            None => None,
            Some(tls) => {
                let name = tls.server_name().unwrap_or_else(|| self.address.server_name());
                let name = ServerName::try_from(name.to_owned())
                    .map_err(|_| Error::invalid_argument(format!("{name:?} is no name that a certificate can have")))?;
                Some((tls.to_config(&[b"h2"], clock)?, name))
            }
        };
        Ok(Target {
            address: self.address.clone(),
            proxy: self.proxy.clone(),
            tls,
            is_spread: self.load_balancing == LoadBalancing::RoundRobin,
        })
    }

    fn endpoint(&self) -> Result<Endpoint> {
        let unusable =
            |error: &dyn std::error::Error| Error::invalid_argument(format!("the address cannot be used: {error}"));
        let authority = match self.tls.as_ref().and_then(ClientTlsPlan::server_name) {
            Some(name) => name.to_owned(),
            // A zone is only for this machine.
            None => self.address.authority().split('%').next().unwrap_or_default().to_owned(),
        };
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let origin = Uri::builder().scheme(scheme).authority(authority).path_and_query("/").build();
        // The connector encrypts. The endpoint must not try to, so its own address has no TLS.
        let mut endpoint = Endpoint::from_static("http://server.invalid")
            .origin(origin.map_err(|error| unusable(&error))?)
            .connect_timeout(CONNECT_TIMEOUT)
            .initial_stream_window_size(self.stream_window_bytes.unwrap_or(WINDOW_BYTES.0))
            .initial_connection_window_size(self.connection_window_bytes.unwrap_or(WINDOW_BYTES.1));
        if let Some(keepalive) = &self.keepalive {
            endpoint = endpoint
                .http2_keep_alive_interval(keepalive.interval)
                .keep_alive_timeout(keepalive.timeout)
                .keep_alive_while_idle(keepalive.pings_when_idle);
        }
        Ok(endpoint)
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
