//! The answer to the last request of a call, which the client library does not report.

use std::fmt::{self, Display, Formatter};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use object_store::Extensions;

/// The end of a request, as far as the client could see it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "_cloud"), expect(dead_code, reason = "only requests over HTTP are answered"))]
pub(crate) enum Answer {
    /// An answer with this status, and on Azure with this error code.
    Status {
        status: u16,
        code: Option<String>,
        /// Whether the answer has a mark of the store, which a proxy's page lacks.
        own: bool,
        /// Whether it may be taken for the store's: it has its mark, or the store was never seen to mark anything.
        passes_for_own: bool,
    },
    /// The request was not sent: there was no connection to send it over.
    NotSent,
    /// The request was sent, wholly or in part, and no answer came in time.
    Lost { timed_out: bool },
}

impl Display for Answer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { status, code: None, .. } => write!(f, "{status}"),
            Self::Status { status, code: Some(code), .. } => write!(f, "{status} {code}"),
            Self::NotSent => f.write_str("not sent"),
            Self::Lost { timed_out: true } => f.write_str("timed out"),
            Self::Lost { timed_out: false } => f.write_str("answer lost"),
        }
    }
}

/// The place where the connector records the answer to the last request of a call. It travels in the request's
/// extensions.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastAnswer(Arc<Mutex<Recorded>>);

#[derive(Debug, Default)]
struct Recorded {
    answer: Option<Answer>,
    /// The time of the server's clock, if it told it.
    date: Option<SystemTime>,
}

impl LastAnswer {
    #[cfg_attr(not(feature = "_cloud"), expect(dead_code, reason = "only requests over HTTP are answered"))]
    pub(crate) fn record(&self, answer: Answer, date: Option<SystemTime>) {
        // One assignment: a panic cannot leave it half done.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Recorded { answer: Some(answer), date };
    }

    pub(crate) fn answer(&self) -> Option<Answer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).answer.clone()
    }

    /// Returns the time that the server's clock had when it answered, in whole seconds, if it told it.
    pub(crate) fn date(&self) -> Option<SystemTime> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).date
    }

    pub(crate) fn extensions(&self) -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(self.clone());
        extensions
    }
}
