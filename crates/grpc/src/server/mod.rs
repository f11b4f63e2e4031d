//! The services, over any stores.

mod byte_stream;
mod cas;
mod in_flight;
mod options;
mod outcome_trailer;
#[cfg(test)]
mod recorded_frames;
mod request;
#[cfg(test)]
mod watched_store;

pub use self::options::ServiceOptions;
pub use self::request::UPLOAD_TOKEN;
