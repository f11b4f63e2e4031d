//! A store of contents that lie elsewhere.

use std::collections::HashMap;
use std::fmt::{self, Debug, Display, Formatter};
use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{
    Blob, BlobAccess, Capabilities, Cas, Clock, Context, Digest, DigestSet, Error, Icas, InstanceName,
    InstanceNameTrie, KeyFormat, PutOutcome, Result, Slicer, SystemClock, get_and_slice,
};
use reqwest::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, IF_RANGE, RANGE,
    TRANSFER_ENCODING,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::http_source::HttpSource;
use crate::name_resolver::{NameResolver, SystemResolver};
use crate::snapshot::Counts;
use crate::sources::Sources;
use crate::{BucketSource, ExpandingOptions, ExpandingSnapshot, Reference};

/// The headers that requests have of themselves.
const OWN_HEADERS: [HeaderName; 7] =
    [ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, HOST, IF_RANGE, RANGE, TRANSFER_ENCODING];

/// A store of contents that lie elsewhere: it finds them through a store of [`Reference`]s, and reads them over HTTP,
/// from buckets, or from other stores.
///
/// Use it to let builds read a large corpus that is stored already, without a copy: datasets in a bucket, archives of a
/// mirror, files within archives. Write a reference for each blob, under the digest of the contents.
///
/// * **get**: loads the reference, then reads what it leads to. The contents are decompressed if need be, and always
///   verified. The compressed form is not handed out, because nobody has verified it.
/// * **put**: refused. Store a reference instead.
/// * **find missing**: asks for references alone.
///
/// # Order
///
/// Beneath a layer that keeps what was read nearby, so that each blob is fetched once. As the second store of a
/// `ReadFallback`, it adds a corpus to a store that clients upload to.
///
/// # Safety
///
/// A reference is input, and decides what this program reads. It may lead to no web server that is not in
/// [`AllowedHosts`](crate::AllowedHosts), and to no bucket and no store that was not given here. Redirects are not
/// followed, and proxies of the environment are not used. Errors do not quote the queries of URLs.
///
/// # Weakens
///
/// * A reference that is present says nothing of what it leads to: a blob that is not missing may turn out to be
///   unreadable. Asking about a reference keeps the reference, not the contents.
/// * Puts are refused.
///
/// # Memory
///
/// A reader takes the reference, the pieces that a connection has ready (up to some 400 KiB), and for compressed sources
/// the window of the decoder (up to 8 MiB for zstd) and a piece of 128 KiB. Idle connections are kept for 90 s.
///
/// # Cancel safety
///
/// A dropped call or blob closes its connection. Nothing else is left behind. The HTTP client has a task of tokio's
/// for each of its connections, which ends with it.
///
/// # Errors
///
/// | situation | kind |
/// |---|---|
/// | no reference | `NotFound` |
/// | the store of references fails | its error, with the place `references` |
/// | what the reference leads to no longer exists, or is shorter than the reference says; wrong contents | `DataLoss` |
/// | a server, bucket or store that is not allowed; a redirect | `FailedPrecondition` |
/// | the reference contradicts itself; an answer that breaks the rules of HTTP | `Internal` |
/// | a kind of place or a compressor that is not known | `Unimplemented` |
/// | no connection; the status 500, 502 or 503; an answer that is cut | `Unavailable` |
/// | a time limit; the status 408 or 504 | `DeadlineExceeded` |
/// | the status 401, 403 or 429 | `Unauthenticated`, `PermissionDenied`, `ResourceExhausted` |
/// | a limit of size | `ResourceExhausted` |
/// | a put | `InvalidArgument` |
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use std::sync::Arc;
///
/// use blobaccess::{BlobAccessExt, Cas, Context, Digest, DigestFunction, Icas, InstanceName, MemoryStore};
/// use blobaccess_icas::{AllowedHosts, BucketSource, ExpandingOptions, Reference, ReferenceExpanding};
/// use blobaccess_s3_backend::object_store::{ObjectStoreExt, memory::InMemory};
///
/// // A bucket with an archive, whose file "hello" was stored without compression.
/// let bucket = Arc::new(InMemory::new());
/// bucket.put(&"archives/a.zip".into(), "PK..hello..".into()).await.expect("memory is put to");
///
/// let references = Arc::new(MemoryStore::<Icas>::new(1 << 20));
/// let options = ExpandingOptions::new(AllowedHosts::none().with_host("files.example.com")?);
/// let store = ReferenceExpanding::new(Arc::clone(&references), options)?
///     .with_s3_bucket("datasets", BucketSource::new(bucket));
///
/// let (ctx, digest) = (Context::background(), Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello"));
/// let reference = Reference::s3("datasets", "archives/a.zip").with_range(4, 5);
/// references.put_bytes(&ctx, &digest, reference.to_bytes()).await?;
/// assert_eq!(store.get_bytes(&ctx, &digest, 1024).await?, "hello");
/// # Ok(())
/// # }
/// ```
pub struct ReferenceExpanding<R> {
    references: R,
    sources: Sources,
    resolver: Arc<dyn NameResolver>,
    authorities: Vec<CertificateDer<'static>>,
    headers: HeaderMap,
}

