//! The outcome of a put on its way to the trailing metadata.

use blobaccess::PutOutcome;

/// What a service leaves in the extensions of its response, for the layer that writes trailing metadata.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutcomeTrailer(pub(crate) PutOutcome);
