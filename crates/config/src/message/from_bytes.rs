//! Reads messages from protobuf bytes.
//!
//! Of a field that is there twice the last value counts, but messages are merged, and lists are joined. What no field is
//! known for is a mistake, since nothing is ignored silently.

use std::borrow::Cow;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::mistakes::Mistakes;
use super::trail::Trail;
use super::wire_input::WireInput;
use super::wire_type::WireType;
use super::{FieldValue, MAX_DEPTH, MapKey, Message, Value};
use crate::Fault;
use crate::field_path::FieldPath;

/// Reads a message, and returns it with the mistakes in it.
pub(crate) fn from_bytes(bytes: &[u8], descriptor: &MessageDescriptor) -> (Message, Vec<(FieldPath, Fault)>) {
    let mut mistakes = Mistakes::default();
    let mut message = Message::empty(descriptor, None);
    merge_message(&mut message, bytes, &Trail::ROOT, &mut mistakes);
    sort_maps(&mut message);
    (message, mistakes.into_faults())
}

/// Merges the fields of `bytes` into a message.
fn merge_message(message: &mut Message, bytes: &[u8], trail: &Trail<'_>, mistakes: &mut Mistakes) {
    let Some(trail) = &trail.message() else {
        mistakes.note(trail, None, format!("more than {MAX_DEPTH} messages lie in each other"));
        return;
    };
    let mut input = WireInput::new(bytes);
    while !input.is_at_end() {
        let merged = input.tag().and_then(|(number, wire_type)| {
            let wire_type = WireType::of_number(wire_type)?;
            merge_field(message, number, wire_type, &mut input, trail, mistakes)
        });
        if merged.is_none() {
            mistakes.note(trail, None, "is not the bytes of a message");
            return;
        }
    }
}

