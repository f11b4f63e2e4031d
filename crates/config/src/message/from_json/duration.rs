//! Durations, such as `1.5s`.

use prost_reflect::MessageDescriptor;

use super::super::Message;
use super::super::mistakes::Mistakes;
use super::super::trail::Trail;
use super::describe;
use super::object::note_kind;
use crate::json::{JsonKind, JsonValue};

/// The longest duration, which is of about 10,000 years.
const MAX_SECONDS: i64 = 315_576_000_000;

/// Reads a duration.
pub(super) fn read_duration(
    json: &JsonValue,
    descriptor: &MessageDescriptor,
    trail: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<Message> {
    let JsonKind::Text(text) = &json.kind else {
        note_kind("a duration such as \"1.5s\"", json, trail, mistakes);
        return None;
    };
    match parse_duration(text) {
        Some((seconds, nanos)) if seconds.abs() <= MAX_SECONDS => {
            Some(Message::of_seconds(descriptor, json.position.clone(), seconds, nanos))
        }
        Some(_) => {
            mistakes.note(trail, json.position.as_ref(), format!("must be of {MAX_SECONDS} s at most"));
            None
        }
        None => {
            let message = format!("must be a duration in seconds such as \"1.5s\", not {}", describe(json));
            mistakes.note(trail, json.position.as_ref(), message);
            None
        }
    }
}

/// Returns the seconds and nanoseconds of a duration, both with its sign. There may be nothing before or behind the
/// point, but there are neither leading zeros nor more than nine decimals.
fn parse_duration(text: &str) -> Option<(i64, i64)> {
    let text = text.strip_suffix('s')?;
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(unsigned) => (-1, unsigned),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if unsigned.is_empty() {
        return None;
    }
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let is_digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    let has_leading_zero = whole.len() > 1 && whole.starts_with('0');
    if !is_digits(whole) || has_leading_zero || !is_digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let seconds: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let nanos: i64 = format!("{fraction:0<9}").parse().ok()?;
    Some((sign * seconds, sign * nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, expected) in [
            ("0s", (0, 0)),
            ("3s", (3, 0)),
            ("+3s", (3, 0)),
            ("-1.5s", (-1, -500_000_000)),
            ("-.5s", (0, -500_000_000)),
            ("3.s", (3, 0)),
            (".s", (0, 0)),
            ("0.000000001s", (0, 1)),
            ("9223372036854775807s", (i64::MAX, 0)),
        ] {
            assert_eq!(parse_duration(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "s",
            "-s",
            "3",
            "03s",
            "00s",
            "1e3s",
            "0.0000000001s",
            "1m",
            "3 s",
            " 3s",
            "3s ",
            "1_0s",
            "+-3s",
            "9223372036854775808s",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
