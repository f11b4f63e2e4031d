//! Returns an action result only while all of its outputs are stored.

mod batches;
mod complete_trees;
mod directories;
mod options;
mod references;
mod tree;

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use blobaccess_proto::remote_execution::ActionResult;
use bytes::Bytes;
use futures::future::try_join;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use prost::Message;

use self::batches::{Batches, FullBatches};
use self::complete_trees::CompleteTrees;
use self::directories::{DirectoryAllowance, DirectoryReader};
use self::references::{References, TreeForm, TreeReference, output_directory};
use self::tree::TreeReader;
use crate::field_reader::{Failure, FieldReader};
use crate::{
    Ac, Blob, BlobAccess, Capabilities, Cas, Clock, Context, Digest, DigestSet, Error, ErrorKind, InstanceName,
    KeyFormat, PutOutcome, Result, Slicer, SystemClock, get_and_slice,
};

pub use self::options::CompletenessOptions;
pub use self::references::{NamedBlobs, named_by_action_result};

/// An action cache that answers with a result only while everything that the result refers to is in the content store.
///
/// Build clients rely on this. By default, Bazel does not download outputs that nobody asked for ("builds without the
/// bytes"). It takes a result as a promise that its outputs can be downloaded later. If one is gone by then, the build
/// fails or must be run again. So this layer answers `NotFound` for a result with missing outputs, and the client runs
/// the action.
///
/// The check looks for output files, standard output, standard error, the trees of output directories, and all files in
/// these trees. If a result names the root of an output directory, the check looks for each of its directories too; if
/// there is no tree, it reads them, from the root on. A blob that is found counts as used, so the content store keeps it
/// for as long as it promises. Digests have the instance name and the digest function of the action. Results are
/// returned as the bytes that were stored, so fields that this crate does not know are kept. Contents inside a result do
/// not replace a missing blob.
///
/// A result that no client can use is absent, whatever is wrong with what is stored: a digest is malformed or lacking, a
/// tree is none or lacks a directory that it names, or something is larger than permitted. The caller asked rightly.
/// What shows in the result alone is refused already when it is put.
///
/// Several trees are read at the same time, and digests are looked for while trees are read.
///
/// # Order
///
/// In front of a whole action cache. The content store must be the one that clients are served from, with
/// [`EmptyBlobInjecting`](super::EmptyBlobInjecting): many actions print nothing, and few clients upload the empty blob.
/// Inside [`Authorizing`](super::Authorizing), as every caller shares the memory of complete trees; the content store is
/// called in the context of the caller. Inside layers that change results.
///
/// Inside of [`HierarchicalInstanceNames`](super::HierarchicalInstanceNames), so that an incomplete result gives way to
/// that of a parent. But outside of it if the content store keeps instance names apart: the result of a parent must then
/// be checked in the name in which the client reads its outputs.
///
/// # Weakens
///
/// A tree that was found complete lately is not read again, and its files are not looked for. So these files do not
/// count as used, and may have been evicted since. Keep the duration of this memory, one minute by default, well below
/// the time for which the content store keeps blobs in use, or set it to zero
/// ([`with_remembered_trees`](CompletenessOptions::with_remembered_trees)). The trees of a result are forgotten when one
/// of its blobs is missing.
///
/// # Memory
///
/// About 200 bytes for each tree that is remembered. A check holds the result, one directory of each tree that is being
/// read, 100 bytes for each of the directories of these trees, and 100 bytes for each digest that waits to be looked for. If trees arrive faster than the store finds
/// digests, these take about as much memory as the trees: reading does not wait for finding, since that would deadlock
/// on a store that limits its calls.
///
/// # Cancel safety
///
/// A dropped get ends its reads, and remembers no tree.
///
/// # Errors
///
/// * `NotFound`: the result refers to a blob that is not stored, or cannot be used.
/// * `DataLoss`: the entry is no action result.
/// * `InvalidArgument`, for a put: what is put is no action result, is larger than permitted, or has a digest that is
///   malformed or lacking.
/// * Errors of the action cache, as they are.
/// * Errors of the content store, with `failed to determine existence of child objects` or the output directory that
///   could not be read. A query that fails with `NotFound` is `Internal`.
///
/// A failure to read a tree is returned rather than an error that follows from its contents.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use std::sync::Arc;
///
/// use blobaccess::decorators::{CompletenessChecking, CompletenessOptions};
/// use blobaccess::{Ac, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore};
///
/// let cas = Arc::new(MemoryStore::<Cas>::new(1 << 30));
/// let ac = MemoryStore::<Ac>::new(1 << 20);
/// let ac = CompletenessChecking::new(ac, Arc::clone(&cas), CompletenessOptions::new());
///
/// let action = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"an action");
/// assert!(ac.get(&Context::background(), &action).await.is_err_and(|error| error.is_not_found()));
/// # Ok(())
/// # }
/// ```
///
/// With the two stores swapped it does not compile:
///
/// ```compile_fail,E0271
/// # use blobaccess::decorators::{CompletenessChecking, CompletenessOptions};
/// # use blobaccess::{Ac, Cas, MemoryStore};
/// let (ac, cas) = (MemoryStore::<Ac>::new(1 << 20), MemoryStore::<Cas>::new(1 << 20));
/// let ac = CompletenessChecking::new(cas, ac, CompletenessOptions::new());
/// ```
#[derive(Debug)]
pub struct CompletenessChecking<A, C> {
    inner: A,
    cas: C,
    options: CompletenessOptions,
    clock: Arc<dyn Clock>,
    complete: CompleteTrees,
    trees_read: AtomicU64,
    trees_known: AtomicU64,
}

