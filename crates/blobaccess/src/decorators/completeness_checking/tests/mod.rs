//! The common parts of the tests: digests, results and trees of nothing in particular, and the layer over a scripted
//! store.

mod scripted_cas;
mod several_trees;
mod what_a_failure_comes_from;
mod what_a_root_names;
mod what_fails;
mod what_is_looked_for;
mod what_is_put;
mod what_is_remembered;
mod what_passes_through;

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use blobaccess_proto::remote_execution::{
    self, Directory, DirectoryNode, FileNode, OutputDirectory, OutputFile, OutputSymlink, Tree,
};
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::advance;

use super::*;
use crate::{DigestFunction, MemoryStore, Provenance, PutCertainty, Slice, Sliced};

use scripted_cas::ScriptedCas;

type Checking = CompletenessChecking<Arc<MemoryStore<Ac>>, Arc<ScriptedCas>>;

fn account_name() -> InstanceName {
    InstanceName::new("hello").unwrap()
}

/// Makes a digest of nothing in particular from a number.
fn digest(number: u8) -> Digest {
    Digest::from_hash(account_name(), DigestFunction::Sha1, &[number; 20], u64::from(number)).unwrap()
}

fn proto(digest: &Digest) -> Option<remote_execution::Digest> {
    let size_bytes = i64::try_from(digest.size_bytes()).ok()?;
    Some(remote_execution::Digest { hash: digest.hash().to_string(), size_bytes })
}

fn bad() -> remote_execution::Digest {
    remote_execution::Digest { hash: "this is a malformed hash".into(), size_bytes: 12 }
}

fn file(number: u8) -> OutputFile {
    OutputFile { path: format!("file-{number}"), digest: proto(&digest(number)), ..OutputFile::default() }
}

fn files(numbers: impl IntoIterator<Item = u8>) -> ActionResult {
    ActionResult { output_files: numbers.into_iter().map(file).collect(), ..ActionResult::default() }
}

fn directory(files: &[u8]) -> Directory {
    Directory {
        files: files.iter().map(|n| FileNode { digest: proto(&digest(*n)), ..FileNode::default() }).collect(),
        ..Directory::default()
    }
}

/// Makes a directory with these files and `children`.
fn parent(files: &[u8], children: &[&Directory]) -> Directory {
    let directories = children
        .iter()
        .map(|child| DirectoryNode { digest: proto(&digest_of(&child.encode_to_vec())), ..DirectoryNode::default() });
    Directory { directories: directories.collect(), ..directory(files) }
}

fn tree(root: Directory, children: &[Directory]) -> Bytes {
    Tree { root: Some(root), children: children.to_vec() }.encode_to_vec().into()
}

/// Makes a tree of one directory with these files.
fn flat(files: &[u8]) -> Bytes {
    tree(directory(files), &[])
}

fn digest_of(contents: &[u8]) -> Digest {
    Digest::of(account_name(), DigestFunction::Sha1, contents)
}

fn output_directory_of(path: &str, tree: &Digest, root: Option<&Digest>) -> OutputDirectory {
    OutputDirectory {
        path: path.into(),
        tree_digest: proto(tree),
        root_directory_digest: root.and_then(proto),
        ..OutputDirectory::default()
    }
}

/// Makes a result with an output directory for each of `trees`, at `0`, `1` and so on.
fn with_trees(trees: &[&Bytes]) -> ActionResult {
    let directories =
        trees.iter().enumerate().map(|(i, tree)| output_directory_of(&i.to_string(), &digest_of(tree), None));
    ActionResult { output_directories: directories.collect(), ..ActionResult::default() }
}

struct Fixture {
    ac: Arc<MemoryStore<Ac>>,
    cas: Arc<ScriptedCas>,
    checking: Checking,
}

fn options() -> CompletenessOptions {
    CompletenessOptions::new()
        .with_batch_size(5)
        .with_max_message_size_bytes(1000)
        .with_max_total_tree_size_bytes(10_000)
}

fn fixture_with(cas: ScriptedCas, options: CompletenessOptions) -> Fixture {
    let (ac, cas) = (Arc::new(MemoryStore::new(1 << 20)), Arc::new(cas));
    let checking = CompletenessChecking::new(Arc::clone(&ac), Arc::clone(&cas), options);
    Fixture { ac, cas, checking }
}

fn fixture(cas: ScriptedCas) -> Fixture {
    fixture_with(cas, options())
}

fn action() -> Digest {
    digest_of(b"an action")
}

impl Fixture {
    async fn store(&self, message: impl Into<Bytes>) {
        self.ac.put(&Context::background(), &action(), Blob::from_bytes(message.into())).await.unwrap();
    }

    async fn get(&self) -> Result<Bytes> {
        self.checking.get(&Context::background(), &action()).await?.into_bytes(u64::MAX).await
    }

    /// Stores `result` and gets it: unchanged, or with an error.
    async fn check(&self, result: &ActionResult) -> Result<()> {
        let message = Bytes::from(result.encode_to_vec());
        self.store(message.clone()).await;
        assert_eq!(self.get().await?, message);
        Ok(())
    }

    async fn check_fails(&self, result: &ActionResult) -> Error {
        self.check(result).await.unwrap_err()
    }
}

fn sorted(digests: impl IntoIterator<Item = Digest>) -> Vec<Digest> {
    let mut digests: Vec<_> = digests.into_iter().collect();
    digests.sort_unstable();
    digests
}

fn numbered(numbers: impl IntoIterator<Item = u8>) -> Vec<Digest> {
    sorted(numbers.into_iter().map(digest))
}

fn assert_error(error: &Error, kind: ErrorKind, text: &str) {
    assert_eq!((error.kind(), error.to_string().as_str()), (kind, text));
}
