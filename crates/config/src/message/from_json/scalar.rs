//! Values that are not messages, and keys of maps.

use prost_reflect::{EnumDescriptor, Kind};

use super::super::mistakes::Mistakes;
use super::super::trail::Trail;
use super::super::{MapKey, Value};
use super::base64::decode_base64;
use super::number::{parse_double, parse_float, parse_int, parse_uint};
use super::object::note_kind;
use super::spelling::note_unknown_value;
use crate::json::{JsonField, JsonKind, JsonValue};

/// Reads a value of the type `kind`, which is not a message.
pub(super) fn read_scalar(json: &JsonValue, kind: &Kind, trail: &Trail<'_>, mistakes: &mut Mistakes) -> Option<Value> {
    if let Kind::Enum(descriptor) = kind {
        return read_enum(json, descriptor, trail, mistakes);
    }
    let value = match (&json.kind, kind) {
        (JsonKind::Bool(flag), Kind::Bool) => Some(Value::Bool(*flag)),
        (JsonKind::Text(text), Kind::String) => Some(Value::Text(text.clone())),
        (JsonKind::Text(text), Kind::Bytes) => decode_base64(text).map(Value::Bytes),
        (JsonKind::Text(text) | JsonKind::Number(text), _) => read_number(text, json, kind),
        _ => None,
    };
    if value.is_none() {
        note_scalar(json, kind, trail, mistakes);
    }
    value
}

fn read_number(text: &str, json: &JsonValue, kind: &Kind) -> Option<Value> {
    let is_text = matches!(json.kind, JsonKind::Text(_));
    match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            parse_int(text).filter(|number| i32::try_from(*number).is_ok()).map(Value::Int)
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => parse_int(text).map(Value::Int),
        Kind::Uint32 | Kind::Fixed32 => {
            parse_uint(text).filter(|number| u32::try_from(*number).is_ok()).map(Value::Uint)
        }
        Kind::Uint64 | Kind::Fixed64 => parse_uint(text).map(Value::Uint),
        Kind::Float => parse_float(text, is_text).map(Value::Double),
        Kind::Double => parse_double(text, is_text).map(Value::Double),
        Kind::Bool | Kind::String | Kind::Bytes | Kind::Message(_) | Kind::Enum(_) => None,
    }
}

fn note_scalar(json: &JsonValue, kind: &Kind, trail: &Trail<'_>, mistakes: &mut Mistakes) {
    if matches!((&json.kind, kind), (JsonKind::Text(_), Kind::Bytes)) {
        // The text may be a secret.
        mistakes.note(trail, json.position.as_ref(), "must be bytes in base64");
        return;
    }
    let expected = describe_kind(kind);
    note_kind(expected, json, trail, mistakes);
}

fn describe_kind(kind: &Kind) -> &'static str {
    match kind {
        Kind::Bool => "true or false",
        Kind::String => "a text",
        Kind::Bytes => "a text with bytes in base64",
        Kind::Float | Kind::Double => "a number",
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "a whole number of 32 bits",
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "a whole number of 64 bits",
        Kind::Uint32 | Kind::Fixed32 => "a whole number of 32 bits without a sign",
        Kind::Uint64 | Kind::Fixed64 => "a whole number of 64 bits without a sign",
        Kind::Message(_) => "an object",
        Kind::Enum(_) => "the name of a value",
    }
}

fn read_enum(
    json: &JsonValue,
    descriptor: &EnumDescriptor,
    trail: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<Value> {
    let number = match &json.kind {
        JsonKind::Text(name) => descriptor.get_value_by_name(name).map(|value| value.number()),
        JsonKind::Number(text) => parse_int(text).and_then(|number| i32::try_from(number).ok()),
        JsonKind::Null if descriptor.full_name() == "google.protobuf.NullValue" => Some(0),
        JsonKind::Null | JsonKind::Bool(_) | JsonKind::List(_) | JsonKind::Object(_) => None,
    };
    if number.is_none() {
        let name = if let JsonKind::Text(name) = &json.kind { Some(name.as_str()) } else { None };
        note_unknown_value(json, name, descriptor, trail, mistakes);
    }
    number.map(Value::Enum)
}

/// Reads the key of an entry of a map.
pub(super) fn read_key(json: &JsonField, kind: &Kind, trail: &Trail<'_>, mistakes: &mut Mistakes) -> Option<MapKey> {
    let name = &json.name;
    // Plain digits, unlike in values, but with leading zeros.
    let unsigned = || Some(name).filter(|name| name.bytes().all(|digit| digit.is_ascii_digit()));
    let key = match kind {
        Kind::String => Some(MapKey::Text(name.clone())),
        Kind::Bool => name.parse().ok().map(MapKey::Bool),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => name.parse::<i32>().ok().map(|key| MapKey::Int(key.into())),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => name.parse().ok().map(MapKey::Int),
        Kind::Uint32 | Kind::Fixed32 => {
            unsigned().and_then(|name| name.parse::<u32>().ok()).map(|key| MapKey::Uint(key.into()))
        }
        Kind::Uint64 | Kind::Fixed64 => unsigned().and_then(|name| name.parse().ok()).map(MapKey::Uint),
        Kind::Float | Kind::Double | Kind::Bytes | Kind::Message(_) | Kind::Enum(_) => None,
    };
    if key.is_none() {
        let message = format!("the key must be {}", describe_kind(kind));
        mistakes.note(trail, json.position.as_ref(), message);
    }
    key
}
