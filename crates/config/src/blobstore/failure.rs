//! Stores that fail every call.

use blobaccess::{Error, ErrorKind};

use crate::section::Section;

/// The error of a store that fails every call, from a `google.rpc.Status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FailurePlan {
    kind: ErrorKind,
    message: String,
}

impl FailurePlan {
    /// Reads the error.
    pub(crate) fn read(section: &Section<'_>) -> Option<Self> {
        let code = i32::try_from(section.int("code")).unwrap_or_default();
        let message = section.text("message").to_owned();
        section.notice_at("details", "has no effect: errors have a code and a message");
        if code == 0 {
            section
                .fault_at("code", "must be the code of an error, such as 14: every call fails with it, and 0 is none");
            return None;
        }
        let kind = ErrorKind::from_grpc_code(code).unwrap_or_else(|| {
            section.notice_at("code", "is no code of gRPC: calls fail with the code 2");
            ErrorKind::Unknown
        });
        Some(Self { kind, message })
    }

    /// Returns the error.
    pub(crate) fn error(&self) -> Error {
        Error::new(self.kind, self.message.clone())
    }
}
