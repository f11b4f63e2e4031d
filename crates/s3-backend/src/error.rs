//! Errors of providers, in terms of what a caller can do about them.

use std::error::Error as _;

use blobaccess::{Error, ErrorKind};

use crate::last_answer::Answer;

/// The longest text of an error, in bytes.
const MAX_TEXT_BYTES: usize = 1 << 10;

/// The longest code of a provider that is quoted, in bytes. Those of S3 and Azure are words of up to 50 letters.
const MAX_CODE_BYTES: usize = 64;

/// Converts a failure of the client library. `answer` is the answer to the last request, if one was sent.
///
/// Absence is not an error here: callers check for it first. The text has the status and the provider's code, and neither
/// the endpoint nor the key nor anything else of the answer: it goes to clients. The source has all of it, for logs.
pub(crate) fn from_provider(error: object_store::Error, answer: Option<&Answer>) -> Error {
    let kind = match answer {
        Some(Answer::Status { status, .. }) => kind_of_status(*status),
        Some(Answer::NotSent | Answer::Lost { timed_out: false }) => ErrorKind::Unavailable,
        Some(Answer::Lost { timed_out: true }) => ErrorKind::DeadlineExceeded,
        None => kind_of(&error),
    };
    let retryable = match answer {
        Some(Answer::Status { status, .. }) => is_temporary(*status),
        Some(Answer::NotSent | Answer::Lost { .. }) => true,
        None => matches!(error, object_store::Error::Generic { .. }),
    };
    let text = describe(&error, answer);
    Error::new(kind, format!("the bucket failed: {text}")).with_retryable(retryable).with_source(error)
}

/// Returns the kind of an error status. What a bucket refuses to this program is an outage to its clients: they lack no
/// right, and may try again. A 404 means that the bucket or an upload is gone, never that a blob is.
fn kind_of_status(status: u16) -> ErrorKind {
    match status {
        408 | 504 => ErrorKind::DeadlineExceeded,
        409 => ErrorKind::Aborted,
        429 => ErrorKind::ResourceExhausted,
        _ => ErrorKind::Unavailable,
    }
}

/// Returns whether a request that was answered so may pass if it is sent again soon.
fn is_temporary(status: u16) -> bool {
    // The connection may also break within the body of an answer that began well. 509 and above are of proxies.
    matches!(status, 200..300 | 408 | 429 | 500 | 502..=504 | 509..600)
}

fn kind_of(error: &object_store::Error) -> ErrorKind {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the library may add to its own")]
    match error {
        object_store::Error::InvalidPath { .. } => ErrorKind::InvalidArgument,
        object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. } => ErrorKind::Aborted,
        // Whatever it is, it does not answer whether the object exists.
        _ => ErrorKind::Unavailable,
    }
}

/// Describes a failure without anything that a server or a path says, but for the provider's code.
fn describe(error: &object_store::Error, answer: Option<&Answer>) -> String {
    match answer {
        Some(answer @ Answer::Status { code: None, .. }) => match code_in(&error.to_string()) {
            Some(code) => format!("{answer} {code}"),
            None => answer.to_string(),
        },
        Some(answer) => answer.to_string(),
        None => match io_error(error) {
            Some(kind) => kind.to_string(),
            None => "no request could be made".to_owned(),
        },
    }
}

fn io_error(error: &object_store::Error) -> Option<std::io::ErrorKind> {
    let causes = std::iter::successors(error.source(), |cause: &&(dyn std::error::Error + 'static)| (*cause).source());
    causes.filter_map(|cause| cause.downcast_ref::<std::io::Error>()).last().map(std::io::Error::kind)
}

/// Returns the code in a document of S3 or of Google, as the client library quotes it: `<Code>NoSuchKey</Code>`.
pub(crate) fn code_in(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (!code.is_empty() && code.len() <= MAX_CODE_BYTES && code.bytes().all(plain)).then_some(code)
}

/// Cuts the text of an error to 1 KiB.
pub(crate) fn bounded(mut text: String) -> String {
    if text.len() > MAX_TEXT_BYTES {
        let end = (0..=MAX_TEXT_BYTES - 3).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.truncate(end);
        text.push_str(" ..");
    }
    text
}

/// The number of characters of a provider's error that are quoted in a log. An answer may be a page of HTML.
const MAX_QUOTED_CHARACTERS: usize = 500;

/// Returns the text of `error` with its last cause, cut to a length that a log can take. It may have endpoints and keys.
pub(crate) fn excerpt(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    // The client library leaves out what the HTTP client says of its own failures.
    let causes = std::iter::successors(error.source(), |cause: &&(dyn std::error::Error + 'static)| (*cause).source());
    if let Some(cause) = causes.last().map(ToString::to_string)
        && !text.contains(&cause)
    {
        text = format!("{text}: {cause}");
    }
    match text.char_indices().nth(MAX_QUOTED_CHARACTERS) {
        Some((end, _)) => format!("{} ..", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_the_code_of_the_answer_and_nothing_else_of_it() {
        let page = format!("http://10.0.0.1/bucket/secret/key <Code>AccessDenied</Code> {}", "<html>".repeat(10_000));
        let error = object_store::Error::Generic { store: "S3", source: page.into() };
        let answer = Answer::Status { status: 403, code: None, own: true, passes_for_own: true };
        let error = from_provider(error, Some(&answer));
        assert_eq!(error.to_string(), "the bucket failed: 403 AccessDenied");
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, false));
    }

    #[test]
    fn a_code_is_a_word() {
        assert_eq!(code_in("404: <Error><Code>NoSuchKey</Code></Error>"), Some("NoSuchKey"));
        for text in ["", "<Code></Code>", "<Code>two words</Code>", "<Code>NoSuchKey", "NoSuchKey</Code>"] {
            assert_eq!(code_in(text), None, "{text}");
        }
        assert_eq!(code_in(&format!("<Code>{}</Code>", "x".repeat(65))), None);
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(bounded("short".to_owned()), "short");
        let cut = bounded("ä".repeat(1000));
        assert!(cut.len() <= 1024 && cut.ends_with("ä .."), "{}", cut.len());
    }

    #[test]
    fn no_more_than_the_beginning_of_an_answer_is_quoted() {
        let error = object_store::Error::Generic { store: "S3", source: "ä".repeat(10_000).into() };
        let quoted = excerpt(&error);
        assert_eq!(quoted.chars().count(), MAX_QUOTED_CHARACTERS + 3);
        assert!(quoted.starts_with("Generic S3 error: ä"), "{quoted}");
    }
}
