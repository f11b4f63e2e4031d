//! Copies an action, a directory or a tree with everything that it refers to.

mod object;
mod options;
mod progress;
mod traversal;

use std::fmt::{self, Display, Formatter};
use std::future::poll_fn;
use std::sync::{Arc, PoisonError};
use std::task::{Context as Poller, Poll};

use futures::stream::{FuturesUnordered, StreamExt};
use futures::{TryStreamExt, stream};

use self::object::{children_of_action, children_of_directory};
use self::progress::Progress;
use self::traversal::{Traversal, Unread};
use super::Replicator;
use crate::field_reader::{Failure, FieldReader};
use crate::locks::{Mutex, MutexGuard};
use crate::turn::Turn;
use crate::{Blob, BlobAccess, Cas, Context, Digest, DigestSet, Error, ErrorKind, Result};

pub use self::object::NestedObject;
pub use self::options::NestedOptions;
pub use self::progress::NestedCounts;

/// The number of batches that are copied at the same time: while one ends with its largest blobs, another begins.
const BATCHES_AT_ONCE: usize = 2;

/// The number of batches of blobs that may wait to be copied before reading goes on.
const MAX_BATCHES_WAITING: usize = 4;

/// The fields of a tree that are directories: the root, and all that are below it.
const TREE_DIRECTORIES: [u64; 2] = [1, 2];

/// Copies an action, a directory or a tree with everything that it refers to, from one store into another.
///
/// Use it to reproduce a build elsewhere, to warm a cache up, or to move what a release needs to a store that keeps it.
///
/// | object | what is copied |
/// |---|---|
/// | [`Action`](NestedObject::Action) | the action, its command, and its input root with all below |
/// | [`Directory`](NestedObject::Directory) | the directory, its files, and its directories with all below |
/// | [`Tree`](NestedObject::Tree) | the tree, and the files in all of its directories |
/// | [`Blob`](NestedObject::Blob) | the blob |
///
/// [`NestedObject::outputs_of`] lists what the result of an action names. The result itself belongs to another kind of
/// store: put it there once its outputs are copied.
///
/// # How it is done
///
/// * **Each blob once**, however many directories refer to it, and whatever they take it for.
/// * **Everything is visited.** That the sink has a directory does not imply that it has what is below, so no part is
///   passed over. Only the copies are spared of what the sink has.
/// * **What refers comes after.** Files and commands are copied while the objects are read; then directories and trees;
///   actions last. If a copy ends midway, the sink has no action of which something is missing. It may have a directory
///   whose subdirectories it lacks.
/// * **Many at a time.** Objects are read and blobs copied concurrently, as [`NestedOptions`] says. How blobs are copied
///   is up to the replicator.
///
/// The empty blob is not copied: stores of contents have it anyway, by
/// [`EmptyBlobInjecting`](crate::decorators::EmptyBlobInjecting).
///
/// # Memory
///
/// About 300 bytes for each blob, up to [a maximum](NestedOptions::with_max_digests), and a message for each object that
/// is being read. A tree is read piece by piece.
///
/// # Cancel safety
///
/// A dropped call leaves some of the blobs copied. A second call finds them in the sink.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use std::sync::Arc;
///
/// use blobaccess::replication::{LocalReplicator, NestedObject, NestedReplicator};
/// use blobaccess::{BlobAccessExt, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore};
/// use blobaccess_proto::remote_execution::{self as proto, Directory, FileNode};
/// use prost::Message;
///
/// let source = Arc::new(MemoryStore::<Cas>::new(1 << 20));
/// let sink = Arc::new(MemoryStore::<Cas>::new(1 << 20));
/// let ctx = Context::background();
/// let digest_of = |contents: &[u8]| Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents);
///
/// let file = digest_of(b"hello");
/// source.put_bytes(&ctx, &file, "hello").await?;
/// let digest = proto::Digest { hash: file.hash().to_string(), size_bytes: 5 };
/// let node = FileNode { name: "greeting".to_owned(), digest: Some(digest), ..FileNode::default() };
/// let directory = Directory { files: vec![node], ..Directory::default() }.encode_to_vec();
/// let root = digest_of(&directory);
/// source.put_bytes(&ctx, &root, directory).await?;
///
/// let local = LocalReplicator::new(Arc::clone(&source), Arc::clone(&sink));
/// let replicator = NestedReplicator::new(source, Arc::clone(&sink), local);
/// let counts = replicator.copy(&ctx, [NestedObject::Directory(root.clone())]).await?;
/// assert_eq!((counts.objects_read, counts.copies.blobs), (1, 2));
/// assert!(sink.contains(&ctx, &root).await? && sink.contains(&ctx, &file).await?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct NestedReplicator<A: ?Sized, B: ?Sized, R> {
    source: Arc<A>,
    sink: Arc<B>,
    replicator: R,
    options: NestedOptions,
    calls: Mutex<Calls>,
}

