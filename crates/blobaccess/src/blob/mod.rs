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

/// Turns a compressed stream into that of the contents.
type Decoder = Box<dyn FnOnce(RawStream) -> RawStream + Send>;

/// The contents of one blob, on their way into a store or out of it.
///
/// It can be read once, in one of several ways, each of which consumes it: [`into_bytes`](Self::into_bytes),
/// [`into_stream`](Self::into_stream), [`into_async_read`](Self::into_async_read),
/// [`into_encoded`](Self::into_encoded), [`verify`](Self::verify). To drop it is to not read it. It knows its size
/// before its first byte.
///
/// # Verification
///
/// Contents from a source that is not trusted are verified as they flow. The reader never receives the last bytes of
/// contents whose size or hash is wrong, and every read after the first error returns that error. To read a range of
/// such contents is to read and verify all of them. A [random-access](Self::from_random_access) source vouches for
/// its ranges, and only those are read.
///
/// # What is attached
///
/// Layers attach to a blob what concerns its reading: an [error handler](Self::with_error_handler), a
/// [task](Self::with_task), an [interruption](Self::interrupted_by), a [guard](Self::holding), a
/// [question how it ended](Self::on_finish). What is attached later lies outside of what was attached earlier: a
/// handler is asked about the failure of an interruption beneath it, and not about one above it.
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
    /// What the contents are the contents of. Not known of messages, nor of bytes that come without a digest.
    digest: Option<Digest>,
    provenance: Provenance,
    /// Innermost first.
    attachments: Vec<Attachment>,
    /// Where a part of the contents is read from instead of the body.
    ranges: Option<Arc<dyn RandomAccess>>,
}

impl Blob {
    fn new(digest: &Digest, body: Body, provenance: Provenance) -> Self {
        let size_bytes = digest.size_bytes();
        Self { size_bytes, body, digest: Some(digest.clone()), provenance, attachments: Vec::new(), ranges: None }
    }

