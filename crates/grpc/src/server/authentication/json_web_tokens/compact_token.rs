//! The parts of a signed token, in the compact form of RFC 7515: `HEADER.PAYLOAD.SIGNATURE`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::JsonWebKeys;

/// A token whose signature has not been looked at. Its payload is not told before that has been done.
pub(super) struct CompactToken<'a> {
    header: Map<String, Value>,
    payload: &'a str,
    /// The bytes that are signed.
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> CompactToken<'a> {
    /// Takes a token apart. `None` if it is none.
    pub(super) fn parse(token: &'a str) -> Option<Self> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        Some(Self { header: object(header)?, payload, signed, signature })
    }

    /// Returns the claims, if one of `keys` has signed them.
    pub(super) fn verify(&self, keys: &JsonWebKeys) -> Option<Map<String, Value>> {
        if self.header.contains_key("crit") {
            return None;
        }
        let algorithm = self.header.get("alg")?.as_str()?;
        let key_id = match self.header.get("kid") {
            None | Some(Value::Null) => None,
            Some(key_id) => Some(key_id.as_str()?),
        };
        let is_signed = keys.verify(algorithm, key_id, self.signed.as_bytes(), &self.signature);
        if is_signed { object(self.payload) } else { None }
    }
}

/// Returns an object that is encoded in Base64.
fn object(text: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}
