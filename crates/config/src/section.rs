//! A message of a configuration, at its path, as those see it who make something of it.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Number};

use crate::Position;
use crate::field_path::FieldPath;
use crate::message::{Field, FieldValue, MapKey, Message, Value};
use crate::reading::Reading;
use crate::used_path::UsedPath;

/// A message of a configuration, with its path, and the reading that faults are noted in.
///
/// Fields are asked for by the names of the descriptors, such as `backend_a`. Whoever asks for a field takes it over: what
/// nobody asks for is refused in the end. A field that is not set has the default of proto3.
#[derive(Clone, Debug)]
pub(crate) struct Section<'a> {
    message: &'a Message,
    path: FieldPath,
    reading: &'a Reading,
}

impl<'a> Section<'a> {
    /// Returns the whole of a configuration.
    pub(crate) fn root(message: &'a Message, reading: &'a Reading) -> Self {
        Self { message, path: FieldPath::default(), reading }
    }

    /// Returns the path.
    pub(crate) fn path(&self) -> &FieldPath {
        &self.path
    }

    /// Returns the path of a field.
    pub(crate) fn path_of(&self, name: &str) -> FieldPath {
        let descriptor = self.message.descriptor.get_field_by_name(name);
        self.path.field(descriptor.as_ref().map_or(name, |descriptor| descriptor.json_name()))
    }

