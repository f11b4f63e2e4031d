//! Clients of other servers, and the encryption of connections.

mod cipher_suites;
mod client_tls;
mod forwarded_metadata;
mod google;
mod grpc_client;
mod http_client;
mod keepalive;
mod key_pair;
mod metadata;
mod oauth2;
mod server_tls;
mod service_config;
#[cfg(test)]
mod tests;
mod token_source;

pub(crate) use self::grpc_client::GrpcClientPlan;
pub(crate) use self::http_client::{HttpClientPlan, read_headers};
pub(crate) use self::server_tls::ServerTlsPlan;
