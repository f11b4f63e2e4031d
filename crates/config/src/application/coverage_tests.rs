//! The page that says of each field of a configuration whether it is done, found out by setting each of them.

#![expect(clippy::wildcard_enum_match_arm, reason = "the types of numbers have the same sample")]

use std::collections::{HashSet, VecDeque};
use std::fmt::Write as _;
use std::path::Path;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::{APPLICATION, STORES, read, read_max_message_bytes};
use crate::message::{FieldValue, Message, Value as MessageValue, descriptor};
use crate::section::Section;
use crate::{Document, Faults, Registry};

/// The page, from here on.
const HEADING: &str = "\n## The fields\n";

/// Returns the key of the one entry of a map.
fn key_of(field: &FieldDescriptor) -> &'static str {
    if field.name() == "set_resource_limits" { "NOFILE" } else { "a" }
}

/// The fate of a field that is set, best first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Done,
    NoEffect(String),
    Refused(String),
}

/// A message within an application's configuration, by the fields that lead to it.
type Place = Vec<FieldDescriptor>;

/// Returns a value that a field may have, as far as its type says.
fn sample(field: &FieldDescriptor) -> Value {
    let one = match field.kind() {
        Kind::Bool => json!(true),
        Kind::String => json!("x"),
        Kind::Bytes => json!("eA=="),
        Kind::Enum(of) => json!(of.values().nth(1).map_or(0, |value| value.number())),
        Kind::Float | Kind::Double => json!(0.5),
        Kind::Message(of) if field.is_map() => sample(&of.map_entry_value_field()),
        Kind::Message(of) => match of.full_name() {
            "google.protobuf.Duration" => json!("60s"),
            "google.protobuf.Timestamp" => json!("2020-01-01T00:00:00Z"),
            name if name.ends_with("Value") && name.starts_with("google.protobuf.") => json!(1),
            _ => json!({}),
        },
        _ => json!(100_000),
    };
    wrapped(field, one)
}

/// Returns a value as a field has it: in a list or a map if it is one.
fn wrapped(field: &FieldDescriptor, value: Value) -> Value {
    if field.is_map() {
        json!({ key_of(field): value })
    } else if field.is_list() {
        json!([value])
    } else {
        value
    }
}

/// Returns the type of the messages of a field, if it has any of Buildbarn's.
fn message_of(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    let kind = match field.kind() {
        Kind::Message(entry) if field.is_map() => entry.map_entry_value_field().kind(),
        kind => kind,
    };
    kind.as_message().filter(|of| of.full_name().starts_with("buildbarn.")).cloned()
}

/// Returns the path of a field by its names in JSON.
fn path_of(place: &[FieldDescriptor]) -> String {
    let mut path = String::new();
    for (index, field) in place.iter().enumerate() {
        let dot = if index == 0 { "" } else { "." };
        write!(path, "{dot}{}", field.json_name()).unwrap();
        if index + 1 < place.len() {
            match field {
                field if field.is_map() => write!(path, "[{:?}]", key_of(field)).unwrap(),
                field if field.is_list() => path.push_str("[0]"),
                _ => {}
            }
        }
    }
    path
}

/// Makes a configuration with the last of these fields, and what else its message needs to be read on.
fn document_of(place: &[FieldDescriptor]) -> Value {
    let (last, before) = place.split_last().unwrap();
    let mut fields = Map::new();
    for (name, value) in companions(last.parent_message().name()) {
        let other = last.parent_message().get_field_by_json_name(name).unwrap();
        let is_alternative = other.containing_oneof().is_some() && other.containing_oneof() == last.containing_oneof();
        if !is_alternative {
            fields.insert(name.to_owned(), value);
        }
    }
    fields.insert(last.json_name().to_owned(), sample(last));
    let mut document = Value::Object(fields);
    for field in before.iter().rev() {
        document = json!({ field.json_name(): wrapped(field, document) });
    }
    document
}

/// Returns the fields without which the rest of a message is not looked at.
fn companions(message: &str) -> Vec<(&'static str, Value)> {
    match message {
        "ApplicationConfiguration" => vec![("schedulers", json!({ "a": {} }))],
        "BlocksOnBlockDevice" => vec![("source", json!({ "file": { "path": "/x", "sizeBytes": 1 << 30 } }))],
        _ => Vec::new(),
    }
}

