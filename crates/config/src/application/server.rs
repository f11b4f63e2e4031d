//! A group of addresses on which the services are served alike.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;
use std::time::Duration;

use blobaccess::Result;
use blobaccess_grpc::{ListenerGroup, ListenerOptions};

use crate::authentication::AuthenticationPlan;
use crate::background::Background;
use crate::blobstore::Claims;
use crate::clients::ServerTlsPlan;
use crate::section::Section;
use crate::used_path::UsedPath;

/// The smallest window of flow control that has an effect. Smaller ones are ignored, here and in Buildbarn.
const MIN_WINDOW_BYTES: i64 = 1 << 16;

/// The largest message that is received unless the configuration sets another: gRPC's own.
const DEFAULT_MAX_RECEIVED_BYTES: usize = 4 << 20;

/// The least time between pings of a client that is zero in the configuration: gRPC's own.
const MIN_PING_INTERVAL: Duration = Duration::from_mins(5);

/// The plan of a server: its addresses, encryption, authentication and limits.
#[derive(Debug)]
pub(super) struct ServerPlan {
    addresses: Vec<String>,
    pub(super) paths: Vec<UsedPath>,
    tls: Option<ServerTlsPlan>,
    authentication: AuthenticationPlan,
    options: ListenerOptions,
}

/// The addresses of TCP that are listened on so far, with the field that asked for each.
#[derive(Debug, Default)]
pub(super) struct TakenAddresses(BTreeMap<(String, u16), String>);

impl TakenAddresses {
    /// Notes an address of one field. It is a fault if another field has the same.
    pub(super) fn take(&mut self, section: &Section<'_>, field: &str, index: usize, address: &str) {
        let Some(key) = key_of(address) else { return };
        let path = section.path_of_element(field, index);
        if let Some(other) = self.0.insert(key, path.to_string()) {
            section.fault_at_element(field, index, format!("is {address:?}, which {other} listens on already"));
        }
    }
}

/// Returns the host and the port of an address, alike for all spellings. `None` stands for any free port, which may be
/// asked for repeatedly, and for what is no address.
fn key_of(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let plain = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let host = match plain.parse::<IpAddr>() {
        // All interfaces, as without a host.
        Ok(ip) if ip.is_unspecified() => String::new(),
        Ok(ip) => ip.to_string(),
        Err(_) => host.to_ascii_lowercase(),
    };
    Some((host, port))
}

impl ServerPlan {
    /// Reads a `buildbarn.configuration.grpc.ServerConfiguration`. `None` says that faults were noted.
    pub(super) fn read(section: &Section<'_>, taken: &mut TakenAddresses, claims: &mut Claims) -> Option<Self> {
        let addresses = section.texts("listen_addresses");
        for (index, address) in addresses.iter().enumerate() {
            check_address(section, "listen_addresses", index, address);
            taken.take(section, "listen_addresses", index, address);
        }
        let mut paths = Vec::new();
        for (index, path) in section.texts("listen_paths").into_iter().enumerate() {
            let used = section.used_path_of_element("listen_paths", index, path);
            if path.is_empty() {
                section.fault_at_element("listen_paths", index, "must not be empty");
            } else if let Err(other) = claims.write(path, &used.field) {
                let message = format!("is {path:?}, which {other} listens on already");
                section.fault_at_element("listen_paths", index, message);
            }
            paths.push(used);
        }
        if addresses.is_empty() && paths.is_empty() {
            section.fault("must have an address in listenAddresses or a path in listenPaths");
        }
        section.refuse("alts", "it works within Google's cloud only; use tls");
        section.disregard("tracing", "spans are not reported");
        section.refuse(
            "relays",
            "let clients reach the endpoints of relays directly, or run bb_storage beside this server",
        );
        let tls = match section.message("tls") {
            Some(section) => ServerTlsPlan::read(&section).map(Some),
            None => Some(None),
        };
        let authentication = section.required("authentication_policy");
        let authentication = authentication.and_then(|section| AuthenticationPlan::read(&section));
        if authentication.as_ref().is_some_and(AuthenticationPlan::needs_peer_credentials) && section.is_set("tls") {
            section.fault_at("tls", "cannot be used with a policy about the users of clients at UNIX sockets");
        }
        let options = read_options(section);
        Some(Self {
            addresses: addresses.into_iter().map(str::to_owned).collect(),
            paths,
            tls: tls?,
            authentication: authentication?,
            options: options?,
        })
    }
}

/// Notes a fault if an address cannot be listened on in any case.
pub(super) fn check_address(section: &Section<'_>, field: &str, index: usize, address: &str) {
    let group = ListenerGroup::new(ListenerOptions::default()).with_address(address);
    if let Err(error) = group.check() {
        section.fault_at_element(field, index, format!("is no address: {}", error.message()));
    }
}

