//! All that references may lead to, and the blobs that are read from there.

use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use blobaccess::{
    Blob, BlobAccess, Cas, Clock, Context, Digest, Error, ErrorKind, InstanceNameTrie, Provenance, Result,
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use url::Url;

use crate::decoding::{decode, max_encoded_bytes};
use crate::http_source::{HttpSource, left_of};
use crate::opened::{Pieces, Resumption, limit, too_large};
use crate::reference::Place;
use crate::snapshot::Counts;
use crate::time_limits::TimeLimits;
use crate::{BucketSource, ExpandingOptions, Reference};

/// All that references may lead to.
pub(crate) struct Sources {
    pub(crate) options: ExpandingOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) http: Arc<HttpSource>,
    pub(crate) s3: HashMap<String, BucketSource>,
    pub(crate) gcs: HashMap<String, BucketSource>,
    /// The buckets that have URLs, longest URL first. Each URL ends with a slash.
    pub(crate) by_url: Vec<(Url, BucketSource)>,
    pub(crate) stores: InstanceNameTrie<Arc<dyn BlobAccess<Kind = Cas>>>,
    pub(crate) counts: Arc<Counts>,
}

/// The contents of a source, or a blob that is what was asked for.
#[expect(clippy::large_enum_variant, reason = "it is returned once, and an allocation would cost more")]
enum Found {
    Pieces(Pieces),
    Blob(Blob),
}

impl Sources {
    pub(crate) fn add_bucket_at(&mut self, url: &str, bucket: BucketSource) -> Result<()> {
        let with_slash = if url.ends_with('/') { url.to_owned() } else { format!("{url}/") };
        let parsed = Url::parse(&with_slash)
            .map_err(|error| Error::invalid_argument(format!("{url:?} is no URL of a bucket: {error}")))?;
        let has_more = parsed.query().is_some() || parsed.fragment().is_some() || has_credentials(&parsed);
        if has_more || !matches!(parsed.scheme(), "http" | "https") {
            let message = "the URL of a bucket is one of http or https, without credentials, query and fragment";
            return Err(Error::invalid_argument(message));
        }
        self.by_url.retain(|(known, _)| *known != parsed);
        self.by_url.push((parsed, bucket));
        self.by_url.sort_by_key(|(url, _)| std::cmp::Reverse(url.as_str().len()));
        Ok(())
    }

    /// Reads the blob that `reference` leads to.
    pub(crate) async fn expand(&self, ctx: &Context, digest: &Digest, reference: Reference) -> Result<Blob> {
        let place = || place(digest, &reference);
        let max = self.check_sizes(digest, &reference).map_err(|error| error.at(place()))?;
        if digest.is_empty_blob() && reference.compressor.is_none() {
            // No range of HTTP is empty.
            return Ok(Blob::from_untrusted_bytes(digest, Bytes::new(), Provenance::store()));
        }
        let found = match &reference.place {
            Place::Url(url) => self.open_url(ctx, digest, &reference, url, max).await,
            Place::S3 { bucket, key } => self.open_bucket(ctx, digest, &reference, self.s3.get(bucket), key, max).await,
            Place::Gcs { bucket, object } => {
                self.open_bucket(ctx, digest, &reference, self.gcs.get(bucket), object, max).await
            }
            Place::Blob(target) => self.open_blob(ctx, digest, &reference, target, max).await,
        };
        let pieces = match found.map_err(|error| error.at(place()))? {
            None => return Err(self.gone(digest, &reference)),
            Some(Found::Blob(blob)) => return Ok(blob),
            Some(Found::Pieces(pieces)) => pieces,
        };
        let contents = match reference.compressor {
            None => pieces,
            Some(compressor) => decode(limit(pieces, max), compressor).map_err(|error| error.at(place()))?,
        };
        let digest_of_place = digest.clone();
        let contents = contents.map_err(move |error| error.at(self::place(&digest_of_place, &reference)));
        Ok(Blob::from_untrusted_stream(digest, contents, Provenance::store()))
    }

    /// Checks what the reference says of sizes. Returns the maximum number of bytes of the source.
    fn check_sizes(&self, digest: &Digest, reference: &Reference) -> Result<u64> {
        let (blob, max) = (digest.size_bytes(), self.options.max_source_bytes);
        let (least, max) = match (reference.compressor, reference.window.size) {
            (None, Some(size)) if size != blob => {
                return Err(Error::internal(format!("reference is to {size} bytes, while the blob is {blob} bytes")));
            }
            (None, _) => (blob, max),
            (Some(_), size) => (size.unwrap_or_default(), max.min(max_encoded_bytes(blob))),
        };
        if least > max { Err(too_large(least, max)) } else { Ok(max) }
    }

    /// Makes the error of a source that does not exist.
    #[cold]
    fn gone(&self, digest: &Digest, reference: &Reference) -> Error {
        self.counts.add_gone();
        let kind = if self.options.gone_is_missing { ErrorKind::NotFound } else { ErrorKind::DataLoss };
        Error::new(kind, format!("blob {digest} is no longer where its reference leads to: {reference}"))
    }

    #[cold]
    fn refuse(&self, message: String) -> Error {
        self.counts.add_refused();
        Error::failed_precondition(message)
    }

