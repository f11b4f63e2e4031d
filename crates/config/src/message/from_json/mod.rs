//! Reads messages from JSON, by the rules of Go's `protojson`, which Buildbarn uses.
//!
//! All mistakes of a document are noted, in its order. A message with mistakes has the fields that are right.

mod any;
mod base64;
mod duration;
mod number;
mod object;
mod scalar;
mod spelling;
mod structure;
mod timestamp;

use prost_reflect::MessageDescriptor;

use self::object::read_message;
use super::Message;
use super::mistakes::Mistakes;
use super::trail::Trail;
use crate::Fault;
use crate::field_path::FieldPath;
use crate::json::{JsonKind, JsonValue};

/// Reads a message, and returns it with the mistakes in it.
pub(crate) fn from_json(json: &JsonValue, descriptor: &MessageDescriptor) -> (Message, Vec<(FieldPath, Fault)>) {
    let mut mistakes = Mistakes::default();
    let message = read_message(json, descriptor, &Trail::ROOT, &mut mistakes);
    let message = message.unwrap_or_else(|| Message::empty(descriptor, json.position.clone()));
    (message, mistakes.into_faults())
}

/// Describes a value, for a fault.
fn describe(json: &JsonValue) -> String {
    match &json.kind {
        JsonKind::Null => "null".to_owned(),
        JsonKind::Bool(flag) => flag.to_string(),
        JsonKind::Number(text) => shorten(text),
        JsonKind::Text(text) => format!("{:?}", shorten(text)),
        JsonKind::List(_) => "a list".to_owned(),
        JsonKind::Object(_) => "an object".to_owned(),
    }
}

fn shorten(text: &str) -> String {
    let mut characters = text.chars();
    let beginning: String = characters.by_ref().take(40).collect();
    if characters.next().is_none() { beginning } else { format!("{beginning}...") }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::json;
    use crate::message::{descriptor, from_bytes, to_bytes};

    const BACKEND: &str = "buildbarn.configuration.blobstore.BlobAccessConfiguration";

    fn read(text: &str, name: &str) -> (Message, Vec<String>) {
        let descriptor = descriptor(name).unwrap();
        let (message, faults) = from_json(&json::parse(text, "test.json").unwrap(), &descriptor);
        (message, faults.into_iter().map(|(_, fault)| fault.to_string()).collect())
    }

    #[test]
    fn all_mistakes_are_told_with_their_paths_and_places() {
        let text = r#"{"sharding": {"shards": {
            "1": {"weight": -1, "backend": {"grpcs": {}}},
            "2": {"weight": "x", "backend": {"grpc": {"client": {"address": 5}}, "label": "a"}},
            "1": null
        }, "hashInitialization": 5}, "read_caching": [], "readCaching": {}}"#;
        let (message, faults) = read(text, BACKEND);
        let expected = [
            "test.json:2:29: sharding.shards[\"1\"].weight: must be a whole number of 32 bits without a sign, not -1",
            "test.json:2:45: sharding.shards[\"1\"].backend.grpcs: is not a field of BlobAccessConfiguration; \
             did you mean grpc?",
            "test.json:3:29: sharding.shards[\"2\"].weight: must be a whole number of 32 bits without a sign, not \"x\"",
            "test.json:3:77: sharding.shards[\"2\"].backend.grpc.client.address: must be a text, not 5",
            "test.json:3:82: sharding.shards[\"2\"].backend.label: cannot be set together with grpc",
            "test.json:4:13: sharding.shards[\"1\"]: is set twice",
            "test.json:5:12: sharding.hashInitialization: is not a field of ShardingBlobAccessConfiguration",
            "test.json:5:38: readCaching: cannot be set together with sharding",
            "test.json:5:58: readCaching: is set twice, as read_caching and as readCaching",
        ];
        assert_eq!(faults, expected);
        assert!(message.field("sharding").is_some());
    }

    #[test]
    fn more_mistakes_than_a_thousand_are_counted() {
        let fields: Vec<String> = (0..1500).map(|index| format!("\"unknown{index}\": 0")).collect();
        let (_, faults) = read(&format!("{{{}}}", fields.join(",")), BACKEND);
        assert_eq!(faults.len(), 1001);
        assert_eq!(faults.last().unwrap(), "500 further faults are left out");
    }

    #[test]
    fn messages_have_a_bound_of_depth() {
        let nested = |depth| format!("{{\"scope\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        let name = "buildbarn.configuration.grpc.RemoteAuthenticationPolicy";
        assert_eq!(read(&nested(249), name).1, [""; 0]);
        let (_, faults) = read(&nested(250), name);
        let expected = format!("test.json:1:259: scope{}: more than 500 messages lie in each other", "[0]".repeat(249));
        assert_eq!(faults, [expected]);
    }

    #[test]
    fn the_deepest_document_is_read_with_little_stack() {
        let nested = format!("{}{}", "{\"readCaching\":{\"slow\":".repeat(249), "{}".to_owned() + &"}}".repeat(249));
        let value = format!("{}{}", "[".repeat(249), "]".repeat(249));
        let value = format!("{{\"scope\":{value}}}");
        let read_all = move || {
            let (message, faults) = read(&nested, BACKEND);
            assert_eq!(faults, [""; 0]);
            let bytes = to_bytes(&message);
            let (again, faults) = from_bytes(&bytes, &message.descriptor);
            assert_eq!(faults, []);
            assert_eq!(to_bytes(&again), bytes);
            let (_message, faults) = read(&value, "buildbarn.configuration.grpc.RemoteAuthenticationPolicy");
            assert_eq!(faults, [""; 0]);
        };
        thread::Builder::new().stack_size(1280 << 10).spawn(read_all).unwrap().join().unwrap();
    }
}
