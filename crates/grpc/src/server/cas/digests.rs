//! The digests of a request that names many.

use blobaccess::{Digest, Result};
use blobaccess_proto::remote_execution as re;

use crate::message;

/// All digests of a request, of which there is at least one. The first that is malformed is the error, and says which
/// it is, counted from 0.
pub(super) fn parse(instance_name: &str, function: i32, digests: &[re::Digest]) -> Result<Vec<Digest>> {
    let instance_name = message::instance_name(instance_name)?;
    let function = message::digest_function(function, digests.first())?;
    let mut parsed = Vec::with_capacity(digests.len());
    for (index, digest) in digests.iter().enumerate() {
        let digest = Digest::parse(instance_name.clone(), function, &digest.hash, digest.size_bytes);
        parsed.push(digest.map_err(|error| error.at(format!("digest {index}")))?);
    }
    Ok(parsed)
}

/// The sizes of `digests` added up, or the largest number if they are more.
pub(super) fn total_size_bytes<'a>(digests: impl IntoIterator<Item = &'a Digest>) -> u64 {
    digests.into_iter().fold(0, |total, digest| total.saturating_add(digest.size_bytes()))
}