/// The work of a [`CompletenessChecking`] so far, and the size of its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompletenessSnapshot {
    /// The number of times that a tree was found complete by reading it.
    pub trees_read: u64,
    /// The number of times that a tree was known to be complete, and was not read.
    pub trees_known: u64,
    /// The trees that are remembered, some of them perhaps for too long to count.
    pub remembered_trees: usize,
}

impl<A: BlobAccess<Kind = Ac>, C: BlobAccess<Kind = Cas>> CompletenessChecking<A, C> {
    /// Checks the results that `inner` has against `cas`.
    pub fn new(inner: A, cas: C, options: CompletenessOptions) -> Self {
        let complete = CompleteTrees::new(options.remembered_trees, options.remembered_for, cas.key_format());
        Self {
            inner,
            cas,
            options,
            clock: Arc::new(SystemClock),
            complete,
            trees_read: AtomicU64::new(0),
            trees_known: AtomicU64::new(0),
        }
    }
}

impl<A, C> CompletenessChecking<A, C> {
    /// Takes the time from `clock`, by default from that of the system.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Returns the action cache whose results are checked.
    pub const fn inner(&self) -> &A {
        &self.inner
    }

    /// Returns the content store that results are checked against.
    pub const fn cas(&self) -> &C {
        &self.cas
    }

    /// Returns the action cache whose results are checked.
    pub fn into_inner(self) -> A {
        self.inner
    }

    /// Returns the work done so far, and the size of the memory.
    #[must_use]
    pub fn snapshot(&self) -> CompletenessSnapshot {
        CompletenessSnapshot {
            trees_read: self.trees_read.load(Ordering::Relaxed),
            trees_known: self.trees_known.load(Ordering::Relaxed),
            remembered_trees: self.complete.len(),
        }
    }
}

impl<A: BlobAccess<Kind = Ac>, C: BlobAccess<Kind = Cas>> CompletenessChecking<A, C> {
    /// Fails unless everything that `result` refers to is stored.
    async fn check(&self, ctx: &Context, action: &Digest, result: &ActionResult) -> Result<()> {
        let references = References::of(result, action)?;
        let total = references.total_tree_size_bytes();
        let max = self.options.max_total_tree_size_bytes;
        if total > max {
            let message = format!("output directories are {total} bytes in total, while at most {max} are permitted");
            return Err(Error::not_found(message));
        }
        // From before anything is looked for, so that a slow check does not make what it found look newer.
        let began = self.clock.monotonic();
        let (known, unknown): (Vec<_>, Vec<_>) =
            references.trees.iter().partition(|tree| self.complete.knows(tree, began));
        let allowance = DirectoryAllowance::new(max.saturating_sub(total));
        let outcome = self.check_existence(ctx, action, &references.digests, &unknown, &allowance).await;
        match &outcome {
            Ok(()) => {
                self.complete.remember(unknown.iter().copied(), began);
                self.trees_read.fetch_add(count(&unknown), Ordering::Relaxed);
                self.trees_known.fetch_add(count(&known), Ordering::Relaxed);
            }
            Err(error) if error.is_not_found() => self.complete.forget(&references.trees),
            Err(_) => {}
        }
        outcome
    }

    /// Fails unless all `digests` are stored, and all that `trees` refer to.
    async fn check_existence(
        &self,
        ctx: &Context,
        action: &Digest,
        digests: &[Digest],
        trees: &[&TreeReference],
        allowance: &DirectoryAllowance,
    ) -> Result<()> {
        let (batches, full) = Batches::new(self.options.batch_size);
        for digest in digests {
            batches.add(digest.clone());
        }
        let reads: Vec<_> =
            trees.iter().map(|tree| self.read_tree(ctx, action, tree, allowance, &batches).boxed()).collect();
        let reading = async {
            let reads = stream::iter(reads).buffer_unordered(self.options.trees_at_once);
            reads.try_collect::<()>().await?;
            batches.finish();
            Ok(())
        };
        // A failure to read ends the search; a failure to find lets those trees that are being read come to their end,
        // as what was looked for came out of contents that may yet turn out to be wrong.
        let finding = async { Ok(self.find_all(ctx, action, full).await) };
        let ((), found) = try_join(reading, finding).await?;
        found
    }

