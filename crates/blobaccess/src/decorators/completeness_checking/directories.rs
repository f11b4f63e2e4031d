//! Finds what the directories below a root refer to, each of which is a blob of its own.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use blobaccess_proto::remote_execution::Directory;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use prost::Message;

use super::batches::Batches;
use super::references::required_digest;
use crate::turn::Turn;
use crate::{BlobAccess, Cas, Context, Digest, Error, Result};

/// The maximum number of directories that one check reads as blobs of their own. Each costs a read of the store, and some
/// 100 bytes until the check is over.
const MAX_DIRECTORIES: u64 = 100_000;

/// The directories that one check may still read, over all output directories.
#[derive(Debug)]
pub(super) struct DirectoryAllowance {
    left_bytes: AtomicU64,
    left: AtomicU64,
}

impl DirectoryAllowance {
    /// Makes an allowance of `bytes`.
    pub(super) fn new(bytes: u64) -> Self {
        Self { left_bytes: AtomicU64::new(bytes), left: AtomicU64::new(MAX_DIRECTORIES) }
    }

    /// Takes a directory of `bytes` from the allowance.
    fn take(&self, bytes: u64) -> Result<()> {
        let take = |left: &AtomicU64, taken: u64| {
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(taken)).is_ok()
        };
        if !take(&self.left, 1) {
            let message = format!("output directories are more than {MAX_DIRECTORIES} in total");
            return Err(Error::not_found(message));
        }
        if !take(&self.left_bytes, bytes) {
            return Err(Error::not_found("output directories are larger in total than is permitted"));
        }
        Ok(())
    }
}

/// How the directories below a root are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct DirectoryReader<'a> {
    /// The action whose result names the root.
    pub(super) action: &'a Digest,
    /// The maximum number of directories that are read concurrently.
    pub(super) at_once: usize,
    /// The largest directory, in bytes.
    pub(super) max_directory_size_bytes: u64,
    pub(super) allowance: &'a DirectoryAllowance,
}

impl DirectoryReader<'_> {
    /// Adds to `batches` the files of all directories from `root` on. Each directory is read, and so is found, once.
    pub(super) async fn read<C: BlobAccess<Kind = Cas>>(
        self,
        ctx: &Context,
        cas: &C,
        root: &Digest,
        batches: &Batches,
    ) -> Result<()> {
        let mut turn = Turn::default();
        let (mut met, mut pending) = (HashSet::from([root.clone()]), vec![root.clone()]);
        let mut reads = FuturesUnordered::new();
        // What was looked for before comes out of directories that were verified, so that nothing is left to tell.
        while !batches.is_closed() {
            while reads.len() < self.at_once
                && let Some(digest) = pending.pop()
            {
                reads.push(self.read_one(ctx, cas, digest));
            }
            let Some(read) = reads.next().await else { break };
            let directory = read?;
            for file in &directory.files {
                batches.add(required_digest(self.action, file.digest.as_ref(), "a file")?);
            }
            for child in &directory.directories {
                let digest = required_digest(self.action, child.digest.as_ref(), "a directory")?;
                if !met.contains(&digest) {
                    self.allowance.take(digest.size_bytes())?;
                    met.insert(digest.clone());
                    pending.push(digest);
                }
            }
            turn.take(u64::try_from(directory.encoded_len()).unwrap_or(u64::MAX)).await;
        }
        Ok(())
    }

    async fn read_one<C: BlobAccess<Kind = Cas>>(self, ctx: &Context, cas: &C, digest: Digest) -> Result<Directory> {
        let (size, max) = (digest.size_bytes(), self.max_directory_size_bytes);
        if size > max {
            let message = format!("directory {digest} is {size} bytes, while at most {max} are permitted");
            return Err(Error::not_found(message));
        }
        let contents = cas.get(ctx, &digest).await?.into_bytes(max).await?;
        Directory::decode(contents)
            .map_err(|error| Error::not_found(format!("blob {digest} is no directory")).with_source(error))
    }
}
