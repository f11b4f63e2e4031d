//! ZIP archives of every kind, held to the suite: while they are written, appended to, salvaged and read.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a fixture that cannot be made is a failed test")]

use std::fmt::{self, Display, Formatter};
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{
    Ac, Blob, BlobAccess, Capabilities, Cas, Context, Digest, DigestSet, Fsac, Icas, InstanceName, Iscc, KeyFormat,
    Kind, PutOutcome, Result, Slicer,
};
use blobaccess_testkit::{Damage, Fixture, Promises, conformance};
use blobaccess_zip_store::{ZipOptions, ZipReadingStore, ZipWritingStore};
use bytes::Bytes;
use tempfile::TempDir;
use tokio::sync::Mutex;

conformance! {
    written: Cas => Written::<Cas>::new(options()),
    written_of_action_results: Ac => Written::<Ac>::new(options()),
    written_of_references: Icas => Written::<Icas>::new(options()),
    written_of_size_classes: Iscc => Written::<Iscc>::new(options()),
    written_of_file_accesses: Fsac => Written::<Fsac>::new(options()),
    verified_each_time: Cas => Written::<Cas>::new(options().with_verification_lifetime(std::time::Duration::ZERO)),
    // Every restart is one without a directory.
    salvaged: Cas => Written::<Cas>::new(options().with_salvaging(true)),
    salvaged_of_action_results: Ac => Written::<Ac>::new(options().with_salvaging(true)),
    read: Cas => Read::<Cas>::new(),
    read_of_action_results: Ac => Read::<Ac>::new(),
    read_of_file_accesses: Fsac => Read::<Fsac>::new(),
}

const MAX_MESSAGE_BYTES: u64 = 1 << 20;

fn options() -> ZipOptions {
    ZipOptions::new().with_max_message_size_bytes(MAX_MESSAGE_BYTES)
}

fn promises<K: Kind>() -> Promises {
    Promises::IN_MEMORY
        .with_durable(true)
        .with_max_blob_size_bytes(K::STORAGE_TYPE.is_mutable().then_some(MAX_MESSAGE_BYTES))
}

/// An archive that is finished and appended to; or never finished and salvaged, if the options allow it.
struct Written<K> {
    options: ZipOptions,
    directory: TempDir,
    kind: PhantomData<K>,
}

impl<K> Written<K> {
    fn new(options: ZipOptions) -> Self {
        Self { options, directory: TempDir::new().unwrap(), kind: PhantomData }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("archive.zip")
    }

    fn is_salvaged(&self) -> bool {
        self.options == options().with_salvaging(true)
    }
}

impl<K: Kind> Fixture for Written<K> {
    type Store = ZipWritingStore<K>;

    fn promises(&self) -> Promises {
        promises::<K>()
    }

    async fn open(&self) -> Result<ZipWritingStore<K>> {
        if self.path().exists() {
            ZipWritingStore::append(self.path(), self.options).await
        } else {
            ZipWritingStore::create(self.path(), self.options).await
        }
    }

    async fn close(&self, store: ZipWritingStore<K>) -> Result<()> {
        if self.is_salvaged() { Ok(()) } else { store.finish().await }
    }

    fn damage(&self, _digest: &Digest, contents: &Bytes, damage: Damage) -> bool {
        let mut archive = std::fs::read(self.path()).unwrap();
        let lies_at = archive.windows(contents.len()).rposition(|window| window == contents);
        // Without a directory, the first entry that is wrong is the end of the archive, as a torn one would be.
        let is_damaged = damage == Damage::Wrong && !self.is_salvaged();
        if is_damaged {
            archive[lies_at.unwrap() + contents.len() / 2] ^= 1;
            std::fs::write(self.path(), archive).unwrap();
        }
        is_damaged
    }

    fn layers(&self) -> Vec<String> {
        vec![format!("zip_writing({})", self.path().display())]
    }
}

/// An archive that is appended to and finished for each put, and opened for each other call.
struct Read<K> {
    directory: TempDir,
    kind: PhantomData<K>,
}

impl<K> Read<K> {
    fn new() -> Self {
        Self { directory: TempDir::new().unwrap(), kind: PhantomData }
    }
}

impl<K: Kind> Fixture for Read<K> {
    type Store = Reopening<K>;

    fn promises(&self) -> Promises {
        promises::<K>()
    }

    async fn open(&self) -> Result<Reopening<K>> {
        let path = self.directory.path().join("archive.zip");
        if !path.exists() {
            ZipWritingStore::<K>::create(&path, options()).await?.finish().await?;
        }
        Ok(Reopening { path, putting: Arc::default(), kind: PhantomData })
    }

    fn layers(&self) -> Vec<String> {
        vec!["reopening(zip_reading".to_owned()]
    }
}

#[derive(Debug)]
struct Reopening<K> {
    path: PathBuf,
    putting: Arc<Mutex<()>>,
    kind: PhantomData<K>,
}

impl<K: Kind> Reopening<K> {
    async fn reopen(&self) -> Result<ZipReadingStore<K>> {
        let _putting = self.putting.lock().await;
        ZipReadingStore::open(&self.path, options()).await
    }
}

#[async_trait]
impl<K: Kind> BlobAccess for Reopening<K> {
    type Kind = K;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.reopen().await?.get(ctx, digest).await
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        self.reopen().await?.get_from_composite(ctx, parent, child, slicer).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        // Whole first: a put that waits for its source must not hold up the reads.
        let blob = if K::STORAGE_TYPE.is_mutable() { blob } else { blob.with_expected_digest(digest) };
        let max = if K::STORAGE_TYPE.is_mutable() { MAX_MESSAGE_BYTES } else { digest.size_bytes() };
        let contents = blob.into_bytes(max).await?;
        let (putting, path) = (Arc::clone(&self.putting).lock_owned().await, self.path.clone());
        let (ctx, digest) = (ctx.clone(), digest.clone());
        // To its end, also if the put is dropped.
        let put = tokio::spawn(async move {
            let _putting = putting;
            let store = ZipWritingStore::<K>::append(path, options()).await?;
            let outcome = store.put(&ctx, &digest, Blob::from_bytes(contents)).await;
            store.finish().await?;
            outcome
        });
        put.await.unwrap()
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        self.reopen().await?.find_missing(ctx, digests).await
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        let capabilities = self.reopen().await?.capabilities(ctx, instance_name).await?;
        assert!(!capabilities.updates_allowed, "an archive that is read takes puts");
        Ok(capabilities.with_updates_allowed(true))
    }

    fn key_format(&self) -> KeyFormat {
        K::STORAGE_TYPE.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        true
    }
}

impl<K: Kind> Display for Reopening<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "reopening(zip_reading({}))", self.path.display())
    }
}
