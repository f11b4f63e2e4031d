//! Whether the schema allows what the reader takes.

use std::cell::RefCell;
use std::collections::HashMap;

use regex::Regex;
use serde_json::Value;

use super::descriptions::described_names;
use super::json_schema;
use crate::message::{self, Generator};

const APPLICATION: &str = "buildbarn.configuration.bb_storage.ApplicationConfiguration";
const STORE: &str = "buildbarn.configuration.blobstore.BlobAccessConfiguration";

/// A schema, with as much of the draft as it uses.
struct Schema {
    root: Value,
    patterns: RefCell<HashMap<String, Regex>>,
}

impl Schema {
    fn of(name: &str) -> Self {
        Self { root: serde_json::from_str(&json_schema(name).unwrap()).unwrap(), patterns: RefCell::default() }
    }

    fn allows(&self, value: &Value) -> bool {
        self.holds(&self.root, value)
    }

    fn holds(&self, schema: &Value, value: &Value) -> bool {
        if let Value::Bool(allowed) = schema {
            return *allowed;
        }
        schema.as_object().unwrap().iter().all(|(keyword, rule)| self.rule_holds(schema, keyword, rule, value))
    }

    fn rule_holds(&self, schema: &Value, keyword: &str, rule: &Value, value: &Value) -> bool {
        let schemas = || rule.as_array().unwrap().iter();
        let count = |value: &Value| schemas().filter(|schema| self.holds(schema, value)).count();
        match keyword {
            "$schema" | "$defs" | "title" | "description" | "examples" => true,
            "$ref" => {
                let pointer = rule.as_str().unwrap().strip_prefix('#').unwrap();
                self.holds(self.root.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is not there")), value)
            }
            "type" => match rule.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                "null" => value.is_null(),
                "number" => value.is_number(),
                "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
                other => panic!("{other}"),
            },
            "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()),
            "minLength" => value.as_str().is_none_or(|text| !text.is_empty()),
            "maxProperties" => value.as_object().is_none_or(serde_json::Map::is_empty),
            "pattern" => value.as_str().is_none_or(|text| {
                let pattern = rule.as_str().unwrap().to_owned();
                let mut patterns = self.patterns.borrow_mut();
                let pattern = patterns.entry(pattern).or_insert_with_key(|pattern| Regex::new(pattern).unwrap());
                pattern.is_match(text)
            }),
            "enum" => schemas().any(|allowed| allowed == value),
            "not" => !self.holds(rule, value),
            "anyOf" => count(value) > 0,
            "oneOf" => count(value) == 1,
            "allOf" => count(value) == rule.as_array().unwrap().len(),
            "required" => {
                value.as_object().is_none_or(|object| schemas().all(|name| object.contains_key(name.as_str().unwrap())))
            }
            "items" => value.as_array().is_none_or(|elements| elements.iter().all(|element| self.holds(rule, element))),
            "propertyNames" => value
                .as_object()
                .is_none_or(|object| object.keys().all(|name| self.holds(rule, &Value::String(name.clone())))),
            "properties" => value.as_object().is_none_or(|object| {
                object.iter().all(|(name, value)| rule.get(name).is_none_or(|rule| self.holds(rule, value)))
            }),
            "additionalProperties" => value.as_object().is_none_or(|object| {
                let known = schema.get("properties");
                let others = object.iter().filter(|(name, _)| known.is_none_or(|known| known.get(name).is_none()));
                others.into_iter().all(|(_, value)| self.holds(rule, value))
            }),
            other => panic!("{other} is not a keyword that is used"),
        }
    }
}

#[test]
fn what_is_described_is_there() {
    for name in described_names() {
        let (message, field) = name.rsplit_once('.').unwrap();
        let is_field = message::descriptor(message).is_some_and(|message| message.get_field_by_name(field).is_some());
        assert!(is_field || message::descriptor(&name).is_some(), "{name}");
    }
}

#[test]
fn values_are_allowed_as_the_reader_takes_them() {
    let schema = Schema::of(STORE);
    for (allowed, text) in [
        (true, "{}"),
        (true, r#"{"label": "a"}"#),
        (true, r#"{"label": "a", "grpc": null}"#),
        (true, r#"{"read_caching": {"slow": {"label": "a"}, "fast": {}}}"#),
        (true, r#"{"error": {"code": 14, "message": "x", "details": [{}, {"@type": "a/b", "value": "1s"}]}}"#),
        (
            true,
            r#"{"existenceCaching": {"existenceCache": {"cacheSize": "1e6", "cacheDuration": "5.5s", "cacheReplacementPolicy": 1}}}"#,
        ),
        (true, r#"{"existenceCaching": {"existence_cache": {"cacheReplacementPolicy": "LEAST_RECENTLY_USED"}}}"#),
        (true, r#"{"sharding": {"shards": {"a/b": {"weight": 4294967295}}}}"#),
        (true, r#"{"actionResultExpiring": {"minimumTimestamp": "2026-11-30T12:00:00.5+01:00"}}"#),
        (false, "[]"),
        (false, r#"{"label": "a", "grpc": {}}"#),
        (false, r#"{"read_caching": {}, "readCaching": {}}"#),
        (false, r#"{"redis": {}}"#),
        (false, r#"{"Grpc": {}}"#),
        (false, r#"{"sharding": {"shards": []}}"#),
        (false, r#"{"sharding": {"shards": {"a": null}}}"#),
        (false, r#"{"sharding": {"shards": {"a": {"weight": -1}}}}"#),
        (false, r#"{"sharding": {"shards": {"a": {"weight": 1.5}}}}"#),
        (false, r#"{"existenceCaching": {"existenceCache": {"cacheSize": "007"}}}"#),
        (false, r#"{"existenceCaching": {"existenceCache": {"cacheDuration": "5m"}}}"#),
        (false, r#"{"existenceCaching": {"existenceCache": {"cacheDuration": 5}}}"#),
        (false, r#"{"existenceCaching": {"existenceCache": {"cacheReplacementPolicy": "LRU"}}}"#),
        (false, r#"{"error": {"details": [{"value": 1}]}}"#),
        (false, r#"{"mirrored": {"replicatorAToB": {"local": {"x": 1}}}}"#),
    ] {
        assert_eq!(schema.allows(&serde_json::from_str(text).unwrap()), allowed, "{text}");
    }
}

#[test]
fn generated_configurations_that_the_reader_takes_are_allowed() {
    let (schema, descriptor) = (Schema::of(APPLICATION), message::descriptor(APPLICATION).unwrap());
    let mut generator = Generator::of_seed("BLOBACCESS_SCHEMA_SEED");
    let (mut allowed, mut refused) = (0, 0);
    for _ in 0..1000 {
        let text = generator.document(&descriptor);
        let Ok(json) = crate::json::parse(&text, "") else { continue };
        let (_, faults) = message::from_json(&json, &descriptor);
        // Numbers beyond those of 64 bits are not all known to this reader.
        let Ok(value) = serde_json::from_str(&text) else { continue };
        let is_allowed = schema.allows(&value);
        assert!(is_allowed || !faults.is_empty(), "{text}");
        allowed += usize::from(is_allowed);
        refused += usize::from(!is_allowed);
    }
    assert!(allowed > 300 && refused > 100, "{allowed} allowed, {refused} refused");
}
