//! Returns a directory and all directories below it, in pages.

mod decoded_size;
mod page_token;
mod walk;
mod walk_memory;

use std::sync::Arc;

use blobaccess::{BlobAccess, Cas, Context, Digest, Error, Result};
use blobaccess_proto::remote_execution as re;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use tonic::Status;

use self::page_token::PageToken;
use self::walk::{Found, Next, Walk};
use self::walk_memory::WalkMemory;
use super::super::options::ServiceOptions;
use crate::server::call::CallMemory;
use crate::server::requested_digest;
use crate::status::to_status;

/// The size up to which pages are filled, in bytes, unless a single directory is larger: 1 MiB. A client gets the first
/// directories while others are still being read.
const PAGE_BYTES: usize = 1 << 20;

/// The space for everything in a page besides directories, in bytes: a token takes some 320.
const PAGE_HEADROOM_BYTES: usize = 1 << 10;

/// The maximum that a page takes for each directory besides the directory itself, in bytes: a tag and a length.
const FRAMING_BYTES: usize = 8;

type Pages = BoxStream<'static, Result<re::GetTreeResponse, Status>>;

/// Returns the directories from the root on, or from the page token on, breadth first and each once.
///
/// All pages come in one call. Each but the last has the token with which an interrupted client continues after it.
/// Directories that are missing below the root are left out, as the protocol has it.
///
/// # Memory
///
/// A page, the directories read ahead, and some 300 bytes for each directory: the tree may have
/// [`MAX_DIRECTORIES`](walk::MAX_DIRECTORIES). What is more than a small answer is taken from `memory`. Where that is short, nothing
/// is read ahead, and pages are smaller. Only the root is waited for, as nothing is held before. A directory that takes far more
/// than its size once it is decoded is taken from `memory` with all that it takes.
///
/// # Errors
///
/// `ResourceExhausted` if the tree is too large, if more than [`MAX_MISSING`](walk::MAX_MISSING) of its directories are missing, or
/// if there is no memory for the next directory.
pub(super) async fn get_tree(
    store: Arc<dyn BlobAccess<Kind = Cas>>,
    ctx: Context,
    memory: CallMemory,
    request: re::GetTreeRequest,
    options: &ServiceOptions,
) -> Result<Pages> {
    let instance_name = requested_digest::instance_name(&request.instance_name)?;
    let function = requested_digest::digest_function(request.digest_function, request.root_digest.as_ref())?;
    let root = requested_digest::digest(&instance_name, function, request.root_digest.as_ref())?;
    let max_directories = match usize::try_from(request.page_size) {
        Ok(0) => usize::MAX,
        Ok(size) => size,
        Err(_) => return Err(Error::invalid_argument(format!("page size {} is negative", request.page_size))),
    };
    let after = match &*request.page_token {
        "" => None,
        token => Some(PageToken::parse(token, &root)?.after),
    };
    let max_directory_bytes = options.max_message_size_bytes.saturating_sub(PAGE_HEADROOM_BYTES);
    let mut walk = Walk::new(store, ctx, root, options.batch_concurrency, max_directory_bytes, WalkMemory::new(memory));
    // The root decides the result of the call, before the response begins.
    let root = walk.read_root().await?;
    let next = match after {
        None => Some(Box::new(root)),
        Some(after) => {
            walk.pass(root, &after).await?;
            None
        }
    };
    let pages = Pager { walk, next, max_directories, page_bytes: PAGE_BYTES.min(max_directory_bytes) };
    let pages = stream::try_unfold(Some(pages), |pages| async move {
        match pages {
            Some(pages) => pages.next_page().await.map(Some),
            None => Ok(None),
        }
    });
    Ok(pages.map_err(|error: Error| to_status(&error)).boxed())
}

/// A reader that groups directories into pages.
struct Pager {
    walk: Walk,
    /// The first directory of the next page, if it was looked for.
    next: Option<Box<Found>>,
    max_directories: usize,
    page_bytes: usize,
}

impl Pager {
    /// Returns a page, and unless it is the last the pager for the rest.
    ///
    /// A page is full as well when it would have to wait for many missing directories, or for memory.
    async fn next_page(mut self) -> Result<(re::GetTreeResponse, Option<Self>)> {
        let mut page = re::GetTreeResponse::default();
        let mut left_bytes = self.page_bytes;
        let mut last = None;
        loop {
            let next = match self.next.take() {
                Some(found) => Next::Found(found),
                None => self.walk.next(last.is_some()).await?,
            };
            let found = match (next, &last) {
                (Next::End, _) => return Ok((page, None)),
                (Next::Found(found), _) => found,
                (Next::Later, Some(last)) => {
                    page.next_page_token = PageToken { after: Digest::clone(last) }.to_text(self.walk.root());
                    return Ok((page, Some(self)));
                }
                (Next::Later, None) => continue,
            };
            let size = found.directory.encoded_len() + FRAMING_BYTES;
            let is_full = page.directories.len() >= self.max_directories || size > left_bytes;
            if is_full && let Some(last) = last {
                page.next_page_token = PageToken { after: last }.to_text(self.walk.root());
                self.next = Some(found);
                return Ok((page, Some(self)));
            }
            left_bytes = left_bytes.saturating_sub(size);
            self.walk.keep_for_page(size, page.directories.is_empty());
            let Found { digest, directory } = *found;
            page.directories.push(directory);
            last = Some(digest);
        }
    }
}
