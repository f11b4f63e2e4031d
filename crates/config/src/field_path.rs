//! The path of a field in a message.

use std::fmt::{self, Display, Formatter, Write};
use std::sync::Arc;

/// The path of a field in a message, by the names of JSON: `backend.sharding.shards["1"].weight`. The empty path is that
/// of the whole message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct FieldPath {
    text: Arc<str>,
}

impl FieldPath {
    /// Returns the path of the field `name` of the message at this path.
    pub(crate) fn field(&self, name: &str) -> Self {
        let text = if self.text.is_empty() { name.to_owned() } else { format!("{}.{name}", self.text) };
        Self { text: text.into() }
    }

    /// Returns the path of an element of the list at this path.
    pub(crate) fn index(&self, index: usize) -> Self {
        Self { text: format!("{}[{index}]", self.text).into() }
    }

    /// Returns the path of the value of `key` in the map at this path.
    pub(crate) fn key(&self, key: &str) -> Self {
        let mut text = format!("{}[\"", self.text);
        for character in key.chars() {
            match character {
                '"' | '\\' => text.extend(['\\', character]),
                _ if character.is_control() => drop(write!(text, "{}", character.escape_default())),
                _ => text.push(character),
            }
        }
        text.push_str("\"]");
        Self { text: text.into() }
    }

    /// Returns whether this is the path of what is at `other`, or below it.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        match self.text.strip_prefix(&*other.text) {
            Some(rest) => other.text.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']),
            None => false,
        }
    }

    /// Returns the path as text that is shared.
    pub(crate) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }

    /// Returns the path as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

impl Display for FieldPath {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_fields_elements_and_keys() {
        let shards = FieldPath::default().field("backend").field("sharding").field("shards");
        assert_eq!(shards.key("1").field("weight").to_string(), "backend.sharding.shards[\"1\"].weight");
        assert_eq!(shards.index(3).as_str(), "backend.sharding.shards[3]");
        assert_eq!(shards.key("a\"\n\\").as_str(), "backend.sharding.shards[\"a\\\"\\n\\\\\"]");
    }

    #[test]
    fn a_path_is_within_itself_and_those_above() {
        let backend = FieldPath::default().field("backend");
        assert!(backend.is_within(&backend) && backend.is_within(&FieldPath::default()));
        assert!(backend.field("label").is_within(&backend) && backend.index(0).is_within(&backend));
        assert!(!FieldPath::default().field("backends").is_within(&backend));
        assert!(!backend.is_within(&backend.field("label")));
    }
}