impl<R: BlobAccess<Kind = Icas>> ReferenceExpanding<R> {
    /// Makes a store of what the values of `references` lead to.
    ///
    /// # Errors
    ///
    /// `FailedPrecondition` if no HTTP client can be set up.
    pub fn new(references: R, options: ExpandingOptions) -> Result<Self> {
        let (counts, resolver): (_, Arc<dyn NameResolver>) = (Arc::new(Counts::default()), Arc::new(SystemResolver));
        let http = HttpSource::new(&options, Arc::clone(&resolver), &[], &HeaderMap::new(), Arc::clone(&counts))?;
        let sources = Sources {
            options,
            clock: Arc::new(SystemClock),
            http: Arc::new(http),
            s3: HashMap::new(),
            gcs: HashMap::new(),
            by_url: Vec::new(),
            stores: InstanceNameTrie::new(),
            counts,
        };
        Ok(Self { references, sources, resolver, authorities: Vec::new(), headers: HeaderMap::new() })
    }
}

impl<R> ReferenceExpanding<R> {
    /// Lets references lead into the bucket of S3 that they call `name`.
    #[must_use]
    pub fn with_s3_bucket(mut self, name: impl Into<String>, bucket: BucketSource) -> Self {
        self.sources.s3.insert(name.into(), bucket);
        self
    }

    /// Lets references lead into the bucket of Google Cloud Storage that they call `name`.
    #[must_use]
    pub fn with_gcs_bucket(mut self, name: impl Into<String>, bucket: BucketSource) -> Self {
        self.sources.gcs.insert(name.into(), bucket);
        self
    }

    /// Lets references lead into the bucket at `url`: what follows `url` in a reference is the key of an object.
    ///
    /// The message of references has no place in Azure. So a blob in Azure is referred to by its URL, such as
    /// `https://ACCOUNT.blob.core.windows.net/CONTAINER/BLOB`, and is read with the credentials of the bucket. These URLs
    /// need not be among the allowed hosts. The longest of several such URLs applies.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if that is no URL, or one with credentials, a query or a fragment.
    pub fn with_bucket_at(mut self, url: &str, bucket: BucketSource) -> Result<Self> {
        self.sources.add_bucket_at(url, bucket)?;
        Ok(self)
    }

    /// Lets references lead to blobs in `store` whose instance name begins with `prefix`. The longest prefix applies.
    ///
    /// The blobs are asked for under the instance name of the reference, with the context of the call.
    #[must_use]
    pub fn with_store(mut self, prefix: &InstanceName, store: Arc<dyn BlobAccess<Kind = Cas>>) -> Self {
        self.sources.stores.insert(prefix, store);
        self
    }

