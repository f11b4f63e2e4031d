//! The bytes that follow the contents of an object in its block: a trailer of checksums, and a tail that says whose the
//! object is.

pub(crate) mod checksums;
pub(crate) mod provenance;
