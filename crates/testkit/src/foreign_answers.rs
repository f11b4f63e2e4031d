//! Answers over HTTP that are not those of the store that was asked: of proxies, of middle boxes, and of a store that refuses.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};

/// A mark that is in the bodies of all answers, and must not get into the texts of errors.
pub const PAGE_MARK: &str = "page-of-a-proxy";

/// An answer that says nothing about whether a blob is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForeignAnswer {
    /// A few words for people.
    pub name: &'static str,
    /// The status, if there is one.
    pub status: u16,
    /// The headers, without that of the length.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// The body.
    pub body: Cow<'static, str>,
    /// The end of the answer.
    pub end: AnswerEnd,
}

/// The way in which an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerEnd {
    /// It is whole.
    Whole,
    /// The connection breaks within the body.
    Cut,
    /// The connection is closed instead of an answer.
    Closed,
    /// The connection is reset instead of an answer.
    Reset,
    /// No connection can be made.
    NotConnected,
}

impl ForeignAnswer {
    fn new(name: &'static str, status: u16) -> Self {
        Self { name, status, headers: Vec::new(), body: Cow::Borrowed(""), end: AnswerEnd::Whole }
    }

    fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, Cow::Borrowed(value)));
        self
    }

    /// Makes the answer one that has a status of gRPC and nothing else.
    fn grpc_status(mut self, code: u32) -> Self {
        self.headers.push(("grpc-status", Cow::Owned(code.to_string())));
        self.header("grpc-message", "so it is")
    }

    fn body(self, body: impl Into<Cow<'static, str>>) -> Self {
        Self { body: body.into(), ..self }
    }

    fn end(self, end: AnswerEnd) -> Self {
        Self { end, ..self }
    }

    /// Gives the answer a page of HTML that knows nothing.
    fn page(self) -> Self {
        let page = format!("<html><head><title>{PAGE_MARK}</title></head><body>{}</body></html>", self.status);
        self.header("content-type", "text/html").body(page)
    }

    /// Gives the answer a document of errors as S3 has them.
    fn document(self, code: &'static str) -> Self {
        let document = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>{PAGE_MARK}</Message>\
             <Resource>/secret/resource</Resource></Error>"
        );
        self.header("content-type", "application/xml").body(document)
    }

    /// Gives the answer the headers that a server of files sends, so that it looks like an object.
    fn like_an_object(self) -> Self {
        self.header("etag", "\"5f3c-1a2b\"").header("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT")
    }
}

impl Display for ForeignAnswer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.name)?;
        match self.headers.iter().find(|(name, _)| *name == "grpc-status") {
            Some((_, code)) => write!(f, " {code}"),
            None => Ok(()),
        }
    }
}

/// The code by which gRPC says that something was not found.
const GRPC_NOT_FOUND: u32 = 5;

/// Returns answers of gRPC that say nothing about whether a blob is stored: every code but those of success and absence, and
/// answers that end too early.
#[must_use]
pub fn grpc_answers() -> Vec<ForeignAnswer> {
    let grpc = |name| ForeignAnswer::new(name, 200).header("content-type", "application/grpc");
    let codes = (1..=16).filter(|code| *code != GRPC_NOT_FOUND).chain([17, 999]);
    let mut answers: Vec<_> = codes.map(|code| grpc("an answer with the code").grpc_status(code)).collect();
    answers.extend([
        grpc("an answer without a message or an end"),
        grpc("an empty message without an end").body("\0\0\0\0\0").end(AnswerEnd::Cut),
        grpc("a message that breaks off").body("\0\0\0\x01\0page-of-a-proxy").end(AnswerEnd::Cut),
        grpc("a message that is larger than permitted").body("\0\x7f\x7f\x7f\x7fpage-of-a-proxy"),
        grpc("a message that is none").body(PAGE_MARK),
        ForeignAnswer::new("the message of a gateway without an end", 502).header("content-type", "application/grpc"),
        ForeignAnswer::new("a page that calls itself gRPC", 404)
            .body(PAGE_MARK)
            .header("content-type", "application/grpc"),
    ]);
    answers
}

/// Returns the answer of gRPC that something was not found. It says that a blob is absent where one is read, and nothing
/// where anything else is asked.
#[must_use]
pub fn grpc_not_found() -> ForeignAnswer {
    let answer = ForeignAnswer::new("an answer with the code", 200).header("content-type", "application/grpc");
    answer.grpc_status(GRPC_NOT_FOUND)
}

/// Returns about ninety answers, none of which says that a blob is not stored.
#[must_use]
pub fn foreign_answers() -> Vec<ForeignAnswer> {
    let new = ForeignAnswer::new;
    let mut answers: Vec<ForeignAnswer> = Vec::new();
    // Statuses alone, and with a page.
    for status in [400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 413, 414, 421, 425, 429, 431, 451] {
        answers.push(new("a refusal without a body", status));
    }
    for status in [500, 501, 502, 503, 504, 505, 507, 508, 511, 520, 521, 522, 523, 524, 525, 530, 599] {
        answers.push(new("a failure with a page", status).page());
    }
    for status in [301, 302, 303, 307, 308] {
        answers.push(new("the way to a page of login", status).header("location", "https://login.invalid/").page());
    }
    answers.extend([
        new("a page that knows no such path", 404).page(),
        new("a page about something that is gone", 410).page(),
        new("a page of login", 200).page(),
        new("a page of login that looks like an object", 200).page().like_an_object(),
        new("an empty answer", 200),
        new("an empty answer that looks like an object", 200).like_an_object(),
        new("no content", 204),
        new("a document that is no listing", 200)
            .body("{\"status\":\"ok\"}")
            .header("content-type", "application/json"),
        new("404 in JSON", 404).body("{\"code\":\"NoSuchKey\",\"page\":\"page-of-a-proxy\"}"),
        new("404 in words", 404).body("404 NoSuchKey page-of-a-proxy"),
        new("the document of a deleted bucket", 404).document("NoSuchBucket"),
        new("a document without a code that is known", 404).document("NotFound"),
        new("a document of a missing upload", 404).document("NoSuchUpload"),
        new("a document about absence with another status", 500).document("NoSuchKey"),
        new("expired credentials", 400).document("ExpiredToken"),
        new("a token that is none", 400).document("InvalidToken"),
        new("a request that took too long", 400).document("RequestTimeout"),
        new("a malformed header", 400).document("AuthorizationHeaderMalformed"),
        new("denied access", 403).document("AccessDenied"),
        new("a wrong signature", 403).document("SignatureDoesNotMatch"),
        new("a clock that is off", 403).document("RequestTimeTooSkewed"),
        new("an unknown key", 403).document("InvalidAccessKeyId"),
        new("an archived object", 403).document("InvalidObjectState"),
        new("another region", 301).document("PermanentRedirect"),
        new("a fault of the store", 500).document("InternalError"),
        new("too many requests", 503).document("SlowDown"),
        new("a store that is down", 503).document("ServiceUnavailable"),
        new("a long page", 502).body(PAGE_MARK.repeat(8_192)),
        new("a page that breaks off", 502).page().end(AnswerEnd::Cut),
        new("an object that breaks off", 200).page().like_an_object().end(AnswerEnd::Cut),
        new("a connection that is closed", 0).end(AnswerEnd::Closed),
        new("a connection that is reset", 0).end(AnswerEnd::Reset),
        new("no connection", 0).end(AnswerEnd::NotConnected),
    ]);
    answers
}
