//! The error of an address that cannot be listened on.

use std::fmt::Display;
use std::io;

use blobaccess::{Error, ErrorKind};

/// Returns the error that `place` cannot be listened on.
pub(super) fn cannot_listen(place: impl Display, error: io::Error) -> Error {
    let is_one_of = |kinds: &[io::ErrorKind]| kinds.contains(&error.kind());
    let kind = if is_one_of(&[io::ErrorKind::AddrInUse, io::ErrorKind::NotFound]) {
        ErrorKind::FailedPrecondition
    } else if is_one_of(&[io::ErrorKind::PermissionDenied]) {
        ErrorKind::PermissionDenied
    } else if is_one_of(&[io::ErrorKind::InvalidInput, io::ErrorKind::AddrNotAvailable]) {
        ErrorKind::InvalidArgument
    } else {
        ErrorKind::Unavailable
    };
    Error::new(kind, format!("cannot listen on {place}: {error}")).with_source(error)
}
