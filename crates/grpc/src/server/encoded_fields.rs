//! Splits and joins encoded messages without losing unknown fields.

use bytes::Bytes;
use bytes::{Buf, BytesMut};
use prost::DecodeError;
use prost::encoding::{self, DecodeContext, WireType};

/// One field of an encoded message.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    /// The number of the field.
    pub(crate) number: u32,
    /// The whole field: key, length and value.
    pub(crate) encoded: Bytes,
    /// The value, if it is of variable length: bytes, a string or a message.
    pub(crate) value: Option<Bytes>,
}

/// Returns the fields of `message`, in their order. They share its memory.
pub(crate) fn fields(message: &Bytes) -> Result<Vec<Field>, DecodeError> {
    let mut rest = message.clone();
    let mut fields = Vec::new();
    while rest.has_remaining() {
        let before = rest.clone();
        let (number, wire_type) = encoding::decode_key(&mut rest)?;
        let value = if wire_type == WireType::LengthDelimited {
            let mut value = Bytes::new();
            encoding::bytes::merge(wire_type, &mut value, &mut rest, DecodeContext::default())?;
            Some(value)
        } else {
            encoding::skip_field(wire_type, number, &mut rest, DecodeContext::default())?;
            None
        };
        let encoded = before.slice(..before.len() - rest.len());
        fields.push(Field { number, encoded, value });
    }
    Ok(fields)
}

/// Appends the field `number` with `value` to an encoded message.
///
/// A decoder takes the last value of a field that is not repeated.
pub(crate) fn append(message: &mut BytesMut, number: u32, value: &Bytes) {
    encoding::bytes::encode(number, value, message);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_the_sum_of_its_fields() {
        let mut message = BytesMut::new();
        encoding::int32::encode(4, &-1, &mut message);
        append(&mut message, 2, &Bytes::from_static(b"two"));
        encoding::fixed64::encode(1000, &7, &mut message);
        encoding::encode_key(9, WireType::StartGroup, &mut message);
        append(&mut message, 1, &Bytes::from_static(b"grouped"));
        encoding::encode_key(9, WireType::EndGroup, &mut message);
        append(&mut message, 2, &Bytes::new());
        let message = message.freeze();

        let fields = fields(&message).unwrap();
        let numbers: Vec<_> = fields.iter().map(|field| field.number).collect();
        assert_eq!(numbers, [4, 2, 1000, 9, 2]);
        let values: Vec<_> = fields.iter().filter_map(|field| field.value.as_deref()).collect();
        assert_eq!(values, [b"two".as_slice(), b""]);
        let together: Vec<u8> = fields.iter().flat_map(|field| field.encoded.to_vec()).collect();
        assert_eq!(together, message);
    }

    #[test]
    fn what_is_cut_off_is_no_message() {
        let mut message = BytesMut::new();
        append(&mut message, 2, &Bytes::from_static(b"two"));
        let message = message.freeze();
        for cut in 1..message.len() {
            assert!(fields(&message.slice(..cut)).is_err(), "{cut}");
        }
        assert!(fields(&Bytes::from_static(b"\0\0")).is_err());
    }
}