/// Merges one field. Returns `None` if the bytes are malformed.
fn merge_field(
    message: &mut Message,
    number: u32,
    wire_type: WireType,
    input: &mut WireInput<'_>,
    trail: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<()> {
    let Some(field) = message.descriptor.get_field(number) else {
        note_unknown_number(number, message, trail, mistakes);
        return input.skip(wire_type);
    };
    let kind = field.kind();
    let is_packed = wire_type == WireType::Length && field.is_list() && WireType::of(&kind) != WireType::Length;
    if !is_packed && wire_type != WireType::of(&kind) {
        mistakes.note(&trail.field(field.json_name()), None, "is a value of another type");
        return input.skip(wire_type);
    }
    if field.is_map() {
        merge_entry(message, field, input.content()?, trail, mistakes);
    } else if is_packed {
        let mut packed = WireInput::new(input.content()?);
        while !packed.is_at_end() {
            let value = read_number(&kind, &mut packed)?;
            push(message, &field, value);
        }
    } else if field.is_list() {
        let index = count_elements(message, &field);
        let trail = trail.field(field.json_name());
        let value = read_value(&kind, input, &trail.index(index), mistakes)?;
        push(message, &field, value);
    } else if kind.as_message().is_some() {
        let content = input.content()?;
        merge_one(message, &field, content, trail, mistakes);
    } else {
        let value = read_value(&kind, input, &trail.field(field.json_name()), mistakes)?;
        set_one(message, field, value);
    }
    Some(())
}

fn note_unknown_number(number: u32, message: &Message, trail: &Trail<'_>, mistakes: &mut Mistakes) {
    let text = format!("the number {number} is not that of a field of {}", message.descriptor.name());
    mistakes.note(trail, None, text);
}

/// Sets a field, and clears the other members of its oneof.
fn set_one(message: &mut Message, field: FieldDescriptor, value: Value) {
    clear_others(message, &field);
    if field.supports_presence() || !value.is_default() {
        message.set(field, FieldValue::One(value), None);
    } else {
        message.fields.retain(|other| other.descriptor.number() != field.number());
    }
}

fn clear_others(message: &mut Message, field: &FieldDescriptor) {
    if let Some(oneof) = field.containing_oneof() {
        message.fields.retain(|other| {
            other.descriptor.number() == field.number() || other.descriptor.containing_oneof().as_ref() != Some(&oneof)
        });
    }
}

/// Merges a message into a field that is one.
fn merge_one(
    message: &mut Message,
    field: &FieldDescriptor,
    content: &[u8],
    trail: &Trail<'_>,
    mistakes: &mut Mistakes,
) {
    let Kind::Message(descriptor) = field.kind() else { return };
    clear_others(message, field);
    if message.value_mut(field).is_none() {
        message.set(field.clone(), FieldValue::One(Value::Message(Message::empty(&descriptor, None))), None);
    }
    if let Some(FieldValue::One(Value::Message(below))) = message.value_mut(field) {
        merge_message(below, content, &trail.field(field.json_name()), mistakes);
    }
}

fn count_elements(message: &mut Message, field: &FieldDescriptor) -> usize {
    if let Some(FieldValue::List(values)) = message.value_mut(field) { values.len() } else { 0 }
}

fn push(message: &mut Message, field: &FieldDescriptor, value: Value) {
    if let Some(FieldValue::List(values)) = message.value_mut(field) {
        values.push(value);
    } else {
        message.set(field.clone(), FieldValue::List(vec![value]), None);
    }
}

/// Adds an entry to a map, behind those that it has. An entry is a message with a key and a value.
fn merge_entry(
    message: &mut Message,
    field: FieldDescriptor,
    content: &[u8],
    trail: &Trail<'_>,
    mistakes: &mut Mistakes,
) {
    let Kind::Message(entry) = field.kind() else { return };
    let (key_field, value_field) = (entry.map_entry_key_field(), entry.map_entry_value_field());
    let trail = trail.field(field.json_name());
    // The values of keys come before the key is known, so it is looked for first.
    let key = find_key(&key_field, content).unwrap_or_else(|| default_key(&key_field));
    let text = key.to_string();
    let mut read = Message::empty(&entry, None);
    merge_message(&mut read, content, &trail.key(&text), mistakes);
    let value = read.fields.into_iter().find(|field| field.descriptor.number() == value_field.number());
    let value = match value.map(|field| field.value) {
        Some(FieldValue::One(value)) => value,
        Some(FieldValue::List(_) | FieldValue::Map(_)) | None => default_value(&value_field),
    };
    if let Some(FieldValue::Map(entries)) = message.value_mut(&field) {
        entries.push((key, value));
    } else {
        message.set(field, FieldValue::Map(vec![(key, value)]), None);
    }
}

/// Returns the last key in an entry, if the entry is well-formed.
fn find_key(field: &FieldDescriptor, content: &[u8]) -> Option<MapKey> {
    let (mut input, mut key) = (WireInput::new(content), None);
    while !input.is_at_end() {
        let (number, wire_type) = input.tag()?;
        let wire_type = WireType::of_number(wire_type)?;
        if number != field.number() || wire_type != WireType::of(&field.kind()) {
            input.skip(wire_type)?;
        } else if wire_type == WireType::Length {
            key = str::from_utf8(input.content()?).ok().map(|text| MapKey::Text(text.to_owned()));
        } else {
            key = match read_number(&field.kind(), &mut input)? {
                Value::Bool(key) => Some(MapKey::Bool(key)),
                Value::Int(key) => Some(MapKey::Int(key)),
                Value::Uint(key) => Some(MapKey::Uint(key)),
                Value::Double(_) | Value::Text(_) | Value::Bytes(_) | Value::Enum(_) | Value::Message(_) => None,
            };
        }
    }
    key
}

fn default_key(field: &FieldDescriptor) -> MapKey {
    match default_value(field) {
        Value::Bool(key) => MapKey::Bool(key),
        Value::Int(key) => MapKey::Int(key),
        Value::Uint(key) => MapKey::Uint(key),
        Value::Double(_) | Value::Text(_) | Value::Bytes(_) | Value::Enum(_) | Value::Message(_) => {
            MapKey::Text(String::new())
        }
    }
}

fn default_value(field: &FieldDescriptor) -> Value {
    match field.kind() {
        Kind::Bool => Value::Bool(false),
        Kind::Int32 | Kind::Int64 | Kind::Sint32 | Kind::Sint64 | Kind::Sfixed32 | Kind::Sfixed64 => Value::Int(0),
        Kind::Uint32 | Kind::Uint64 | Kind::Fixed32 | Kind::Fixed64 => Value::Uint(0),
        Kind::Float | Kind::Double => Value::Double(0.0),
        Kind::String => Value::Text(String::new()),
        Kind::Bytes => Value::Bytes(Vec::new()),
        Kind::Enum(_) => Value::Enum(0),
        Kind::Message(descriptor) => Value::Message(Message::empty(&descriptor, None)),
    }
}

/// Reads a value. Returns `None` if the bytes are malformed.
fn read_value(kind: &Kind, input: &mut WireInput<'_>, trail: &Trail<'_>, mistakes: &mut Mistakes) -> Option<Value> {
    if WireType::of(kind) != WireType::Length {
        return read_number(kind, input);
    }
    let content = input.content()?;
    if let Kind::Message(descriptor) = kind {
        let mut message = Message::empty(descriptor, None);
        merge_message(&mut message, content, trail, mistakes);
        return Some(Value::Message(message));
    }
    if matches!(kind, Kind::Bytes) {
        return Some(Value::Bytes(content.to_vec()));
    }
    let text = String::from_utf8_lossy(content);
    if matches!(text, Cow::Owned(_)) {
        mistakes.note(trail, None, "is not UTF-8");
    }
    Some(Value::Text(text.into_owned()))
}

/// Reads a value that is neither a text nor bytes nor a message.
fn read_number(kind: &Kind, input: &mut WireInput<'_>) -> Option<Value> {
    Some(match kind {
        Kind::Bool => Value::Bool(input.varint()? != 0),
        Kind::Int32 => Value::Int(low_half(input.varint()?).cast_signed().into()),
        Kind::Int64 => Value::Int(input.varint()?.cast_signed()),
        Kind::Uint32 => Value::Uint(low_half(input.varint()?).into()),
        Kind::Uint64 => Value::Uint(input.varint()?),
        Kind::Sint32 => Value::Int(unfold(low_half(input.varint()?).into())),
        Kind::Sint64 => Value::Int(unfold(input.varint()?)),
        Kind::Enum(_) => Value::Enum(low_half(input.varint()?).cast_signed()),
        Kind::Fixed32 => Value::Uint(u32::from_le_bytes(input.fixed()?).into()),
        Kind::Fixed64 => Value::Uint(u64::from_le_bytes(input.fixed()?)),
        Kind::Sfixed32 => Value::Int(i32::from_le_bytes(input.fixed()?).into()),
        Kind::Sfixed64 => Value::Int(i64::from_le_bytes(input.fixed()?)),
        Kind::Float => Value::Double(f32::from_le_bytes(input.fixed()?).into()),
        Kind::Double => Value::Double(f64::from_le_bytes(input.fixed()?)),
        Kind::String | Kind::Bytes | Kind::Message(_) => return None,
    })
}

fn low_half(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).unwrap_or_default()
}