/// Returns whether somebody has asked for the field at the end of the path.
fn was_read(message: &Message, place: &[FieldDescriptor]) -> bool {
    let Some((first, rest)) = place.split_first() else { return true };
    let Some(field) = message.field(first.name()) else { return false };
    if rest.is_empty() || !field.was_read.get() {
        return field.was_read.get();
    }
    let value = match &field.value {
        FieldValue::One(value) => Some(value),
        FieldValue::List(values) => values.first(),
        FieldValue::Map(entries) => entries.first().map(|(_, value)| value),
    };
    matches!(value, Some(MessageValue::Message(message)) if was_read(message, rest))
}

/// Reads a configuration with the last of these fields, and returns what becomes of it.
fn try_out(place: &[FieldDescriptor]) -> Fate {
    let (path, document) = (path_of(place), document_of(place));
    let document = Document::from_json(&document.to_string(), "coverage.json").unwrap();
    let (message, reading) = document.read_as(APPLICATION).unwrap();
    let registry = Registry::new();
    let root = Section::root(&message, &reading);
    drop(read(&root, &registry, read_max_message_bytes(&root)));
    drop(root);
    let is_read = was_read(&message, place);
    let is_here = |other: &str| other.strip_prefix(&path).is_some_and(|rest| rest.is_empty() || rest.starts_with('['));
    for notice in reading.notices_so_far() {
        if is_here(&notice.path) && notice.message.starts_with("has no effect") {
            let reason = notice.message.trim_start_matches("has no effect").trim_start_matches([':', ',', ' ']);
            return Fate::NoEffect(reason.to_owned());
        }
    }
    let faults = reading.finish(&message).err();
    for fault in faults.iter().flat_map(Faults::as_slice) {
        if is_here(&fault.path) && fault.message.starts_with("is not supported") {
            let reason = fault.message.trim_start_matches("is not supported").trim_start_matches([':', ' ']);
            return Fate::Refused(reason.to_owned());
        }
    }
    if is_read { Fate::Done } else { Fate::Refused("nobody reads it".to_owned()) }
}

/// Returns the best fate of a field in stores of all kinds.
fn fate_of(place: &[FieldDescriptor]) -> Fate {
    let first = &place[0];
    if STORES.iter().all(|(field, _)| *field != first.name()) {
        return try_out(place);
    }
    let root = first.parent_message();
    let fates = STORES.iter().filter_map(|(field, _)| {
        let mut place = place.to_vec();
        // The messages of stores differ in their authorizers.
        place[0] = root.get_field_by_name(field)?;
        let Some(Kind::Message(store)) = Some(place[0].kind()) else { return None };
        if let Some(second) = place.get(1).map(|field| field.name().to_owned()) {
            place[1] = store.get_field_by_name(&second)?;
        }
        Some(try_out(&place))
    });
    fates.min().unwrap()
}

/// Writes the fields of all messages that can be reached.
fn page() -> String {
    let mut page = HEADING.to_owned();
    let root = descriptor(APPLICATION).unwrap();
    let mut seen = HashSet::from([root.full_name().to_owned()]);
    let mut waiting = VecDeque::from([(root, Place::new())]);
    while let Some((message, place)) = waiting.pop_front() {
        let name = message.full_name().trim_start_matches("buildbarn.configuration.");
        let mut rows = String::new();
        for field in message.fields() {
            let mut place = place.clone();
            place.push(field.clone());
            let fate = fate_of(&place);
            let text = match &fate {
                Fate::Done => "done".to_owned(),
                Fate::NoEffect(reason) => format!("no effect: {reason}"),
                Fate::Refused(reason) => format!("refused: {reason}"),
            };
            writeln!(rows, "| `{}` | {text} |", field.json_name()).unwrap();
            if let (Some(of), Fate::Done) = (message_of(&field), fate)
                && seen.insert(of.full_name().to_owned())
            {
                waiting.push_back((of, place));
            }
        }
        if !rows.is_empty() {
            write!(page, "\n### `{name}`\n\n| field | here |\n|---|---|\n{rows}").unwrap();
        }
    }
    page
}

#[test]
fn the_page_says_of_each_field_what_becomes_of_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/coverage/configuration.md");
    let written = std::fs::read_to_string(&path).unwrap();
    let (introduction, _) = written.split_once(HEADING).unwrap();
    let found = format!("{introduction}{}", page());
    if std::env::var_os("BLOBACCESS_WRITE_COVERAGE").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    assert!(
        written == found,
        "docs/coverage/configuration.md is not as the reader is: run with BLOBACCESS_WRITE_COVERAGE=1"
    );
}
