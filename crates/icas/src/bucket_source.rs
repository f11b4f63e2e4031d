//! Buckets, as sources.

use std::error::Error as StdError;
use std::sync::Arc;

use blobaccess::{Error, ErrorKind, Result};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore};

use crate::http_source::left_of;
use crate::opened::Opened;
use crate::reference::Window;

/// A bucket that references may lead to, at any provider that [`object_store`] knows.
///
/// The client has the credentials, the endpoint and the retries of the bucket. That of a `Bucket` of
/// `blobaccess-s3-backend` needs neither a process-wide provider of cryptography nor a choice of TLS.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use blobaccess_icas::BucketSource;
/// use blobaccess_s3_backend::Bucket;
///
/// // Or "s3://datasets?region=eu-central-1", "gs://datasets", "az://datasets?account=ACCOUNT".
/// let bucket = Bucket::from_url("memory:")?;
/// let source = BucketSource::new(bucket.object_store()).with_allowed_prefix("public/");
/// # drop(source);
/// # Ok::<(), blobaccess::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct BucketSource {
    store: Arc<dyn ObjectStore>,
    allowed_prefix: String,
}

impl BucketSource {
    /// Lets references lead to every object of the bucket that `store` reads.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, allowed_prefix: String::new() }
    }

    /// Lets references lead only to objects whose keys begin with `prefix`.
    #[must_use]
    pub fn with_allowed_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.allowed_prefix = prefix.into();
        self
    }

    /// Returns the path of an object; `None` if its key is not allowed.
    pub(crate) fn path(&self, key: &str) -> Result<Option<Path>> {
        let path = Path::parse(key).map_err(|error| {
            Error::internal(format!("{key:?} is no key that can be read: {error}")).with_source(error)
        })?;
        Ok(path.as_ref().starts_with(&self.allowed_prefix).then_some(path))
    }

    /// Reads `window` of an object. Returns `None` if the bucket has no such object.
    pub(crate) async fn open(&self, path: &Path, window: Window) -> Result<Option<Opened>> {
        let range = match window {
            window if window.is_whole() => None,
            Window { offset, size: Some(size) } => Some(GetRange::Bounded(offset..offset.saturating_add(size))),
            Window { offset, size: None } => Some(GetRange::Offset(offset)),
        };
        let result = match self.store.get_opts(path, GetOptions { range, ..GetOptions::default() }).await {
            Ok(result) => result,
            Err(error) if is_absence(&error) => return Ok(None),
            Err(error) => return Err(from_provider(error)),
        };
        let left = left_of(window, result.meta.size)?.min(window.size.unwrap_or(u64::MAX));
        let pieces = result.into_stream().map_err(from_provider).boxed();
        Ok(Some(Opened { pieces, skip: 0, left: Some(left), e_tag: None }))
    }
}

/// The codes by which S3, Google and Azure say that the bucket itself does not exist.
const NO_BUCKET: [&str; 3] = ["NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist"];

/// Returns whether there is no such object, rather than no such bucket.
fn is_absence(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotFound { .. }) && {
        let text = full_text(error);
        !NO_BUCKET.iter().any(|code| text.contains(code))
    }
}

#[cold]
fn from_provider(error: object_store::Error) -> Error {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the library may add to its own")]
    let kind = match &error {
        object_store::Error::PermissionDenied { .. } => ErrorKind::PermissionDenied,
        object_store::Error::Unauthenticated { .. } => ErrorKind::Unauthenticated,
        object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. } => {
            ErrorKind::Unimplemented
        }
        object_store::Error::NotFound { .. } => ErrorKind::FailedPrecondition,
        object_store::Error::Precondition { .. } | object_store::Error::NotModified { .. } => ErrorKind::Aborted,
        // Whatever it is, it does not say whether the object exists.
        object_store::Error::Generic { .. } => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    };
    let text = full_text(&error);
    let text = match text.char_indices().nth(MAX_QUOTED_CHARACTERS) {
        Some((end, _)) => format!("{} ..", text.get(..end).unwrap_or_default()),
        None => text,
    };
    Error::new(kind, format!("bucket failed: {text}")).with_source(error)
}

/// The number of characters of a provider's error that are quoted. An answer may be a page of HTML.
const MAX_QUOTED_CHARACTERS: usize = 500;

/// Returns the text of `error`, with that of its causes as far as it does not have them.
fn full_text(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
