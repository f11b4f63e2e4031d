//! Writes messages as protobuf bytes, equal ones as equal bytes: fields in the order of their numbers, entries of maps in
//! the order of their keys.

use prost_reflect::{FieldDescriptor, Kind};

use super::wire_type::WireType;
use super::{FieldValue, MapKey, Message, Value};

/// Returns the bytes of a message.
pub(crate) fn to_bytes(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in &message.fields {
        write_field(field.descriptor.number(), &field.descriptor, &field.value, &mut bytes);
    }
    bytes
}

fn write_field(number: u32, descriptor: &FieldDescriptor, value: &FieldValue, bytes: &mut Vec<u8>) {
    let kind = descriptor.kind();
    match value {
        FieldValue::One(value) => write_tagged(number, &kind, value, bytes),
        FieldValue::List(values) if descriptor.is_packed() => {
            let mut packed = Vec::new();
            for value in values {
                write_value(&kind, value, &mut packed);
            }
            write_length_delimited(number, &packed, bytes);
        }
        FieldValue::List(values) => {
            for value in values {
                write_tagged(number, &kind, value, bytes);
            }
        }
        FieldValue::Map(entries) => {
            let Kind::Message(entry) = kind else { return };
            let (key_kind, value_kind) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
            for (key, value) in entries {
                let mut content = Vec::new();
                write_tagged(1, &key_kind, &value_of_key(key), &mut content);
                write_tagged(2, &value_kind, value, &mut content);
                write_length_delimited(number, &content, bytes);
            }
        }
    }
}

fn value_of_key(key: &MapKey) -> Value {
    match key {
        MapKey::Bool(key) => Value::Bool(*key),
        MapKey::Int(key) => Value::Int(*key),
        MapKey::Uint(key) => Value::Uint(*key),
        MapKey::Text(key) => Value::Text(key.clone()),
    }
}

fn write_tagged(number: u32, kind: &Kind, value: &Value, bytes: &mut Vec<u8>) {
    write_tag(number, WireType::of(kind), bytes);
    write_value(kind, value, bytes);
}

fn write_tag(number: u32, wire_type: WireType, bytes: &mut Vec<u8>) {
    write_varint((u64::from(number) << 3) | wire_type.number(), bytes);
}

fn write_value(kind: &Kind, value: &Value, bytes: &mut Vec<u8>) {
    match (value, kind) {
        (Value::Bool(flag), _) => bytes.push(u8::from(*flag)),
        (Value::Int(number), Kind::Sfixed64) => bytes.extend(number.to_le_bytes()),
        // These are of 32 bits, so the lower half is all.
        (Value::Int(number), Kind::Sfixed32) => bytes.extend(number.to_le_bytes().iter().take(4)),
        (Value::Int(number), Kind::Sint32 | Kind::Sint64) => {
            write_varint(((number << 1) ^ (number >> 63)).cast_unsigned(), bytes);
        }
        (Value::Int(number), _) => write_varint(number.cast_unsigned(), bytes),
        (Value::Uint(number), Kind::Fixed64) => bytes.extend(number.to_le_bytes()),
        (Value::Uint(number), Kind::Fixed32) => bytes.extend(number.to_le_bytes().iter().take(4)),
        (Value::Uint(number), _) => write_varint(*number, bytes),
        // There are many numbers that are none.
        (Value::Double(number), Kind::Float) if number.is_nan() => bytes.extend(f32::NAN.to_le_bytes()),
        (Value::Double(number), _) if number.is_nan() => bytes.extend(f64::NAN.to_le_bytes()),
        (Value::Double(number), Kind::Float) => bytes.extend(narrow(*number).to_le_bytes()),
        (Value::Double(number), _) => bytes.extend(number.to_le_bytes()),
        (Value::Enum(number), _) => write_varint(i64::from(*number).cast_unsigned(), bytes),
        (Value::Text(text), _) => write_content(text.as_bytes(), bytes),
        (Value::Bytes(content), _) => write_content(content, bytes),
        (Value::Message(message), _) => write_content(&to_bytes(message), bytes),
    }
}

#[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "the number was made from one of 32 bits")]
fn narrow(number: f64) -> f32 {
    number as f32
}

fn write_length_delimited(number: u32, content: &[u8], bytes: &mut Vec<u8>) {
    write_tag(number, WireType::Length, bytes);
    write_content(content, bytes);
}

fn write_content(content: &[u8], bytes: &mut Vec<u8>) {
    write_varint(u64::try_from(content.len()).unwrap_or(u64::MAX), bytes);
    bytes.extend_from_slice(content);
}

fn write_varint(mut number: u64, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.extend(u8::try_from((number & 0x7f) | 0x80));
        number >>= 7;
    }
    bytes.extend(u8::try_from(number));
}
