//! The parts of a report, each of which may fail by itself.

use blobaccess::{Error, Result};

/// The parts of a report, each of which may fail.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) first_error: Option<Error>,
    /// Whether the ledger was not sent a report, or did not take one.
    pub(super) is_unsent: bool,
}

impl Parts {
    /// Notes the end of a part, and returns its result if it did not fail.
    pub(super) fn note<T>(&mut self, result: Result<T>) -> Option<T> {
        match result {
            Ok(done) => Some(done),
            Err(error) => {
                if self.first_error.is_some() {
                    tracing::debug!(%error, "another part of a report failed");
                } else {
                    self.first_error = Some(error);
                }
                None
            }
        }
    }

    /// Notes the end of a part without which the ledger lacks a report.
    pub(super) fn note_report<T>(&mut self, result: Result<T>) -> Option<T> {
        self.is_unsent |= result.is_err();
        self.note(result)
    }
}
