//! Blobs to put: contents, or action results with the contents that they refer to.

use blobaccess::{Ac, Digest, DigestFunction, InstanceName, Kind};
use blobaccess_proto::remote_execution::{self, ActionResult, ExecutedActionMetadata};
use bytes::Bytes;
use prost::Message;

/// A value, and the digest that it is put under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) digest: Digest,
    pub(crate) value: Bytes,
    /// The contents that an action result refers to, and their digest.
    pub(crate) output: Option<(Digest, Bytes)>,
}

/// Makes the sample with this number for a store of kind `K`.
pub(crate) fn sample<K: Kind>(number: usize) -> Sample {
    let contents = Bytes::from(format!("contents {number}"));
    let digest = digest_of(&contents);
    if !K::STORAGE_TYPE.is_mutable() {
        return Sample { digest, value: contents, output: None };
    }
    let size_bytes = i64::try_from(digest.size_bytes()).unwrap();
    let stdout = remote_execution::Digest { hash: digest.hash().to_string(), size_bytes };
    let mut metadata = ExecutedActionMetadata::default();
    metadata.worker_completed_timestamp.get_or_insert_default().seconds = 1;
    let result =
        ActionResult { stdout_digest: Some(stdout), execution_metadata: Some(metadata), ..ActionResult::default() };
    Sample {
        digest: digest_of(format!("action {number}").as_bytes()),
        value: result.encode_to_vec().into(),
        output: Some((digest, contents)),
    }
}

/// Makes the sample of an action whose result is that of another.
pub(crate) fn result_of(action: usize, result: usize) -> Sample {
    Sample { digest: sample::<Ac>(action).digest, ..sample::<Ac>(result) }
}

fn digest_of(contents: &[u8]) -> Digest {
    Digest::of(InstanceName::new("left").unwrap(), DigestFunction::Sha256, contents)
}
