//! A JSON schema of configurations, for editors.

mod descriptions;
mod shape;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, OneofDescriptor};
use serde_json::{Map, Value, json};

use self::descriptions::describe;
use self::shape::{shape_of, shape_of_key};
use crate::message;

/// Returns a JSON schema (draft 2020-12) of the message with the full name `message`, with which editors complete and check
/// a configuration while it is written; `None` if there is no such message.
///
/// The schema has both spellings of each field, of which an object may have one. It allows what
/// [`Document::from_json`](crate::Document::from_json) takes: numbers also as texts, `null` for a field that is not set, and
/// one member of each oneof. What fields mean together is not in it, so that a file that it allows may still have faults.
///
/// # Examples
///
/// ```
/// use blobaccess_config::json_schema;
///
/// let schema = json_schema("buildbarn.configuration.bb_storage.ApplicationConfiguration").unwrap();
/// assert!(schema.contains("\"contentAddressableStorage\""));
/// assert!(json_schema("buildbarn.configuration.blobstore.BlobAccessConfiguration").is_some());
/// assert!(json_schema("example.Unknown").is_none());
/// ```
#[must_use]
pub fn json_schema(message: &str) -> Option<String> {
    let root = message::descriptor(message)?;
    let (mut definitions, mut known) = (Map::new(), BTreeSet::from([root.full_name().to_owned()]));
    let mut due = vec![root.clone()];
    while let Some(descriptor) = due.pop() {
        definitions.insert(descriptor.full_name().to_owned(), define_message(&descriptor));
        for below in descriptor.fields().filter_map(|field| message_of(&field)) {
            if known.insert(below.full_name().to_owned()) {
                due.push(below);
            }
        }
    }
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": root.full_name(),
        "$ref": reference_to(&root),
        "$defs": definitions,
    });
    Some(format!("{schema:#}\n"))
}

/// Returns the message in a field that has a definition of its own.
fn message_of(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    let kind = field.kind();
    let descriptor = kind.as_message()?;
    if field.is_map() {
        return message_of(&descriptor.map_entry_value_field());
    }
    shape_of(&kind).is_none().then(|| descriptor.clone())
}

fn reference_to(descriptor: &MessageDescriptor) -> String {
    format!("#/$defs/{}", descriptor.full_name())
}

fn define_message(descriptor: &MessageDescriptor) -> Value {
    let (mut properties, mut rules) = (Map::new(), Vec::new());
    for field in descriptor.fields() {
        let (name, other) = (field.json_name(), field.name());
        properties.insert(name.to_owned(), define_field(&field));
        if name != other {
            let first = format!("{}/properties/{name}", reference_to(descriptor));
            properties.insert(other.to_owned(), json!({ "$ref": first }));
            rules.push(json!({ "not": { "required": [name, other] } }));
        }
    }
    rules.extend(descriptor.oneofs().filter_map(|oneof| define_oneof(&oneof)));
    let mut definition = Map::new();
    definition.insert("title".to_owned(), descriptor.name().into());
    definition.extend(describe(descriptor.full_name()).map(|text| ("description".to_owned(), text.into())));
    definition.insert("type".to_owned(), "object".into());
    definition.insert("properties".to_owned(), properties.into());
    definition.insert("additionalProperties".to_owned(), false.into());
    if !rules.is_empty() {
        definition.insert("allOf".to_owned(), rules.into());
    }
    definition.into()
}

fn define_field(field: &FieldDescriptor) -> Value {
    let kind = field.kind();
    let shape = if let (true, Some(entry)) = (field.is_map(), kind.as_message()) {
        json!({
            "type": "object",
            "propertyNames": shape_of_key(&entry.map_entry_key_field().kind()),
            "additionalProperties": define_value(&entry.map_entry_value_field().kind()),
        })
    } else if field.is_list() {
        json!({ "type": "array", "items": define_value(&kind) })
    } else {
        define_value(&kind)
    };
    let mut definition = Map::new();
    definition.extend(describe(field.full_name()).map(|text| ("description".to_owned(), text.into())));
    definition.insert("anyOf".to_owned(), json!([shape, { "type": "null" }]));
    definition.into()
}

/// Returns the schema of a value that is there.
fn define_value(kind: &Kind) -> Value {
    match (shape_of(kind), kind.as_message()) {
        (Some(shape), _) => shape,
        (None, Some(descriptor)) => json!({ "$ref": reference_to(descriptor) }),
        (None, None) => json!({}),
    }
}

/// Returns the rule that one member of a oneof is set, or none.
fn define_oneof(oneof: &OneofDescriptor) -> Option<Value> {
    let members: Vec<Value> = oneof.fields().map(|field| define_presence(&field)).collect();
    if members.len() < 2 {
        return None;
    }
    let none = json!({ "not": { "anyOf": members.clone() } });
    Some(json!({ "oneOf": members.into_iter().chain([none]).collect::<Vec<_>>() }))
}

/// Returns the rule that a field is set, by either spelling.
fn define_presence(field: &FieldDescriptor) -> Value {
    let present = |name: &str| json!({ "required": [name], "properties": { name: { "not": { "type": "null" } } } });
    if field.name() == field.json_name() {
        present(field.name())
    } else {
        json!({ "anyOf": [present(field.json_name()), present(field.name())] })
    }
}
