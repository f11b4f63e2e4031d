//! A content store that does as it is told, and remembers what it was asked.

use super::*;

/// A content store that does as it is told, and remembers what it was asked.
#[derive(Debug)]
pub(super) struct ScriptedCas {
    pub(super) trees: Mutex<HashMap<Digest, Result<Vec<Result<Bytes>>>>>,
    pub(super) missing: Mutex<HashSet<Digest>>,
    pub(super) find_error: Mutex<Option<Error>>,
    /// The order in which sets were asked for, each sorted.
    pub(super) asked: Mutex<Vec<DigestSet>>,
    pub(super) read: Mutex<Vec<Digest>>,
    /// Let through those who find and those who read.
    pub(super) may_find: Semaphore,
    pub(super) may_read: Semaphore,
    pub(super) reading: Arc<AtomicUsize>,
    pub(super) most_reading: AtomicUsize,
    pub(super) key_format: KeyFormat,
}

struct Leaving(Arc<AtomicUsize>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl ScriptedCas {
    pub(super) fn new() -> Self {
        Self {
            trees: Mutex::default(),
            missing: Mutex::default(),
            find_error: Mutex::default(),
            asked: Mutex::default(),
            read: Mutex::default(),
            may_find: Semaphore::new(1000),
            may_read: Semaphore::new(1000),
            reading: Arc::default(),
            most_reading: AtomicUsize::new(0),
            key_format: KeyFormat::WithoutInstanceName,
        }
    }

    pub(super) fn with_tree(self, tree: &Bytes) -> Self {
        self.with_pieces(&digest_of(tree), vec![Ok(tree.clone())])
    }

    pub(super) fn with_pieces(self, digest: &Digest, pieces: Vec<Result<Bytes>>) -> Self {
        self.trees.lock().unwrap().insert(digest.clone(), Ok(pieces));
        self
    }

    pub(super) fn with_unreadable(self, digest: &Digest, error: Error) -> Self {
        self.trees.lock().unwrap().insert(digest.clone(), Err(error));
        self
    }

    pub(super) fn without(self, digest: &Digest) -> Self {
        self.missing.lock().unwrap().insert(digest.clone());
        self
    }

    pub(super) fn with_find_error(self, error: Error) -> Self {
        *self.find_error.lock().unwrap() = Some(error);
        self
    }

    pub(super) fn asked(&self) -> Vec<Vec<Digest>> {
        std::mem::take(&mut *self.asked.lock().unwrap()).into_iter().map(|set| set.as_slice().to_vec()).collect()
    }

    pub(super) fn read(&self) -> Vec<Digest> {
        std::mem::take(&mut *self.read.lock().unwrap())
    }
}

#[async_trait]
impl BlobAccess for ScriptedCas {
    type Kind = Cas;

    async fn get(&self, _ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.read.lock().unwrap().push(digest.clone());
        let reading = self.reading.fetch_add(1, Ordering::SeqCst) + 1;
        let leaving = Leaving(Arc::clone(&self.reading));
        self.most_reading.fetch_max(reading, Ordering::SeqCst);
        self.may_read.acquire().await.unwrap().forget();
        let pieces = self.trees.lock().unwrap().get(digest).cloned();
        let pieces = pieces.unwrap_or_else(|| Err(Error::not_found(format!("blob {digest} is not stored"))))?;
        // Others get a turn before each piece but the first.
        let pieces = stream::iter(pieces).enumerate().then(|(index, piece)| async move {
            for _ in 0..3 * index {
                tokio::task::yield_now().await;
            }
            piece
        });
        Ok(Blob::from_untrusted_stream(digest, pieces, Provenance::store()).with_guard(leaving))
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

    async fn put(&self, _ctx: &Context, _digest: &Digest, _blob: Blob) -> Result<PutOutcome> {
        Err(Error::unimplemented("nothing is put here"))
    }

    async fn find_missing(&self, _ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        self.asked.lock().unwrap().push(digests.clone());
        self.may_find.acquire().await.unwrap().forget();
        let error = self.find_error.lock().unwrap().clone();
        let missing = self.missing.lock().unwrap();
        error.map_or_else(|| Ok(digests.filter(|digest| missing.contains(digest))), Err)
    }

    async fn capabilities(&self, _ctx: &Context, _instance_name: &InstanceName) -> Result<Capabilities> {
        Err(Error::unimplemented("nobody asks"))
    }

    fn key_format(&self) -> KeyFormat {
        self.key_format
    }

    fn finds_in_bulk(&self) -> bool {
        true
    }
}

impl Display for ScriptedCas {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("scripted")
    }
}
