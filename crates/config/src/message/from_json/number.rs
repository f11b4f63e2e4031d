//! Numbers, in any notation that JSON has, also in quotation marks.

use crate::json::{is_number, whole_digits};

/// Returns a whole number.
pub(super) fn parse_int(text: &str) -> Option<i64> {
    if is_number(text) { whole_digits(text)?.parse().ok() } else { None }
}

/// Returns a whole number without a sign.
pub(super) fn parse_uint(text: &str) -> Option<u64> {
    if is_number(text) { whole_digits(text)?.parse().ok() } else { None }
}

/// Returns a number of 64 bits with a fraction. Texts may also be those of numbers that JSON has not.
pub(super) fn parse_double(text: &str, is_text: bool) -> Option<f64> {
    match text {
        "NaN" if is_text => Some(f64::NAN),
        "Infinity" if is_text => Some(f64::INFINITY),
        "-Infinity" if is_text => Some(f64::NEG_INFINITY),
        _ if is_number(text) => text.parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    }
}

/// Returns a number of 32 bits with a fraction, likewise.
pub(super) fn parse_float(text: &str, is_text: bool) -> Option<f64> {
    let double = parse_double(text, is_text)?;
    if !double.is_finite() {
        return Some(double);
    }
    text.parse().ok().filter(|number: &f32| number.is_finite()).map(f64::from)
}
