//! Generates documents, of which some are wrong.

use blobaccess_testkit::{Numbers, seed};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use crate::json::{JsonField, JsonKind, JsonValue};

const INTS: &[&str] = &["0", "1", "7", "1e3", "1.0", "2147483647", "\"5\"", "\"1e1\"", "-0", "4096", "\"0\""];
const ODD_NUMBERS: &[&str] = &[
    "-1",
    "1.5",
    "\"\"",
    "2147483648",
    "-2147483649",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e20",
    "1e400",
    "-1e-400",
    "0e99999999999",
    "\" 1\"",
    "\"+1\"",
    "\"01\"",
    "\"NaN\"",
    "\"Infinity\"",
    "9007199254740993.0",
    "12e-1",
    "100e-2",
    "0.00000000001e21",
    "\"0x1\"",
    "5e-324",
];
const DURATIONS: &[&str] = &["\"1s\"", "\"0s\"", "\"1.5s\"", "\"300s\"", "\"-3s\"", "\".5s\"", "\"3.s\"", "\"+1s\""];
const ODD_DURATIONS: &[&str] = &[
    "\"1\"",
    "\"1m\"",
    "\"03s\"",
    "\"1e3s\"",
    "\"0.0000000001s\"",
    "\"\"",
    "3",
    "\"315576000000s\"",
    "\"315576000001s\"",
    "\".s\"",
    "\"-s\"",
    "\"1.5 s\"",
    "{\"seconds\": 3}",
    "\"-0.000000001s\"",
];
const TIMES: &[&str] = &[
    "\"2026-11-30T12:00:00Z\"",
    "\"1969-12-31T23:59:59.5Z\"",
    "\"2026-11-30T1:00:00+01:00\"",
    "\"2026-11-30T12:00:00,1234567899Z\"",
    "\"9999-12-31T23:59:59Z\"",
];
const ODD_TIMES: &[&str] = &[
    "\"2026-11-30\"",
    "\"2026-02-29T00:00:00Z\"",
    "\"2026-11-30T12:00:00.1234567899Z\"",
    "\"0000-01-01T00:00:00Z\"",
    "\"2026-11-30T23:59:60Z\"",
    "5",
    "\"2026-11-30T12:00:00+24:30\"",
];
const TEXTS: &[&str] = &["\"\"", "\"a\"", "\"unix:///tmp/s\"", "\"\\u00e9\\ud83d\\ude00\\n\"", "\"é\"", "\"RED\""];
const ODD_TEXTS: &[&str] = &["\"\\ud83d\"", "\"\\x\"", "5", "true", "'a'", "\"\\u00\""];
const CONTENTS: &[&str] = &["\"\"", "\"aGVsbG8=\"", "\"aGVsbG8\"", "\"-_-_\"", "\"+/+/\"", "\"aG==\""];
const ODD_CONTENTS: &[&str] = &["\"a\"", "\"+/-_\"", "\"aG=\"", "\"!!!!\"", "\"====\""];
const VALUES: &[&str] =
    &["null", "true", "[]", "{}", "[null, 1.5, [\"a\"]]", "{\"a\": {\"b\": [], \"c\": null}}", "\"NaN\"", "-0.0"];
const ODD_VALUES: &[&str] = &["1e400", "{\"a\": 1, \"a\": 2}", "[1,]"];
const ANYS: &[&str] = &[
    "{}",
    "{\"@type\": \"type.googleapis.com/google.protobuf.Duration\", \"value\": \"1.5s\"}",
    "{\"@type\": \"type.googleapis.com/google.rpc.RetryInfo\", \"retryDelay\": \"3s\"}",
    "{\"violations\": [{\"type\": \"MISSING\"}, {}], \"@type\": \"type.googleapis.com/google.rpc.PreconditionFailure\"}",
    "{\"@type\": \"google.protobuf.Empty\"}",
];
const ODD_ANYS: &[&str] = &[
    "{\"@type\": \"type.googleapis.com/google.protobuf.Duration\"}",
    "{\"@type\": \"type.googleapis.com/example.Unknown\"}",
    "{\"@type\": \"type.googleapis.com/google.rpc.RetryInfo\", \"value\": \"3s\"}",
    "{\"value\": \"3s\"}",
    "{\"@type\": 5}",
];
/// Values that are right in some places.
const ANYTHING: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-1",
    "1.5",
    "\"\"",
    "\"x\"",
    "\"1s\"",
    "[]",
    "{}",
    "[{}]",
    "[null]",
    "{\"a\": {}}",
];
/// Names that are right in some messages.
const NAMES: &[&str] = &[
    "grpc",
    "label",
    "backend",
    "error",
    "readCaching",
    "read_caching",
    "unknown",
    "",
    "tls",
    "address",
    "[a.b]",
    "@type",
    "Grpc",
];

