//! Contents that are inlined in an action result on request, to spare the client a call for each.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use blobaccess::{BlobAccess, Cas, Context, Digest, Error, Result};
use blobaccess_proto::remote_execution as re;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use prost::Message;

use super::call::CallMemory;
use super::encoded_fields;
use super::in_flight::FREE_BYTES;
use super::options::ServiceOptions;
use crate::server::requested_digest;

/// The fields of `ActionResult` and `OutputFile` that are rewritten or appended.
const OUTPUT_FILES: u32 = 2;
const STDOUT_RAW: u32 = 5;
const STDERR_RAW: u32 = 7;
const OUTPUT_FILE_CONTENTS: u32 = 5;

/// The maximum growth of a message besides the inlined contents: a key and a length, and four bytes if the length of
/// the enclosing field takes more of them.
const FIELD_OVERHEAD_BYTES: u64 = 10;

/// The place of inlined contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Stdout,
    Stderr,
    /// The output file at this position.
    OutputFile(usize),
}

/// A layer between the service and a store that inlines contents into action results.
///
/// Inlining is optional in the protocol: contents that do not fit the message, that there is no memory for now, or that cannot be
/// read, are left out. The
/// client then reads them itself.
#[derive(Clone, Debug)]
pub(crate) struct Inlining {
    cas: Arc<dyn BlobAccess<Kind = Cas>>,
    options: Arc<ServiceOptions>,
}

impl Inlining {
    pub(crate) fn new(cas: Arc<dyn BlobAccess<Kind = Cas>>, options: Arc<ServiceOptions>) -> Self {
        Self { cas, options }
    }

    /// Returns `stored`, the encoded result of `action`, with the contents that `asked` names, as far as they fit.
    ///
    /// # Errors
    ///
    /// `DataLoss` if `stored` is no action result.
    pub(crate) async fn inline(
        &self,
        ctx: &Context,
        memory: &CallMemory,
        action: &Digest,
        asked: &re::GetActionResultRequest,
        stored: Bytes,
    ) -> Result<Bytes> {
        if !asked.inline_stdout && !asked.inline_stderr && asked.inline_output_files.is_empty() {
            return Ok(stored);
        }
        let broken =
            |error| Error::data_loss(format!("stored action result of {action} cannot be decoded")).with_source(error);
        let result = re::ActionResult::decode(stored.clone()).map_err(broken)?;
        let size = u64::try_from(stored.len()).unwrap_or(u64::MAX);
        let mut planned = plan(action, asked, &result, self.options.max_message_bytes().saturating_sub(size));
        // The contents are there twice for a moment, and then as part of the answer. Whoever waited here would hold the result,
        // for which others wait in turn.
        let mut free = FREE_BYTES;
        planned.retain(|(_, digest)| match free.checked_sub(digest.size_bytes()) {
            Some(left) => {
                free = left;
                true
            }
            None => memory.try_hold(digest.size_bytes()),
        });
        if planned.is_empty() {
            return Ok(stored);
        }
        let contents = self.read(ctx, planned).await;
        put_into(&stored, &contents).map_err(broken)
    }

    async fn read(&self, ctx: &Context, planned: Vec<(Place, Digest)>) -> BTreeMap<Place, Bytes> {
        let reads = planned.into_iter().map(|(place, digest)| async move {
            let read = async { self.cas.get(ctx, &digest).await?.into_bytes(digest.size_bytes()).await };
            match read.await {
                Ok(contents) => Some((place, contents)),
                Err(error) => {
                    tracing::debug!(%digest, %error, "contents to inline cannot be read");
                    None
                }
            }
        });
        let read = stream::iter(reads).buffer_unordered(self.options.batch_concurrency);
        read.filter_map(std::future::ready).collect().await
    }
}

/// Returns the contents to inline, in the order of the fields, that fit into `room` bytes.
fn plan(
    action: &Digest,
    asked: &re::GetActionResultRequest,
    result: &re::ActionResult,
    mut room: u64,
) -> Vec<(Place, Digest)> {
    let mut wanted = Vec::new();
    if asked.inline_stdout && result.stdout_raw.is_empty() {
        wanted.push((Place::Stdout, result.stdout_digest.as_ref()));
    }
    if asked.inline_stderr && result.stderr_raw.is_empty() {
        wanted.push((Place::Stderr, result.stderr_digest.as_ref()));
    }
    let paths: HashSet<&str> = asked.inline_output_files.iter().map(String::as_str).collect();
    let files = result.output_files.iter().enumerate();
    let files = files.filter(|(_, file)| file.contents.is_empty() && paths.contains(file.path.as_str()));
    wanted.extend(files.map(|(position, file)| (Place::OutputFile(position), file.digest.as_ref())));

    let digests = wanted.into_iter().filter_map(|(place, digest)| {
        let digest = requested_digest::digest(action.instance_name(), action.function(), digest).ok()?;
        (!digest.is_empty_blob()).then_some((place, digest))
    });
    let mut fits = |digest: &Digest| {
        let left = room.checked_sub(digest.size_bytes().saturating_add(FIELD_OVERHEAD_BYTES));
        room = left.unwrap_or(room);
        left.is_some()
    };
    digests.filter(|(_, digest)| fits(digest)).collect()
}

/// Returns the encoded result with `contents` in their places, and everything else unchanged.
fn put_into(stored: &Bytes, contents: &BTreeMap<Place, Bytes>) -> Result<Bytes, prost::DecodeError> {
    let added: usize = contents.values().map(Bytes::len).sum();
    let mut message = BytesMut::with_capacity(stored.len() + added + 16 * contents.len());
    let mut position = 0;
    for field in encoded_fields::fields(stored)? {
        let file = field.value.filter(|_| field.number == OUTPUT_FILES);
        let file_contents = file.as_ref().and_then(|_| contents.get(&Place::OutputFile(position)));
        position += usize::from(file.is_some());
        match file.zip(file_contents) {
            Some((file, contents)) => {
                let mut filled = BytesMut::with_capacity(file.len() + contents.len() + 16);
                filled.extend_from_slice(&file);
                encoded_fields::append(&mut filled, OUTPUT_FILE_CONTENTS, contents);
                encoded_fields::append(&mut message, OUTPUT_FILES, &filled.freeze());
            }
            None => message.extend_from_slice(&field.encoded),
        }
    }
    for (place, number) in [(Place::Stdout, STDOUT_RAW), (Place::Stderr, STDERR_RAW)] {
        if let Some(contents) = contents.get(&place) {
            encoded_fields::append(&mut message, number, contents);
        }
    }
    Ok(message.freeze())
}