fn read_options(section: &Section<'_>) -> Option<ListenerOptions> {
    let received = match usize::try_from(section.int("maximum_received_message_size_bytes")) {
        Ok(0) => Some(DEFAULT_MAX_RECEIVED_BYTES),
        Ok(bytes) => Some(bytes),
        Err(_) => {
            section.fault_at("maximum_received_message_size_bytes", "must not be negative");
            None
        }
    };
    // Either all calls may finish, or none is waited for.
    let grace = if section.flag("stop_gracefully") { Duration::MAX } else { Duration::ZERO };
    let mut options =
        ListenerOptions::default().with_max_received_message_size_bytes(received).with_shutdown_grace(Some(grace));
    if let Some(bytes) = read_window(section, "initial_window_size_bytes") {
        options = options.with_stream_window_bytes(bytes);
    }
    if let Some(bytes) = read_window(section, "initial_conn_window_size_bytes") {
        options = options.with_connection_window_bytes(bytes);
    }
    let service = section.text("health_check_service");
    if !service.is_empty() {
        options = options.with_health_check_service(service);
    }
    if let Some(policy) = section.message("keepalive_enforcement_policy") {
        let permits_without_call = policy.flag("permit_without_stream");
        let min_interval = policy.required_duration("min_time")?;
        let min_interval = if min_interval.is_zero() { MIN_PING_INTERVAL } else { min_interval };
        options = options.with_ping_limit(min_interval, permits_without_call);
    }
    let options = match section.message("keepalive_parameters") {
        Some(parameters) => read_keepalive(&parameters, options),
        None => Some(options),
    };
    options.filter(|_| received.is_some())
}

fn read_window(section: &Section<'_>, field: &str) -> Option<u32> {
    let bytes = section.int(field);
    if bytes < MIN_WINDOW_BYTES {
        if bytes != 0 {
            section.notice_at(field, format!("has no effect: a window has at least {MIN_WINDOW_BYTES} bytes"));
        }
        return None;
    }
    u32::try_from(bytes).ok()
}

fn read_keepalive(section: &Section<'_>, options: ListenerOptions) -> Option<ListenerOptions> {
    /// The values of gRPC for zero.
    const TIME: Duration = Duration::from_hours(2);
    const TIMEOUT: Duration = Duration::from_secs(20);
    let idle = section.required_duration("max_connection_idle");
    let age = section.required_duration("max_connection_age");
    let grace = section.required_duration("max_connection_age_grace");
    let time = section.required_duration("time");
    let timeout = section.required_duration("timeout");
    let or = |duration: Duration, default: Duration| if duration.is_zero() { default } else { duration };
    let positive = |duration: Duration| Some(duration).filter(|duration| !duration.is_zero());
    Some(
        options
            .with_max_connection_idle(positive(idle?))
            .with_max_connection_age(positive(age?))
            .with_max_connection_age_grace(positive(grace?))
            .with_keepalive(or(time?, TIME), or(timeout?, TIMEOUT)),
    )
}

impl ServerPlan {
    /// Makes the group of listeners, which do not listen yet.
    ///
    /// # Errors
    ///
    /// `FailedPrecondition` or `InvalidArgument` if a certificate cannot be read or used.
    pub(super) fn build(&self, background: &mut Background) -> Result<ListenerGroup> {
        let mut group = ListenerGroup::new(self.options.clone());
        for address in &self.addresses {
            group = group.with_address(address);
        }
        for used in &self.paths {
            group = group.with_socket_path(&used.path);
        }
        if let Some(tls) = &self.tls {
            let tls = tls.build(background)?;
            let requests = self.authentication.requests_client_certificates();
            group = group.with_tls(if requests { tls.with_requested_client_certificates() } else { tls });
        }
        Ok(group.with_authenticator(self.authentication.build(background)))
    }
}

impl Display for ServerPlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let addresses = self.addresses.iter().cloned();
        let places: Vec<_> = addresses.chain(self.paths.iter().map(|used| used.path.display().to_string())).collect();
        let encryption = if self.tls.is_some() { "with TLS" } else { "without TLS" };
        write!(f, "{} {encryption}", places.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_key_however_it_is_spelled() {
        let all = key_of(":8980").unwrap();
        for address in ["0.0.0.0:8980", "[::]:8980", "[0:0::0]:8980", ":08980"] {
            assert_eq!(key_of(address), Some(all.clone()), "{address}");
        }
        assert_eq!(key_of("[::1]:1"), key_of("[0:0:0:0:0:0:0:1]:1"));
        assert_eq!(key_of("LOCALHOST:1"), key_of("localhost:1"));
        assert_ne!(key_of("127.0.0.1:8980"), Some(all));
        for address in [":0", ":", "", "[::]:0", "127.0.0.1:00", "x:y"] {
            assert_eq!(key_of(address), None, "{address}");
        }
    }
}
