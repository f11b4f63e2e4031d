//! Finds what the directories of a tree refer to, while the tree is read.

use blobaccess_proto::remote_execution::Directory;
use prost::Message;

use super::batches::Batches;
use super::references::child_digest;
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

impl TreeReader<'_> {
    /// Adds to `batches` what the directories of the tree refer to, in their order.
    ///
    /// Once nobody looks for more, the rest is read only to find out whether the tree itself can be.
    pub(super) async fn read(self, fields: &mut FieldReader, batches: &Batches) -> Result<(), Failure> {
        let mut turn = Turn::default();
        while let Some(field) = fields.next().await? {
            if batches.is_closed() {
                return fields.drain().await.map_err(Failure::Read);
            }
            if matches!(field.number, ROOT | CHILDREN) {
                let directory = fields.payload(&field, self.max_directory_size_bytes).await?;
                let directory = Directory::decode(directory).map_err(|error| {
                    let message = format!("{} is no directory", name(field));
                    Failure::Malformed(Error::invalid_argument(message).with_source(error))
                })?;
                self.add(&directory, batches).map_err(|error| Failure::Malformed(error.at(name(field))))?;
            }
            turn.take(field.size_bytes).await;
        }
        Ok(())
    }

    fn add(self, directory: &Directory, batches: &Batches) -> crate::Result<()> {
        let files = directory.files.iter().filter_map(|file| file.digest.as_ref());
        let directories = directory.directories.iter().filter_map(|directory| directory.digest.as_ref());
        for child in files.chain(directories.filter(|_| self.with_directories)) {
            batches.add(child_digest(self.action, child)?);
        }
        Ok(())
    }
}

fn name(field: Field) -> String {
    let Field { number, offset, size_bytes } = field;
    format!("field with number {number} at offset {offset} size {size_bytes}")
}
