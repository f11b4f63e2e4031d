//! The objects that refer to others: actions, directories and trees.

use std::fmt::{self, Display, Formatter};

use blobaccess_proto::remote_execution::{self, Action, ActionResult, Directory};
use prost::Message;

use crate::{Digest, Error, Result};

/// An object to copy with everything that it refers to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NestedObject {
    /// An `Action`, with its command and its input root.
    Action(Digest),
    /// A `Directory`, with its files and all directories below it.
    Directory(Digest),
    /// A `Tree`, with the files in all of its directories.
    Tree(Digest),
    /// A blob that refers to nothing: a file, a command, an output.
    Blob(Digest),
}

impl NestedObject {
    /// Returns the digest of the object.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        match self {
            Self::Action(digest) | Self::Directory(digest) | Self::Tree(digest) | Self::Blob(digest) => digest,
        }
    }

    /// Lists the outputs that `result`, a serialized `ActionResult` of `action`, names: files, trees, directories,
    /// standard output and standard error.
    ///
    /// # Errors
    ///
    /// `DataLoss` if `result` is no action result, `InvalidArgument` if it has a malformed digest.
    ///
    /// # Examples
    ///
    /// ```
    /// use blobaccess::replication::NestedObject;
    /// use blobaccess::{Digest, DigestFunction, InstanceName};
    ///
    /// let action = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"an action");
    /// // A result without outputs is the empty message.
    /// assert!(NestedObject::outputs_of(&action, b"")?.is_empty());
    /// # Ok::<(), blobaccess::Error>(())
    /// ```
    pub fn outputs_of(action: &Digest, result: &[u8]) -> Result<Vec<Self>> {
        let result = ActionResult::decode(result).map_err(|error| {
            Error::data_loss(format!("what is stored for action {action} is no action result")).with_source(error)
        })?;
        let mut outputs = Vec::new();
        let mut add = |make: fn(Digest) -> Self, child: Option<&remote_execution::Digest>| -> Result<()> {
            if let Some(child) = child {
                outputs.push(make(child_digest(action, child)?));
            }
            Ok(())
        };
        for file in &result.output_files {
            add(Self::Blob, file.digest.as_ref()).map_err(|error| error.at(format!("output file {:?}", file.path)))?;
        }
        for directory in &result.output_directories {
            let at = |error: Error| error.at(format!("output directory {:?}", directory.path));
            add(Self::Tree, directory.tree_digest.as_ref()).map_err(at)?;
            add(Self::Directory, directory.root_directory_digest.as_ref()).map_err(at)?;
        }
        add(Self::Blob, result.stdout_digest.as_ref()).map_err(|error| error.at("standard output"))?;
        add(Self::Blob, result.stderr_digest.as_ref()).map_err(|error| error.at("standard error"))?;
        Ok(outputs)
    }
}

impl Display for NestedObject {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Action(_) => "action",
            Self::Directory(_) => "directory",
            Self::Tree(_) => "tree",
            Self::Blob(_) => "blob",
        };
        write!(f, "{kind} {}", self.digest())
    }
}

/// Lists the objects that `message`, a serialized `Action`, refers to.
pub(super) fn children_of_action(action: &Digest, message: &[u8]) -> Result<Vec<NestedObject>> {
    let message = Action::decode(message).map_err(|error| malformed("action", error))?;
    let mut children = Vec::with_capacity(2);
    if let Some(command) = &message.command_digest {
        children.push(NestedObject::Blob(child_digest(action, command).map_err(|error| error.at("command"))?));
    }
    if let Some(root) = &message.input_root_digest {
        children.push(NestedObject::Directory(child_digest(action, root).map_err(|error| error.at("input root"))?));
    }
    Ok(children)
}

/// Lists the objects that `message`, a serialized `Directory` below `parent`, refers to: its files, and with
/// `with_directories` its directories.
pub(super) fn children_of_directory(
    parent: &Digest,
    message: &[u8],
    with_directories: bool,
) -> Result<Vec<NestedObject>> {
    let message = Directory::decode(message).map_err(|error| malformed("directory", error))?;
    let mut children = Vec::with_capacity(message.files.len() + message.directories.len());
    for file in &message.files {
        let digest =
            required(parent, file.digest.as_ref()).map_err(|error| error.at(format!("file {:?}", file.name)))?;
        children.push(NestedObject::Blob(digest));
    }
    for directory in message.directories.iter().filter(|_| with_directories) {
        let digest = required(parent, directory.digest.as_ref());
        let digest = digest.map_err(|error| error.at(format!("directory {:?}", directory.name)))?;
        children.push(NestedObject::Directory(digest));
    }
    Ok(children)
}

fn required(parent: &Digest, child: Option<&remote_execution::Digest>) -> Result<Digest> {
    child.map_or_else(|| Err(Error::invalid_argument("it has no digest")), |child| child_digest(parent, child))
}

/// Parses a digest that a message names, in the instance name and the hash function of that message.
fn child_digest(parent: &Digest, child: &remote_execution::Digest) -> Result<Digest> {
    Digest::parse(parent.instance_name().clone(), parent.function(), &child.hash, child.size_bytes)
}

fn malformed(kind: &'static str, error: prost::DecodeError) -> Error {
    Error::invalid_argument(format!("it is no {kind}")).with_source(error)
}
