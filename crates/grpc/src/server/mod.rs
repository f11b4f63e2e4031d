//! The services, over any stores.

mod in_flight;
mod options;
mod request;

pub use self::options::ServiceOptions;
pub use self::request::UPLOAD_TOKEN;
