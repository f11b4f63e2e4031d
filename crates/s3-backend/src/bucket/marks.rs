//! Which answers of a store bear its mark, so that those of others are told from them.

use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderMap;

use crate::requests::RequestKind;

/// The headers by which stores mark their answers, also those to `HEAD`, which have no body: S3 and its like, Google, Azure.
const MARKS: [&str; 4] = ["x-amz-request-id", "x-amz-id-2", "x-guploader-uploadid", "x-ms-request-id"];

/// Returns whether an answer bears the mark of a store.
pub(super) fn is_marked(headers: &HeaderMap) -> bool {
    MARKS.iter().any(|mark| headers.contains_key(*mark))
}

/// The kinds of answers that this store has marked so far, by kind of request and class of status.
///
/// A proxy may answer with a page of its own, and with a status that means something. A store that marks an answer of some
/// kind marks all of that kind, so one without a mark is not the store's. Servers that mark nothing are believed as before.
#[derive(Debug, Default)]
pub(super) struct Marks(AtomicU64);

impl Marks {
    /// Notes an answer. Returns `false` if the store must be taken not to have given it.
    pub(super) fn believe(&self, kind: RequestKind, status: u16, marked: bool) -> bool {
        let class = match status {
            200..300 => 0,
            404 => 1,
            304 | 409 | 412 => 2,
            // The others are failures, whoever they come from.
            _ => return true,
        };
        let bit = 1 << (index(kind) * 3 + class);
        if marked {
            self.0.fetch_or(bit, Ordering::Relaxed);
            return true;
        }
        self.0.load(Ordering::Relaxed) & bit == 0
    }

    /// Returns whether no answer of any kind was marked so far. Some servers, and some proxies before them, leave no marks.
    pub(super) fn are_none(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

const fn index(kind: RequestKind) -> u32 {
    match kind {
        RequestKind::Head => 0,
        RequestKind::Get => 1,
        RequestKind::Put => 2,
        RequestKind::BeginMultipart => 3,
        RequestKind::PutPart => 4,
        RequestKind::CompleteMultipart => 5,
        RequestKind::AbortMultipart => 6,
        RequestKind::List => 7,
        RequestKind::Delete => 8,
        RequestKind::Other => 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_a_mark_is_believed_until_one_of_its_kind_had_one() {
        let marks = Marks::default();
        assert!(marks.believe(RequestKind::Get, 200, false) && marks.are_none());
        assert!(marks.believe(RequestKind::Get, 206, true) && !marks.are_none());
        assert!(!marks.believe(RequestKind::Get, 200, false));
        assert!(marks.believe(RequestKind::Get, 404, false) && marks.believe(RequestKind::Head, 200, false));
        assert!(marks.believe(RequestKind::Get, 503, false), "a failure is one, whoever reports it");
    }
}
