//! Messages of any type, which the field `@type` names.

use prost_reflect::MessageDescriptor;

use super::super::mistakes::Mistakes;
use super::super::to_bytes::to_bytes;
use super::super::trail::Trail;
use super::super::{FieldValue, Message, Value};
use super::object::{is_well_known, note_kind, read_message, read_object};
use super::{describe, spelling};
use crate::json::{JsonField, JsonKind, JsonValue};

const TYPE: &str = "@type";

/// Reads a `google.protobuf.Any`, whose message becomes bytes.
pub(super) fn read_any(
    json: &JsonValue,
    any: &MessageDescriptor,
    trail: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<Message> {
    let JsonKind::Object(fields) = &json.kind else {
        note_kind("an object", json, trail, mistakes);
        return None;
    };
    let mut message = Message::empty(any, json.position.clone());
    if fields.is_empty() {
        return Some(message);
    }
    let url = find_type(json, fields, trail, mistakes)?;
    let name = url.rsplit_once('/').map_or(url, |(_, name)| name);
    let Some(of) = any.parent_pool().get_message_by_name(name) else {
        mistakes.note(
            &trail.field(TYPE),
            json.position.as_ref(),
            format!("{name:?} is not a message that is known here"),
        );
        return None;
    };
    // Types whose JSON is not an object of their fields have theirs in a field of its own.
    let content = if is_well_known(&of) {
        read_well_known(json, fields, &of, trail, mistakes)?
    } else {
        read_object(json, &of, trail, mistakes, &[TYPE])?
    };
    let bytes = to_bytes(&content);
    message.set(any.get_field_by_name("type_url")?, FieldValue::One(Value::Text(url.to_owned())), None);
    if !bytes.is_empty() {
        message.set(any.get_field_by_name("value")?, FieldValue::One(Value::Bytes(bytes)), None);
    }
    Some(message)
}

/// Returns the only `@type` of an object.
fn find_type<'j>(
    json: &JsonValue,
    fields: &'j [JsonField],
    trail: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<&'j str> {
    let mut types = fields.iter().filter(|field| field.name == TYPE);
    let Some(first) = types.next() else {
        mistakes.note(&trail.field(TYPE), json.position.as_ref(), "is required");
        return None;
    };
    if let Some(second) = types.next() {
        mistakes.note(&trail.field(TYPE), second.position.as_ref(), "is set twice");
        return None;
    }
    if let JsonKind::Text(url) = &first.value.kind
        && !url.is_empty()
    {
        return Some(url);
    }
    let message = format!("must be the name of a message, not {}", describe(&first.value));
    mistakes.note(&trail.field(TYPE), first.value.position.as_ref(), message);
    None
}

fn read_well_known(
    json: &JsonValue,
    fields: &[JsonField],
    descriptor: &MessageDescriptor,
    trail: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<Message> {
    let (mut content, mut is_set) = (None, false);
    for field in fields {
        match field.name.as_str() {
            TYPE => {}
            "value" if is_set => mistakes.note(&trail.field("value"), field.position.as_ref(), "is set twice"),
            "value" => {
                is_set = true;
                content = read_message(&field.value, descriptor, &trail.field("value"), mistakes);
            }
            _ => spelling::note_unknown_field(field, descriptor, trail, mistakes),
        }
    }
    if !is_set && descriptor.name() == "Empty" {
        return Some(Message::empty(descriptor, None));
    }
    if !is_set {
        mistakes.note(&trail.field("value"), json.position.as_ref(), "is required");
    }
    content
}
