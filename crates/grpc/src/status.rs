//! Errors as gRPC statuses and back, kind by kind.

#[cfg(feature = "server")]
use std::borrow::Cow;
#[cfg(feature = "server")]
use std::time::Duration;

#[cfg(feature = "server")]
use blobaccess::{Clock, LogInterval, SystemClock};
use blobaccess::{Error, ErrorKind};
use tonic::Status;

#[cfg(feature = "server")]
use crate::answer_text;
use crate::bounded_text::cut;

/// The words by which tonic refuses a message that is larger than permitted, with the code of an offset beyond the end.
const TOO_LARGE: &str = "message length too large";

/// The shortest time between two lines in the log that tell all of a text.
#[cfg(feature = "server")]
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Returns the status that `error` is reported as: its code, and its message with the places it went through, as far as
/// [strangers are told](crate::answer_text).
#[cfg(feature = "server")]
pub(crate) fn to_status(error: &Error) -> Status {
    Status::new(tonic::Code::from_i32(error.kind().grpc_code()), words(error))
}

/// Returns whether a message was refused for its size, by the library that receives it.
pub(crate) fn is_too_large(code: tonic::Code, message: &str) -> bool {
    code == tonic::Code::OutOfRange && message.contains(TOO_LARGE)
}

/// Returns the text of `error` for strangers. The log has what is left out.
#[cfg(feature = "server")]
fn words(error: &Error) -> String {
    let text = error.to_string();
    let told = answer_text::tell(&text);
    if let Cow::Borrowed(_) = told {
        return text;
    }
    log(&text);
    told.into_owned()
}

/// Logs `text`. If many come at once, one of them is a warning, and the others are for debugging.
#[cfg(feature = "server")]
pub(crate) fn log(text: &str) {
    static WARNING: LogInterval = LogInterval::new(LOG_INTERVAL);
    if WARNING.due(SystemClock.monotonic()).is_some() {
        tracing::warn!(text, "an error was reported with a part of its text");
    } else {
        tracing::debug!(text, "an error was reported with a part of its text");
    }
}

/// Returns the status of `error` as a message.
#[cfg(feature = "server")]
pub(crate) fn to_proto(error: &Error) -> blobaccess_proto::rpc::Status {
    blobaccess_proto::rpc::Status {
        code: error.kind().grpc_code(),
        message: words(error),
        ..blobaccess_proto::rpc::Status::default()
    }
}

/// Returns the error that a remote store reported as `status`.
pub(crate) fn from_status(status: Status) -> Error {
    let too_large = is_too_large(status.code(), status.message());
    let code = if too_large { tonic::Code::ResourceExhausted } else { status.code() }.into();
    from_code(code, status.message().to_owned()).with_source(status)
}

/// Returns the error that a remote store reported within a message; `None` if it reported none.
#[cfg(feature = "client")]
pub(crate) fn from_proto(status: &blobaccess_proto::rpc::Status) -> Option<Error> {
    (status.code != 0).then(|| from_code(status.code, status.message.clone()))
}

fn from_code(code: i32, message: String) -> Error {
    // A success code of a failed call, and an unassigned code, are faults of the sender.
    let kind = ErrorKind::from_grpc_code(code).unwrap_or(ErrorKind::Unknown);
    // What another says is passed on, so it is bounded here too.
    let message = match cut(message) {
        message if message.is_empty() => format!("remote store reported {kind}"),
        message => message,
    };
    Error::new(kind, message)
}

#[cfg(all(test, feature = "client", feature = "server"))]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_the_way_there_and_back() {
        for kind in ErrorKind::ALL {
            let error = Error::new(kind, "disk on fire").at("shard 3");
            let back = from_status(to_status(&error));
            assert_eq!((back.kind(), back.message()), (kind, "shard 3: disk on fire"));
            let back = from_proto(&to_proto(&error)).unwrap();
            assert_eq!((back.kind(), back.message()), (kind, "shard 3: disk on fire"));
        }
    }

    #[test]
    fn long_texts_are_cut_both_ways_and_addresses_go_no_further() {
        let error = Error::unavailable(format!("https://bucket/key: {}", "x".repeat(5000))).at("grpc(http://a:1)");
        for message in [to_status(&error).message().to_owned(), to_proto(&error).message] {
            assert!(message.starts_with("grpc([address]): [address]"), "{message}");
            assert!(message.len() <= crate::bounded_text::MAX_TEXT_BYTES);
        }
        let told = from_status(Status::unavailable("y".repeat(50_000)));
        assert_eq!(told.message().len(), crate::bounded_text::MAX_TEXT_BYTES);
    }

    #[test]
    fn a_message_that_is_too_large_exhausts_a_resource_and_an_offset_does_not() {
        let text = "Error, decoded message length too large: found 5 bytes, the limit is: 4 bytes";
        assert_eq!(from_status(Status::out_of_range(text)).kind(), ErrorKind::ResourceExhausted);
        assert_eq!(from_status(Status::out_of_range("blob is 5 bytes")).kind(), ErrorKind::OutOfRange);
    }

    #[test]
    fn what_is_no_error_is_none_and_what_is_no_code_is_unknown() {
        assert!(from_proto(&blobaccess_proto::rpc::Status::default()).is_none());
        assert_eq!(from_code(99, String::new()).kind(), ErrorKind::Unknown);
    }
}
