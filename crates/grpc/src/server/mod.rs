//! The services, over any stores.

mod action_cache;
mod byte_stream;
mod capabilities;
mod cas;
mod deadlines;
mod health;
mod in_flight;
mod inlining;
mod open_calls;
mod options;
mod outcome_trailer;
mod raw_codec;
#[cfg(test)]
mod recorded_frames;
mod request;
mod serve;
mod services;
mod severable;
mod tls;
#[cfg(test)]
mod watched_store;
mod wire;

pub use self::options::ServiceOptions;
pub(crate) use self::raw_codec::RawCodec;
pub use self::request::UPLOAD_TOKEN;
pub use self::services::{Services, ServicesSnapshot};
pub use self::tls::ServerTls;
