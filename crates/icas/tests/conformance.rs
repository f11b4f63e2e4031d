//! The suite, over stores that keep their contents in a bucket, at a web server and in another store, and that store a
//! reference with each put.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail so")]

#[path = "expanding/server.rs"]
#[expect(dead_code, reason = "the other tests of this crate use more of it")]
mod server;

use std::collections::HashMap;
use std::fmt::{self, Display, Formatter};
use std::io::Write as _;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use blobaccess::{
    Blob, BlobAccess, BlobAccessExt, Capabilities, Cas, Compressor, Context, Digest, DigestSet, Error, Icas,
    InstanceName, KeyFormat, MemoryStore, PutOutcome, Result, Slicer,
};
use blobaccess_icas::object_store::ObjectStoreExt;
use blobaccess_icas::object_store::memory::InMemory;
use blobaccess_icas::object_store::path::Path;
use blobaccess_icas::{AllowedHosts, BucketSource, ExpandingOptions, Reference, ReferenceExpanding};
use blobaccess_testkit::fakes::{InterruptibleStore, Outage};
use blobaccess_testkit::{Fixture, Promises, conformance};
use bytes::Bytes;
use tokio::sync::OnceCell;

use crate::server::{Answer, Server};

conformance! {
    in_a_bucket => Corpus::new(Source::Bucket, None),
    in_a_bucket_as_zstd => Corpus::new(Source::Bucket, Some(Compressor::Zstd)),
    in_a_bucket_as_deflate => Corpus::new(Source::Bucket, Some(Compressor::Deflate)),
    at_a_web_server => Corpus::new(Source::Server, None),
    at_a_web_server_as_zstd => Corpus::new(Source::Server, Some(Compressor::Zstd)),
    in_another_store => Corpus::new(Source::Store, None),
    in_another_store_as_deflate => Corpus::new(Source::Store, Some(Compressor::Deflate)),
}

/// The bytes before and after each object, so that references lead to parts.
const AROUND: &[u8] = b"PK..";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Source {
    Bucket,
    Server,
    Store,
}

type Files = Arc<Mutex<HashMap<String, Bytes>>>;
type References = InterruptibleStore<Arc<MemoryStore<Icas>>>;

/// A corpus that outlives the stores over it.
struct Corpus {
    source: Source,
    compressor: Option<Compressor>,
    references: Arc<MemoryStore<Icas>>,
    outage: Outage,
    bucket: Arc<InMemory>,
    files: Files,
    server: OnceCell<Arc<Server>>,
    store: Arc<MemoryStore<Cas>>,
}

impl Corpus {
    fn new(source: Source, compressor: Option<Compressor>) -> Self {
        Self {
            source,
            compressor,
            references: Arc::new(MemoryStore::new(64 << 20)),
            outage: Outage::default(),
            bucket: Arc::default(),
            files: Files::default(),
            server: OnceCell::new(),
            store: Arc::new(MemoryStore::new(256 << 20)),
        }
    }
}

impl Fixture for Corpus {
    type Store = ReferringStore;

    fn promises(&self) -> Promises {
        Promises::IN_MEMORY.with_durable(true)
    }

    async fn open(&self) -> Result<ReferringStore> {
        let files = Arc::clone(&self.files);
        let start = || async {
            Arc::new(
                Server::start(move |request| match files.lock().unwrap().get(&request.path) {
                    Some(contents) => Answer::file(request, contents),
                    None => Answer::status("404 Not Found"),
                })
                .await,
            )
        };
        let server = Arc::clone(self.server.get_or_init(start).await);
        let hosts = AllowedHosts::none().with_host(&server.address.to_string())?;
        let references = InterruptibleStore::new(Arc::clone(&self.references), self.outage.clone());
        let expanding = ReferenceExpanding::new(references, ExpandingOptions::new(hosts))?
            .with_s3_bucket("corpus", BucketSource::new(Arc::<InMemory>::clone(&self.bucket)))
            .with_store(&InstanceName::new("corpus")?, Arc::<MemoryStore<Cas>>::clone(&self.store));
        Ok(ReferringStore {
            source: self.source,
            compressor: self.compressor,
            expanding,
            bucket: Arc::clone(&self.bucket),
            files: Arc::clone(&self.files),
            server,
            store: Arc::clone(&self.store),
        })
    }

    fn break_down_with(&self, error: Error) -> bool {
        self.outage.begin(error);
        true
    }

    fn mend(&self) {
        self.outage.end();
    }

    fn layers(&self) -> Vec<String> {
        vec!["reference_expanding".to_owned(), "memory".to_owned()]
    }
}

/// A store that keeps contents aside when they are put, and a reference to them.
struct ReferringStore {
    source: Source,
    compressor: Option<Compressor>,
    expanding: ReferenceExpanding<References>,
    bucket: Arc<InMemory>,
    files: Files,
    server: Arc<Server>,
    store: Arc<MemoryStore<Cas>>,
}

impl ReferringStore {
    /// Keeps `object` aside. Returns the reference to it, without its surroundings.
    async fn keep(&self, digest: &Digest, object: Vec<u8>) -> Reference {
        let (name, size) = (digest.key(KeyFormat::WithoutInstanceName), u64::try_from(object.len()).unwrap());
        let whole = Bytes::from([AROUND, &object, AROUND].concat());
        let reference = match self.source {
            Source::Bucket => {
                self.bucket.put(&Path::from(name.as_str()), whole.into()).await.unwrap();
                Reference::s3("corpus", name)
            }
            Source::Server => {
                let path = format!("/{name}");
                let url = self.server.url(&path);
                self.files.lock().unwrap().insert(path, whole);
                Reference::http(url)
            }
            Source::Store => {
                let there = Digest::of(InstanceName::new("corpus/a").unwrap(), digest.function(), &whole);
                self.store.put_bytes(&Context::background(), &there, whole).await.unwrap();
                Reference::blob(&there)
            }
        };
        reference.with_range(u64::try_from(AROUND.len()).unwrap(), size)
    }
}

#[async_trait]
impl BlobAccess for ReferringStore {
    type Kind = Cas;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.expanding.get(ctx, digest).await
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        self.expanding.get_from_composite(ctx, parent, child, slicer).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let contents = blob.with_expected_digest(digest).into_bytes(u64::MAX).await.map_err(Error::not_stored)?;
        let reference = match self.compressor {
            None => self.keep(digest, contents.to_vec()).await,
            Some(compressor) => self.keep(digest, compress(&contents, compressor)).await.with_compressor(compressor),
        };
        self.expanding.references().put_bytes(ctx, digest, reference.to_bytes()).await
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        self.expanding.find_missing(ctx, digests).await
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        Ok(self.expanding.capabilities(ctx, instance_name).await?.with_updates_allowed(true))
    }

    fn key_format(&self) -> KeyFormat {
        self.expanding.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        self.expanding.finds_in_bulk()
    }
}

fn compress(contents: &[u8], compressor: Compressor) -> Vec<u8> {
    if compressor == Compressor::Zstd {
        return zstd::bulk::compress(contents, 1).unwrap();
    }
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(contents).unwrap();
    encoder.finish().unwrap()
}

impl Display for ReferringStore {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.expanding, f)
    }
}

impl fmt::Debug for ReferringStore {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.expanding, f)
    }
}
