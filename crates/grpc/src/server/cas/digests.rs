//! The digests of a request that names many.

use blobaccess::{Digest, DigestFunction, Result};
use blobaccess_proto::remote_execution as re;

use crate::server::requested_digest;

/// Parses all digests of a request that has at least one, by hash and size. The first malformed digest is the error,
/// with its position, counted from 0.
pub(super) fn parse<'a>(
    instance_name: &str,
    function: i32,
    digests: impl ExactSizeIterator<Item = (&'a str, i64)> + Clone,
) -> Result<Vec<Digest>> {
    let instance_name = requested_digest::instance_name(instance_name)?;
    let function = DigestFunction::resolve(function, digests.clone().next().map_or(0, |(hash, _)| hash.len()))?;
    let mut parsed = Vec::with_capacity(digests.len());
    for (index, (hash, size_bytes)) in digests.enumerate() {
        let digest = Digest::parse(instance_name.clone(), function, hash, size_bytes);
        parsed.push(digest.map_err(|error| error.at(format!("digest {index}")))?);
    }
    Ok(parsed)
}

/// Returns the hash and the size of each of `digests`.
pub(super) fn spelled(digests: &[re::Digest]) -> impl ExactSizeIterator<Item = (&str, i64)> + Clone {
    digests.iter().map(|digest| (&*digest.hash, digest.size_bytes))
}

/// Adds up the sizes of `digests`; the largest number if the sum exceeds it.
pub(super) fn total_size_bytes<'a>(digests: impl IntoIterator<Item = &'a Digest>) -> u64 {
    digests.into_iter().fold(0, |total, digest| total.saturating_add(digest.size_bytes()))
}
