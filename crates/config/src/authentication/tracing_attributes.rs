//! Attributes of traces in metadata. No traces are sent, so only expressions see them.

use serde_json::{Value, json};

use crate::section::Section;

/// The members of an `opentelemetry.proto.common.v1.AnyValue` that an attribute may have, as JSON and descriptors name
/// them.
const KINDS: [(&str, &str); 5] = [
    ("stringValue", "string_value"),
    ("boolValue", "bool_value"),
    ("intValue", "int_value"),
    ("doubleValue", "double_value"),
    ("arrayValue", "array_value"),
];

/// Reads the attributes of a message of metadata, as JSON. `None` if there are faults.
pub(super) fn read_attributes(metadata: &Section<'_>) -> Option<Vec<Value>> {
    let mut attributes = Vec::new();
    let sections = metadata.messages("tracing_attributes");
    for section in &sections {
        let value = section.message("value").and_then(|value| value_of_section(&value)).unwrap_or_else(|| json!({}));
        let attribute = json!({"key": section.text("key"), "value": value});
        match check_attribute(&attribute) {
            Ok(()) => attributes.push(attribute),
            Err(fault) => section.fault(fault),
        }
    }
    (attributes.len() == sections.len()).then_some(attributes)
}

fn value_of_section(section: &Section<'_>) -> Option<Value> {
    Some(match section.member("value")? {
        "string_value" => json!({"stringValue": section.text("string_value")}),
        "bool_value" => json!({"boolValue": section.flag("bool_value")}),
        "int_value" => json!({"intValue": section.int("int_value").to_string()}),
        "double_value" => json!({"doubleValue": section.double("double_value")}),
        "array_value" => {
            let elements = section.message("array_value")?.messages("values");
            let elements = elements.iter().map(|element| value_of_section(element).unwrap_or_else(|| json!({})));
            json!({"arrayValue": {"values": elements.collect::<Vec<_>>()}})
        }
        other => {
            section.is_set(other);
            return None;
        }
    })
}

/// Returns the attributes that an expression has made.
///
/// # Errors
///
/// A sentence about why they are none.
pub(super) fn attributes_of_json(value: &Value) -> Result<Value, String> {
    let attributes = value.as_array().map(Vec::as_slice).or_else(|| value.is_null().then_some(&[]));
    let attributes = attributes.ok_or("tracing attributes are not a list")?;
    attributes.iter().try_for_each(check_attribute)?;
    Ok(Value::Array(attributes.to_vec()))
}

fn check_attribute(attribute: &Value) -> Result<(), String> {
    let Value::Object(fields) = attribute else { return Err("a tracing attribute is not an object".to_owned()) };
    if fields.keys().any(|name| name != "key" && name != "value") {
        return Err("a tracing attribute has an unknown field".to_owned());
    }
    let key = match fields.get("key") {
        None => "",
        Some(key) => key.as_str().ok_or("the key of a tracing attribute is not a text")?,
    };
    let value = fields.get("value").ok_or_else(|| format!("tracing attribute {key:?} has no value"))?;
    let ("arrayValue", elements) = kind_of(value, key)? else { return Ok(()) };
    let elements = elements.get("values").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut kinds = Vec::new();
    for element in elements {
        kinds.push(kind_of(element, key)?.0);
    }
    let Some((first, rest)) = kinds.split_first() else { return Ok(()) };
    if *first == "arrayValue" {
        return Err(format!("tracing attribute {key:?} is a list of lists"));
    }
    if rest.iter().any(|kind| kind != first) {
        return Err(format!("tracing attribute {key:?} is a list of different kinds of values"));
    }
    Ok(())
}

/// Returns the kind of a value, by its name in JSON, and what it has.
fn kind_of<'a>(value: &'a Value, key: &str) -> Result<(&'static str, &'a Value), String> {
    let unknown = || format!("tracing attribute {key:?} has no value of a known kind");
    let fields = value.as_object().ok_or_else(unknown)?;
    let [(name, value)] = fields.iter().collect::<Vec<_>>()[..] else { return Err(unknown()) };
    let kind = KINDS.iter().find(|(json, proto)| name == json || name == proto).ok_or_else(unknown)?.0;
    let is_of_kind = match kind {
        "stringValue" => value.is_string(),
        "boolValue" => value.is_boolean(),
        "arrayValue" => value.is_object(),
        _ => value.is_number() || value.as_str().is_some_and(|text| text.parse::<f64>().is_ok()),
    };
    if is_of_kind { Ok((kind, value)) } else { Err(unknown()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_have_a_value_of_one_kind() {
        let attribute = |value: Value| attributes_of_json(&json!([{"key": "a", "value": value}]));
        for value in [
            json!({"stringValue": "a"}),
            json!({"bool_value": true}),
            json!({"intValue": "7"}),
            json!({"doubleValue": 1.5}),
            json!({"arrayValue": {}}),
            json!({"arrayValue": {"values": [{"intValue": 1}, {"intValue": "2"}]}}),
        ] {
            attribute(value).unwrap();
        }
        for value in [
            json!(null),
            json!({}),
            json!("a"),
            json!({"bytesValue": ""}),
            json!({"stringValue": 1}),
            json!({"stringValue": "a", "boolValue": true}),
            json!({"arrayValue": {"values": [{"intValue": 1}, {"boolValue": true}]}}),
            json!({"arrayValue": {"values": [{"arrayValue": {}}]}}),
        ] {
            attribute(value.clone()).expect_err(&value.to_string());
        }
    }
}