/// Generates documents.
pub(crate) struct Generator {
    numbers: Numbers,
    /// The values that may still be put into the document, so that its size is bounded.
    left: usize,
    /// One in so many values is odd, or none.
    odd: Option<usize>,
}

impl Generator {
    /// Makes a generator with the seed in the environment variable `variable`, or else one that is drawn.
    pub(crate) fn of_seed(variable: &str) -> Self {
        Self { numbers: Numbers::new(seed(variable)), left: 0, odd: None }
    }

    /// Generates a document that may be one of a message, or nearly so.
    pub(crate) fn document(&mut self, descriptor: &MessageDescriptor) -> String {
        self.left = 1 + self.numbers.below(60);
        self.odd = self.one_in(2).then(|| 1 + self.left);
        let mut json = self.object(descriptor, 0);
        if self.one_in(3) {
            self.spoil(&mut json);
        }
        let mut text = String::new();
        write(&json, &mut text);
        if self.one_in(20) {
            self.spoil_text(&mut text);
        }
        text
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.numbers.below(many) == 0
    }

    fn pick<'p>(&mut self, pool: &[&'p str]) -> &'p str {
        pool[self.numbers.below(pool.len())]
    }

    fn raw(&mut self, right: &[&str], odd: &[&str]) -> JsonValue {
        let is_odd = self.odd.is_some_and(|many| self.one_in(many));
        let text = self.pick(if is_odd { odd } else { right });
        raw(text)
    }

    fn object(&mut self, descriptor: &MessageDescriptor, depth: usize) -> JsonValue {
        let fields: Vec<FieldDescriptor> = descriptor.fields().collect();
        let mut chosen: Vec<FieldDescriptor> = Vec::new();
        let wanted = if fields.len() > 2 { 1 + self.numbers.below(4) } else { fields.len() };
        for _ in 0..wanted {
            let Some(field) = fields.get(self.numbers.below(fields.len())) else { break };
            let is_taken = chosen.iter().any(|other| {
                other == field
                    || other.containing_oneof().is_some() && other.containing_oneof() == field.containing_oneof()
            });
            if !is_taken && self.left > 0 && depth < 30 {
                self.left -= 1;
                chosen.push(field.clone());
            }
        }
        let fields = chosen.into_iter().map(|field| {
            let name = if self.one_in(3) { field.name() } else { field.json_name() };
            JsonField { name: name.to_owned(), position: None, value: self.field(&field, depth) }
        });
        of_kind(JsonKind::Object(fields.collect()))
    }

    fn field(&mut self, field: &FieldDescriptor, depth: usize) -> JsonValue {
        if self.one_in(30) {
            return of_kind(JsonKind::Null);
        }
        let Kind::Message(entry) = field.kind() else { return self.values(field, &field.kind(), depth) };
        if !field.is_map() {
            return self.values(field, &field.kind(), depth);
        }
        let (count, kind) = (self.numbers.below(3), entry.map_entry_value_field().kind());
        let entries = (0..count).map(|index| JsonField {
            name: format!("{}{index}", ["", "a/b", "é"][self.numbers.below(3)]),
            position: None,
            value: self.one(&kind, depth + 1),
        });
        of_kind(JsonKind::Object(entries.collect()))
    }

    fn values(&mut self, field: &FieldDescriptor, kind: &Kind, depth: usize) -> JsonValue {
        if !field.is_list() {
            return self.one(kind, depth + 1);
        }
        let count = self.numbers.below(3);
        of_kind(JsonKind::List((0..count).map(|_| self.one(kind, depth + 1)).collect()))
    }

    fn one(&mut self, kind: &Kind, depth: usize) -> JsonValue {
        match kind {
            Kind::Bool => self.raw(&["true", "false"], &["\"true\"", "1", "null"]),
            Kind::String => self.raw(TEXTS, ODD_TEXTS),
            Kind::Bytes => self.raw(CONTENTS, ODD_CONTENTS),
            Kind::Enum(descriptor) => {
                let values: Vec<String> = descriptor.values().map(|value| format!("{:?}", value.name())).collect();
                let mut pool: Vec<&str> = values.iter().map(String::as_str).collect();
                pool.extend(["0", "1", "99", "1.0", "-1"]);
                self.raw(&pool, &["\"NONE_SUCH\"", "\"1\"", "1.5", "true", "2147483648"])
            }
            Kind::Message(descriptor) => match descriptor.full_name() {
                "google.protobuf.Duration" => self.raw(DURATIONS, ODD_DURATIONS),
                "google.protobuf.Timestamp" => self.raw(TIMES, ODD_TIMES),
                "google.protobuf.Value" => self.raw(VALUES, ODD_VALUES),
                "google.protobuf.Any" => self.raw(ANYS, ODD_ANYS),
                "google.protobuf.Struct" => {
                    self.raw(&["{}", "{\"a\": [1, null], \"b\": {}}"], &["[]", "{\"a\": 1e400}", "null"])
                }
                "google.protobuf.UInt64Value" => self.raw(INTS, ODD_NUMBERS),
                _ => self.object(descriptor, depth),
            },
            Kind::Float | Kind::Double => self.raw(&["0.5", "1", "\"NaN\"", "-0.0", "1e-400"], ODD_NUMBERS),
            Kind::Int32
            | Kind::Int64
            | Kind::Sint32
            | Kind::Sint64
            | Kind::Sfixed32
            | Kind::Sfixed64
            | Kind::Uint32
            | Kind::Uint64
            | Kind::Fixed32
            | Kind::Fixed64 => self.raw(INTS, ODD_NUMBERS),
        }
    }

    /// Changes one value somewhere in the document.
    fn spoil(&mut self, json: &mut JsonValue) {
        let (choice, replacement, name) = (self.numbers.below(8), self.pick(ANYTHING), self.pick(NAMES));
        match &mut json.kind {
            JsonKind::Object(fields) if !fields.is_empty() => {
                let index = self.numbers.below(fields.len());
                match choice {
                    0 => fields[index].value = raw(replacement),
                    1 => fields.push(JsonField { name: name.to_owned(), position: None, value: raw(replacement) }),
                    2 => {
                        // Twice, by either spelling.
                        let mut twice = fields[index].clone();
                        if self.one_in(2) {
                            twice.name = respell(&twice.name);
                        }
                        fields.push(twice);
                    }
                    3 => fields[index].name = respell(&fields[index].name),
                    _ => self.spoil(&mut fields[index].value),
                }
            }
            JsonKind::List(elements) if !elements.is_empty() => {
                let index = self.numbers.below(elements.len());
                match choice {
                    0 | 1 => elements.push(raw(replacement)),
                    _ => self.spoil(&mut elements[index]),
                }
            }
            JsonKind::Null
            | JsonKind::Bool(_)
            | JsonKind::Number(_)
            | JsonKind::Text(_)
            | JsonKind::List(_)
            | JsonKind::Object(_) => *json = raw(replacement),
        }
    }

    /// Puts in or leaves out one of the characters between the values.
    fn spoil_text(&mut self, text: &mut String) {
        let places: Vec<usize> =
            text.match_indices(['{', '}', '[', ']', ',', ':', '"']).map(|(place, _)| place).collect();
        let Some(place) = places.get(self.numbers.below(places.len())) else { return };
        if self.one_in(2) {
            text.remove(*place);
        } else {
            let added = self.pick(&["{", "}", "[", "]", ",", ":", "\"", " ", "//", "\n"]);
            text.insert_str(*place, added);
        }
    }
}

