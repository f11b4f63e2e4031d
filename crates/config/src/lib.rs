//! Stores from the configuration files of Buildbarn: Jsonnet, JSON or protobuf bytes in, a stack of stores out.
//!
//! Start here: [`Stacks`] are the stores of a file, and [`Application`] is a whole server. Both are read from a
//! [`Document`], and may use backends of the host program, by a [`Registry`].
//!
//! ```
//! use blobaccess::StorageType;
//! use blobaccess_config::{Document, Environment, Registry, StacksPlan};
//!
//! let text = "{ readCaching: {
//!   slow: { grpc: { client: { address: 'storage:8981' } } },
//!   fast: { grpc: { client: { } } },
//! } }";
//! let document = Document::from_jsonnet(text, "store.jsonnet", &Environment::of_process())?;
//! let faults = StacksPlan::of_store(&document, StorageType::Cas, &Registry::new()).unwrap_err();
//! let lines: Vec<_> = faults.as_slice().iter().map(ToString::to_string).collect();
//! assert!(lines.contains(&"store.jsonnet:3:27: readCaching.fast.grpc.client.address: is required".to_owned()), "{faults}");
//! assert!(lines.iter().any(|line| line.ends_with("readCaching.replicator: is required")), "{faults}");
//! # Ok::<(), blobaccess_config::Faults>(())
//! ```
//!
//! # Reading, looking, opening
//!
//! A document is read first, which notes all of its faults and takes nothing but memory and time, both within
//! [limits](EvaluationLimits). Then the files that it names are looked at. Then they are opened. So a file with a fault
//! changes nothing.

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
mod used_path;

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
