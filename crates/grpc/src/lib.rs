//! The Remote Execution API's storage services over any store, and a remote store as one.

mod client;
mod compression;
mod message;
mod metadata_keys;
mod outcome;
mod raw_codec;
mod server;
mod status;
#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::as_conversions,
    clippy::clone_on_ref_ptr,
    clippy::default_trait_access,
    clippy::doc_markdown,
    clippy::missing_errors_doc,
    clippy::too_many_lines,
    unused_qualifications,
    reason = "tonic generates services so"
)]
mod stubs;

pub use client::{Remote, RemoteAcStore, RemoteCasStore, RemoteOptions, RemoteSnapshot, RemoteTls, RetryPolicy};
pub use metadata_keys::{OUTCOME_REQUEST, OUTCOME_RESPONSE, UPLOAD_TOKEN};
pub use server::{ServerTls, ServiceOptions, Services, ServicesSnapshot};

/// The generated clients and servers of all services, for who wants to speak the protocol without a store.
///
/// Their messages are those of [`blobaccess_proto`], in the modules of the same names.
pub mod services {
    pub use crate::stubs::{bytestream, fsac, icas, iscc, remote_execution, replicator};
}
