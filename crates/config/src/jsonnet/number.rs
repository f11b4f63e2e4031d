//! Numbers of Jsonnet, which are floating-point numbers of 64 bits.

#![expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "these are the conversions between floating-point numbers and integers; `as` saturates"
)]

/// The largest number whose neighbours are whole numbers too: 2^53 - 1.
pub(super) const MAX_SAFE: f64 = 9_007_199_254_740_991.0;

/// Returns the whole part of a number.
pub(super) fn truncate(number: f64) -> i64 {
    number as i64
}

/// Returns the floating-point number nearest to an integer.
pub(super) fn from_integer(integer: i64) -> f64 {
    integer as f64
}

/// Returns a length as a number.
pub(super) fn from_length(length: usize) -> f64 {
    length as f64
}

/// Returns a number that is whole and not negative as a length.
pub(super) fn to_length(number: f64) -> Option<usize> {
    let fits = number >= 0.0 && number.fract() == 0.0 && number <= MAX_SAFE;
    if fits { Some(number as usize) } else { None }
}

/// Returns the number as Jsonnet renders it: all digits of a whole number, and 17 digits of others.
pub(super) fn render(number: f64) -> String {
    if number.fract() == 0.0 {
        return format!("{number:.0}");
    }
    // One digit before the point and sixteen behind it.
    let scientific = format!("{number:.16e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent = exponent.parse::<i32>().unwrap_or_default();
    if (-4..17).contains(&exponent) {
        let decimals = usize::try_from(16 - exponent).unwrap_or_default();
        trim_zeros(&format!("{number:.decimals$}")).to_owned()
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{}e{sign}{:02}", trim_zeros(digits), exponent.abs())
    }
}

fn trim_zeros(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rendered_with_17_digits_and_integers_in_full() {
        for (number, text) in [
            (0.1, "0.10000000000000001"),
            (1e-7, "9.9999999999999995e-08"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e23, "99999999999999991611392"),
            (-0.0, "-0"),
            (1.5, "1.5"),
            (2f64.powi(73), "9444732965739290427392"),
            (123_456.75, "123456.75"),
            (0.0001, "0.0001"),
            (0.00001, "1.0000000000000001e-05"),
        ] {
            assert_eq!(render(number), text);
        }
    }
}
