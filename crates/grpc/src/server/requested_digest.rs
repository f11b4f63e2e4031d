//! Digests and instance names, read from requests.

use blobaccess::{Digest, DigestFunction, Error, InstanceName, Result};
use blobaccess_proto::remote_execution as re;

/// Parses the instance name that a request was made in.
pub(crate) fn instance_name(name: &str) -> Result<InstanceName> {
    InstanceName::new(name)
}

/// Returns the digest function of a request: `number`, or if that is 0, as from older clients, the function whose
/// hashes are as long as that of `first`.
pub(crate) fn digest_function(number: i32, first: Option<&re::Digest>) -> Result<DigestFunction> {
    match first {
        Some(first) => DigestFunction::resolve(number, first.hash.len()),
        None if number == 0 => Err(no_digest()),
        None => DigestFunction::resolve(number, 0),
    }
}

/// Parses the digest that a message names.
pub(crate) fn digest(
    instance_name: &InstanceName,
    function: DigestFunction,
    digest: Option<&re::Digest>,
) -> Result<Digest> {
    let digest = digest.ok_or_else(no_digest)?;
    Digest::parse(instance_name.clone(), function, &digest.hash, digest.size_bytes)
}

fn no_digest() -> Error {
    Error::invalid_argument("no digest was provided")
}
