//! A claim: a small object under the key of a large blob that is on its way.

use blobaccess::UploadToken;
use bytes::{BufMut, Bytes, BytesMut};

/// The size of a claim, in bytes. No casblob is as small, and a blob that has another size is not either: so a claim
/// is told from a blob by its size alone, which listings have too.
pub(crate) const SIZE_BYTES: u64 = 37;

const MAGIC: &[u8] = b"blobaccess claim";

/// The contents of a claim, which differ from one renewal to the next, so that its `ETag` does too.
pub(crate) fn contents(token: &UploadToken, renewal: u32) -> Bytes {
    let mut bytes = BytesMut::with_capacity(37);
    bytes.put_slice(MAGIC);
    bytes.put_slice(token.as_bytes());
    bytes.put_u32_le(renewal);
    bytes.put_u8(b'\n');
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_has_its_size_and_differs_from_renewal_to_renewal() {
        let token = UploadToken::from_bytes([7; 16]);
        assert_eq!(contents(&token, 0).len(), 37);
        assert_eq!(SIZE_BYTES, 37);
        assert_ne!(contents(&token, 0), contents(&token, 1));
        const { assert!(SIZE_BYTES < crate::casblob::MIN_FILE_SIZE_BYTES) };
    }
}
