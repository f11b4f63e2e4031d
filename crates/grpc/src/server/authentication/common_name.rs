//! Finds the common name in the subject of a certificate.
//!
//! A subject is a sequence of sets of pairs of an object identifier and a string (RFC 5280, section 4.1.2.4), in DER.

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;

/// The object identifier of the common name, 2.5.4.3.
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];

/// Returns the last common name of `subject`, which is the contents of its outer sequence.
///
/// `None` if there is none, if it is in an outdated kind of string, or if the subject is malformed. The last one is the
/// most specific where a subject has several.
pub(super) fn common_name(mut subject: &[u8]) -> Option<String> {
    let mut found = None;
    while !subject.is_empty() {
        let mut set = take(&mut subject, SET)?;
        while !set.is_empty() {
            let mut attribute = take(&mut set, SEQUENCE)?;
            if take(&mut attribute, OBJECT_IDENTIFIER)? == COMMON_NAME {
                let tag = *attribute.first()?;
                let value = take(&mut attribute, tag)?;
                let is_text = matches!(tag, UTF8_STRING | PRINTABLE_STRING | IA5_STRING);
                found = Some(str::from_utf8(value).ok().filter(|_| is_text)?.to_owned());
            }
        }
    }
    found
}

/// Takes the contents of the first element off `rest`, if it has this tag.
fn take<'a>(rest: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (first, length, tail) = match **rest {
        [first, length @ ..=0x7f, ref tail @ ..] | [first, 0x81, length @ 0x80..=0xff, ref tail @ ..] => {
            (first, usize::from(length), tail)
        }
        [first, 0x82, high @ 1..=0xff, low, ref tail @ ..] => {
            (first, usize::from(u16::from_be_bytes([high, low])), tail)
        }
        _ => return None,
    };
    if first != tag || length > tail.len() {
        return None;
    }
    let (contents, tail) = tail.split_at(length);
    *rest = tail;
    Some(contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
        let mut encoded = vec![tag];
        match u8::try_from(contents.len()) {
            Ok(length @ ..=0x7f) => encoded.push(length),
            Ok(length) => encoded.extend([0x81, length]),
            Err(_) => encoded.extend([&[0x82][..], &u16::try_from(contents.len()).unwrap().to_be_bytes()].concat()),
        }
        encoded.extend(contents);
        encoded
    }

    fn attribute(identifier: &[u8], tag: u8, value: &str) -> Vec<u8> {
        let pair = [element(OBJECT_IDENTIFIER, identifier), element(tag, value.as_bytes())].concat();
        element(SET, &element(SEQUENCE, &pair))
    }

    #[test]
    fn the_last_common_name_counts_and_other_attributes_do_not() {
        let organization = attribute(&[0x55, 0x04, 0x0a], UTF8_STRING, "builders");
        let long = "n".repeat(300);
        for name in ["ci", "name with a ü", &"n".repeat(200), &long] {
            let subject = [
                organization.clone(),
                attribute(&COMMON_NAME, PRINTABLE_STRING, "first"),
                attribute(&COMMON_NAME, UTF8_STRING, name),
            ];
            assert_eq!(common_name(&subject.concat()).as_deref(), Some(name));
        }
        assert_eq!(common_name(&organization), None);
        assert_eq!(common_name(&[]), None);
    }

    #[test]
    fn a_subject_that_is_cut_off_has_no_name() {
        let subject = attribute(&COMMON_NAME, UTF8_STRING, "ci");
        for cut in 0..subject.len() {
            assert_eq!(common_name(&subject[..cut]), None, "{cut}");
        }
        assert_eq!(common_name(&attribute(&COMMON_NAME, 0x1e, "\0c\0i")), None);
    }
}
