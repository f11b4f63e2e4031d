//! The references of an action result: the blobs that it names, and the trees that name further ones.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use blobaccess_proto::remote_execution::{self, ActionResult};
use prost::Message;

use crate::{Digest, Error, ErrorKind, Result};

/// The blobs that an action result names itself, not through a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamedBlobs {
    /// Output files, trees, standard output and standard error, in the instance name of the action.
    pub digests: Vec<Digest>,
    /// Whether it has output directories: their trees name further blobs.
    pub has_directories: bool,
}

/// Lists the blobs that `message`, the result of `action`, names: for programs that upload a result after its blobs.
///
/// # Errors
///
/// `DataLoss` if it is no action result, `NotFound` if it has a malformed digest.
pub fn named_by_action_result(action: &Digest, message: &[u8]) -> Result<NamedBlobs> {
    let result = ActionResult::decode(message).map_err(|error| {
        Error::data_loss(format!("what is stored for action {action} is no action result")).with_source(error)
    })?;
    let references = References::of(&result, action)?;
    Ok(NamedBlobs { has_directories: !references.trees.is_empty(), digests: references.digests })
}

/// The references of an action result.
#[derive(Debug, Default)]
pub(super) struct References {
    /// Every digest that the result itself names, in the order of its fields; the trees are among them.
    pub(super) digests: Vec<Digest>,
    /// Every tree once, in the order in which they are first named.
    pub(super) trees: Vec<TreeReference>,
}

/// How a result describes an output directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum TreeForm {
    /// By a tree, one blob that holds all of its directories.
    Tree,
    /// By a tree and by its root: its directories must be stored as blobs of their own too.
    TreeAndDirectories,
    /// By its root alone: each of its directories is a blob of its own.
    Directories,
}

/// An output directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TreeReference {
    /// The digest of the tree, or of the root if there is no tree.
    pub(super) digest: Digest,
    /// Where the action made it: the first place, if there are several.
    pub(super) path: String,
    pub(super) form: TreeForm,
}

impl References {
    /// Collects the references of `result`, the result of `action`.
    ///
    /// Symbolic links refer to nothing that is stored, and contents that came along are not looked at: the digest that
    /// must stand beside them counts.
    ///
    /// # Errors
    ///
    /// `NotFound` if a digest is malformed, or if an output file or directory has none.
    pub(super) fn of(result: &ActionResult, action: &Digest) -> Result<Self> {
        let mut references = Self::default();
        for file in &result.output_files {
            references.digests.push(required_digest(action, file.digest.as_ref(), "an output file")?);
        }
        let mut indexes: HashMap<(Digest, bool), usize> = HashMap::new();
        for directory in &result.output_directories {
            let at = |error: Error| error.at(output_directory(&directory.path));
            let parse = |digest| child_digest(action, digest).map_err(at);
            let (digest, form) = match (&directory.tree_digest, &directory.root_directory_digest) {
                (Some(tree), None) => (parse(tree)?, TreeForm::Tree),
                (Some(tree), Some(root)) => {
                    let (tree, root) = (parse(tree)?, parse(root)?);
                    references.digests.push(tree.clone());
                    references.digests.push(root);
                    (tree, TreeForm::TreeAndDirectories)
                }
                (None, Some(root)) => (parse(root)?, TreeForm::Directories),
                (None, None) => return Err(at(malformed("an output directory has none"))),
            };
            if form != TreeForm::TreeAndDirectories {
                references.digests.push(digest.clone());
            }
            match indexes.entry((digest, form == TreeForm::Directories)) {
                Entry::Occupied(index) => {
                    if let Some(known) = references.trees.get_mut(*index.get())
                        && form == TreeForm::TreeAndDirectories
                    {
                        known.form = form;
                    }
                }
                Entry::Vacant(vacant) => {
                    let digest = vacant.key().0.clone();
                    references.trees.push(TreeReference { digest, path: directory.path.clone(), form });
                    vacant.insert(references.trees.len() - 1);
                }
            }
        }
        references.add(action, result.stdout_digest.as_ref())?;
        references.add(action, result.stderr_digest.as_ref())?;
        Ok(references)
    }

    /// Returns the size of all trees, in bytes; of those without a tree, that of their root.
    pub(super) fn total_tree_size_bytes(&self) -> u64 {
        self.trees.iter().fold(0, |total, tree| total.saturating_add(tree.digest.size_bytes()))
    }

    fn add(&mut self, action: &Digest, child: Option<&remote_execution::Digest>) -> Result<()> {
        if let Some(child) = child {
            self.digests.push(child_digest(action, child)?);
        }
        Ok(())
    }
}

/// Parses a digest that a message below the result of `action` names, in its instance name and hash function.
pub(super) fn child_digest(action: &Digest, child: &remote_execution::Digest) -> Result<Digest> {
    let digest = Digest::parse(action.instance_name().clone(), action.function(), &child.hash, child.size_bytes)
        .map_err(|error| malformed(error.message().to_owned()))?;
    if digest.is_empty_blob() && *digest.hash() != digest.function().hasher(0).finish() {
        return Err(malformed(format!("{digest} names no blob, as 0 bytes have another hash")));
    }
    Ok(digest)
}

/// Parses the digest of `noun`, which must have one.
pub(super) fn required_digest(action: &Digest, child: Option<&remote_execution::Digest>, noun: &str) -> Result<Digest> {
    let child = child.ok_or_else(|| malformed(format!("{noun} has none")))?;
    child_digest(action, child)
}

/// Formats the place of an error.
pub(super) fn output_directory(path: &str) -> String {
    format!("output directory {path:?}")
}

/// Makes the error of a digest that can name nothing: the result is of no use, and the action is to be run again.
fn malformed(reason: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::NotFound, reason).at("action result contained malformed digest")
}