    /// Returns the place of the message.
    pub(crate) fn position(&self) -> Option<&'a Position> {
        self.message.position.as_ref()
    }

    /// Returns the reading that faults are noted in.
    pub(crate) fn reading(&self) -> &'a Reading {
        self.reading
    }

    /// Notes that something is wrong with this message.
    pub(crate) fn fault(&self, message: impl Into<String>) {
        self.reading.note_fault(&self.path, self.message.position.clone(), message.into());
    }

    /// Notes that something is wrong with a field, which may be absent.
    pub(crate) fn fault_at(&self, name: &str, message: impl Into<String>) {
        self.reading.note_fault(&self.path_of(name), self.position_of(name), message.into());
    }

    /// Notes that a field has no effect, or another than one may expect. Nothing is noted if the field is not set.
    pub(crate) fn notice_at(&self, name: &str, message: impl Into<String>) {
        if self.is_set(name) {
            self.reading.note_notice(&self.path_of(name), self.position_of(name), message.into());
        }
    }

    /// Notes that this message has no effect, or another than one may expect.
    pub(crate) fn notice(&self, message: impl Into<String>) {
        self.reading.note_notice(&self.path, self.message.position.clone(), message.into());
    }

    /// Notes the same as [`notice_at`](Self::notice_at), unless that was noted of a field of this name elsewhere.
    pub(crate) fn notice_once_at(&self, name: &str, message: &str) {
        if self.is_set(name) && !self.reading.has_notice(name_of(&self.path_of(name)), message) {
            self.notice_at(name, message);
        }
    }

    /// Refuses a field if it is set.
    pub(crate) fn refuse(&self, name: &str, reason: &str) {
        if self.is_set(name) {
            self.fault_at(name, format!("is not supported: {reason}"));
        }
    }

    /// Takes over a field with all that is below it, which has no effect for `reason`. Nothing is noted if the field is
    /// not set.
    pub(crate) fn disregard(&self, name: &str, reason: &str) {
        self.notice_at(name, format!("has no effect: {reason}"));
        self.take_over(name);
    }

    /// Takes over a field with all that is below it.
    pub(crate) fn take_over(&self, name: &str) {
        if let Some(field) = self.field(name) {
            field.take_over();
        }
    }

    /// Returns the place of a field, or of the message if the field is not set.
    pub(crate) fn position_of(&self, name: &str) -> Option<Position> {
        let field = self.message.field(name).and_then(|field| field.position.clone());
        field.or_else(|| self.message.position.clone())
    }

    fn field(&self, name: &str) -> Option<&'a Field> {
        let field = self.message.field(name)?;
        field.was_read.set(true);
        Some(field)
    }

    fn one(&self, name: &str) -> Option<&'a Value> {
        match &self.field(name)?.value {
            FieldValue::One(value) => Some(value),
            FieldValue::List(_) | FieldValue::Map(_) => None,
        }
    }

    fn elements(&self, name: &str) -> &'a [Value] {
        match self.field(name).map(|field| &field.value) {
            Some(FieldValue::List(values)) => values,
            Some(FieldValue::One(_) | FieldValue::Map(_)) | None => &[],
        }
    }

    fn entries(&self, name: &str) -> &'a [(MapKey, Value)] {
        match self.field(name).map(|field| &field.value) {
            Some(FieldValue::Map(entries)) => entries,
            Some(FieldValue::One(_) | FieldValue::List(_)) | None => &[],
        }
    }

    /// Returns whether a field is set. Fields of proto3 without presence are set if they are not the default.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.field(name).is_some()
    }

    /// Returns the name of the member of a oneof that is set, as the descriptor has it.
    pub(crate) fn member(&self, oneof: &str) -> Option<&'a str> {
        let is_member = |field: &&Field| field.descriptor.containing_oneof().is_some_and(|of| of.name() == oneof);
        self.message.fields.iter().find(is_member).map(|field| field.descriptor.name())
    }

    /// Returns a message, if it is set.
    pub(crate) fn message(&self, name: &str) -> Option<Self> {
        let Some(Value::Message(message)) = self.one(name) else { return None };
        Some(Self { message, path: self.path_of(name), reading: self.reading })
    }

    /// Returns a message. If it is not set, that is noted as a fault.
    pub(crate) fn required(&self, name: &str) -> Option<Self> {
        let message = self.message(name);
        if message.is_none() {
            self.fault_at(name, "is required");
        }
        message
    }

    /// Returns the messages of a list.
    pub(crate) fn messages(&self, name: &str) -> Vec<Self> {
        let (path, reading) = (self.path_of(name), self.reading);
        let messages = self.elements(name).iter().enumerate().filter_map(|(index, value)| {
            let Value::Message(message) = value else { return None };
            Some(Self { message, path: path.index(index), reading })
        });
        messages.collect()
    }

    /// Returns the messages of a map whose keys are texts, in the order of the keys.
    pub(crate) fn message_map(&self, name: &str) -> Vec<(&'a str, Self)> {
        let (path, reading) = (self.path_of(name), self.reading);
        let messages = self.entries(name).iter().filter_map(|entry| {
            let (MapKey::Text(key), Value::Message(message)) = entry else { return None };
            Some((key.as_str(), Self { message, path: path.key(key), reading }))
        });
        messages.collect()
    }

    /// Returns a text.
    pub(crate) fn text(&self, name: &str) -> &'a str {
        match self.one(name) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    /// Returns a text. If it is empty, that is noted as a fault.
    pub(crate) fn required_text(&self, name: &str) -> Option<&'a str> {
        let text = Some(self.text(name)).filter(|text| !text.is_empty());
        if text.is_none() {
            self.fault_at(name, "is required");
        }
        text
    }

    /// Returns the path of a file. If it is empty, or that of a folder by its form, that is noted as a fault.
    pub(crate) fn required_file_path(&self, name: &str) -> Option<&'a str> {
        let path = self.required_text(name)?;
        if path.ends_with('/') {
            self.fault_at(name, "is the path of a folder, not of a file");
            return None;
        }
        Some(path)
    }

    /// Returns the texts of a list.
    pub(crate) fn texts(&self, name: &str) -> Vec<&'a str> {
        let texts = self.elements(name).iter().filter_map(|value| {
            let Value::Text(text) = value else { return None };
            Some(text.as_str())
        });
        texts.collect()
    }

    /// Returns the path of an element of a list.
    pub(crate) fn path_of_element(&self, name: &str, index: usize) -> FieldPath {
        self.path_of(name).index(index)
    }

    /// Returns a path in a list of them, with the field that names it.
    pub(crate) fn used_path_of_element(&self, name: &str, index: usize, path: &str) -> UsedPath {
        UsedPath { path: path.into(), field: self.path_of_element(name, index), position: self.position_of(name) }
    }

    /// Notes that something is wrong with an element of a list.
    pub(crate) fn fault_at_element(&self, name: &str, index: usize, message: impl Into<String>) {
        self.reading.note_fault(&self.path_of_element(name, index), self.position_of(name), message.into());
    }

    /// Returns a field that is true or false.
    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.one(name), Some(Value::Bool(true)))
    }

    /// Returns a number with a sign.
    pub(crate) fn int(&self, name: &str) -> i64 {
        match self.one(name) {
            Some(Value::Int(number)) => *number,
            _ => 0,
        }
    }

    /// Returns a number without a sign.
    pub(crate) fn uint(&self, name: &str) -> u64 {
        match self.one(name) {
            Some(Value::Uint(number)) => *number,
            _ => 0,
        }
    }

    /// Returns a number with a fraction.
    pub(crate) fn double(&self, name: &str) -> f64 {
        match self.one(name) {
            Some(Value::Double(number)) => *number,
            _ => 0.0,
        }
    }

    /// Returns the number of a value of an enumeration.
    pub(crate) fn enumeration(&self, name: &str) -> i32 {
        match self.one(name) {
            Some(Value::Enum(number)) => *number,
            _ => 0,
        }
    }

    /// Returns the numbers of a list of values of an enumeration.
    pub(crate) fn enumerations(&self, name: &str) -> Vec<i32> {
        let numbers = self.elements(name).iter().filter_map(|value| {
            let Value::Enum(number) = value else { return None };
            Some(*number)
        });
        numbers.collect()
    }

    /// Returns the number in a `google.protobuf.UInt64Value`, if it is set.
    pub(crate) fn wrapped_uint(&self, name: &str) -> Option<u64> {
        self.message(name).map(|wrapper| wrapper.uint("value"))
    }

    /// Returns a duration that must not be negative, if it is set. A negative one is noted as a fault.
    pub(crate) fn duration(&self, name: &str) -> Option<Duration> {
        let (seconds, nanos) = self.seconds_and_nanos(name)?;
        match (u64::try_from(seconds), u32::try_from(nanos)) {
            (Ok(seconds), Ok(nanos)) => Some(Duration::new(seconds, nanos.min(999_999_999))),
            (Err(_), _) | (_, Err(_)) => {
                self.fault_at(name, "must not be negative");
                None
            }
        }
    }

    /// Returns a duration that must not be negative. If it is not set, or negative, that is noted as a fault.
    pub(crate) fn required_duration(&self, name: &str) -> Option<Duration> {
        if !self.is_set(name) {
            self.fault_at(name, "is required");
        }
        self.duration(name)
    }

    /// Returns a time, if it is set. One that the system cannot represent is noted as a fault.
    pub(crate) fn timestamp(&self, name: &str) -> Option<SystemTime> {
        let (seconds, nanos) = self.seconds_and_nanos(name)?;
        let whole = match u64::try_from(seconds) {
            Ok(seconds) => SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)),
            Err(_) => SystemTime::UNIX_EPOCH.checked_sub(Duration::from_secs(seconds.unsigned_abs())),
        };
        let nanos = u32::try_from(nanos).unwrap_or(0);
        let time = whole.and_then(|whole| whole.checked_add(Duration::from_nanos(nanos.into())));
        if time.is_none() {
            self.fault_at(name, "is out of range");
        }
        time
    }

    /// Returns the seconds and nanoseconds of a duration or of a time, if it is set.
    pub(crate) fn seconds_and_nanos(&self, name: &str) -> Option<(i64, i64)> {
        self.message(name).map(|of| (of.int("seconds"), of.int("nanos")))
    }

    /// Returns a `google.protobuf.Value` or `Struct` as JSON, if it is set.
    pub(crate) fn json(&self, name: &str) -> Option<serde_json::Value> {
        let Some(Value::Message(message)) = self.one(name) else { return None };
        Some(json_of(message))
    }
}

