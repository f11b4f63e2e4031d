//! JSON from YAML.

use crate::json::JsonValue;

/// Reads YAML.
pub(super) fn parse(_text: &str) -> Result<JsonValue, String> {
    Err("std.parseYaml is not supported".to_owned())
}