/// Returns the number with a sign that was written as one without.
fn unfold(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// Puts the entries of all maps into the order of their keys. Of equal keys the last one counts.
fn sort_maps(message: &mut Message) {
    for field in &mut message.fields {
        match &mut field.value {
            FieldValue::One(value) => sort_maps_below(value),
            FieldValue::List(values) => values.iter_mut().for_each(sort_maps_below),
            FieldValue::Map(entries) => {
                entries.reverse();
                entries.sort_by(|(one, _), (other, _)| one.cmp(other));
                entries.dedup_by(|(earlier, _), (last, _)| earlier == last);
                for (_, value) in entries {
                    sort_maps_below(value);
                }
            }
        }
    }
}

fn sort_maps_below(value: &mut Value) {
    if let Value::Message(message) = value {
        sort_maps(message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use crate::message::{descriptor, from_json, to_bytes};

    const BACKEND: &str = "buildbarn.configuration.blobstore.BlobAccessConfiguration";

    fn read(bytes: &[u8], name: &str) -> (Message, Vec<String>) {
        let (message, faults) = from_bytes(bytes, &descriptor(name).unwrap());
        (message, faults.into_iter().map(|(_, fault)| fault.to_string()).collect())
    }

    fn bytes_of(text: &str, name: &str) -> Vec<u8> {
        let json = json::parse(text, "").unwrap();
        let (message, faults) = from_json(&json, &descriptor(name).unwrap());
        assert_eq!(faults, []);
        to_bytes(&message)
    }

    #[test]
    fn the_bytes_of_a_message_are_read_as_it() {
        let text = r#"{"sharding": {"shards": {
            "b": {"weight": 4294967295, "backend": {"error": {"code": -1, "message": "é", "details": [
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "-1.5s"}
            ]}}},
            "a": {"backend": {"actionResultExpiring": {"minimumTimestamp": "1969-12-31T23:59:59.5Z"}}}
        }}}"#;
        let bytes = bytes_of(text, BACKEND);
        let (message, faults) = read(&bytes, BACKEND);
        assert_eq!(faults, [""; 0]);
        assert_eq!(to_bytes(&message), bytes);
        assert!(format!("{message:?}").contains("4294967295"));
    }

    #[test]
    fn later_bytes_are_merged() {
        let parts = [
            r#"{"withLabels": {"backend": {"label": "x"}, "labels": {"a": {"label": "x"}}}}"#,
            r#"{"withLabels": {"backend": {"grpc": {"client": {"address": "b"}}}, "labels": {"b": {"label": "y"}}}}"#,
            r#"{"withLabels": {"backend": {"grpc": {"client": {"addMetadata": [{"header": "m"}]}}}, "labels": {"a": {}}}}"#,
            r#"{"withLabels": {"backend": {"grpc": {"client": {"addMetadata": [{"header": "n"}]}}}}}"#,
        ];
        let whole = r#"{"withLabels": {
            "backend": {"grpc": {"client": {"address": "b", "addMetadata": [{"header": "m"}, {"header": "n"}]}}},
            "labels": {"a": {}, "b": {"label": "y"}}
        }}"#;
        let bytes: Vec<u8> = parts.iter().flat_map(|part| bytes_of(part, BACKEND)).collect();
        let (message, faults) = read(&bytes, BACKEND);
        assert_eq!(faults, [""; 0]);
        assert_eq!(to_bytes(&message), bytes_of(whole, BACKEND));
    }

    #[test]
    fn lists_of_numbers_are_packed_or_not() {
        let name = "buildbarn.configuration.bb_storage.ApplicationConfiguration";
        // The field 20 is a list of values of an enumeration.
        let (message, faults) = read(&[0xa0, 1, 1, 0xa2, 1, 2, 2, 3, 0xa0, 1, 4], name);
        assert_eq!(faults, [""; 0]);
        let Some(FieldValue::List(values)) = message.field("supported_compressors").map(|field| &field.value) else {
            panic!("no list");
        };
        assert_eq!(format!("{values:?}"), "[Enum(1), Enum(2), Enum(3), Enum(4)]");
    }

    #[test]
    fn a_value_that_is_the_default_unsets_a_field() {
        let name = "buildbarn.configuration.grpc.ClientConfiguration";
        assert!(read(&[0x0a, 1, b'a', 0x0a, 0], name).0.field("address").is_none());
    }

    #[test]
    fn mistakes_are_told_by_their_paths() {
        let client = "buildbarn.configuration.grpc.ClientConfiguration";
        for (bytes, name, faults) in [
            (&[0xf8, 0x07, 1][..], client, "the number 127 is not that of a field of ClientConfiguration"),
            (&[0x08, 1], client, "address: is a value of another type"),
            (&[0x0a, 1, 0xff], client, "address: is not UTF-8"),
            (&[0x0a, 2, 1], client, "is not the bytes of a message"),
            (&[0x0b], client, "is not the bytes of a message"),
            (&[0x0f], client, "is not the bytes of a message"),
            (&[0x80], client, "is not the bytes of a message"),
            (
                &[0x1a, 3, 0xf8, 0x07, 1],
                client,
                "keepalive: the number 127 is not that of a field of ClientKeepaliveConfiguration",
            ),
        ] {
            assert_eq!(read(bytes, name).1, [faults], "{bytes:x?}");
        }
    }

    #[test]
    fn depth_has_a_bound() {
        let descriptor = descriptor("google.protobuf.ListValue").unwrap();
        let nest = |depth| {
            // A list of one value that is a list.
            let mut bytes = Vec::new();
            for _ in 0..depth {
                let mut value = vec![0x32];
                value.extend(length(bytes.len()));
                value.append(&mut bytes);
                bytes = vec![0x0a];
                bytes.extend(length(value.len()));
                bytes.append(&mut value);
            }
            bytes
        };
        assert_eq!(from_bytes(&nest(249), &descriptor).1, []);
        let (_, faults) = from_bytes(&nest(20_000), &descriptor);
        assert_eq!(faults.len(), 1);
        assert!(faults[0].1.message.contains("500 messages"));
    }

    fn length(length: usize) -> Vec<u8> {
        let (mut length, mut bytes) = (length, Vec::new());
        while length >= 0x80 {
            bytes.push(u8::try_from(length % 0x80).unwrap() | 0x80);
            length /= 0x80;
        }
        bytes.push(u8::try_from(length).unwrap());
        bytes
    }
}
