//! The codec of an unparsed request, and of a response that is encoded directly.

use blobaccess::{Digest, DigestSet};
use bytes::{BufMut, Bytes};
use prost::encoding::{self, WireType, encoded_len_varint};
use tonic::Status;
use tonic::codec::{Codec, EncodeBuf, Encoder};

use crate::raw_codec::RawCodec;

/// The maximum that a SHA-256 and the size of a blob below 256 MiB take.
const USUAL_DIGEST_BYTES: usize = 75;

/// A codec that encodes a set as the
/// [`FindMissingBlobsResponse`](blobaccess_proto::remote_execution::FindMissingBlobsResponse) that names its digests.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::server::cas) struct FindMissingCodec;

impl Codec for FindMissingCodec {
    type Encode = DigestSet;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = RawCodec;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> RawCodec {
        RawCodec
    }
}

impl Encoder for FindMissingCodec {
    type Item = DigestSet;
    type Error = Status;

    fn encode(&mut self, missing: DigestSet, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(missing.len() * USUAL_DIGEST_BYTES);
        append_all(&missing, buffer);
        Ok(())
    }
}

/// Returns the encoded response that names the digests of `missing`.
pub(in crate::server) fn encode_missing(missing: &DigestSet) -> Bytes {
    let mut answer = Vec::with_capacity(missing.len() * USUAL_DIGEST_BYTES);
    append_all(missing, &mut answer);
    answer.into()
}

fn append_all(missing: &DigestSet, answer: &mut impl BufMut) {
    let mut one = Vec::new();
    for digest in missing {
        one.clear();
        append(digest, &mut one);
        answer.put_slice(&one);
    }
}

fn append(digest: &Digest, answer: &mut Vec<u8>) {
    let (hash_length, size_bytes) = (2 * digest.hash_bytes().len(), digest.size_bytes());
    encoding::encode_key(2, WireType::LengthDelimited, answer);
    encoding::encode_varint(fields_length(hash_length, size_bytes), answer);
    encoding::encode_key(1, WireType::LengthDelimited, answer);
    encoding::encode_varint(wide(hash_length), answer);
    digest.hash().to_hex(answer);
    // A number that is 0 is not written.
    if size_bytes > 0 {
        encoding::encode_key(2, WireType::Varint, answer);
        encoding::encode_varint(size_bytes, answer);
    }
}

/// Returns the length of both fields together. A key has one byte.
fn fields_length(hash_length: usize, size_bytes: u64) -> u64 {
    let hash = 1 + encoded_len_varint(wide(hash_length)) + hash_length;
    let size = if size_bytes > 0 { 1 + encoded_len_varint(size_bytes) } else { 0 };
    wide(hash + size)
}

fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use blobaccess::{DigestFunction, InstanceName};
    use blobaccess_proto::remote_execution as re;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;
    use prost::Message;

    use super::*;
    use crate::message;

    fn any_digest() -> impl Strategy<Value = Digest> {
        let size = prop_oneof![Just(0), 0..300_u64, 0..=i64::MAX.unsigned_abs()];
        (select(DigestFunction::ALL.as_slice()), vec(any::<u8>(), 64), size).prop_map(|(function, hash, size)| {
            let hash = &hash[..function.hash_size_bytes()];
            Digest::from_hash(InstanceName::empty(), function, hash, size).unwrap()
        })
    }

    proptest! {
        #[test]
        fn an_answer_is_the_encoded_message(digests in vec(any_digest(), 0..9)) {
            let missing = DigestSet::from(digests);
            let message = re::FindMissingBlobsResponse {
                missing_blob_digests: missing.iter().map(message::to_proto).collect(),
            };
            let mut answer = Vec::new();
            append_all(&missing, &mut answer);
            prop_assert_eq!(answer, message.encode_to_vec());
        }
    }
}
