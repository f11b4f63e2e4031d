//! Finds what the directories of a tree refer to, while the tree is read.

use std::collections::HashSet;

use blobaccess_proto::remote_execution::Directory;
use bytes::Bytes;
use prost::Message;

use super::batches::Batches;
use super::references::required_digest;
use crate::field_reader::{Failure, Field, FieldReader};
use crate::turn::Turn;
use crate::{Digest, Error};

/// The fields of a tree that are directories: the root, and all that are below it.
const ROOT: u64 = 1;
const CHILDREN: u64 = 2;

/// How the directories of one tree are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct TreeReader<'a> {
    /// The action whose result names the tree.
    pub(super) action: &'a Digest,
    /// Whether directories are to be looked for as blobs too.
    pub(super) with_directories: bool,
    /// The largest directory, in bytes.
    pub(super) max_directory_size_bytes: u64,
}

/// The directories that a tree holds, and those that its directories name.
///
/// A client builds an output directory out of the tree alone, so each directory that is named must be in it.
#[derive(Debug, Default)]
struct Closure {
    held: HashSet<Digest>,
    /// The directories that were named before they came, if they came.
    awaited: HashSet<Digest>,
}

impl Closure {
    fn hold(&mut self, digest: Digest) {
        self.awaited.remove(&digest);
        self.held.insert(digest);
    }

    fn name(&mut self, digest: &Digest) {
        if !self.held.contains(digest) {
            self.awaited.insert(digest.clone());
        }
    }
}

impl TreeReader<'_> {
    /// Adds to `batches` what the directories of the tree refer to, in their order.
    ///
    /// Once nobody looks for more, the rest is read only to find out whether the tree itself can be.
    pub(super) async fn read(self, fields: &mut FieldReader, batches: &Batches) -> Result<(), Failure> {
        let (mut turn, mut closure) = (Turn::default(), Closure::default());
        while let Some(field) = fields.next().await? {
            if batches.is_closed() {
                return fields.drain().await.map_err(Failure::Read);
            }
            if matches!(field.number, ROOT | CHILDREN) {
                let payload = fields.payload(&field, self.max_directory_size_bytes).await?;
                let directory = Directory::decode(payload.clone()).map_err(|error| {
                    let message = format!("{} is no directory", name(field));
                    Failure::Malformed(Error::invalid_argument(message).with_source(error))
                })?;
                self.hold(&payload, &directory, &mut closure);
                let added = self.add(&directory, batches, &mut closure);
                added.map_err(|error| Failure::Malformed(error.at(name(field))))?;
            }
            turn.take(field.size_bytes).await;
        }
        // The lowest, so that the error does not differ from one time to the next.
        closure.awaited.into_iter().min().map_or(Ok(()), |missing| {
            let message = format!("directory {missing} is named by the tree, and not in it");
            Err(Failure::Malformed(Error::not_found(message)))
        })
    }

    /// Notes that the tree holds `directory`, under each digest that a client may know it by: that of its bytes here,
    /// and that of what it would be encoded as anew.
    fn hold(self, payload: &Bytes, directory: &Directory, closure: &mut Closure) {
        let digest =
            |contents: &[u8]| Digest::of(self.action.instance_name().clone(), self.action.function(), contents);
        closure.hold(digest(payload));
        if directory.encoded_len() != payload.len() {
            closure.hold(digest(&directory.encode_to_vec()));
        }
    }

    fn add(self, directory: &Directory, batches: &Batches, closure: &mut Closure) -> crate::Result<()> {
        for file in &directory.files {
            batches.add(required_digest(self.action, file.digest.as_ref(), "a file")?);
        }
        for child in &directory.directories {
            let digest = required_digest(self.action, child.digest.as_ref(), "a directory")?;
            closure.name(&digest);
            if self.with_directories {
                batches.add(digest);
            }
        }
        Ok(())
    }
}

fn name(field: Field) -> String {
    let Field { number, offset, size_bytes } = field;
    format!("field with number {number} at offset {offset} size {size_bytes}")
}
