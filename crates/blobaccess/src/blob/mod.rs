//! The contents of one blob on their way in or out, verified as they flow.

mod attachment;
mod body;
mod encoded;
mod finish;
mod provenance;
mod random_access;
mod resume;
mod stream;
mod tee;
mod verify;
mod whole;
mod window;

use std::fmt::{self, Debug, Formatter};
use std::ops::{Range, RangeBounds};
use std::sync::Arc;

use bytes::Bytes;
use futures::io::AsyncRead;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};

use self::attachment::Attachment;
use self::body::Body;
use self::provenance::Check;
use self::resume::{Expected, ExpectedForm};
use crate::{Compressor, Digest, Error, ErrorKind, Result};

pub use self::encoded::EncodedBlob;
pub use self::finish::Finish;
pub use self::provenance::Provenance;
pub use self::random_access::RandomAccess;
pub use self::resume::ErrorHandler;
pub use self::stream::BlobStream;

/// Pieces of contents, one after another.
type RawStream = BoxStream<'static, Result<Bytes>>;

/// A function that turns a compressed stream into one of the contents.
type Decoder = Box<dyn FnOnce(RawStream) -> RawStream + Send>;

/// The contents of one blob, on their way into a store or out of it.
///
/// A blob can be read once, in one of several ways, each of which consumes it: [`into_bytes`](Self::into_bytes),
/// [`into_stream`](Self::into_stream), [`into_async_read`](Self::into_async_read),
/// [`into_encoded`](Self::into_encoded), [`verify`](Self::verify). Dropping it means not reading it. Its size is known
/// before its first byte.
///
/// # Verification
///
/// Contents from an untrusted source are verified as they flow. The reader never receives the last bytes of contents
/// whose size or hash is wrong, and every read after the first error returns that error. Reading a range of such
/// contents reads and verifies all of them. A [random-access](Self::from_random_access) source vouches for its ranges,
/// and only those are read.
///
/// # Attachments
///
/// Layers attach to a blob whatever concerns its reading: an [error handler](Self::with_error_handler), a
/// [task](Self::with_task), an [interruption](Self::with_interruption), a [guard](Self::with_guard), a
/// [callback for how reading ended](Self::on_finish). A later attachment lies outside of an earlier one: a handler is
/// asked about the failure of an interruption beneath it, and not about one above it.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use blobaccess::{Blob, Digest, DigestFunction, InstanceName, Provenance};
///
/// let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello");
/// let blob = Blob::from_untrusted_bytes(&digest, "hellO".into(), Provenance::client());
/// assert!(blob.into_bytes(1024).await.is_err());
/// # Ok(())
/// # }
/// ```
pub struct Blob {
    size_bytes: u64,
    body: Body,
    /// The digest of the contents. `None` for messages, and for bytes that come without a digest.
    digest: Option<Digest>,
    provenance: Provenance,
    /// The attachments, innermost first.
    attachments: Vec<Attachment>,
    /// The source of ranges, if they are not read from the body.
    ranges: Option<Arc<dyn RandomAccess>>,
}

impl Blob {
    fn new(digest: &Digest, body: Body, provenance: Provenance) -> Self {
        let size_bytes = digest.size_bytes();
        Self { size_bytes, body, digest: Some(digest.clone()), provenance, attachments: Vec::new(), ranges: None }
    }

