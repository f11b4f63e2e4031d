//! The failures of calls, as errors that say whether to call again.

use std::error::Error as StdError;
use std::fmt::Write as _;

use blobaccess::{Digest, Error, ErrorKind, PutCertainty};
use blobaccess_proto::rpc;
use tonic::{Code, ConnectError, Status, TimeoutExpired};

use super::not_grpc::is_foreign;

/// Returns the error that a call failed with.
///
/// What the server reported keeps its kind. A failure on the way to it or back is `Unavailable`, whatever the layers
/// below call it, but for a time-out of ours.
pub(super) fn from_status(status: Status) -> Error {
    let Some(cause) = status.source() else { return judged(from_server(status)) };
    if find::<TimeoutExpired>(cause) {
        return Error::deadline_exceeded("remote store did not answer in time").with_source(status);
    }
    let connecting = find::<ConnectError>(cause);
    let error = Error::unavailable(format!("remote store cannot be reached: {}", causes(cause))).with_source(status);
    if connecting { error.not_stored() } else { error }
}

/// The words by which servers refuse a message for its size: those of Rust, of Go and C++, of Java. No later attempt
/// passes.
const TOO_LARGE: [&str; 3] = ["message length too large", "larger than max", "exceeds maximum size"];

/// Returns whether the time of a call was up before its answer came.
pub(super) fn is_time_out(status: &Status) -> bool {
    status.source().is_some_and(find::<TimeoutExpired>)
}

/// Returns whether nobody knows what became of a call: it may have been sent, and it may still arrive.
pub(super) fn is_lost(error: &Error) -> bool {
    let status = error.source().and_then(|source| source.downcast_ref::<Status>());
    error.put_certainty() == PutCertainty::MaybeStored
        && status.is_some_and(|status| status.source().is_some() || is_foreign(status))
}

fn from_server(status: Status) -> Error {
    let too_large = matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted)
        && TOO_LARGE.iter().any(|words| status.message().contains(words));
    let foreign = is_foreign(&status);
    let error = crate::status::from_status(status);
    if too_large {
        error.with_kind(ErrorKind::FailedPrecondition)
    } else if foreign {
        error.with_kind(ErrorKind::Unavailable)
    } else {
        error
    }
}

/// Returns the error that one entry of a batch failed with, if it did.
pub(super) fn from_entry(status: Option<&rpc::Status>) -> Option<Error> {
    status.and_then(crate::status::from_proto).map(judged)
}

/// Marks failures that may pass by waiting as retryable: an outage, overload and conflicts with others.
fn judged(error: Error) -> Error {
    let passing = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::ResourceExhausted | ErrorKind::Aborted);
    error.with_retryable(passing)
}

/// Converts the error of a call that cannot find anything absent: what it did not find is an instance name, a service, a
/// proxy's way to the server.
pub(super) fn never_absent(error: Error) -> Error {
    if error.is_not_found() {
        error.with_kind(ErrorKind::Internal).at("remote store found no such place")
    } else {
        error
    }
}

/// Makes the error that `digest` is not stored, with the server's own message.
pub(super) fn not_found(digest: &Digest, error: &Error) -> Error {
    Error::not_found(format!("blob {digest} is not in the remote store: {}", error.message()))
}

/// Formats an error and its causes in one line, without repeating a message.
pub(super) fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut line = error.to_string();
    let mut last = line.clone();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !last.ends_with(&message) {
            // Writing to a string cannot fail.
            let _written = write!(line, ": {message}");
        }
        last = message;
        cause = error.source();
    }
    line
}

fn find<E: StdError + 'static>(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<E>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_says_keeps_its_kind_and_what_passes_may_be_retried() {
        for kind in ErrorKind::ALL {
            let error = from_status(Status::new(Code::from_i32(kind.grpc_code()), "so it is"));
            assert_eq!((error.kind(), error.message()), (kind, "so it is"));
            let passing = [ErrorKind::Unavailable, ErrorKind::ResourceExhausted, ErrorKind::Aborted].contains(&kind);
            assert_eq!(error.is_retryable(), passing, "{kind}");
        }
    }

    #[test]
    fn a_failure_on_the_way_is_an_outage_and_a_failure_to_connect_stored_nothing() {
        let lost = from_status(Status::from_error(Box::new(ConnectError(Box::new(std::io::Error::other("refused"))))));
        assert_eq!(lost.kind(), ErrorKind::Unavailable);
        assert_eq!(lost.put_certainty(), PutCertainty::NotStored);
        assert!(lost.message().contains("refused"), "{lost}");
        let broken = from_status(Status::from_error(Box::new(std::io::Error::other("broken pipe"))));
        assert_eq!(broken.kind(), ErrorKind::Unavailable);
        assert!(broken.is_retryable() && is_lost(&broken) && !is_lost(&lost));
        assert!(!is_lost(&from_status(Status::unavailable("busy"))));
        assert_eq!(broken.put_certainty(), PutCertainty::MaybeStored);
        let late = from_status(Status::from_error(Box::new(TimeoutExpired(()))));
        assert_eq!(late.kind(), ErrorKind::DeadlineExceeded);
    }

    #[test]
    fn a_message_that_is_too_large_is_not_sent_again() {
        for (code, text) in [
            (Code::OutOfRange, "Error, decoded message length too large: found 5 bytes, the limit is: 4 bytes"),
            (Code::ResourceExhausted, "Error, decoded message length too large: found 5 bytes, the limit is: 4 bytes"),
            (Code::ResourceExhausted, "grpc: received message larger than max (5 vs. 4)"),
            (Code::ResourceExhausted, "Received message larger than max (5 vs. 4)"),
            (Code::ResourceExhausted, "gRPC message exceeds maximum size 4: 5"),
        ] {
            let error = from_status(Status::new(code, text));
            assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::FailedPrecondition, false), "{text}");
        }
    }

    #[test]
    fn a_place_that_was_not_found_is_no_absence() {
        let error = never_absent(from_status(Status::not_found("no such instance")));
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(error.to_string().ends_with("no such instance"), "{error}");
        assert_eq!(never_absent(Error::unavailable("busy")).kind(), ErrorKind::Unavailable);
    }
}
