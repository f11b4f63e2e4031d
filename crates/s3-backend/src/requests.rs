//! Counts the requests that a bucket costs, by kind.

use std::sync::atomic::{AtomicU64, Ordering};

/// The kinds of requests that providers bill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    Head,
    Get,
    Put,
    BeginMultipart,
    PutPart,
    CompleteMultipart,
    AbortMultipart,
    List,
    Delete,
    #[cfg_attr(not(feature = "_cloud"), expect(dead_code, reason = "of requests over HTTP alone"))]
    Other,
}

/// The number of requests that a bucket was sent since it was opened, including every retry.
///
/// For a bucket in memory or in a directory, these are calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestCounts {
    /// Requests for the metadata of an object.
    pub head: u64,
    /// Reads of an object or of a range of an object.
    pub get: u64,
    /// Puts of a whole object.
    pub put: u64,
    /// Multipart uploads begun.
    pub begin_multipart: u64,
    /// Parts of multipart uploads sent.
    pub put_part: u64,
    /// Multipart uploads completed.
    pub complete_multipart: u64,
    /// Multipart uploads aborted.
    pub abort_multipart: u64,
    /// Pages of listings.
    pub list: u64,
    /// Objects deleted.
    pub delete: u64,
    /// All other requests, mostly for credentials.
    pub other: u64,
}

impl RequestCounts {
    /// Returns the number of all requests.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.head
            + self.get
            + self.put
            + self.begin_multipart
            + self.put_part
            + self.complete_multipart
            + self.abort_multipart
            + self.list
            + self.delete
            + self.other
    }
}

#[derive(Debug, Default)]
pub(crate) struct Requests {
    head: AtomicU64,
    get: AtomicU64,
    put: AtomicU64,
    begin_multipart: AtomicU64,
    put_part: AtomicU64,
    complete_multipart: AtomicU64,
    abort_multipart: AtomicU64,
    list: AtomicU64,
    delete: AtomicU64,
    other: AtomicU64,
}

impl Requests {
    pub(crate) fn count(&self, kind: RequestKind) {
        let counter = match kind {
            RequestKind::Head => &self.head,
            RequestKind::Get => &self.get,
            RequestKind::Put => &self.put,
            RequestKind::BeginMultipart => &self.begin_multipart,
            RequestKind::PutPart => &self.put_part,
            RequestKind::CompleteMultipart => &self.complete_multipart,
            RequestKind::AbortMultipart => &self.abort_multipart,
            RequestKind::List => &self.list,
            RequestKind::Delete => &self.delete,
            RequestKind::Other => &self.other,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> RequestCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RequestCounts {
            head: read(&self.head),
            get: read(&self.get),
            put: read(&self.put),
            begin_multipart: read(&self.begin_multipart),
            put_part: read(&self.put_part),
            complete_multipart: read(&self.complete_multipart),
            abort_multipart: read(&self.abort_multipart),
            list: read(&self.list),
            delete: read(&self.delete),
            other: read(&self.other),
        }
    }
}
