//! A batch of references to store, each of which stays as it is encoded.

use blobaccess_proto::remote_execution as re;
use bytes::Bytes;
use prost::Message;

/// A [`BatchUpdateReferencesRequest`](blobaccess_proto::icas::BatchUpdateReferencesRequest) whose references are bytes.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ReferenceUpdates {
    #[prost(string, tag = "1")]
    pub(crate) instance_name: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) requests: Vec<ReferenceUpdate>,
    #[prost(int32, tag = "3")]
    pub(crate) digest_function: i32,
}

/// One reference of a batch.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ReferenceUpdate {
    #[prost(message, optional, tag = "1")]
    pub(crate) digest: Option<re::Digest>,
    /// The parts of the reference. A message may come in several, and their concatenation merges them.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(crate) reference: Vec<Bytes>,
}

#[cfg(test)]
mod tests {
    use blobaccess_proto::icas;

    use super::*;

    #[test]
    fn a_batch_is_laid_out_as_the_generated_message_is() {
        let digest = Some(re::Digest { hash: "ab".to_owned(), size_bytes: 7 });
        let reference = icas::Reference { size_bytes: 3, decompressor: 1, ..Default::default() };
        let theirs = icas::BatchUpdateReferencesRequest {
            instance_name: "some/where".to_owned(),
            requests: vec![icas::batch_update_references_request::Request {
                digest: digest.clone(),
                reference: Some(reference.clone()),
            }],
            digest_function: 9,
        };
        let ours = ReferenceUpdates {
            instance_name: "some/where".to_owned(),
            requests: vec![ReferenceUpdate { digest, reference: vec![reference.encode_to_vec().into()] }],
            digest_function: 9,
        };
        assert_eq!(ours.encode_to_vec(), theirs.encode_to_vec());
        assert_eq!(ReferenceUpdates::decode(&*theirs.encode_to_vec()).unwrap(), ours);
    }
}
