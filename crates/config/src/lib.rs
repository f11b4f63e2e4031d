//! Stores from the configuration files of Buildbarn.

mod application;
mod authentication;
mod authorizers;
mod background;
mod blobstore;
mod clients;
mod describe;
mod document;
mod fault;
mod field_path;
mod jmespath;
mod json;
mod jsonnet;
mod layer_state;
mod local;
mod message;
mod reading;
mod registry;
mod schema;
mod section;
mod small_file;
mod stacks;

pub use self::application::{
    Application, Diagnostics, DiagnosticsListener, DiagnosticsPolicy, OpenApplication, ProcessSettings,
};
pub use self::authentication::AuthenticationMetadata;
pub use self::document::Document;
pub use self::fault::{Fault, Faults, Notice, Position};
pub use self::jsonnet::{Environment, EvaluationLimits};
pub use self::layer_state::{LayerSnapshot, LayerState};
pub use self::registry::{Backend, Registry};
pub use self::schema::json_schema;
pub use self::stacks::{Stacks, StacksPlan};