    /// The blob of no bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self::from_bytes(Bytes::new())
    }

    /// Bytes of which no digest is known: a message, or contents whose digest a store is yet to hold them to.
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

    /// Contents at hand that were verified against `digest` when they were stored.
    #[must_use]
    pub fn from_verified_bytes(digest: &Digest, bytes: Bytes) -> Self {
        let size_bytes = size_of_bytes(&bytes);
        Self { size_bytes, ..Self::new(digest, Body::Bytes { bytes, trusted: true }, Provenance::store()) }
    }

    /// Contents at hand that are yet to be verified against `digest`.
    ///
    /// They are verified when they are read, not here: a store that has the blob already need not look at them.
    #[must_use]
    pub fn from_untrusted_bytes(digest: &Digest, bytes: Bytes, provenance: Provenance) -> Self {
        Self::new(digest, Body::Bytes { bytes, trusted: false }, provenance)
    }

    /// Contents that arrive in pieces, to be verified against `digest` as they flow.
    ///
    /// Nothing is polled before the blob is read. Empty pieces are passed over.
    #[must_use]
    pub fn from_untrusted_stream<S>(digest: &Digest, stream: S, provenance: Provenance) -> Self
    where
        S: Stream<Item = Result<Bytes>> + Send + 'static,
    {
        Self::new(digest, Body::Stream { stream: stream.boxed(), vouched: false }, provenance)
    }

    /// Contents of `digest` that arrive in pieces, from a source that verifies them itself: it ends with an error
    /// rather than with its last bytes if it finds them wrong.
    #[must_use]
    pub fn from_verified_stream<S>(digest: &Digest, stream: S) -> Self
    where
        S: Stream<Item = Result<Bytes>> + Send + 'static,
    {
        Self::new(digest, Body::Stream { stream: stream.boxed(), vouched: true }, Provenance::store())
    }

    /// Contents of `digest` that can be read from anywhere, from a source that vouches for what it returns.
    #[must_use]
    pub fn from_random_access(digest: &Digest, source: Arc<dyn RandomAccess>) -> Self {
        Self::new(digest, Body::RandomAccess(source), Provenance::store())
    }

    /// Contents that the source has in a compressed form: `stream`, which `decode` turns into the contents.
    ///
    /// A reader that takes the compressed form gets it as it is ([`into_encoded`](Self::into_encoded)); for any other
    /// it is decoded, and verified against `digest` as it flows. `encoded_size_bytes` is the size of the compressed
    /// form, where it is known.
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

    /// The same contents, of which a part is read from `source` rather than from all that comes before it.
    ///
    /// For a source whose whole is verified as it flows, or which has it in a compressed form, and which can all the
    /// same vouch for a part that it is asked for. Whoever reads all of the blob reads it as before.
    #[must_use]
    pub fn with_ranges(mut self, source: Arc<dyn RandomAccess>) -> Self {
        self.ranges = Some(source);
        self
    }

    /// The size of the contents, in bytes: as the digest has it, where they are yet to be verified.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The same contents, held to `digest`: unless they are known to be its contents, they are verified against it as
    /// they flow, and are the client's fault if they are wrong.
    ///
    /// A store of contents calls this on what it is to put, so that nobody can store bytes under a digest that is not
    /// theirs. Instance names do not matter.
    #[must_use]
    pub fn expecting(self, digest: &Digest) -> Self {
        self.held_to(digest, Provenance::client())
    }

    fn held_to(mut self, digest: &Digest, provenance: Provenance) -> Self {
        if self.digest.as_ref().is_some_and(|known| has_same_contents(known, digest)) {
            return self;
        }
        // What is attached stays outermost, so as to learn what comes of the verification.
        let attachments = std::mem::take(&mut self.attachments);
        let body = if let Body::Bytes { bytes, trusted: true } = self.body {
            Body::Bytes { bytes, trusted: false }
        } else {
            let all = 0..self.size_bytes;
            Body::Stream { stream: self.open(all, true), vouched: false }
        };
        Self { attachments, ..Self::new(digest, body, provenance) }
    }

    /// The compressed form that the source has, if any: what [`into_encoded`](Self::into_encoded) can hand out.
    #[must_use]
    pub fn encoding(&self) -> Option<Compressor> {
        match &self.body {
            Body::Encoded { compressor, .. } => Some(*compressor),
            Body::Bytes { .. } | Body::RandomAccess(_) | Body::Stream { .. } | Body::Failed(_) => None,
        }
    }

    /// The contents within `range`, in bytes from the beginning, in pieces.
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

    /// The contents as an asynchronous reader. Errors come as [`std::io::Error`]s, whose source is ours.
    pub fn into_async_read(self) -> impl AsyncRead + Send + Unpin + 'static {
        let stream: RawStream = match self.into_stream(..) {
            Ok(stream) => stream.boxed(),
            Err(error) => futures::stream::once(async { Err(error) }).boxed(),
        };
        stream.map_err(std::io::Error::other).into_async_read()
    }

    /// Reads the contents and throws them away: what is left is whether they are what they should be.
    ///
    /// # Errors
    ///
    /// Whatever the source failed with; what is wrong with the contents.
    pub async fn verify(self) -> Result<()> {
        let mut stream = self.into_stream(..)?;
        while stream.try_next().await?.is_some() {}
        Ok(())
    }

    /// The compressed form that the source has, if it is one of `accepted`.
    ///
    /// It is not verified: that takes decoding, which is what the taker wants to be spared or to do itself.
    ///
    /// An [error handler](Self::with_error_handler) is asked until the first bytes are handed out, and its replacement
    /// counts if it has the same compressed form to offer. From then on, a failure ends reading: another store may have
    /// compressed the same contents in another way, so the two forms cannot be joined.
    ///
    /// # Errors
    ///
    /// The blob itself, if there is no such form.
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

    /// Whether every byte is right by itself, wherever it is read and whatever comes after it.
    fn vouches_for_ranges(&self) -> bool {
        !self.has_handler() && self.body.vouches_for_ranges()
    }

    /// The contents within `range`, with everything that is attached; verified if so wanted and needed.
    ///
    /// The stream ends properly only once all has been found right, which is why [`BlobStream`] holds the last piece
    /// back until then.
    fn open(self, range: Range<u64>, verified: bool) -> RawStream {
        let expected = self.has_handler().then(|| Expected::of(&self));
        let outermost = self.attachments.iter().rposition(Attachment::is_handler);
        let innermost = self.attachments.iter().position(Attachment::is_handler);
        // With two handlers, what the inner one goes on from may have handed out something wrong before the outer one
        // is asked: only the whole can be verified then.
        let vouched_for_ranges = self.body.vouches_for_ranges() && innermost == outermost;
        // A stream that vouches for its whole does not vouch for a beginning that another source completes.
        let vouched_as_a_whole = self.body.vouches_as_a_whole() && outermost.is_none();
        let vouched = vouched_for_ranges || vouched_as_a_whole;
        let mut check = match self.digest {
            Some(digest) if verified && !vouched => Some(Check::new(digest, self.provenance)),
            Some(digest) if verified && !vouched_for_ranges => Some(Check::of_size(digest, self.provenance)),
            Some(_) | None => None,
        };
        // Who resumes elsewhere and verifies above needs no byte before the range.
        let seekable = vouched_for_ranges || (!verified && self.body.is_seekable());
        let read = if seekable { range.clone() } else { 0..self.size_bytes };
        // What is verified is not cut to size before.
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

/// What contents of the wrong size are reported as, in the kind that `fault` names.
fn wrong_size(fault: ErrorKind, name: &dyn fmt::Display, observed: u64, at_least: bool, expected: u64) -> Error {
    let at_least = if at_least { "at least " } else { "" };
    Error::new(fault, format!("{name} is {at_least}{observed} bytes, while {expected} bytes were expected"))
}

#[cfg(test)]
mod tests;
