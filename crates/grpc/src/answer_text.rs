//! The text of errors, as strangers are given it.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use crate::bounded_text::{CUT, MAX_TEXT_BYTES, cut, start};

/// The size of a word from which on it is cut, in bytes: a name that is longer must not hide what follows it.
const MAX_WORD_BYTES: usize = 256;

/// Returns `text` as it may be told to a stranger: without the addresses that the server is told of, without pages that
/// others sent, in one line of at most [`MAX_TEXT_BYTES`].
pub(crate) fn tell(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_TEXT_BYTES && text.split_whitespace().all(may_stay) && !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let text = without_page(text);
    let mut told = String::with_capacity(text.len().min(MAX_TEXT_BYTES));
    for word in text.split(|character: char| character.is_whitespace() || character.is_control()) {
        // Words beyond the end are not looked at.
        if told.len() > MAX_TEXT_BYTES {
            break;
        }
        if !told.is_empty() {
            told.push(' ');
        }
        let word = without_address(word);
        told.push_str(start(&word, MAX_WORD_BYTES));
        if word.len() > MAX_WORD_BYTES {
            told.push_str(CUT);
        }
    }
    Cow::Owned(cut(told))
}

fn may_stay(word: &str) -> bool {
    word.len() <= MAX_WORD_BYTES && !begins_page(word) && matches!(without_address(word), Cow::Borrowed(_))
}

/// Returns whether a page in a markup language begins in `word`.
fn begins_page(word: &str) -> bool {
    word.split('<')
        .skip(1)
        .any(|after| after.starts_with(|first: char| first.is_ascii_alphabetic() || "!?/".contains(first)))
}

/// Cuts out a page, from its first tag to the end of the last one that closes something; a page that is cut off has no end.
fn without_page(text: &str) -> Cow<'_, str> {
    let tag = text.match_indices('<').map(|(at, _)| at).find(|at| text.get(*at..).is_some_and(begins_page));
    let Some(first) = tag else { return Cow::Borrowed(text) };
    let (before, rest) = text.split_at(first);
    let after = rest.rsplit_once("</").and_then(|(_, last)| last.split_once('>')).map_or("", |(_, after)| after);
    Cow::Owned(format!("{before}[page]{after}"))
}

/// Replaces the address in `word`, if there is one: a URL, or a host by its number or name with a port.
fn without_address(word: &str) -> Cow<'_, str> {
    if let Some((before, after)) = word.split_once("://") {
        let scheme = before.len()
            - before.trim_end_matches(|last: char| last.is_ascii_alphanumeric() || "+-.".contains(last)).len();
        let (before, _) = before.split_at(before.len() - scheme);
        let rest = after.find(|end: char| "\"'`<>()[]{},;".contains(end)).and_then(|end| after.get(end..));
        return Cow::Owned(format!("{before}[address]{}", without_address(rest.unwrap_or_default())));
    }
    let core = word.trim_matches(|edge: char| "\"'`<>(){},;".contains(edge)).trim_end_matches(['.', ':']);
    if core.is_empty() || !is_address(core) {
        return Cow::Borrowed(word);
    }
    Cow::Owned(word.replacen(core, "[address]", 1))
}

fn is_address(core: &str) -> bool {
    if core.parse::<SocketAddr>().is_ok() || core.parse::<IpAddr>().is_ok() {
        return true;
    }
    let Some((host, port)) = core.rsplit_once(':') else { return false };
    let is_port = (2..=5).contains(&port.len()) && port.bytes().all(|digit| digit.is_ascii_digit());
    let is_host = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-');
    let last_label = host.rsplit_once('.').map_or("", |(_, label)| label);
    is_port && is_host && (host == "localhost" || last_label.starts_with(|first: char| first.is_ascii_alphabetic()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_names_nobody_is_told_as_it_is() {
        for text in [
            "",
            "blob 1-3a7bd3e2360a3d29eea436fcfb7e44c735d117c42d1c1835420b6b9942dd4f1b-5-hello/world is not stored",
            "shard 3: disk on fire, at offset 12:34",
            "field with number 2 at offset 2 size 2 is no directory (1 < 2)",
            "instance name \"a//b\" has an empty part: a <- b",
        ] {
            assert!(matches!(tell(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn addresses_are_not_told() {
        for (text, told) in [
            ("GET https://key@bucket.example.com:9000/cas/abc?X-Amz-Credential=AKID failed", "GET [address] failed"),
            ("grpc(http://cache-1:8980): refused", "grpc([address]): refused"),
            ("error for url (http://10.0.0.7/x), giving up", "error for url ([address]), giving up"),
            ("tcp connect error: 127.0.0.1:9000: refused", "tcp connect error: [address]: refused"),
            ("[::1]:50051 is away", "[address] is away"),
            ("peer 10.1.2.3, which is away", "peer [address], which is away"),
            ("lookup storage-3.internal:8980 failed", "lookup [address] failed"),
            ("no such host: \"localhost:80\"", "no such host: \"[address]\""),
            ("http://a and http://b", "[address] and [address]"),
        ] {
            assert_eq!(tell(text), told);
        }
    }

    #[test]
    fn pages_of_others_are_not_told() {
        let page = "<html>\r\n<head><title>502 Bad Gateway</title></head>\n</html>";
        assert_eq!(tell(&format!("bucket said: {page} (twice)")), "bucket said: [page] (twice)");
        let xml = "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Key>secret</Key></Error>";
        assert_eq!(tell(&format!("403: {xml}")), "403: [page]");
        assert_eq!(tell("cut off: <Error><Code>Acc"), "cut off: [page]");
        assert_eq!(tell("two\r\nlines"), "two  lines");
    }

    #[test]
    fn long_names_are_cut_and_what_follows_them_is_told() {
        let name = "n".repeat(20_000);
        let told = tell(&format!("instance name {name:?} is reserved")).into_owned();
        assert!(told.starts_with("instance name \"nnn") && told.ends_with("nn.. is reserved"), "{told}");
        assert!(told.len() < 300);
        let words = "many words ".repeat(500);
        let told = tell(&words);
        assert_eq!(told.len(), MAX_TEXT_BYTES);
        assert!(told.ends_with(CUT));
    }

    proptest! {
        #[test]
        fn any_text_becomes_one_line_of_bounded_size(
            text in prop_oneof![any::<String>(), "[<>a-c:/.0-9 \"é\n]{0,40}", "[é ]{900,1200}"],
        ) {
            let told = tell(&text);
            prop_assert!(told.len() <= MAX_TEXT_BYTES);
            prop_assert!(!told.contains(char::is_control));
            prop_assert!(!told.contains("://"), "{}", told);
        }
    }
}
