//! The services, over any stores.

mod action_cache;
mod capabilities;
mod health;
mod in_flight;
mod inlining;
mod open_calls;
mod options;
mod outcome_trailer;
mod raw_codec;
mod request;
mod serve;
mod services;
mod severable;
mod tls;
mod wire;

pub use self::options::ServiceOptions;
pub use self::request::UPLOAD_TOKEN;
pub use self::services::{Services, ServicesSnapshot};
pub use self::tls::ServerTls;
