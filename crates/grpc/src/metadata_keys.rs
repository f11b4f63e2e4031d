//! The names of request and response metadata that both sides of this crate use.

/// The request metadata by which a caller asks for outcomes: `blobaccess-outcome: 1`.
pub const OUTCOME_REQUEST: &str = "blobaccess-outcome";

/// The trailing metadata that carries the outcome of a single put.
pub const OUTCOME_RESPONSE: &str = "blobaccess-outcome-bin";

/// The request metadata that carries the token of an upload: sixteen bytes.
pub const UPLOAD_TOKEN: &str = "blobaccess-upload-token-bin";
