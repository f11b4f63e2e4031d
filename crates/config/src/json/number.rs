//! Numbers in the grammar of JSON.

/// The most digits of a whole number: those of the largest `uint64`.
const MAX_DIGITS: usize = 20;

/// Returns how many bytes at the beginning of `text` are a number, or `None` if it does not begin with one.
pub(crate) fn number_length(text: &str) -> Option<usize> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let mut rest = unsigned;
    match skip_digits(&mut rest) {
        0 => return None,
        1 => {}
        // There are no further digits behind a leading zero.
        _ if unsigned.starts_with('0') => return Some(text.len() - unsigned.len() + 1),
        _ => {}
    }
    if let Some(mut fraction) = rest.strip_prefix('.') {
        if skip_digits(&mut fraction) == 0 {
            return None;
        }
        rest = fraction;
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let mut digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if skip_digits(&mut digits) == 0 {
            return None;
        }
        rest = digits;
    }
    Some(text.len() - rest.len())
}

/// Returns whether all of `text` is a number.
pub(crate) fn is_number(text: &str) -> bool {
    number_length(text) == Some(text.len())
}

fn skip_digits(text: &mut &str) -> usize {
    let rest = text.trim_start_matches(|character: char| character.is_ascii_digit());
    let count = text.len() - rest.len();
    *text = rest;
    count
}

/// Returns the number `text` in plain digits, if it is whole: `-150` for `-1.5e2`. Leading zeros may remain.
pub(crate) fn whole_digits(text: &str) -> Option<String> {
    let (sign, unsigned) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let whole = if whole == "0" { "" } else { whole };
    let fraction = fraction.trim_end_matches('0');
    if whole.is_empty() && fraction.is_empty() {
        return Some("0".to_owned());
    }
    // Exponents out of this range are refused even where zeros make up for them.
    let exponent: i32 = exponent.parse().ok()?;
    let shift = usize::try_from(exponent.unsigned_abs()).ok()?;
    let digits = if exponent >= 0 {
        if fraction.len() > shift || whole.len().saturating_add(shift) > MAX_DIGITS {
            return None;
        }
        format!("{whole}{fraction}{}", "0".repeat(shift - fraction.len()))
    } else {
        if !fraction.is_empty() {
            return None;
        }
        let (kept, cut) = whole.split_at_checked(whole.len().checked_sub(shift)?)?;
        if cut.bytes().any(|digit| digit != b'0') {
            return None;
        }
        kept.to_owned()
    };
    Some(format!("{sign}{digits}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_ends_where_the_grammar_says() {
        let whole = ["0", "-0", "10", "-1.5", "1e3", "1E+3", "1.25e-3", "0.0"];
        for text in whole {
            assert_eq!(number_length(text), Some(text.len()), "{text}");
        }
        for (text, length) in [("01", 1), ("-00", 2), ("1,", 1), ("1.5.5", 3), ("1e3e", 3), ("0x10", 1)] {
            assert_eq!(number_length(text), Some(length), "{text}");
        }
        for text in ["", "-", "+1", ".5", "5.", "1e", "1e+", "1.e3", "x", "-x"] {
            assert_eq!(number_length(text), None, "{text}");
        }
    }

    #[test]
    fn whole_numbers_have_plain_digits() {
        for (text, digits) in [
            ("0", "0"),
            ("-0", "0"),
            ("0e99999999999", "0"),
            ("-1.5e2", "-150"),
            ("1.0", "1"),
            ("0.05e2", "05"),
            ("100e-2", "1"),
            ("1e19", "10000000000000000000"),
            ("9007199254740993.0", "9007199254740993"),
        ] {
            assert_eq!(whole_digits(text).as_deref(), Some(digits), "{text}");
        }
        for text in ["1.5", "10e-2", "10e-3", "1.5e0", "1e20", "1e99999999999", "0.00000000001e21", "1.0e-1"] {
            assert_eq!(whole_digits(text), None, "{text}");
        }
    }
}
