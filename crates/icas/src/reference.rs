//! A reference: where the contents of a blob lie.

mod stored;

use std::fmt::{self, Display, Formatter};

use blobaccess::{Compressor, Digest, Error, InstanceName, Result};
use blobaccess_proto::icas::reference::{ContentAddressableStorage, Gcs, Medium, S3};
use blobaccess_proto::{icas, remote_execution};
use bytes::Bytes;
use prost::Message as _;
use url::Url;

use self::stored::StoredReference;

/// A place where the contents of a blob lie: a URL, an object in a bucket, or a blob in another store.
///
/// This is the value of a store of kind [`Icas`](blobaccess::Icas), under the digest of the contents. On the wire it is
/// Buildbarn's message `buildbarn.icas.Reference`.
///
/// It prints as the place, without the query of a URL, which may hold a signature.
///
/// # Examples
///
/// ```
/// use blobaccess::Compressor;
/// use blobaccess_icas::Reference;
///
/// // A file within an archive.
/// let reference = Reference::http("https://files.example.com/a.zip?key=secret")
///     .with_range(30 + 5, 1234)
///     .with_compressor(Compressor::Deflate);
/// assert_eq!(reference.to_string(), "https://files.example.com/a.zip (deflate, 1234 bytes from 35)");
/// assert_eq!(Reference::from_bytes(reference.to_bytes())?, reference);
/// # Ok::<(), blobaccess::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    pub(crate) place: Place,
    pub(crate) window: Window,
    pub(crate) compressor: Option<Compressor>,
}

/// The place of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Url(String),
    S3 { bucket: String, key: String },
    Gcs { bucket: String, object: String },
    Blob(Digest),
}

/// The part of a source that is wanted, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) offset: u64,
    /// The size; `None` for all up to the end.
    pub(crate) size: Option<u64>,
}

impl Window {
    const WHOLE: Self = Self { offset: 0, size: None };

    pub(crate) fn is_whole(self) -> bool {
        self == Self::WHOLE
    }

    /// Returns the offset behind the window, if it has one.
    pub(crate) fn end(self) -> Option<u64> {
        self.size.map(|size| self.offset.saturating_add(size))
    }
}

impl Reference {
    /// Refers to what is at `url`, of scheme `http` or `https`.
    #[must_use]
    pub fn http(url: impl Into<String>) -> Self {
        Self::to(Place::Url(url.into()))
    }

    /// Refers to the object `key` in a bucket of S3, or of a server that speaks its protocol.
    #[must_use]
    pub fn s3(bucket: impl Into<String>, key: impl Into<String>) -> Self {
        Self::to(Place::S3 { bucket: bucket.into(), key: key.into() })
    }

    /// Refers to `object` in a bucket of Google Cloud Storage.
    #[must_use]
    pub fn gcs(bucket: impl Into<String>, object: impl Into<String>) -> Self {
        Self::to(Place::Gcs { bucket: bucket.into(), object: object.into() })
    }

    /// Refers to a blob in another content-addressable storage, whose instance name tells which.
    #[must_use]
    pub fn blob(digest: &Digest) -> Self {
        Self::to(Place::Blob(digest.clone()))
    }

    fn to(place: Place) -> Self {
        Self { place, window: Window::WHOLE, compressor: None }
    }

    /// Refers to a part of the source: `size_bytes` from `offset_bytes` on. A size of 0 is all up to the end.
    ///
    /// Without compression, the size is 0 or that of the blob.
    #[must_use]
    pub fn with_range(mut self, offset_bytes: u64, size_bytes: u64) -> Self {
        self.window = Window { offset: offset_bytes, size: (size_bytes > 0).then_some(size_bytes) };
        self
    }

    /// Says how the source is compressed. Stores read `Zstd` and `Deflate`.
    #[must_use]
    pub fn with_compressor(mut self, compressor: Compressor) -> Self {
        self.compressor = Some(compressor);
        self
    }