    async fn open_url(
        &self,
        ctx: &Context,
        digest: &Digest,
        reference: &Reference,
        url: &str,
        max: u64,
    ) -> Result<Option<Found>> {
        let url = Url::parse(url).map_err(|error| Error::internal(format!("the URL is invalid: {error}")))?;
        if let Some((bucket, key)) = self.bucket_at(&url)? {
            return self.open_bucket(ctx, digest, reference, Some(bucket), &key, max).await;
        }
        self.http.check(&url).inspect_err(|_| self.counts.add_refused())?;
        let mut limits = self.time_limits(ctx);
        let request = self.http.open(&url, reference.window, None);
        let Some(opened) = limits.wait_for_answer(request).await?? else { return Ok(None) };
        check_left(digest, reference, opened.left, max)?;
        let resumption = Resumption { source: Arc::clone(&self.http), url, left: self.options.max_resumptions };
        Ok(Some(Found::Pieces(opened.into_pieces(reference.window.offset, limits, Some(resumption)))))
    }

    /// Returns the bucket that `url` leads into, and the key of the object.
    fn bucket_at(&self, url: &Url) -> Result<Option<(&BucketSource, String)>> {
        for (prefix, bucket) in &self.by_url {
            let same_server =
                url.scheme() == prefix.scheme() && url.host() == prefix.host() && url.port() == prefix.port();
            let Some(key) = url.path().strip_prefix(prefix.path()).filter(|_| same_server) else { continue };
            if url.query().is_some() || has_credentials(url) {
                return Err(self.refuse("URLs into a bucket have no query and no credentials".to_owned()));
            }
            let key = unescaped(key).ok_or_else(|| Error::internal("the key in the URL is not UTF-8"))?;
            return Ok(Some((bucket, key)));
        }
        Ok(None)
    }

    async fn open_bucket(
        &self,
        ctx: &Context,
        digest: &Digest,
        reference: &Reference,
        bucket: Option<&BucketSource>,
        key: &str,
        max: u64,
    ) -> Result<Option<Found>> {
        let bucket = bucket.ok_or_else(|| self.refuse("the bucket is none that references may lead to".to_owned()))?;
        let path = bucket.path(key)?;
        let path = path.ok_or_else(|| self.refuse("the key is none that references may lead to".to_owned()))?;
        self.counts.add_bucket_read();
        let mut limits = self.time_limits(ctx);
        let request = bucket.open(&path, reference.window);
        let Some(opened) = limits.wait_for_answer(request).await?? else { return Ok(None) };
        check_left(digest, reference, opened.left, max)?;
        Ok(Some(Found::Pieces(opened.into_pieces(reference.window.offset, limits, None))))
    }

    async fn open_blob(
        &self,
        ctx: &Context,
        digest: &Digest,
        reference: &Reference,
        target: &Digest,
        max: u64,
    ) -> Result<Option<Found>> {
        let window = reference.window;
        let store = self.stores.longest_prefix(target.instance_name());
        let (_, store) =
            store.ok_or_else(|| self.refuse("the instance name is none that references may lead to".to_owned()))?;
        self.counts.add_store_get();
        let blob = match store.get(ctx, target).await {
            Ok(blob) => blob,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        if reference.compressor.is_none() && window.is_whole() && has_same_contents(digest, target) {
            return Ok(Some(Found::Blob(blob)));
        }
        let left = left_of(window, blob.size_bytes())?.min(window.size.unwrap_or(u64::MAX));
        check_left(digest, reference, Some(left), max)?;
        let pieces = blob.into_stream(window.offset..window.offset.saturating_add(left))?;
        Ok(Some(Found::Pieces(pieces.boxed())))
    }

    fn time_limits(&self, ctx: &Context) -> TimeLimits {
        TimeLimits::new(Arc::clone(&self.clock), &self.options, ctx)
    }
}

/// Returns the place of errors.
#[cold]
fn place(digest: &Digest, reference: &Reference) -> String {
    format!("reference of blob {digest} to {reference}")
}

/// Checks the number of bytes that a source is about to send.
fn check_left(digest: &Digest, reference: &Reference, left: Option<u64>, max: u64) -> Result<()> {
    let blob = digest.size_bytes();
    match left {
        Some(left) if reference.compressor.is_none() && left != blob => {
            Err(Error::data_loss(format!("source has {left} bytes, while the blob is {blob} bytes")))
        }
        Some(left) if left > max => Err(too_large(left, max)),
        Some(_) | None => Ok(()),
    }
}

fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

fn has_same_contents(a: &Digest, b: &Digest) -> bool {
    a.hash() == b.hash() && a.size_bytes() == b.size_bytes() && a.function() == b.function()
}

/// Returns `text` with its `%` escapes resolved; `None` if one is malformed, or if the result is no UTF-8.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, more)) = rest.split_first() {
        rest = more;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, more) = rest.split_at_checked(2)?;
        let [high, low] = [digits.first()?, digits.get(1)?].map(|digit| char::from(*digit).to_digit(16));
        bytes.push(u8::try_from(high? * 16 + low?).ok()?);
        rest = more;
    }
    String::from_utf8(bytes).ok()
}

impl Debug for Sources {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("options", &self.options)
            .field("s3", &self.s3)
            .field("gcs", &self.gcs)
            .field("by_url", &self.by_url.iter().map(|(url, _)| url.as_str()).collect::<Vec<_>>())
            .field("stores", &self.stores)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_a_url_are_resolved_in_keys() {
        assert_eq!(unescaped("a%20b/%C3%A4").as_deref(), Some("a b/ä"));
        for malformed in ["%", "%4", "%xx", "%ff"] {
            assert_eq!(unescaped(malformed), None, "{malformed}");
        }
    }
}
