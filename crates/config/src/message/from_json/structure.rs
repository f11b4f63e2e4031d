//! Well-known types that hold JSON, or one value.

use prost_reflect::{FieldDescriptor, MessageDescriptor};

use super::super::mistakes::Mistakes;
use super::super::trail::Trail;
use super::super::{FieldValue, Message, Value};
use super::number::parse_double;
use super::object::{note_kind, read_field};
use super::scalar::read_scalar;
use crate::json::{JsonKind, JsonValue};

/// Reads a `google.protobuf.Struct`.
pub(super) fn read_struct(
    json: &JsonValue,
    descriptor: &MessageDescriptor,
    trail: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<Message> {
    read_only_field(json, descriptor, trail, mistakes, "fields")
}

/// Reads a `google.protobuf.ListValue`.
pub(super) fn read_list_value(
    json: &JsonValue,
    descriptor: &MessageDescriptor,
    trail: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<Message> {
    read_only_field(json, descriptor, trail, mistakes, "values")
}

fn read_only_field(
    json: &JsonValue,
    descriptor: &MessageDescriptor,
    trail: &Trail<'_>,
    mistakes: &mut Mistakes,
    name: &str,
) -> Option<Message> {
    let field = descriptor.get_field_by_name(name)?;
    let value = read_field(json, &field, trail, mistakes)?;
    let is_empty = match &value {
        FieldValue::List(values) => values.is_empty(),
        FieldValue::Map(entries) => entries.is_empty(),
        FieldValue::One(_) => false,
    };
    let mut message = Message::empty(descriptor, json.position.clone());
    if !is_empty {
        message.set(field, value, json.position.clone());
    }
    Some(message)
}

/// Reads a `google.protobuf.Value`.
pub(super) fn read_value(
    json: &JsonValue,
    descriptor: &MessageDescriptor,
    trail: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<Message> {
    let field = |name: &str| descriptor.get_field_by_name(name);
    let (field, value) = match &json.kind {
        JsonKind::Null => (field("null_value")?, Value::Enum(0)),
        JsonKind::Bool(flag) => (field("bool_value")?, Value::Bool(*flag)),
        JsonKind::Text(text) => (field("string_value")?, Value::Text(text.clone())),
        JsonKind::Number(text) => {
            let Some(number) = parse_double(text, false) else {
                note_kind("a number of 64 bits", json, trail, mistakes);
                return None;
            };
            (field("number_value")?, Value::Double(number))
        }
        JsonKind::List(_) => read_value_below(json, field("list_value")?, trail, mistakes)?,
        JsonKind::Object(_) => read_value_below(json, field("struct_value")?, trail, mistakes)?,
    };
    let mut message = Message::empty(descriptor, json.position.clone());
    message.set(field, FieldValue::One(value), json.position.clone());
    Some(message)
}

fn read_value_below(
    json: &JsonValue,
    field: FieldDescriptor,
    trail: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<(FieldDescriptor, Value)> {
    match read_field(json, &field, trail, mistakes)? {
        FieldValue::One(value) => Some((field, value)),
        FieldValue::List(_) | FieldValue::Map(_) => None,
    }
}

/// Reads a message that wraps one value, such as `google.protobuf.UInt64Value`.
pub(super) fn read_wrapper(
    json: &JsonValue,
    descriptor: &MessageDescriptor,
    trail: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<Message> {
    let field = descriptor.get_field_by_name("value")?;
    let value = read_scalar(json, &field.kind(), trail, mistakes)?;
    let mut message = Message::empty(descriptor, json.position.clone());
    if !value.is_default() {
        message.set(field, FieldValue::One(value), json.position.clone());
    }
    Some(message)
}
