//! The services, over any stores.

mod action_cache;
mod byte_stream;
mod capabilities;
mod cas;
mod cut_connections;
mod deadlines;
mod encoded_fields;
mod health;
mod in_flight;
mod inlining;
mod open_calls;
mod options;
mod outcome_trailer;
#[cfg(test)]
mod recorded_frames;
mod request;
mod serve;
mod services;
mod tls;
#[cfg(test)]
mod watched_store;

pub use self::options::ServiceOptions;
pub use self::services::{Services, ServicesSnapshot};
pub use self::tls::ServerTls;
