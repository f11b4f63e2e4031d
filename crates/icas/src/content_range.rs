//! The header of an answer that says which part of a resource it has.

/// A value of `Content-Range` in bytes (RFC 9110, section 14.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ContentRange {
    pub(crate) first: u64,
    /// The offset behind the part.
    pub(crate) end: u64,
    /// The size of the whole resource, if the server knows it.
    pub(crate) total: Option<u64>,
}

impl ContentRange {
    /// Parses a value such as `bytes 0-4/10` or `bytes 0-4/*`. Returns `None` if it is malformed or contradicts itself.
    pub(crate) fn parse(value: &str) -> Option<Self> {
        let (unit, range) = value.trim().split_once(' ')?;
        let (range, total) = range.trim().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last) = (parse_number(first)?, parse_number(last)?);
        let total = if total == "*" { None } else { Some(parse_number(total)?) };
        let end = last.checked_add(1)?;
        let is_consistent = first < end && total.is_none_or(|total| end <= total);
        (unit.eq_ignore_ascii_case("bytes") && is_consistent).then_some(Self { first, end, total })
    }
}

/// Parses digits alone: no sign, no space.
fn parse_number(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_if_it_is_one() {
        let range = |first, end, total| Some(ContentRange { first, end, total });
        assert_eq!(ContentRange::parse("bytes 0-4/10"), range(0, 5, Some(10)));
        assert_eq!(ContentRange::parse("Bytes 5-9/*"), range(5, 10, None));
        assert_eq!(ContentRange::parse(" bytes 9-9/10 "), range(9, 10, Some(10)));
        for malformed in [
            "",
            "bytes",
            "bytes */10",
            "bytes 0-4",
            "bytes 4-0/10",
            "bytes 0-10/10",
            "lines 0-4/10",
            "bytes +0-4/10",
            "bytes 0-18446744073709551615/*",
            "bytes -4/10",
            "bytes 0-/10",
            "bytes 0-4/x",
            "bytes 0--1/0",
        ] {
            assert_eq!(ContentRange::parse(malformed), None, "{malformed}");
        }
    }
}
