//! An answer that is not the bucket's own: a page of a proxy, a refusal, or a connection that breaks.

use bytes::Bytes;

use super::http::Ending;
use super::world::Reply;

/// An answer to every request, in place of the bucket's: a page of a proxy, a refusal, or a connection that breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignAnswer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Whole,
    Cut,
    Closed,
    Reset,
    NotConnected,
}

impl ForeignAnswer {
    /// Makes an answer with this status and nothing else.
    #[must_use]
    pub const fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new(), end: End::Whole }
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body, which answers to `HEAD` do not have.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Breaks the connection within the body.
    #[must_use]
    pub const fn cut(mut self) -> Self {
        self.end = End::Cut;
        self
    }

    /// Closes the connection instead of answering.
    #[must_use]
    pub const fn closed(mut self) -> Self {
        self.end = End::Closed;
        self
    }

    /// Resets the connection instead of answering.
    #[must_use]
    pub const fn reset(mut self) -> Self {
        self.end = End::Reset;
        self
    }

    /// Lets no connection be made.
    #[must_use]
    pub const fn not_connected(mut self) -> Self {
        self.end = End::NotConnected;
        self
    }

    pub(super) fn ending(&self, has_body: bool) -> Ending {
        let length = u64::try_from(self.body.len()).ok();
        let body = if has_body { self.body.clone() } else { Bytes::new() };
        let reply = Reply { status: self.status, headers: self.headers.clone(), body, length };
        match self.end {
            End::Whole => Ending::Reply(reply),
            End::Cut => Ending::Truncated(reply),
            End::Closed => Ending::Closed,
            End::Reset => Ending::Reset,
            End::NotConnected => Ending::NotConnected,
        }
    }
}