    /// Takes the time from `clock`, which must be the one by which callers set their deadlines.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.sources.clock = clock;
        self
    }

    /// Looks up names by `resolver` instead of the [`SystemResolver`]. Connections that were made are given up.
    ///
    /// # Errors
    ///
    /// As those of [`new`](Self::new).
    pub fn with_name_resolver(mut self, resolver: Arc<dyn NameResolver>) -> Result<Self> {
        self.resolver = resolver;
        self.connect_anew()
    }

    /// Trusts web servers whose certificates are signed by one of these authorities, besides those that the system
    /// trusts. `pem` has one or more certificates.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if there is no certificate in `pem`, or an invalid one.
    pub fn with_certificate_authorities(mut self, pem: &[u8]) -> Result<Self> {
        let certificates: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let certificates = certificates
            .map_err(|error| Error::invalid_argument(format!("the certificates cannot be read: {error}")))?;
        if certificates.is_empty() {
            return Err(Error::invalid_argument("there is no certificate"));
        }
        self.authorities.extend(certificates);
        self.connect_anew()
    }

    /// Sends a header with each request to a web server, besides other values of that name. The value is not shown by
    /// `Debug`. Connections that were made are given up.
    ///
    /// References decide which of the allowed servers are asked. So a header with a secret must only be set if all allowed
    /// hosts may know it.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if that is no header, or one that requests have anyway, such as `Range`.
    pub fn with_http_header(mut self, name: &str, value: &[u8]) -> Result<Self> {
        let invalid = |reason: &str| Error::invalid_argument(format!("header {name:?} {reason}"));
        let known = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid("has no valid name"))?;
        if OWN_HEADERS.contains(&known) {
            return Err(invalid("is that of each request itself"));
        }
        let mut value = HeaderValue::from_bytes(value).map_err(|_| invalid("has a value that cannot be sent"))?;
        value.set_sensitive(true);
        self.headers.append(known, value);
        self.connect_anew()
    }

    fn connect_anew(mut self) -> Result<Self> {
        let Sources { options, counts, .. } = &self.sources;
        let (resolver, counts) = (Arc::clone(&self.resolver), Arc::clone(counts));
        let http = HttpSource::new(options, resolver, &self.authorities, &self.headers, counts)?;
        self.sources.http = Arc::new(http);
        Ok(self)
    }

    /// Returns the store of references.
    pub const fn references(&self) -> &R {
        &self.references
    }

    /// Returns counts of what was read and refused.
    #[must_use]
    pub fn snapshot(&self) -> ExpandingSnapshot {
        self.sources.counts.snapshot()
    }
}

impl<R: BlobAccess<Kind = Icas>> ReferenceExpanding<R> {
    async fn load(&self, ctx: &Context, digest: &Digest) -> Result<Reference> {
        let message = self.references.get(ctx, digest).await.map_err(in_references)?;
        let (size, max) = (message.size_bytes(), self.sources.options.max_reference_bytes);
        if size > max {
            let message = format!("reference of blob {digest} is {size} bytes; the maximum is {max}");
            return Err(in_references(Error::resource_exhausted(message)));
        }
        let message = message.into_bytes(max).await.map_err(in_references)?;
        Reference::read(message, digest.instance_name())
            .map_err(|error| in_references(error.at(format!("blob {digest}"))))
    }
}

/// Adds the place, except to absence: a blob without a reference is absent from this store.
fn in_references(error: Error) -> Error {
    if error.is_not_found() { error } else { error.at("references") }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<R: BlobAccess<Kind = Icas>> BlobAccess for ReferenceExpanding<R> {
    type Kind = Cas;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        let reference = self.load(ctx, digest).await?;
        self.sources.expand(ctx, digest, reference).await
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        get_and_slice(self, ctx, parent, child, slicer).await
    }

    async fn put(&self, _ctx: &Context, digest: &Digest, _blob: Blob) -> Result<PutOutcome> {
        let message = format!("blob {digest} cannot be put: this store takes references to contents, not contents");
        Err(Error::invalid_argument(message))
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        if digests.is_empty() {
            return Ok(DigestSet::new());
        }
        self.references.find_missing(ctx, digests).await.map_err(in_references)
    }

    /// Returns the digest functions of the store of references. Its limit is one of references, not of contents.
    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        let references = self.references.capabilities(ctx, instance_name).await.map_err(in_references)?;
        let own = Capabilities::unlimited().with_updates_allowed(false);
        Ok(own.with_digest_functions(references.digest_functions))
    }

    fn key_format(&self) -> KeyFormat {
        self.references.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        self.references.finds_in_bulk()
    }
}

impl<R: Display> Display for ReferenceExpanding<R> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "reference_expanding({})", self.references)
    }
}

impl<R: Debug> Debug for ReferenceExpanding<R> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReferenceExpanding")
            .field("references", &self.references)
            .field("sources", &self.sources)
            .finish_non_exhaustive()
    }
}
