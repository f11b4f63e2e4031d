//! Times, such as `2026-11-30T12:00:00Z`.

use prost_reflect::MessageDescriptor;

use super::super::Message;
use super::super::mistakes::Mistakes;
use super::super::trail::Trail;
use super::describe;
use super::object::note_kind;
use crate::json::{JsonKind, JsonValue};

/// The seconds of the first and of the last time: those of the years 1 to 9999.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Reads a time.
pub(super) fn read_timestamp(
    json: &JsonValue,
    descriptor: &MessageDescriptor,
    trail: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<Message> {
    let JsonKind::Text(text) = &json.kind else {
        note_kind("a time such as \"2026-11-30T12:00:00Z\"", json, trail, mistakes);
        return None;
    };
    match parse_timestamp(text) {
        Some((seconds, nanos)) if SECONDS.contains(&seconds) => {
            Some(Message::of_seconds(descriptor, json.position.clone(), seconds, nanos))
        }
        Some(_) => {
            mistakes.note(trail, json.position.as_ref(), "must be of the years 1 to 9999");
            None
        }
        None => {
            let message = format!("must be a time such as \"2026-11-30T12:00:00Z\", not {}", describe(json));
            mistakes.note(trail, json.position.as_ref(), message);
            None
        }
    }
}

/// A text of which the beginning is taken step by step.
struct Rest<'t>(&'t str);

impl Rest<'_> {
    fn literal(&mut self, literal: char) -> Option<()> {
        self.0 = self.0.strip_prefix(literal)?;
        Some(())
    }

    /// Takes `count` digits.
    fn digits(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        self.0 = rest;
        digits.parse().ok()
    }

    fn two_digits(&mut self, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        self.digits(2).filter(|number| range.contains(number))
    }

    /// Takes the decimals behind the seconds, of which the tenth and later ones count only behind a comma, for nothing.
    fn nanos(&mut self) -> Option<i64> {
        let is_comma = self.0.starts_with(',');
        let Some(fraction) = self.0.strip_prefix(['.', ',']) else { return Some(0) };
        let rest = fraction.trim_start_matches(|digit: char| digit.is_ascii_digit());
        let digits = fraction.get(..fraction.len() - rest.len())?;
        if digits.is_empty() || (digits.len() > 9 && !is_comma) {
            return None;
        }
        self.0 = rest;
        let nine = digits.get(..9).unwrap_or(digits);
        format!("{nine:0<9}").parse().ok()
    }

    /// Takes the offset of a time zone, and returns its seconds.
    fn offset(&mut self) -> Option<i64> {
        if self.literal('Z').is_some() {
            return Some(0);
        }
        let sign = if self.literal('+').is_some() { 1 } else { self.literal('-').map(|()| -1)? };
        // Go takes an offset of 24 hours, and one of 60 minutes.
        let hours = self.two_digits(0..=24)?;
        self.literal(':')?;
        let minutes = self.two_digits(0..=60)?;
        Some(sign * (hours * 3600 + minutes * 60))
    }
}

/// Returns the seconds since 1970 and nanoseconds of a time, as Go reads RFC 3339: the hour may have one digit.
fn parse_timestamp(text: &str) -> Option<(i64, i64)> {
    let mut rest = Rest(text);
    let year = rest.digits(4)?;
    rest.literal('-')?;
    let month = rest.two_digits(1..=12)?;
    rest.literal('-')?;
    let day = rest.two_digits(1..=days_in_month(year, month))?;
    rest.literal('T')?;
    let hour = rest.two_digits(0..=23).or_else(|| {
        let has_one_digit = rest.0.chars().nth(1) == Some(':');
        if has_one_digit { rest.digits(1) } else { None }
    })?;
    rest.literal(':')?;
    let minute = rest.two_digits(0..=59)?;
    rest.literal(':')?;
    let second = rest.two_digits(0..=59)?;
    let nanos = rest.nanos()?;
    let offset = rest.offset()?;
    if !rest.0.is_empty() {
        return None;
    }
    Some((days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset, nanos))
}

fn is_leap_year(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap_year(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // There is no year before 0.
    let years_before = |year: i64| year * 365 + (year + 3) / 4 - (year + 99) / 100 + (year + 399) / 400;
    let months: i64 = (1..month).map(|month| days_in_month(year, month)).sum();
    years_before(year) - years_before(1970) + months + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_go_reads_them() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", (0, 0)),
            ("2026-11-30T12:34:56.5Z", (1_796_042_096, 500_000_000)),
            ("2026-11-30T13:34:56.5+01:00", (1_796_042_096, 500_000_000)),
            ("2026-11-30T12:34:56,1234567899Z", (1_796_042_096, 123_456_789)),
            ("1969-12-31T23:59:59.999999999Z", (-1, 999_999_999)),
            ("2000-02-29T0:00:00Z", (951_782_400, 0)),
            ("0001-01-01T00:00:00Z", (*SECONDS.start(), 0)),
            ("9999-12-31T23:59:59Z", (*SECONDS.end(), 0)),
            ("1970-01-02T00:00:00+24:00", (0, 0)),
            ("1970-01-01T01:00:00+00:60", (0, 0)),
        ] {
            assert_eq!(parse_timestamp(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "1970-01-01",
            "1970-01-01T00:00:00",
            "1970-01-01t00:00:00Z",
            "1970-01-01 00:00:00Z",
            "1970-01-01T00:00:00z",
            "1970-1-01T00:00:00Z",
            "1970-13-01T00:00:00Z",
            "1970-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "1970-01-01T24:00:00Z",
            "1970-01-01T23:59:60Z",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00.1234567890Z",
            "1970-01-01T00:00:00+25:00",
            "1970-01-01T00:00:00+0100",
            "1970-01-01T00:00:00Zx",
            "+970-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_timestamp(text), None, "{text}");
        }
    }
}
