//! Stores from the configuration files of Buildbarn.

mod authentication;
mod authorizers;
mod background;
mod document;
mod fault;
mod field_path;
mod jmespath;
mod json;
mod message;
mod reading;
mod section;
mod small_file;

pub use self::authentication::AuthenticationMetadata;
pub use self::document::Document;
pub use self::fault::{Fault, Faults, Notice, Position};