    /// Makes a blob of no bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self::from_bytes(Bytes::new())
    }

    /// Makes a blob of bytes whose digest is not known: a message, or contents that a store is yet to verify.
    #[must_use]
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            size_bytes: size_of_bytes(&bytes),
            body: Body::Bytes { bytes, trusted: true },
            digest: None,
            provenance: Provenance::client(),
            attachments: Vec::new(),
            ranges: None,
        }
    }

    /// Makes a blob of bytes at hand that were verified against `digest` when they were stored.
    #[must_use]
    pub fn from_verified_bytes(digest: &Digest, bytes: Bytes) -> Self {
        let size_bytes = size_of_bytes(&bytes);
        Self { size_bytes, ..Self::new(digest, Body::Bytes { bytes, trusted: true }, Provenance::store()) }
    }

    /// Makes a blob of bytes at hand that are yet to be verified against `digest`.
    ///
    /// They are verified when they are read, not here: a store that has the blob already does not look at them.
    #[must_use]
    pub fn from_untrusted_bytes(digest: &Digest, bytes: Bytes, provenance: Provenance) -> Self {
        Self::new(digest, Body::Bytes { bytes, trusted: false }, provenance)
    }

    /// Makes a blob of contents that arrive in pieces, to be verified against `digest` as they flow.
    ///
    /// The stream is not polled before the blob is read. Empty pieces are skipped.
    #[must_use]
    pub fn from_untrusted_stream<S>(digest: &Digest, stream: S, provenance: Provenance) -> Self
    where
        S: Stream<Item = Result<Bytes>> + Send + 'static,
    {
        Self::new(digest, Body::Stream { stream: stream.boxed(), vouched: false }, provenance)
    }

    /// Makes a blob of contents that arrive in pieces, from a source that verifies them against `digest` itself. If
    /// they are wrong, the source ends with an error instead of the last bytes.
    #[must_use]
    pub fn from_verified_stream<S>(digest: &Digest, stream: S) -> Self
    where
        S: Stream<Item = Result<Bytes>> + Send + 'static,
    {
        Self::new(digest, Body::Stream { stream: stream.boxed(), vouched: true }, Provenance::store())
    }

    /// Makes a blob of contents that can be read from anywhere, from a source that vouches for the bytes it returns.
    #[must_use]
    pub fn from_random_access(digest: &Digest, source: Arc<dyn RandomAccess>) -> Self {
        Self::new(digest, Body::RandomAccess(source), Provenance::store())
    }

    /// Makes a blob of contents that the source has in a compressed form: `stream`, which `decode` decompresses.
    ///
    /// A reader that accepts the compressed form gets it unchanged ([`into_encoded`](Self::into_encoded)). For any
    /// other reader it is decoded, and verified against `digest` as it flows. `encoded_size_bytes` is the size of the
    /// compressed form, if known.
    #[must_use]
    pub fn from_encoded<S, D>(
        digest: &Digest,
        compressor: Compressor,
        encoded_size_bytes: Option<u64>,
        stream: S,
        decode: D,
        provenance: Provenance,
    ) -> Self
    where
        S: Stream<Item = Result<Bytes>> + Send + 'static,
        D: FnOnce(BoxStream<'static, Result<Bytes>>) -> BoxStream<'static, Result<Bytes>> + Send + 'static,
    {
        let decode: Decoder = Box::new(decode);
        let body = Body::Encoded { compressor, size_bytes: encoded_size_bytes, stream: stream.boxed(), decode };
        Self::new(digest, body, provenance)
    }

    /// Adds a second source, from which ranges are read instead of from the first byte on.
    ///
    /// Use it for a source that is verified as a whole or compressed, and that can nevertheless vouch for single
    /// ranges. A reader of the whole blob does not use it.
    #[must_use]
    pub fn with_ranges(mut self, source: Arc<dyn RandomAccess>) -> Self {
        self.ranges = Some(source);
        self
    }

    /// Returns the size of the contents, in bytes. If they are not verified yet, this is the size in the digest.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Returns whether all contents are in memory already, verified or not.
    #[must_use]
    pub fn is_at_hand(&self) -> bool {
        matches!(self.body, Body::Bytes { .. }) && self.attachments.is_empty()
    }

    /// Requires the contents to be those of `digest`. Unless they are known to be, they are verified as they flow, and
    /// wrong contents are an error of the client.
    ///
    /// A store of contents calls this before a put, so that nobody can store bytes under a digest that is not theirs.
    /// Instance names do not matter.
    #[must_use]
    pub fn with_expected_digest(self, digest: &Digest) -> Self {
        self.held_to(digest, Provenance::client())
    }

    fn held_to(mut self, digest: &Digest, provenance: Provenance) -> Self {
        if self.digest.as_ref().is_some_and(|known| has_same_contents(known, digest)) {
            return self;
        }
        // The attachments stay outermost, so that they see the result of the verification.
        let attachments = std::mem::take(&mut self.attachments);
        let body = if let Body::Bytes { bytes, trusted: true } = self.body {
            Body::Bytes { bytes, trusted: false }
        } else {
            let all = 0..self.size_bytes;
            Body::Stream { stream: self.open(all, true), vouched: false }
        };
        Self { attachments, ..Self::new(digest, body, provenance) }
    }

    /// Returns the compressor of the form that the source has, if it is compressed and
    /// [`into_encoded`](Self::into_encoded) can hand it out.
    #[must_use]
    pub fn encoding(&self) -> Option<Compressor> {
        match &self.body {
            Body::Encoded { compressor, .. } => Some(*compressor),
            Body::Bytes { .. } | Body::RandomAccess(_) | Body::Stream { .. } | Body::Failed(_) => None,
        }
    }

    /// Returns the contents within `range` in pieces. The range is in bytes from the beginning of the contents.
    ///
    /// A range that ends beyond the end of the contents ends there.
    ///
    /// # Errors
    ///
    /// `OutOfRange` if the range begins beyond the end of the contents. To begin at the end is allowed, and yields no
    /// bytes.
    pub fn into_stream(mut self, range: impl RangeBounds<u64>) -> Result<BlobStream> {
        let range = window::resolve(&range, self.size_bytes)?;
        let length = range.end - range.start;
        if length < self.size_bytes
            && let Some(source) = self.ranges.take()
        {
            self.body = Body::RandomAccess(source);
        }
        if self.attachments.is_empty()
            && let Body::Bytes { trusted: true, bytes } = self.body
        {
            return Ok(BlobStream::from_bytes(window::slice(&bytes, &range)));
        }
        Ok(BlobStream::new(self.open(range, true), length))
    }

    /// Returns the contents as an asynchronous reader. Its errors are [`std::io::Error`]s whose source is an [`Error`].
    pub fn into_async_read(self) -> impl AsyncRead + Send + Unpin + 'static {
        let stream: RawStream = match self.into_stream(..) {
            Ok(stream) => stream.boxed(),
            Err(error) => futures::stream::once(async { Err(error) }).boxed(),
        };
        stream.map_err(std::io::Error::other).into_async_read()
    }

    /// Reads the contents and discards them, to find out whether they are right.
    ///
    /// # Errors
    ///
    /// The error of the source, or of the verification.
    pub async fn verify(self) -> Result<()> {
        let mut stream = self.into_stream(..)?;
        while stream.try_next().await?.is_some() {}
        Ok(())
    }

    /// Returns the compressed form that the source has, if it is one of `accepted`.
    ///
    /// The form is not verified: that takes decoding, which the caller wants to avoid or to do itself.
    ///
    /// An [error handler](Self::with_error_handler) is asked until the first bytes are handed out, and its replacement
    /// counts if it has the same compressed form. Later failures end reading: another store may have compressed the
    /// same contents in another way, so the two forms cannot be joined.
    ///
    /// # Errors
    ///
    /// The blob itself, if it has no such form.
    #[expect(clippy::result_large_err, reason = "the blob is handed back, not reported")]
    pub fn into_encoded(self, accepted: &[Compressor]) -> Result<EncodedBlob, Self> {
        if !self.encoding().is_some_and(|compressor| accepted.contains(&compressor)) {
            return Err(self);
        }
        match self.body {
            Body::Encoded { compressor, size_bytes, stream, .. } => {
                let holds_back = !self.attachments.is_empty();
                let expected = ExpectedForm { compressor, size_bytes, contents_bytes: self.size_bytes };
                let stream = self.attachments.into_iter().fold(stream, |stream, attached| {
                    if let Attachment::Handler(handler) = attached {
                        resume::resume_encoded(stream, handler, expected)
                    } else {
                        attached.wrap(stream)
                    }
                });
                Ok(EncodedBlob::new(compressor, size_bytes, stream, holds_back))
            }
            body @ (Body::Bytes { .. } | Body::RandomAccess(_) | Body::Stream { .. } | Body::Failed(_)) => {
                Err(Self { body, ..self })
            }
        }
    }

    fn has_handler(&self) -> bool {
        self.attachments.iter().any(Attachment::is_handler)
    }

    fn handled_by(mut self, handler: Option<Box<dyn ErrorHandler>>) -> Self {
        self.attachments.extend(handler.map(Attachment::Handler));
        self
    }

    /// Returns whether every byte is right by itself, regardless of where reading begins and of what comes later.
    fn vouches_for_ranges(&self) -> bool {
        !self.has_handler() && self.body.vouches_for_ranges()
    }

    /// Opens the contents within `range` with all attachments, verified if `verified` is set and the source does not
    /// vouch for them.
    ///
    /// The stream ends without an error only once all contents have passed verification. So [`BlobStream`] holds the
    /// last piece back until then.
    fn open(self, range: Range<u64>, verified: bool) -> RawStream {
        let expected = self.has_handler().then(|| Expected::of(&self));
        let outermost = self.attachments.iter().rposition(Attachment::is_handler);
        let innermost = self.attachments.iter().position(Attachment::is_handler);
        // With two handlers, the replacement of the inner one may have handed out wrong bytes before the outer one is
        // asked. Then only the whole can be verified.
        let vouched_for_ranges = self.body.vouches_for_ranges() && innermost == outermost;
        // A stream that vouches for its whole does not vouch for a beginning that another source completes.
        let vouched_as_a_whole = self.body.vouches_as_a_whole() && outermost.is_none();
        let vouched = vouched_for_ranges || vouched_as_a_whole;
        let mut check = match self.digest {
            Some(digest) if verified && !vouched => Some(Check::new(digest, self.provenance)),
            Some(digest) if verified && !vouched_for_ranges => Some(Check::of_size(digest, self.provenance)),
            Some(_) | None => None,
        };
        // A caller that resumes elsewhere and verifies above needs no byte before the range.
        let seekable = vouched_for_ranges || (!verified && self.body.is_seekable());
        let read = if seekable { range.clone() } else { 0..self.size_bytes };
        // A stream that is verified must not be cut to size before.
        let mut stream = self.body.open(if seekable { range.clone() } else { 0..u64::MAX }, self.size_bytes);
        if outermost.is_none()
            && let Some(check) = check.take()
        {
            stream = verify::verify(stream, check);
        }
        let verified_above = check.is_some() || !verified;
        for (position, attachment) in self.attachments.into_iter().enumerate() {
            stream = match (attachment, &expected) {
                (Attachment::Handler(handler), Some(expected)) => {
                    resume::resume(stream, handler, read.clone(), expected.clone(), verified_above)
                }
                (attachment, _) => attachment.wrap(stream),
            };
            if Some(position) == outermost
                && let Some(check) = check.take()
            {
                stream = verify::verify(stream, check);
            }
        }
        if seekable { stream } else { window::window(stream, range, self.size_bytes) }
    }
}

impl Debug for Blob {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob")
            .field("size_bytes", &self.size_bytes)
            .field("body", &self.body.name())
            .field("attachments", &self.attachments)
            .finish_non_exhaustive()
    }
}

fn has_same_contents(a: &Digest, b: &Digest) -> bool {
    a.hash() == b.hash() && a.size_bytes() == b.size_bytes() && a.function() == b.function()
}

fn size_of_bytes(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Makes the error of contents of the wrong size, of kind `fault`.
fn wrong_size(fault: ErrorKind, name: &dyn fmt::Display, observed: u64, at_least: bool, expected: u64) -> Error {
    let at_least = if at_least { "at least " } else { "" };
    Error::new(fault, format!("{name} is {at_least}{observed} bytes, while {expected} bytes were expected"))
}

#[cfg(test)]
mod tests;
