//! The services, over any stores.

mod action_cache;
mod answer_status;
mod authentication;
mod byte_stream;
mod call;
mod call_body;
mod call_observer;
mod capabilities;
mod cas;
mod connection;
mod deadlines;
mod encoded_fields;
mod encoded_service;
#[cfg(feature = "client")]
mod execution;
mod failed_puts;
mod health;
mod icas;
mod in_flight;
mod inlining;
mod listening;
mod memory_pool;
mod message_count;
mod messages;
mod new_calls;
mod observed_body;
mod open_calls;
mod open_connections;
mod options;
mod outcome_trailer;
mod received_body;
mod received_messages;
#[cfg(test)]
mod recorded_frames;
#[cfg(feature = "reflection")]
mod reflection;
mod replicator;
mod request;
mod requested_digest;
mod routes;
mod sent_body;
mod serve;
mod served;
mod services;
#[cfg(feature = "tls")]
mod tls;
mod uploads_under_way;
#[cfg(test)]
mod watched_store;

#[cfg(unix)]
pub use self::authentication::PeerUser;
pub use self::authentication::{AnyOf, Authenticator, BearerTokens, Identity, RequestParts, authenticator_fn};
#[cfg(feature = "tls")]
pub use self::authentication::{CertificateName, ClientCertificates};
#[cfg(feature = "jwt")]
pub use self::authentication::{JsonWebKeys, JsonWebTokens, JsonWebTokensSnapshot};
#[cfg(feature = "client")]
pub(crate) use self::call_observer::ObservedMethods;
pub use self::call_observer::{CallMethod, CallObserver, CallStreams, MethodObserver};
pub use self::failed_puts::FailedPuts;
pub use self::listening::{BoundListeners, ListenerGroup, ListenerOptions};
#[cfg(feature = "client")]
pub(crate) use self::observed_body::{ObservedRequest, ObservedResponse};
pub use self::options::ServiceOptions;
pub use self::services::{Services, ServicesSnapshot};
#[cfg(feature = "tls")]
pub use self::tls::{ServerCertificate, ServerTls};
