//! Walks a tree of directories, breadth first, reading ahead.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use blobaccess::{BlobAccess, Cas, Context, Digest, Error, Result};
use blobaccess_proto::remote_execution as re;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use futures::{FutureExt, TryStreamExt};
use prost::Message;

use super::decoded_size::unusual_bytes;
use super::walk_memory::WalkMemory;
use crate::server::call::CallMemory;
use crate::server::requested_digest;

/// The maximum number of directories of a walked tree. It bounds the memory of a call.
pub(super) const MAX_DIRECTORIES: usize = 100_000;

/// The maximum number of missing directories of a walked tree. Each is a read, and whoever needs the tree cannot use it.
pub(super) const MAX_MISSING: usize = 1_000;

/// The number of missing directories in a row after which a page with something in it is sent.
const MISSING_IN_A_ROW: usize = 100;

/// The memory that a directory takes as long as the walk lasts, in bytes: its digest, in two collections.
const MET_BYTES: u64 = 300;

/// The result of looking for the next directory.
#[derive(Debug)]
pub(super) enum Next {
    Found(Box<Found>),
    /// It takes long, or needs memory: what there is may be sent first.
    Later,
    End,
}

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
    /// The bytes of the page that is being filled.
    page_bytes: u64,
    missing: usize,
    memory: WalkMemory,
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
        memory: WalkMemory,
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
            page_bytes: 0,
            missing: 0,
            memory,
        }
    }

    /// Returns the root of the walk.
    pub(super) fn root(&self) -> &Digest {
        &self.root
    }

    /// Reads the root, which must exist.
    pub(super) async fn read_root(&mut self) -> Result<Found> {
        let digest = self.root.clone();
        let max = self.max_directory_bytes;
        // One that is too large is refused before it is read.
        if digest.size_bytes() <= u64::try_from(max).unwrap_or(u64::MAX) {
            self.memory.begin_with(digest.size_bytes()).await?;
        }
        let directory = read(Arc::clone(&self.store), self.ctx.clone(), self.memory.call(), &digest, max).await?;
        self.meet_children(&digest, &directory)?;
        Ok(Found { digest, directory })
    }

    /// Returns the next directory. If `has_page`, a page waits for it that may be sent before.
    pub(super) async fn next(&mut self, has_page: bool) -> Result<Next> {
        for missing in 0.. {
            if has_page && missing >= MISSING_IN_A_ROW || !self.read_ahead(has_page)? {
                return Ok(Next::Later);
            }
            match self.step().await? {
                None => break,
                Some((digest, Some(directory))) => return Ok(Next::Found(Box::new(Found { digest, directory }))),
                Some((_, None)) => {}
            }
        }
        Ok(Next::End)
    }

    /// Passes all directories up to `after`, which may be missing by now, in a walk whose first directory was `root`.
    pub(super) async fn pass(&mut self, root: Found, after: &Digest) -> Result<()> {
        let mut passed = root.digest;
        while passed != *after {
            self.read_ahead(false)?;
            match self.step().await? {
                Some((digest, _)) => passed = digest,
                None => return Err(Error::invalid_argument("page token is not one of this tree, as it is now")),
            }
        }
        Ok(())
    }

    /// Notes that a directory of `bytes` is kept for a page, which begins with it or not.
    pub(super) fn keep_for_page(&mut self, bytes: usize, is_first: bool) {
        let before = if is_first { 0 } else { self.page_bytes };
        self.page_bytes = before.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// Returns the next directory of those that are being read, even if it is missing.
    async fn step(&mut self) -> Result<Option<Step>> {
        let Some((digest, directory)) = self.reading.try_next().await? else { return Ok(None) };
        self.reading_bytes = self.reading_bytes.saturating_sub(digest.size_bytes());
        if let Some(directory) = &directory {
            self.meet_children(&digest, directory)?;
        } else {
            self.missing += 1;
            if self.missing > MAX_MISSING {
                let message = format!("more than {MAX_MISSING} directories of tree {} are missing", self.root);
                return Err(Error::resource_exhausted(message));
            }
        }
        Ok(Some((digest, directory)))
    }

    /// Begins to read as many directories as there is memory for. Returns false if none is being read for want of memory, and there is a
    /// page whose memory would be enough.
    fn read_ahead(&mut self, has_page: bool) -> Result<bool> {
        while self.reading.len() < self.max_concurrent {
            let Some(digest) = self.pending.pop_front() else { break };
            let bytes = self.reading_bytes.saturating_add(digest.size_bytes());
            let max = u64::try_from(self.max_directory_bytes).unwrap_or(u64::MAX);
            let is_first = self.reading.is_empty();
            if bytes > max && !is_first {
                self.pending.push_front(digest);
                break;
            }
            // One that is too large is refused before it is read.
            let read_bytes = if digest.size_bytes() > max { 0 } else { bytes };
            let met_bytes = u64::try_from(self.met.len()).unwrap_or(u64::MAX).saturating_mul(MET_BYTES);
            let page_bytes = if has_page { self.page_bytes } else { 0 };
            if !self.memory.holds(met_bytes.saturating_add(page_bytes).saturating_add(read_bytes)) {
                let size = digest.size_bytes();
                self.pending.push_front(digest);
                return match (is_first, has_page) {
                    (false, _) => Ok(true),
                    (true, true) => Ok(false),
                    (true, false) => {
                        let message = format!("server has no memory now for a directory of {size} bytes");
                        Err(Error::resource_exhausted(message))
                    }
                };
            }
            self.reading_bytes = bytes;
            let (store, ctx, max) = (Arc::clone(&self.store), self.ctx.clone(), self.max_directory_bytes);
            let memory = self.memory.call().clone();
            let read = async move {
                match read(store, ctx, &memory, &digest, max).await {
                    Ok(directory) => Ok((digest, Some(directory))),
                    Err(error) if error.is_not_found() => Ok((digest, None)),
                    Err(error) => Err(error),
                }
            };
            self.reading.push_back(read.boxed());
        }
        Ok(true)
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
    memory: &CallMemory,
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
    let broken = |error| Error::invalid_argument(format!("blob {digest} is not a directory: {error}"));
    let unusual = unusual_bytes(&bytes).map_err(broken)?;
    if unusual > 0 && !memory.try_hold(unusual) {
        let message =
            format!("server has no memory now for directory {digest}, which takes {unusual} bytes beyond its size");
        return Err(Error::resource_exhausted(message));
    }
    re::Directory::decode(bytes).map_err(broken)
}