#[derive(Debug, Default)]
struct Calls {
    under_way: Vec<Arc<Progress>>,
    ended: u64,
}

/// The calls of a [`NestedReplicator`] under way at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NestedSnapshot {
    /// The progress of each call under way, in the order in which they began.
    pub under_way: Vec<NestedCounts>,
    /// The number of calls that have ended, well or not.
    pub ended: u64,
}

impl<A, B, R> NestedReplicator<A, B, R>
where
    A: BlobAccess<Kind = Cas> + ?Sized,
    B: BlobAccess<Kind = Cas> + ?Sized,
    R: Replicator<Kind = Cas>,
{
    /// Makes a replicator of nested objects, which lets `replicator` copy blobs from `source` into `sink`.
    #[must_use]
    pub fn new(source: Arc<A>, sink: Arc<B>, replicator: R) -> Self {
        Self { source, sink, replicator, options: NestedOptions::default(), calls: Mutex::default() }
    }

    /// Sets the limits.
    #[must_use]
    pub fn with_options(mut self, options: NestedOptions) -> Self {
        self.options = options;
        self
    }

    /// Returns the replicator of blobs.
    #[must_use]
    pub const fn inner(&self) -> &R {
        &self.replicator
    }

    /// Returns the progress of the calls under way.
    #[must_use]
    pub fn snapshot(&self) -> NestedSnapshot {
        let calls = lock(&self.calls);
        NestedSnapshot { under_way: calls.under_way.iter().map(|call| call.counts()).collect(), ended: calls.ended }
    }

    /// Copies `roots` with everything that they refer to, and returns the work that this took.
    ///
    /// # Errors
    ///
    /// `NotFound` if the source lacks one of the roots. `FailedPrecondition` if it lacks something below.
    /// `InvalidArgument` if an object is malformed, too large or too deep, and `ResourceExhausted` if there are too many
    /// blobs. Otherwise the error of the store that failed, with the object and whether it was the `source` or the
    /// `sink`.
    ///
    /// # Cancel safety
    ///
    /// A dropped call leaves some of the blobs copied.
    pub async fn copy(
        &self,
        ctx: &Context,
        roots: impl IntoIterator<Item = NestedObject> + Send,
    ) -> Result<NestedCounts> {
        let call = CallGuard::begin(&self.calls);
        let traversal = Traversal::new(self.options.clone(), Arc::clone(&call.progress));
        let roots: Vec<NestedObject> = roots.into_iter().collect();
        let blobs = roots.iter().filter(|root| matches!(root, NestedObject::Blob(_)));
        self.find_blobs(ctx, &blobs.map(NestedObject::digest).cloned().collect()).await?;
        for root in roots {
            traversal.add(root, 0)?;
        }
        self.copy_leaves(ctx, &traversal, &call.progress).await?;
        for batches in [traversal.take_inner(), traversal.take_actions()] {
            let copies = batches.into_iter().map(|batch| Ok(self.copy_batch(ctx, batch, &call.progress)));
            stream::iter(copies).try_buffer_unordered(BATCHES_AT_ONCE).try_collect::<()>().await?;
        }
        Ok(call.progress.counts())
    }

    /// Reads all objects, and copies the blobs that refer to nothing meanwhile.
    async fn copy_leaves(&self, ctx: &Context, traversal: &Traversal, progress: &Progress) -> Result<()> {
        let (mut reads, mut copies) = (FuturesUnordered::new(), FuturesUnordered::new());
        let max_leaves = self.options.batch_size.get().saturating_mul(MAX_BATCHES_WAITING);
        loop {
            while reads.len() < self.options.reads_at_once.get()
                && traversal.leaves() < max_leaves
                && let Some(unread) = traversal.take_unread()
            {
                reads.push(self.read(ctx, unread, traversal, progress));
            }
            while copies.len() < BATCHES_AT_ONCE
                && let Some(batch) = traversal.take_leaves(reads.is_empty())
            {
                copies.push(self.copy_batch(ctx, batch, progress));
            }
            match poll_fn(|poller| poll_either(&mut reads, &mut copies, poller)).await {
                Some(ended) => ended?,
                None => return Ok(()),
            }
        }
    }

    /// Reads an object and notes what it refers to.
    async fn read(&self, ctx: &Context, unread: Unread, traversal: &Traversal, progress: &Progress) -> Result<()> {
        let Unread { object, depth } = unread;
        let result = self.read_children(ctx, &object, depth, traversal).await;
        progress.count_read();
        result.map_err(|error| {
            let error = error.at(object.to_string());
            if depth > 0 && error.is_not_found() { error.with_kind(ErrorKind::FailedPrecondition) } else { error }
        })
    }

    async fn read_children(
        &self,
        ctx: &Context,
        object: &NestedObject,
        depth: usize,
        traversal: &Traversal,
    ) -> Result<()> {
        let in_source = |error: Error| error.at("source");
        let digest = object.digest();
        // It is verified, so that nothing can refer to itself.
        let blob = self.source.get(ctx, digest).await.map_err(in_source)?.with_expected_digest(digest);
        let max = self.options.max_message_size_bytes;
        let children = match object {
            NestedObject::Tree(_) => return self.read_tree(digest, blob, depth, traversal).await,
            NestedObject::Blob(_) => return Ok(()),
            NestedObject::Action(_) | NestedObject::Directory(_) if digest.size_bytes() > max => {
                let message = format!("it is {} bytes; the maximum is {max}", digest.size_bytes());
                return Err(Error::invalid_argument(message));
            }
            NestedObject::Action(_) => children_of_action(digest, &blob.into_bytes(max).await.map_err(in_source)?),
            NestedObject::Directory(_) => {
                children_of_directory(digest, &blob.into_bytes(max).await.map_err(in_source)?, true)
            }
        };
        for child in children? {
            traversal.add(child, depth.saturating_add(1))?;
        }
        Ok(())
    }

    /// Reads a tree piece by piece.
    async fn read_tree(&self, digest: &Digest, blob: Blob, depth: usize, traversal: &Traversal) -> Result<()> {
        let in_source = |error: Error| error.at("source");
        let mut fields = FieldReader::new(blob.into_stream(..).map_err(in_source)?);
        match self.read_fields(digest, &mut fields, depth, traversal).await {
            Ok(()) => Ok(()),
            Err(Failure::Read(error)) => Err(in_source(error)),
            Err(Failure::Malformed(error)) => {
                // Perhaps it is not what was stored; the end of the stream tells.
                fields.drain().await.map_err(in_source)?;
                Err(error)
            }
        }
    }

    async fn read_fields(
        &self,
        digest: &Digest,
        fields: &mut FieldReader,
        depth: usize,
        traversal: &Traversal,
    ) -> Result<(), Failure> {
        let mut turn = Turn::default();
        while let Some(field) = fields.next().await? {
            if TREE_DIRECTORIES.contains(&field.number) {
                let directory = fields.payload(&field, self.options.max_message_size_bytes).await?;
                let children = children_of_directory(digest, &directory, false).map_err(|error| {
                    Failure::Malformed(error.at(format!("field {} at offset {}", field.number, field.offset)))
                })?;
                for child in children {
                    traversal.add(child, depth.saturating_add(1)).map_err(Failure::Malformed)?;
                }
            }
            turn.take(field.size_bytes).await;
        }
        Ok(())
    }

    /// Copies those of `digests` that the sink lacks.
    async fn copy_batch(&self, ctx: &Context, digests: DigestSet, progress: &Progress) -> Result<()> {
        let missing = self.sink.find_missing(ctx, &digests).await;
        let missing = missing.map_err(|error| error.into_inconsistency().at("sink"))?;
        progress.count_present(&digests.difference(&missing));
        if missing.is_empty() {
            return Ok(());
        }
        let result = self.replicator.replicate_all(ctx, &missing).await;
        progress.copies().count(&missing, &result);
        match result {
            Err(error) if error.kind() == ErrorKind::Internal => Err(self.explain(ctx, &missing, error).await),
            result => result,
        }
    }

    /// Says which of `digests` the source lacks, if it does: nobody has asked it about them.
    async fn explain(&self, ctx: &Context, digests: &DigestSet, error: Error) -> Error {
        let lacking = self.source.find_missing(ctx, digests).await.unwrap_or_default();
        let Some(first) = lacking.first() else { return error };
        let count = lacking.len();
        let message = format!("blob {first} is not stored, nor are {} more of those to copy", count.saturating_sub(1));
        Error::failed_precondition(message).at("source")
    }

    /// Fails unless the source has the blobs that are to be copied by themselves, which nobody reads before.
    async fn find_blobs(&self, ctx: &Context, blobs: &DigestSet) -> Result<()> {
        for batch in blobs.without_empty_blobs().as_slice().chunks(self.options.batch_size.get()) {
            let missing = self.source.find_missing(ctx, &batch.to_vec().into()).await;
            let missing = missing.map_err(|error| error.into_inconsistency().at("source"))?;
            if let Some(absent) = missing.first() {
                return Err(Error::not_found(format!("blob {absent} is not stored")).at("source"));
            }
        }
        Ok(())
    }
}

