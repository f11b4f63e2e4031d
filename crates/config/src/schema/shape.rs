//! The shapes of values that are not objects of fields.

use prost_reflect::{EnumDescriptor, Kind};
use serde_json::{Value, json};

/// A number of JSON in quotation marks.
const NUMBER: &str = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$";
const DURATION: &str = r"^[+-]?((0|[1-9][0-9]{0,11})(\.[0-9]{0,9})?|\.[0-9]{0,9})s$";
const TIME: &str = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{1,2}:[0-9]{2}:[0-9]{2}([.,][0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})$";

/// Returns the shape of the values of a type, or `None` if they are objects of the fields of a message.
pub(super) fn shape_of(kind: &Kind) -> Option<Value> {
    Some(match kind {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::String => json!({ "type": "string" }),
        Kind::Bytes => json!({ "type": "string", "pattern": "^[A-Za-z0-9+/_\r\n-]*={0,2}[\r\n]*$" }),
        Kind::Float | Kind::Double => shape_of_double(),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => shape_of_int(&i32::MIN.into(), &i32::MAX.into()),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => shape_of_int(&i64::MIN.into(), &i64::MAX.into()),
        Kind::Uint32 | Kind::Fixed32 => shape_of_int(&0.into(), &u32::MAX.into()),
        Kind::Uint64 | Kind::Fixed64 => shape_of_int(&0.into(), &u64::MAX.into()),
        Kind::Enum(descriptor) => shape_of_enum(descriptor),
        Kind::Message(descriptor) => return shape_of_well_known(descriptor.full_name()),
    })
}

fn shape_of_int(least: &Value, most: &Value) -> Value {
    let number = json!({ "type": "integer", "minimum": least, "maximum": most });
    json!({ "anyOf": [number, { "type": "string", "pattern": NUMBER }] })
}

fn shape_of_double() -> Value {
    let odd = json!({ "enum": ["NaN", "Infinity", "-Infinity"] });
    json!({ "anyOf": [{ "type": "number" }, odd, { "type": "string", "pattern": NUMBER }] })
}

fn shape_of_enum(descriptor: &EnumDescriptor) -> Value {
    let names: Vec<String> = descriptor.values().map(|value| value.name().to_owned()).collect();
    json!({ "anyOf": [{ "enum": names }, { "type": "integer", "minimum": i32::MIN, "maximum": i32::MAX }] })
}

fn shape_of_well_known(name: &str) -> Option<Value> {
    Some(match name.strip_prefix("google.protobuf.")? {
        "Duration" => json!({ "type": "string", "pattern": DURATION, "examples": ["300s"] }),
        "Timestamp" => json!({ "type": "string", "pattern": TIME, "examples": ["2026-11-30T12:00:00Z"] }),
        "Struct" => json!({ "type": "object" }),
        "ListValue" => json!({ "type": "array" }),
        "Value" => json!({}),
        "Empty" => json!({ "type": "object", "maxProperties": 0 }),
        "Any" => json!({
            "type": "object",
            "properties": { "@type": { "type": "string", "minLength": 1 } },
            "anyOf": [{ "required": ["@type"] }, { "maxProperties": 0 }],
        }),
        "BoolValue" => shape_of(&Kind::Bool)?,
        "StringValue" => shape_of(&Kind::String)?,
        "BytesValue" => shape_of(&Kind::Bytes)?,
        "FloatValue" | "DoubleValue" => shape_of_double(),
        "Int32Value" => shape_of(&Kind::Int32)?,
        "Int64Value" => shape_of(&Kind::Int64)?,
        "UInt32Value" => shape_of(&Kind::Uint32)?,
        "UInt64Value" => shape_of(&Kind::Uint64)?,
        _ => return None,
    })
}

/// Returns the shape of the keys of a map.
pub(super) fn shape_of_key(kind: &Kind) -> Value {
    match kind {
        Kind::Bool => json!({ "enum": ["true", "false"] }),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 | Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            json!({ "pattern": "^[+-]?[0-9]+$" })
        }
        Kind::Uint32 | Kind::Fixed32 | Kind::Uint64 | Kind::Fixed64 => json!({ "pattern": "^[0-9]+$" }),
        Kind::String | Kind::Bytes | Kind::Float | Kind::Double | Kind::Enum(_) | Kind::Message(_) => json!({}),
    }
}