/// Returns the name of the field at the end of a path.
fn name_of(path: &FieldPath) -> &str {
    path.as_str().rsplit('.').next().unwrap_or_default()
}

/// Returns a `google.protobuf.Value`, `Struct` or `ListValue` as JSON. Numbers that JSON does not have become null.
fn json_of(message: &Message) -> serde_json::Value {
    let Some(field) = message.fields.first() else {
        return match message.descriptor.name() {
            "Struct" => serde_json::Value::Object(Map::new()),
            "ListValue" => serde_json::Value::Array(Vec::new()),
            _ => serde_json::Value::Null,
        };
    };
    match &field.value {
        FieldValue::One(value) => json_of_value(value),
        FieldValue::List(values) => values.iter().map(json_of_value).collect(),
        FieldValue::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| (key.to_string(), json_of_value(value)));
            serde_json::Value::Object(entries.collect())
        }
    }
}

fn json_of_value(value: &Value) -> serde_json::Value {
    match value {
        Value::Bool(flag) => (*flag).into(),
        Value::Double(number) => Number::from_f64(*number).map_or(serde_json::Value::Null, serde_json::Value::Number),
        Value::Text(text) => text.as_str().into(),
        Value::Message(message) => json_of(message),
        // The only enumeration is that of null.
        Value::Int(_) | Value::Uint(_) | Value::Bytes(_) | Value::Enum(_) => serde_json::Value::Null,
    }
}

