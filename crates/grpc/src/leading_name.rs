//! Messages of which the name in the first field is replaced, while everything else stays as it was encoded.

use bytes::{Buf, Bytes, BytesMut};
use prost::DecodeError;
use prost::encoding::{self, DecodeContext};

/// The number of the field: that of the instance name or the name in all messages of the execution service.
const NAME: u32 = 1;

/// A message, taken apart: the name in its first field, and the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedMessage {
    pub(crate) name: String,
    /// The other fields as they were encoded, those that this version does not know included.
    rest: Bytes,
}

impl NamedMessage {
    /// Takes `message` apart, and lets go of it.
    ///
    /// # Errors
    ///
    /// An error if it cannot be decoded.
    pub(crate) fn decode(message: Bytes) -> Result<Self, DecodeError> {
        let (mut name, mut rest) = (String::new(), BytesMut::with_capacity(message.len()));
        let mut left = message;
        while left.has_remaining() {
            let before = left.clone();
            let (number, wire_type) = encoding::decode_key(&mut left)?;
            let ctx = DecodeContext::default();
            if number == NAME {
                encoding::string::merge(wire_type, &mut name, &mut left, ctx)?;
            } else {
                encoding::skip_field(wire_type, number, &mut left, ctx)?;
                rest.extend_from_slice(&before.slice(..before.len().saturating_sub(left.len())));
            }
        }
        Ok(Self { name, rest: rest.freeze() })
    }

    /// Returns the message with this name in place of its own.
    pub(crate) fn encode_with(&self, name: &str) -> Bytes {
        let mut encoded = BytesMut::with_capacity(self.rest.len() + name.len() + 8);
        if !name.is_empty() {
            encoding::string::encode(NAME, &name.to_owned(), &mut encoded);
        }
        encoded.extend_from_slice(&self.rest);
        encoded.freeze()
    }
}

#[cfg(test)]
mod tests {
    use blobaccess_proto::remote_execution as re;
    use prost::Message;

    use super::*;

    #[test]
    fn only_the_name_is_replaced() {
        let request = re::GetActionResultRequest {
            instance_name: "a/b".to_owned(),
            action_digest: Some(re::Digest { hash: "h".to_owned(), size_bytes: 7 }),
            inline_stdout: true,
            ..re::GetActionResultRequest::default()
        };
        let mut encoded = request.encode_to_vec();
        // A field that nobody knows, and a second name, which is the one that counts.
        encoding::string::encode(777, &"unknown".to_owned(), &mut encoded);
        encoding::string::encode(1, &"a/c".to_owned(), &mut encoded);
        encoding::bool::encode(778, &true, &mut encoded);
        let message = NamedMessage::decode(encoded.clone().into()).unwrap();
        assert_eq!(message.name, "a/c");
        for name in ["", "x/y"] {
            let renamed = message.encode_with(name);
            let expected = re::GetActionResultRequest { instance_name: name.to_owned(), ..request.clone() };
            assert_eq!(re::GetActionResultRequest::decode(renamed.clone()).unwrap(), expected);
            let mut unknown = Vec::new();
            encoding::string::encode(777, &"unknown".to_owned(), &mut unknown);
            encoding::bool::encode(778, &true, &mut unknown);
            assert!(renamed.ends_with(&unknown));
        }
        for cut in 1..encoded.len() {
            // It is an error or a shorter message, and no panic.
            drop(NamedMessage::decode(encoded[..cut].to_vec().into()));
        }
        assert!(NamedMessage::decode(Bytes::from_static(b"\x0a\xff")).is_err());
        assert_eq!(NamedMessage::decode(Bytes::new()).unwrap().name, "");
    }

    #[test]
    fn names_without_end_take_no_more_than_their_message() {
        let mut encoded = Vec::new();
        for at in 0..1000 {
            encoding::string::encode(1, &"a/b".to_owned(), &mut encoded);
            if at % 2 == 0 {
                encoding::bool::encode(778, &true, &mut encoded);
            }
        }
        let mut others = Vec::new();
        (0..500).for_each(|_| encoding::bool::encode(778, &true, &mut others));
        let message = NamedMessage::decode(encoded.into()).unwrap();
        assert_eq!((message.name.as_str(), &message.rest[..]), ("a/b", &others[..]));
    }
}
