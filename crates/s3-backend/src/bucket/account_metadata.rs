//! The account of an upload as metadata of its object: plain text that every server keeps as it is.

use std::fmt::Write;

use blobaccess::AccountName;

/// The length up to which a name is written so that people can read it. S3 allows 2 KB for all metadata of an object.
const MAX_READABLE: usize = 1_024;

/// The beginning of a name in the alphabet of 64 digits. It begins no name that people can read.
const DENSE: &str = "%%";

/// The value of the empty name, as some servers drop empty values.
const EMPTY: &str = "%";

/// The digits of RFC 4648, section 5.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Encodes a name: letters, digits and a few marks as they are, all other bytes as `%` and two digits. A name that would be
/// too long so is encoded with six bits to a character, in up to 1,368 of them.
pub(super) fn encode(account_name: &AccountName) -> String {
    let name = account_name.as_str();
    if name.is_empty() {
        return EMPTY.to_owned();
    }
    let mut readable = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/' | b'@' | b':') {
            readable.push(char::from(byte));
        } else {
            // A string takes whatever is written to it.
            let _: std::fmt::Result = write!(readable, "%{byte:02X}");
        }
        if readable.len() > MAX_READABLE {
            return encode_densely(name);
        }
    }
    readable
}

fn encode_densely(name: &str) -> String {
    let mut dense = DENSE.to_owned();
    for bytes in name.as_bytes().chunks(3) {
        let bits = (0..3).fold(0_usize, |bits, index| bits << 8 | usize::from(bytes.get(index).copied().unwrap_or(0)));
        for shift in [18, 12, 6, 0].into_iter().take(bytes.len() + 1) {
            dense.push(DIGITS.get(bits >> shift & 63).copied().map_or('A', char::from));
        }
    }
    dense
}

/// Decodes a name. Returns `None` for a value that [`encode`] does not make, as another program may have written it.
pub(super) fn decode(value: &str) -> Option<AccountName> {
    if value == EMPTY {
        return Some(AccountName::new(""));
    }
    let bytes = match value.strip_prefix(DENSE) {
        Some(dense) => decode_densely(dense)?,
        None => decode_readable(value)?,
    };
    let account_name = AccountName::new(String::from_utf8(bytes).ok()?);
    (encode(&account_name) == value).then_some(account_name)
}

fn decode_readable(value: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            decoded.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    Some(decoded)
}

fn decode_densely(dense: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(dense.len());
    for digits in dense.as_bytes().chunks(4) {
        let mut bits = 0_u32;
        for index in 0..4 {
            let digit = match digits.get(index) {
                Some(digit) => DIGITS.iter().position(|known| known == digit)?,
                None => 0,
            };
            bits = bits << 6 | u32::try_from(digit).ok()?;
        }
        let [_, bytes @ ..] = bits.to_be_bytes();
        decoded.extend(bytes.into_iter().take(digits.len().checked_sub(1)?));
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_people_use_stay_readable() {
        for (name, value) in [
            ("acme/main", "acme/main"),
            ("", "%"),
            ("a b%", "a%20b%25"),
            ("日本", "%E6%97%A5%E6%9C%AC"),
            ("__other__", "__other__"),
        ] {
            assert_eq!(encode(&AccountName::new(name)), value);
            assert_eq!(decode(value), Some(AccountName::new(name)));
        }
    }

    #[test]
    fn the_longest_names_fit_beside_a_token() {
        for name in ["x".repeat(1_024), "日".repeat(341), " ".repeat(1_024), "ä".repeat(40_000)] {
            let account_name = AccountName::new(name);
            let value = encode(&account_name);
            assert!(value.len() <= 1_368 && value.bytes().all(|byte| byte.is_ascii_graphic()), "{}", value.len());
            assert_eq!(decode(&value), Some(account_name));
        }
    }

    #[test]
    fn what_others_wrote_is_no_account() {
        for value in ["a b", "%2", "%zz", "%e6", "%41", "%FF", "%%", "%%A", "%%====", "%%QQ==", "ä"] {
            assert_eq!(decode(value), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_read_back(name in "\\PC{0,600}") {
            let account_name = AccountName::new(name);
            prop_assert_eq!(decode(&encode(&account_name)), Some(account_name));
        }
    }
}