/// Reads the message with the full name `name` from JSON, and returns what `read` makes of it, with the notices or else
/// with the faults, each as its path and message.
#[cfg(test)]
pub(crate) fn section_of<T>(
    json: &str,
    name: &str,
    read: impl FnOnce(&Section<'_>) -> T,
) -> (T, Result<Vec<String>, Vec<String>>) {
    let document = crate::Document::from_json(json, "test.json").unwrap();
    let (message, reading) = document.read_as(name).unwrap();
    let value = read(&Section::root(&message, &reading));
    let end = match reading.finish(&message) {
        Ok(notices) => Ok(notices.into_iter().map(|notice| format!("{}: {}", notice.path, notice.message)).collect()),
        Err(faults) => {
            Err(faults.as_slice().iter().map(|fault| format!("{}: {}", fault.path, fault.message)).collect())
        }
    };
    (value, end)
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_section_is_read_by_names_of_descriptors_and_faults_are_told_by_names_of_json() {
        let json = r#"{
            "cache_sizes": "5",
            "cacheDuration": "1.5s"
        }"#;
        let name = "buildbarn.configuration.digest.ExistenceCacheConfiguration";
        let read = |section: &Section<'_>| (section.int("cache_size"), section.duration("cache_duration"));
        let ((size, duration), end) = section_of(json, name, read);
        assert_eq!((size, duration), (0, Some(Duration::from_millis(1500))));
        let fault = "cache_sizes: is not a field of ExistenceCacheConfiguration; did you mean cache_size?";
        assert_eq!(end, Err(vec![fault.to_owned()]));
    }

    #[test]
    fn the_deepest_json_is_given_with_little_stack() {
        let text = format!("{{\"scope\":{}{}}}", "[".repeat(249), "]".repeat(249));
        let read = move || {
            let name = "buildbarn.configuration.grpc.RemoteAuthenticationPolicy";
            let (json, end) = section_of(&text, name, |section| section.json("scope").unwrap());
            assert_eq!(end, Ok(Vec::new()));
            assert!(json[0][0].is_array());
        };
        thread::Builder::new().stack_size(3 << 19).spawn(read).unwrap().join().unwrap();
    }

    #[test]
    fn what_is_not_read_is_refused() {
        let json =
            r#"{"keepalive": {"time": "5s", "timeout": "3s"}, "address": "a", "addMetadataJmespathExpression": null}"#;
        let name = "buildbarn.configuration.grpc.ClientConfiguration";
        let read = |section: &Section<'_>| {
            let keepalive = section.message("keepalive").unwrap();
            keepalive.refuse("timeout", "for a reason");
            keepalive.notice_at("permit_without_stream", "never said");
            section.notice_at("address", "a notice");
            keepalive.required_duration("time")
        };
        let (time, end) = section_of(json, name, read);
        assert_eq!(time, Some(Duration::from_secs(5)));
        assert_eq!(end, Err(vec!["keepalive.timeout: is not supported: for a reason".to_owned()]));
        let ((), end) = section_of(json, name, |_| ());
        assert_eq!(end, Err(vec!["address: is not supported".to_owned(), "keepalive: is not supported".to_owned()]));
        let ((), end) = section_of(r#"{"address": "a"}"#, name, |section| section.notice_at("address", "a notice"));
        assert_eq!(end, Ok(vec!["address: a notice".to_owned()]));
    }
}
