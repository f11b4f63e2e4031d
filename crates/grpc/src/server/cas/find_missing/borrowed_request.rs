//! A `FindMissing` request that is parsed without copying.

use prost::encoding::{self, WireType};

/// The fields of a [`FindMissingBlobsRequest`](blobaccess_proto::remote_execution::FindMissingBlobsRequest), in the
/// memory of its message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct BorrowedRequest<'a> {
    pub(super) instance_name: &'a str,
    /// The hash and the size in bytes of each digest.
    pub(super) digests: Vec<(&'a str, i64)>,
    pub(super) digest_function: i32,
}

/// The minimum that a SHA-256 digest takes. It is only an estimate for other functions.
const USUAL_DIGEST_BYTES: usize = 70;

impl<'a> BorrowedRequest<'a> {
    /// Parses `message`. Returns `None` if it is malformed, has an unknown field or a negative number: the result has
    /// either everything that a decoder would find, or nothing.
    pub(super) fn read(message: &'a [u8]) -> Option<Self> {
        let digests = Vec::with_capacity(message.len() / USUAL_DIGEST_BYTES);
        let mut request = Self { digests, ..Self::default() };
        let mut rest = message;
        while !rest.is_empty() {
            match encoding::decode_key(&mut rest).ok()? {
                (1, WireType::LengthDelimited) => request.instance_name = text(&mut rest)?,
                (2, WireType::LengthDelimited) => request.digests.push(digest(bytes(&mut rest)?)?),
                (3, WireType::Varint) => request.digest_function = number(&mut rest)?,
                _ => return None,
            }
        }
        Some(request)
    }
}

fn digest(mut rest: &[u8]) -> Option<(&str, i64)> {
    let mut digest = ("", 0);
    while !rest.is_empty() {
        match encoding::decode_key(&mut rest).ok()? {
            (1, WireType::LengthDelimited) => digest.0 = text(&mut rest)?,
            (2, WireType::Varint) => digest.1 = number(&mut rest)?,
            _ => return None,
        }
    }
    Some(digest)
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    str::from_utf8(bytes(rest)?).ok()
}

fn bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length: usize = number(rest)?;
    rest.split_off(..length)
}

/// Reads a varint that fits a `T` without truncation.
fn number<T: TryFrom<u64>>(rest: &mut &[u8]) -> Option<T> {
    encoding::decode_varint(rest).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use blobaccess_proto::remote_execution as re;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    /// Returns the fields of the generated message.
    fn of(request: &re::FindMissingBlobsRequest) -> BorrowedRequest<'_> {
        BorrowedRequest {
            instance_name: &request.instance_name,
            digests: request.blob_digests.iter().map(|digest| (&*digest.hash, digest.size_bytes)).collect(),
            digest_function: request.digest_function,
        }
    }

    /// Asserts that the parsed request equals the generated message.
    fn agrees(message: &[u8]) {
        let decoded = re::FindMissingBlobsRequest::decode(message);
        if let Some(request) = BorrowedRequest::read(message) {
            assert_eq!(request, of(&decoded.unwrap()));
        }
    }

    fn any_digest() -> impl Strategy<Value = re::Digest> {
        let hash = prop_oneof!["[0-9a-f]{64}", "[0-9a-f]{128}", ".{0,9}"];
        (hash, prop_oneof![Just(0), 0..=i64::MAX]).prop_map(|(hash, size_bytes)| re::Digest { hash, size_bytes })
    }

    fn any_request() -> impl Strategy<Value = re::FindMissingBlobsRequest> {
        (".{0,9}", vec(any_digest(), 0..5), prop_oneof![0..11, 0..=i32::MAX]).prop_map(|(name, digests, function)| {
            re::FindMissingBlobsRequest { instance_name: name, blob_digests: digests, digest_function: function }
        })
    }

    /// Draws a field with a valid or invalid value: known and unknown numbers, all types.
    fn any_field() -> impl Strategy<Value = Vec<u8>> {
        let varint = prop_oneof![0..200_u64, any::<u64>()];
        let value = prop_oneof![
            any_digest().prop_map(|digest| digest.encode_to_vec()),
            vec((1..4_u32, 0..200_u64), 0..4).prop_map(|numbers| {
                let mut fields = Vec::new();
                for (number, value) in numbers {
                    encoding::uint64::encode(number, &value, &mut fields);
                }
                fields
            }),
            vec(any::<u8>(), 0..9),
        ];
        let encoded = |number, value: Vec<u8>, varint: u64| {
            let (mut a, mut b) = (Vec::new(), Vec::new());
            encoding::bytes::encode(number, &value, &mut a);
            encoding::uint64::encode(number, &varint, &mut b);
            [a, b]
        };
        (1..5_u32, value, varint, 0..2_usize)
            .prop_map(move |(number, value, varint, which)| encoded(number, value, varint)[which].clone())
    }

    proptest! {
        #[test]
        fn a_request_is_read_as_it_was_written(request in any_request()) {
            let message = request.encode_to_vec();
            prop_assert_eq!(BorrowedRequest::read(&message), Some(of(&request)));
        }

        #[test]
        fn fields_in_any_order_and_number_are_read_as_the_message_has_them(fields in vec(any_field(), 0..6)) {
            agrees(&fields.concat());
        }

        #[test]
        fn damaged_requests_are_read_as_the_message_has_them(
            request in any_request(),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut message = request.encode_to_vec();
            agrees(&message[..cut.index(message.len() + 1)]);
            if !message.is_empty() {
                let at = at.index(message.len());
                message[at] = byte;
                agrees(&message);
            }
        }
    }

    #[test]
    fn what_is_unusual_is_left_to_others() {
        let negative = re::FindMissingBlobsRequest { digest_function: -1, ..Default::default() };
        assert_eq!(BorrowedRequest::read(&negative.encode_to_vec()), None);
        assert_eq!(BorrowedRequest::read(b"\x20\x01"), None);
        assert_eq!(BorrowedRequest::read(b"\x12\x02\x18\x01"), None);
    }
}
