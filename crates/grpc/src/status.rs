//! Errors as gRPC statuses and back, kind by kind.

use blobaccess::{Error, ErrorKind};
use tonic::Status;

/// Returns the status that `error` is reported as: its code, and its message with the places it went through.
#[cfg(feature = "server")]
pub(crate) fn to_status(error: &Error) -> Status {
    Status::new(tonic::Code::from_i32(error.kind().grpc_code()), error.to_string())
}

/// Returns the status of `error` as a message.
#[cfg(feature = "server")]
pub(crate) fn to_proto(error: &Error) -> blobaccess_proto::rpc::Status {
    blobaccess_proto::rpc::Status {
        code: error.kind().grpc_code(),
        message: error.to_string(),
        ..blobaccess_proto::rpc::Status::default()
    }
}

/// Returns the error that a remote store reported as `status`.
pub(crate) fn from_status(status: Status) -> Error {
    let code = status.code().into();
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
    let message = if message.is_empty() { format!("remote store reported {kind}") } else { message };
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
    fn what_is_no_error_is_none_and_what_is_no_code_is_unknown() {
        assert!(from_proto(&blobaccess_proto::rpc::Status::default()).is_none());
        assert_eq!(from_code(99, String::new()).kind(), ErrorKind::Unknown);
    }
}
