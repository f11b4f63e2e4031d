//! Walks a tree of directories, breadth first, reading ahead.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use blobaccess::{BlobAccess, Cas, Context, Digest, Error, Result};
use blobaccess_proto::remote_execution as re;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use futures::{FutureExt, TryStreamExt};
use prost::Message;

use crate::server::requested_digest;

/// The maximum number of directories of a walked tree. It bounds the memory of a call.
pub(super) const MAX_DIRECTORIES: usize = 100_000;

/// A directory of the tree.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) digest: Digest,
    pub(super) directory: re::Directory,
}

/// The result of one step: a directory, or a digest whose directory is missing.
type Step = (Digest, Option<re::Directory>);

/// A walk through all directories of a tree, each once. Missing directories are skipped.
pub(super) struct Walk {
    store: Arc<dyn BlobAccess<Kind = Cas>>,
    ctx: Context,
    root: Digest,
    max_concurrent: usize,
    max_directory_bytes: usize,
    /// The directories found and not being read yet, in order.
    pending: VecDeque<Digest>,
    /// All directories found so far.
    met: HashSet<Digest>,
    /// The directories being read, in order.
    reading: FuturesOrdered<BoxFuture<'static, Result<Step>>>,
    /// The sizes of the directories being read, in bytes.
    reading_bytes: u64,
}

impl Walk {
    /// Makes a walk from `root`. Up to `max_concurrent` directories are read concurrently, with up to
    /// `max_directory_bytes` in total and each.
    pub(super) fn new(
        store: Arc<dyn BlobAccess<Kind = Cas>>,
        ctx: Context,
        root: Digest,
        max_concurrent: usize,
        max_directory_bytes: usize,
    ) -> Self {
        Self {
            store,
            ctx,
            met: HashSet::from([root.clone()]),
            root,
            max_concurrent,
            max_directory_bytes,
            pending: VecDeque::new(),
            reading: FuturesOrdered::new(),
            reading_bytes: 0,
        }
    }

    /// Returns the root of the walk.
    pub(super) fn root(&self) -> &Digest {
        &self.root
    }

    /// Reads the root, which must exist.
    pub(super) async fn read_root(&mut self) -> Result<Found> {
        let digest = self.root.clone();
        let directory = read(Arc::clone(&self.store), self.ctx.clone(), &digest, self.max_directory_bytes).await?;
        self.meet_children(&digest, &directory)?;
        Ok(Found { digest, directory })
    }

    /// Returns the next directory, if any.
    pub(super) async fn next(&mut self) -> Result<Option<Found>> {
        Ok(loop {
            match self.step().await? {
                None => break None,
                Some((digest, Some(directory))) => break Some(Found { digest, directory }),
                Some((_, None)) => {}
            }
        })
    }

    /// Returns the next directory after `after`, which may be missing by now, for a walk whose first directory was
    /// `root`.
    pub(super) async fn find_next(&mut self, root: Found, after: &Digest) -> Result<Option<Found>> {
        let mut passed = root.digest;
        while passed != *after {
            match self.step().await? {
                Some((digest, _)) => passed = digest,
                None => return Err(Error::invalid_argument("page token is not one of this tree, as it is now")),
            }
        }
        self.next().await
    }

    /// Returns the next directory, even if it is missing.
    async fn step(&mut self) -> Result<Option<Step>> {
        self.read_ahead();
        let Some((digest, directory)) = self.reading.try_next().await? else { return Ok(None) };
        self.reading_bytes = self.reading_bytes.saturating_sub(digest.size_bytes());
        if let Some(directory) = &directory {
            self.meet_children(&digest, directory)?;
        }
        Ok(Some((digest, directory)))
    }

    fn read_ahead(&mut self) {
        while self.reading.len() < self.max_concurrent {
            let Some(digest) = self.pending.pop_front() else { return };
            let bytes = self.reading_bytes.saturating_add(digest.size_bytes());
            let max = u64::try_from(self.max_directory_bytes).unwrap_or(u64::MAX);
            if bytes > max && !self.reading.is_empty() {
                self.pending.push_front(digest);
                return;
            }
            self.reading_bytes = bytes;
            let (store, ctx, max) = (Arc::clone(&self.store), self.ctx.clone(), self.max_directory_bytes);
            let read = async move {
                match read(store, ctx, &digest, max).await {
                    Ok(directory) => Ok((digest, Some(directory))),
                    Err(error) if error.is_not_found() => Ok((digest, None)),
                    Err(error) => Err(error),
                }
            };
            self.reading.push_back(read.boxed());
        }
    }

    fn meet_children(&mut self, parent: &Digest, directory: &re::Directory) -> Result<()> {
        for child in &directory.directories {
            let digest = requested_digest::digest(parent.instance_name(), parent.function(), child.digest.as_ref());
            let digest = digest.map_err(|error| error.at(format!("directory {parent}")))?;
            if self.met.contains(&digest) {
                continue;
            }
            if self.met.len() >= MAX_DIRECTORIES {
                let message = format!("tree {} has more than {MAX_DIRECTORIES} directories", self.root);
                return Err(Error::resource_exhausted(message));
            }
            self.met.insert(digest.clone());
            self.pending.push_back(digest);
        }
        Ok(())
    }
}

async fn read(
    store: Arc<dyn BlobAccess<Kind = Cas>>,
    ctx: Context,
    digest: &Digest,
    max_bytes: usize,
) -> Result<re::Directory> {
    let max = u64::try_from(max_bytes).unwrap_or(u64::MAX);
    let size = digest.size_bytes();
    if size > max {
        let message = format!("directory {digest} is {size} bytes, while a message holds {max}");
        return Err(Error::resource_exhausted(message));
    }
    let bytes = store.get(&ctx, digest).await?.into_bytes(max).await?;
    re::Directory::decode(bytes)
        .map_err(|error| Error::invalid_argument(format!("blob {digest} is not a directory: {error}")))
}