    /// Returns the message, as a store keeps it. Offsets and sizes beyond `i64::MAX` are cut to that.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let medium = match self.place.clone() {
            Place::Url(url) => Medium::HttpUrl(url),
            Place::S3 { bucket, key } => Medium::S3(S3 { bucket, key }),
            Place::Gcs { bucket, object } => Medium::Gcs(Gcs { bucket, object }),
            Place::Blob(digest) => Medium::ContentAddressableStorage(ContentAddressableStorage {
                instance_name: digest.instance_name().as_str().to_owned(),
                digest_function: digest.function().number(),
                blob_digest: Some(remote_execution::Digest {
                    hash: digest.hash().to_string(),
                    size_bytes: number(digest.size_bytes()),
                }),
            }),
        };
        let message = icas::Reference {
            medium: Some(medium),
            offset_bytes: number(self.window.offset),
            size_bytes: number(self.window.size.unwrap_or_default()),
            decompressor: self.compressor.map_or(0, Compressor::number),
        };
        message.encode_to_vec().into()
    }

    /// Reads a message, as a store keeps it.
    ///
    /// # Errors
    ///
    /// `DataLoss` if that is no such message. `Unimplemented` if the kind of place or the compressor is not known.
    /// `Internal` if an offset, a size or a digest is invalid.
    pub fn from_bytes(message: Bytes) -> Result<Self> {
        Self::read(message, &InstanceName::empty())
    }

    /// Does as [`from_bytes`](Self::from_bytes). A reference to a blob shares the instance name `known`, if it has it.
    pub(crate) fn read(message: Bytes, known: &InstanceName) -> Result<Self> {
        let message = StoredReference::decode(message).map_err(|error| {
            Error::data_loss(format!("the stored reference cannot be decoded: {error}")).with_source(error)
        })?;
        let place = match message.medium {
            Some(stored::Medium::HttpUrl(url)) => Place::Url(url),
            Some(stored::Medium::S3(S3 { bucket, key })) => Place::S3 { bucket, key },
            Some(stored::Medium::Gcs(Gcs { bucket, object })) => Place::Gcs { bucket, object },
            Some(stored::Medium::Blob(blob)) => Place::Blob(blob.parse(known)?),
            None => return Err(Error::unimplemented("the reference leads to a kind of place that is not known")),
        };
        let number = |name: &str, number: i64| {
            u64::try_from(number).map_err(|_| Error::internal(format!("the reference has the {name} {number}")))
        };
        let (offset, size) = (number("offset", message.offset_bytes)?, number("size", message.size_bytes)?);
        let compressor = match message.decompressor {
            0 => None,
            number => Some(Compressor::from_number(number).ok_or_else(|| {
                Error::unimplemented(format!("the reference has the compressor {number}, which is not known"))
            })?),
        };
        Ok(Self { place, window: Window { offset, size: (size > 0).then_some(size) }, compressor })
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(text) => match Url::parse(text) {
                Ok(url) => write!(f, "{}", PublicUrl(&url)),
                Err(_) => f.write_str("an invalid URL"),
            },
            Self::S3 { bucket, key } => write!(f, "s3://{bucket}/{}", key.escape_debug()),
            Self::Gcs { bucket, object } => write!(f, "gs://{bucket}/{}", object.escape_debug()),
            Self::Blob(digest) => write!(f, "blob {digest}"),
        }
    }
}

impl Display for Reference {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.place)?;
        let mut separator = " (";
        if let Some(compressor) = self.compressor {
            write!(f, "{separator}{compressor}")?;
            separator = ", ";
        }
        match self.window {
            Window { offset: 0, size: None } => {}
            Window { offset, size: None } => write!(f, "{separator}from byte {offset} on")?,
            Window { offset, size: Some(size) } => write!(f, "{separator}{size} bytes from {offset}")?,
        }
        if self.compressor.is_some() || !self.window.is_whole() { f.write_str(")") } else { Ok(()) }
    }
}

/// A URL as errors print it: without query, fragment and credentials.
struct PublicUrl<'a>(&'a Url);

impl Display for PublicUrl<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(url) = self;
        write!(f, "{}://{}", url.scheme(), url.host_str().unwrap_or_default())?;
        if let Some(port) = url.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(url.path())
    }
}

#[cfg(test)]
mod tests {
    use blobaccess::{DigestFunction, ErrorKind};

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let digest = Digest::of(InstanceName::new("a/b").unwrap(), DigestFunction::Sha384, b"hello");
        for reference in [
            Reference::http("http://a/b?c"),
            Reference::s3("bucket", "a/b").with_range(5, 0),
            Reference::gcs("bucket", "a/b").with_range(0, 7).with_compressor(Compressor::Zstd),
            Reference::blob(&digest).with_compressor(Compressor::Brotli),
        ] {
            assert_eq!(Reference::from_bytes(reference.to_bytes()).unwrap(), reference);
        }
    }

    #[test]
    fn what_is_no_reference_is_refused_with_what_is_wrong() {
        let message = |change: &dyn Fn(&mut icas::Reference)| {
            let mut message =
                icas::Reference { medium: Some(Medium::HttpUrl("http://a/".into())), ..Default::default() };
            change(&mut message);
            Bytes::from(message.encode_to_vec())
        };
        let blob = |blob_digest| {
            Some(Medium::ContentAddressableStorage(ContentAddressableStorage { blob_digest, ..Default::default() }))
        };
        let hash = remote_execution::Digest { hash: "xyz".into(), size_bytes: 1 };
        for (kind, text, message) in [
            (ErrorKind::DataLoss, "cannot be decoded", Bytes::from_static(b"\xff")),
            // A hash that is not UTF-8.
            (ErrorKind::DataLoss, "cannot be decoded", Bytes::from_static(b"\x42\x05\x1a\x03\x0a\x01\xff")),
            (ErrorKind::Unimplemented, "kind of place", message(&|message| message.medium = None)),
            (ErrorKind::Unimplemented, "compressor 99", message(&|message| message.decompressor = 99)),
            (ErrorKind::Internal, "offset -1", message(&|message| message.offset_bytes = -1)),
            (ErrorKind::Internal, "size -5", message(&|message| message.size_bytes = -5)),
            (ErrorKind::Internal, "without a digest", message(&|message| message.medium = blob(None))),
            (
                ErrorKind::Internal,
                "digest of the reference",
                message(&|message| message.medium = blob(Some(hash.clone()))),
            ),
        ] {
            let error = Reference::from_bytes(message).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn what_may_be_secret_is_not_printed() {
        let shown = Reference::http("https://user:secret@a.example:8443/b?signature=secret#secret").to_string();
        assert_eq!(shown, "https://a.example:8443/b");
        assert_eq!(Reference::http("no URL with secret").to_string(), "an invalid URL");
    }
}
