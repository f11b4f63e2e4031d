//! The marker of a claim: a small object under the key of a large blob that is being uploaded.

use blobaccess::UploadToken;
use bytes::{BufMut, Bytes, BytesMut};

/// The size of a claim, in bytes. Every casblob is larger, and the blob has another size, so that the size alone tells
/// a claim from a blob, in listings as well.
pub(crate) const SIZE_BYTES: u64 = 37;

const MAGIC: &[u8] = b"blobaccess claim";

/// Returns the contents of a claim. They differ between renewals, so that the `ETag` does too.
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
