//! The number of files that the process may open.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Lets the process open as many files as it is permitted at all. Each connection takes one, and systems begin with a limit of 1,024.
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
}
