//! Whole files of a storage server: which are taken, and what they serve.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed expectation is a failed test")]

mod serving;
mod verdicts;

use blobaccess_config::{Application, Document, Environment, Faults, Registry};

/// A server with stores that need no files.
const SOUND: &str = r#"{
    grpcServers: [{ listenAddresses: ["127.0.0.1:0"], authenticationPolicy: { allow: {} } }],
    contentAddressableStorage: {
        backend: { "error": { code: 14, message: "under repair" } },
        getAuthorizer: { allow: {} }, putAuthorizer: { deny: {} }, findMissingAuthorizer: { allow: {} },
    },
    actionCache: {
        backend: { "error": { code: 14, message: "under repair" } },
        getAuthorizer: { instanceNamePrefix: { allowedInstanceNamePrefixes: ["a"] } }, putAuthorizer: { deny: {} },
    },
    maximumMessageSizeBytes: 2 * 1024 * 1024,
}"#;

/// Reads `SOUND` with `more` added to it, in Jsonnet.
fn read_with(more: &str, registry: &Registry) -> Result<Application, Faults> {
    let document = Document::from_jsonnet(&format!("{SOUND} + {more}"), "tested.jsonnet", &Environment::default())?;
    Application::from_document(&document, registry)
}
