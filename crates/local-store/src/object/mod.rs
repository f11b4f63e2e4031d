//! The bytes that follow the contents of an object in its block: a trailer of checksums, and a tail with token and
//! digest.

pub(crate) mod checksums;
pub(crate) mod provenance;
