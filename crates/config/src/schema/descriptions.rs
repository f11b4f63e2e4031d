//! The descriptions of messages and fields that editors show.

use std::collections::HashMap;
use std::sync::LazyLock;

static DESCRIPTIONS: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| {
    let lines = include_str!("descriptions.txt").lines();
    lines.filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(": ")).collect()
});

/// Returns the description of the message or field with the full name `name`.
pub(super) fn describe(name: &str) -> Option<&'static str> {
    DESCRIPTIONS.get(name.strip_prefix("buildbarn.configuration.")?).copied()
}

/// Returns the names that have descriptions.
#[cfg(test)]
pub(super) fn described_names() -> impl Iterator<Item = String> {
    DESCRIPTIONS.keys().map(|name| format!("buildbarn.configuration.{name}"))
}
