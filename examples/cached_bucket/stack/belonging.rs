//! The bucket that a ledger belongs to.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use blobaccess::{Error, Result};
use blobaccess_s3_backend::Bucket;

/// Fails if the ledger in the folder `accounts` is that of another bucket, into which everything that is local would be
/// uploaded, and counted once more. A ledger that belongs to none yet is that of `bucket` from now on.
///
/// # Errors
///
/// `FailedPrecondition` if it is another, or if the file that says so cannot be read or written.
pub(super) fn check(accounts: &Path, bucket: &Bucket) -> Result<()> {
    let path = accounts.join("bucket.txt");
    let at = |error: std::io::Error| Error::failed_precondition(format!("{}: {error}", path.display()));
    let known = match fs::read_to_string(&path) {
        Ok(known) => known,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(at(error)),
    };
    let (known, name) = (known.trim(), bucket.to_string());
    if known.is_empty() {
        return fs::write(&path, format!("{name}\n")).map_err(at);
    }
    if known == name {
        return Ok(());
    }
    Err(Error::failed_precondition(format!(
        "this is the ledger of another bucket, {known}, and not of {name}; if they are one bucket, delete {}",
        path.display()
    )))
}