/// Returns a name in the other spelling.
fn respell(name: &str) -> String {
    let mut respelt = String::new();
    let mut is_after_line = false;
    for character in name.chars() {
        match character {
            '_' => is_after_line = true,
            _ if is_after_line => {
                respelt.extend(character.to_uppercase());
                is_after_line = false;
            }
            _ if character.is_ascii_uppercase() && !name.contains('_') => {
                respelt.push('_');
                respelt.push(character.to_ascii_lowercase());
            }
            _ => respelt.push(character),
        }
    }
    respelt
}

fn of_kind(kind: JsonKind) -> JsonValue {
    JsonValue { kind, position: None }
}

/// Returns a value that is written as `text`, whatever that is.
fn raw(text: &str) -> JsonValue {
    of_kind(JsonKind::Number(text.to_owned()))
}

fn write(json: &JsonValue, text: &mut String) {
    match &json.kind {
        JsonKind::Null => text.push_str("null"),
        JsonKind::Bool(flag) => text.push_str(if *flag { "true" } else { "false" }),
        JsonKind::Number(raw) | JsonKind::Text(raw) => text.push_str(raw),
        JsonKind::List(elements) => {
            text.push('[');
            for (index, element) in elements.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { ", " });
                write(element, text);
            }
            text.push(']');
        }
        JsonKind::Object(fields) => {
            text.push('{');
            for (index, field) in fields.iter().enumerate() {
                text.push_str(if index == 0 { "\"" } else { ", \"" });
                text.push_str(&field.name);
                text.push_str("\": ");
                write(&field.value, text);
            }
            text.push('}');
        }
    }
}
