//! Messages, and their fields.
//!
//! Each level of a document takes several calls here. Whatever makes a fault is a function of its own, so that these
//! take little stack.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};

use super::super::mistakes::Mistakes;
use super::super::trail::Trail;
use super::super::{FieldValue, MAX_DEPTH, MapKey, Message, Value};
use super::{any, describe, duration, scalar, spelling, structure, timestamp};
use crate::json::{JsonField, JsonKind, JsonValue};

/// Reads a message. Returns `None` if the value is of the wrong kind.
pub(super) fn read_message(
    json: &JsonValue,
    descriptor: &MessageDescriptor,
    trail: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<Message> {
    let Some(trail) = &trail.message() else {
        note_depth(json, trail, mistakes);
        return None;
    };
    match descriptor.full_name() {
        "google.protobuf.Any" => any::read_any(json, descriptor, trail, mistakes),
        "google.protobuf.Duration" => duration::read_duration(json, descriptor, trail, mistakes),
        "google.protobuf.Timestamp" => timestamp::read_timestamp(json, descriptor, trail, mistakes),
        "google.protobuf.Struct" => structure::read_struct(json, descriptor, trail, mistakes),
        "google.protobuf.ListValue" => structure::read_list_value(json, descriptor, trail, mistakes),
        "google.protobuf.Value" => structure::read_value(json, descriptor, trail, mistakes),
        name if is_wrapper(name) => structure::read_wrapper(json, descriptor, trail, mistakes),
        _ => read_object(json, descriptor, trail, mistakes, &[]),
    }
}

fn is_wrapper(name: &str) -> bool {
    let wrapped = name.strip_prefix("google.protobuf.").and_then(|name| name.strip_suffix("Value"));
    let types = ["Bool", "Int32", "Int64", "UInt32", "UInt64", "Float", "Double", "String", "Bytes"];
    wrapped.is_some_and(|wrapped| types.contains(&wrapped))
}

/// Returns whether the JSON of a message is not that of its fields.
pub(super) fn is_well_known(descriptor: &MessageDescriptor) -> bool {
    let names = ["Any", "Duration", "Empty", "ListValue", "Struct", "Timestamp", "Value"];
    let is_listed = descriptor.package_name() == "google.protobuf" && names.contains(&descriptor.name());
    is_listed || is_wrapper(descriptor.full_name())
}

/// Reads a message from the fields of an object, but for those with the names `skipped`.
pub(super) fn read_object(
    json: &JsonValue,
    descriptor: &MessageDescriptor,
    trail: &Trail<'_>,
    mistakes: &mut Mistakes,
    skipped: &[&str],
) -> Option<Message> {
    let JsonKind::Object(fields) = &json.kind else {
        note_kind("an object", json, trail, mistakes);
        return None;
    };
    let mut message = Message::empty(descriptor, json.position.clone());
    let mut known = KnownFields::default();
    for json in fields {
        if skipped.contains(&json.name.as_str()) {
            continue;
        }
        let Some(field) = spelling::find_field(descriptor, &json.name) else {
            spelling::note_unknown_field(json, descriptor, trail, mistakes);
            continue;
        };
        if !known.admit(&field, json, trail, mistakes) {
            continue;
        }
        let value = read_field(&json.value, &field, &trail.field(field.json_name()), mistakes);
        if let Some(value) = value.filter(|value| is_kept(&field, value)) {
            message.set(field, value, json.position.clone());
        }
    }
    Some(message)
}

/// The fields and oneofs that an object has set.
#[derive(Default)]
struct KnownFields<'j> {
    numbers: Vec<(u32, &'j str)>,
    oneofs: Vec<(String, &'j str)>,
}

impl<'j> KnownFields<'j> {
    /// Returns whether a field is to be read: it is neither null nor set before.
    fn admit(
        &mut self,
        field: &FieldDescriptor,
        json: &'j JsonField,
        trail: &Trail<'_>,
        mistakes: &mut Mistakes,
    ) -> bool {
        if let Some((_, before)) = self.numbers.iter().find(|(number, _)| *number == field.number()) {
            let message = if *before == json.name {
                "is set twice".to_owned()
            } else {
                format!("is set twice, as {before} and as {}", json.name)
            };
            mistakes.note(&trail.field(field.json_name()), json.position.as_ref(), message);
            return false;
        }
        self.numbers.push((field.number(), &json.name));
        if matches!(json.value.kind, JsonKind::Null) && !takes_null(&field.kind()) {
            return false;
        }
        let Some(oneof) = field.containing_oneof() else { return true };
        if let Some((_, before)) = self.oneofs.iter().find(|(name, _)| name == oneof.name()) {
            let message = format!("cannot be set together with {before}");
            mistakes.note(&trail.field(field.json_name()), json.position.as_ref(), message);
            return false;
        }
        self.oneofs.push((oneof.name().to_owned(), &json.name));
        true
    }
}

/// Returns whether null is a value of its own, and does not mean that the field is not set.
fn takes_null(kind: &Kind) -> bool {
    let message = kind.as_message().map(MessageDescriptor::full_name);
    let enumeration = kind.as_enum().map(EnumDescriptor::full_name);
    message == Some("google.protobuf.Value") || enumeration == Some("google.protobuf.NullValue")
}

/// Returns whether a field with this value is set: without presence, the default is the same as nothing.
fn is_kept(field: &FieldDescriptor, value: &FieldValue) -> bool {
    match value {
        FieldValue::One(value) => field.supports_presence() || !value.is_default(),
        FieldValue::List(values) => !values.is_empty(),
        FieldValue::Map(entries) => !entries.is_empty(),
    }
}

pub(super) fn read_field(
    json: &JsonValue,
    field: &FieldDescriptor,
    trail: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<FieldValue> {
    if field.is_map() {
        read_map(json, field, trail, mistakes)
    } else if field.is_list() {
        read_list(json, field, trail, mistakes)
    } else {
        read_one(json, &field.kind(), trail, mistakes).map(FieldValue::One)
    }
}

fn read_one(json: &JsonValue, kind: &Kind, trail: &Trail<'_>, mistakes: &mut Mistakes) -> Option<Value> {
    if let Kind::Message(descriptor) = kind {
        read_message(json, descriptor, trail, mistakes).map(Value::Message)
    } else {
        scalar::read_scalar(json, kind, trail, mistakes)
    }
}

fn read_list(
    json: &JsonValue,
    field: &FieldDescriptor,
    trail: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<FieldValue> {
    let JsonKind::List(elements) = &json.kind else {
        note_kind("a list", json, trail, mistakes);
        return None;
    };
    let kind = field.kind();
    let mut values = Vec::with_capacity(elements.len());
    for (index, element) in elements.iter().enumerate() {
        values.extend(read_one(element, &kind, &trail.index(index), mistakes));
    }
    Some(FieldValue::List(values))
}

fn read_map(
    json: &JsonValue,
    field: &FieldDescriptor,
    trail: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<FieldValue> {
    let JsonKind::Object(fields) = &json.kind else {
        note_kind("an object", json, trail, mistakes);
        return None;
    };
    let Kind::Message(entry) = field.kind() else { return None };
    let key_kind = entry.map_entry_key_field().kind();
    let value_kind = entry.map_entry_value_field().kind();
    let mut entries: BTreeMap<MapKey, Option<Value>> = BTreeMap::new();
    for json in fields {
        let trail = trail.key(&json.name);
        let Some(key) = scalar::read_key(json, &key_kind, &trail, mistakes) else { continue };
        match entries.entry(key) {
            Entry::Vacant(entry) => drop(entry.insert(read_one(&json.value, &value_kind, &trail, mistakes))),
            Entry::Occupied(_) => mistakes.note(&trail, json.position.as_ref(), "is set twice"),
        }
    }
    let entries = entries.into_iter().filter_map(|(key, value)| Some((key, value?)));
    Some(FieldValue::Map(entries.collect()))
}

fn note_depth(json: &JsonValue, trail: &Trail<'_>, mistakes: &mut Mistakes) {
    let message = format!("more than {MAX_DEPTH} messages lie in each other");
    mistakes.note(trail, json.position.as_ref(), message);
}

/// Notes that a value is of another kind than the field.
pub(super) fn note_kind(expected: &str, json: &JsonValue, trail: &Trail<'_>, mistakes: &mut Mistakes) {
    let message = format!("must be {expected}, not {}", describe(json));
    mistakes.note(trail, json.position.as_ref(), message);
}
