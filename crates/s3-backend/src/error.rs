//! Errors of providers, in terms of what a caller can do about them.

use std::error::Error as _;

use blobaccess::{Error, ErrorKind};

use crate::last_answer::Answer;

/// Converts a failure of the client library. `answer` is the answer to the last request, if one was sent.
///
/// Absence is not an error here: callers check for it first.
pub(crate) fn from_provider(error: object_store::Error, answer: Option<&Answer>) -> Error {
    let kind = match answer {
        Some(Answer::Status { status, .. }) => kind_of_status(*status),
        Some(Answer::NotSent | Answer::Lost { timed_out: false }) => ErrorKind::Unavailable,
        Some(Answer::Lost { timed_out: true }) => ErrorKind::DeadlineExceeded,
        None => kind_of(&error),
    };
    let retryable = matches!(kind, ErrorKind::Unavailable | ErrorKind::DeadlineExceeded | ErrorKind::ResourceExhausted);
    let answer = answer.map_or_else(String::new, |answer| format!(" ({answer})"));
    Error::new(kind, format!("bucket failed{answer}: {}", excerpt(&error))).with_retryable(retryable).with_source(error)
}

/// Returns the kind of an error status. A 404 means that the bucket or an upload is gone, never that a blob is.
fn kind_of_status(status: u16) -> ErrorKind {
    match status {
        401 => ErrorKind::Unauthenticated,
        403 => ErrorKind::PermissionDenied,
        408 | 504 => ErrorKind::DeadlineExceeded,
        409 => ErrorKind::Aborted,
        429 => ErrorKind::ResourceExhausted,
        // The connection may also break within the body of an answer that began well.
        200..300 | 500 | 502 | 503 => ErrorKind::Unavailable,
        501 => ErrorKind::Unimplemented,
        300..500 => ErrorKind::FailedPrecondition,
        _ => ErrorKind::Internal,
    }
}

fn kind_of(error: &object_store::Error) -> ErrorKind {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the library may add to its own")]
    match error {
        object_store::Error::PermissionDenied { .. } => ErrorKind::PermissionDenied,
        object_store::Error::Unauthenticated { .. } => ErrorKind::Unauthenticated,
        object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. } => {
            ErrorKind::Unimplemented
        }
        object_store::Error::InvalidPath { .. } => ErrorKind::InvalidArgument,
        object_store::Error::NotFound { .. } => ErrorKind::FailedPrecondition,
        // Whatever it is, it does not answer whether the object exists.
        object_store::Error::Generic { .. } => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    }
}

/// The number of characters of a provider's error that are quoted. An answer may be a page of HTML.
const MAX_QUOTED_CHARACTERS: usize = 500;

/// Returns the text of `error` with its cause, cut to a length that a log can take.
pub(crate) fn excerpt(error: &object_store::Error) -> String {
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
    fn no_more_than_the_beginning_of_an_answer_is_quoted() {
        let error = object_store::Error::Generic { store: "S3", source: "ä".repeat(10_000).into() };
        let quoted = excerpt(&error);
        assert_eq!(quoted.chars().count(), MAX_QUOTED_CHARACTERS + 3);
        assert!(quoted.starts_with("Generic S3 error: ä"), "{quoted}");
    }
}
