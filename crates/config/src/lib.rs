//! Stores from the configuration files of Buildbarn.

mod document;
mod fault;
mod field_path;
mod json;
mod message;
mod reading;
mod section;

pub use self::document::Document;
pub use self::fault::{Fault, Faults, Notice, Position};