/// Keeps a call in the list of those under way until it is dropped.
struct CallGuard<'a> {
    calls: &'a Mutex<Calls>,
    progress: Arc<Progress>,
}

impl<'a> CallGuard<'a> {
    fn begin(calls: &'a Mutex<Calls>) -> Self {
        let progress = Arc::<Progress>::default();
        lock(calls).under_way.push(Arc::clone(&progress));
        Self { calls, progress }
    }
}

impl Drop for CallGuard<'_> {
    fn drop(&mut self) {
        let mut calls = lock(self.calls);
        calls.under_way.retain(|call| !Arc::ptr_eq(call, &self.progress));
        calls.ended += 1;
    }
}

fn lock(calls: &Mutex<Calls>) -> MutexGuard<'_, Calls> {
    // Each use of it is complete by itself.
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Polls both, and returns the first result; `None` once both are empty.
fn poll_either<R, C>(
    reads: &mut FuturesUnordered<R>,
    copies: &mut FuturesUnordered<C>,
    poller: &mut Poller<'_>,
) -> Poll<Option<Result<()>>>
where
    R: Future<Output = Result<()>>,
    C: Future<Output = Result<()>>,
{
    if let Poll::Ready(Some(ended)) = reads.poll_next_unpin(poller) {
        return Poll::Ready(Some(ended));
    }
    if let Poll::Ready(Some(ended)) = copies.poll_next_unpin(poller) {
        return Poll::Ready(Some(ended));
    }
    if reads.is_empty() && copies.is_empty() { Poll::Ready(None) } else { Poll::Pending }
}

impl<A: Display + ?Sized, B: Display + ?Sized, R: Display> Display for NestedReplicator<A, B, R> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "nested({})", self.replicator)
    }
}