    async fn read_tree(
        &self,
        ctx: &Context,
        action: &Digest,
        tree: &TreeReference,
        allowance: &DirectoryAllowance,
        batches: &Batches,
    ) -> Result<()> {
        if batches.is_closed() {
            return Ok(());
        }
        let at = |error: Error| error.at(output_directory(&tree.path));
        if tree.form == TreeForm::Directories {
            let reader = DirectoryReader {
                action,
                at_once: self.options.trees_at_once,
                max_directory_size_bytes: self.options.max_message_size_bytes,
                allowance,
            };
            return reader.read(ctx, &self.cas, &tree.digest, batches).await.map_err(at);
        }
        let blob = self.cas.get(ctx, &tree.digest).await.map_err(at)?;
        let mut fields = FieldReader::new(blob.into_stream(..).map_err(at)?);
        let reader = TreeReader {
            action,
            with_directories: tree.form == TreeForm::TreeAndDirectories,
            max_directory_size_bytes: self.options.max_message_size_bytes,
        };
        match reader.read(&mut fields, batches).await {
            Ok(()) => Ok(()),
            Err(Failure::Read(error)) => Err(at(error)),
            Err(Failure::Malformed(error)) => {
                // Perhaps it is not what was stored; the end of the stream tells.
                fields.drain().await.map_err(at)?;
                Err(at(error.with_kind(ErrorKind::NotFound)))
            }
        }
    }

    /// Returns the result that `blob` is, unless no client could use it.
    async fn message_to_put(&self, action: &Digest, blob: Blob) -> Result<Bytes> {
        let (size, max) = (blob.size_bytes(), self.options.max_message_size_bytes);
        if size > max {
            let message = format!("result of action {action} is {size} bytes, while at most {max} are permitted");
            return Err(Error::invalid_argument(message));
        }
        let message = blob.into_bytes(max).await?;
        let result = ActionResult::decode(message.clone()).map_err(|error| {
            Error::invalid_argument(format!("what is put for action {action} is no action result")).with_source(error)
        })?;
        References::of(&result, action).map_err(|error| error.with_kind(ErrorKind::InvalidArgument))?;
        Ok(message)
    }

    /// Fails unless all digests in the batches are stored.
    async fn find_all(&self, ctx: &Context, action: &Digest, mut full: FullBatches) -> Result<()> {
        while let Some(batch) = full.next().await {
            self.find(ctx, action, &batch).await?;
        }
        Ok(())
    }

    async fn find(&self, ctx: &Context, action: &Digest, batch: &DigestSet) -> Result<()> {
        let missing = self.cas.find_missing(ctx, batch).await.map_err(|error| {
            // A search that failed says nothing about what it was for.
            let error = if error.is_not_found() { error.with_kind(ErrorKind::Internal) } else { error };
            error.at("failed to determine existence of child objects")
        })?;
        missing.first().map_or(Ok(()), |blob| {
            Err(Error::not_found(format!("blob {blob}, which the result of action {action} refers to, is not stored")))
        })
    }
}

fn count<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX)
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<A, C> BlobAccess for CompletenessChecking<A, C>
where
    A: BlobAccess<Kind = Ac>,
    C: BlobAccess<Kind = Cas>,
{
    type Kind = Ac;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        let blob = self.inner.get(ctx, digest).await?;
        let (size, max) = (blob.size_bytes(), self.options.max_message_size_bytes);
        if size > max {
            let message = format!("result of action {digest} is {size} bytes, while at most {max} are permitted");
            return Err(Error::not_found(message));
        }
        let message = blob.into_bytes(max).await?;
        let result = ActionResult::decode(message.clone()).map_err(|error| {
            Error::data_loss(format!("what is stored for action {digest} is no action result")).with_source(error)
        })?;
        self.check(ctx, digest, &result).await?;
        Ok(Blob::from_bytes(message))
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        // Not by the inner store, which would answer for a part without the whole being complete.
        get_and_slice(self, ctx, parent, child, slicer).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let message = self.message_to_put(digest, blob).await.map_err(Error::not_stored)?;
        self.inner.put(ctx, digest, Blob::from_bytes(message)).await
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        self.inner.find_missing(ctx, digests).await
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        let capabilities = self.inner.capabilities(ctx, instance_name).await?;
        Ok(capabilities.with_max_blob_size_bytes(self.options.max_message_size_bytes))
    }

    fn key_format(&self) -> KeyFormat {
        self.inner.key_format().combine(self.cas.key_format())
    }

    fn finds_in_bulk(&self) -> bool {
        self.inner.finds_in_bulk()
    }
}

impl<A: Display, C: Display> Display for CompletenessChecking<A, C> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "completeness_checking({}, {})", self.inner, self.cas)
    }
}

#[cfg(test)]
mod tests;
