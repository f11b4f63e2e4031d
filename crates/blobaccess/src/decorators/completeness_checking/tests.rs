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
use crate::{DigestFunction, MemoryBlobAccess, Provenance, Slice, Sliced};

fn namespace() -> InstanceName {
    InstanceName::new("hello").unwrap()
}

/// A digest of nothing in particular, told by its number.
fn digest(number: u8) -> Digest {
    Digest::from_hash(namespace(), DigestFunction::Sha1, &[number; 20], u64::from(number)).unwrap()
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

fn directory(files: &[u8], directories: &[u8]) -> Directory {
    Directory {
        files: files.iter().map(|n| FileNode { digest: proto(&digest(*n)), ..FileNode::default() }).collect(),
        directories: directories
            .iter()
            .map(|n| DirectoryNode { digest: proto(&digest(*n)), ..DirectoryNode::default() })
            .collect(),
        ..Directory::default()
    }
}

fn tree(root: Directory, children: &[Directory]) -> Bytes {
    Tree { root: Some(root), children: children.to_vec() }.encode_to_vec().into()
}

/// A tree of one directory with these files.
fn flat(files: &[u8]) -> Bytes {
    tree(directory(files, &[]), &[])
}

fn digest_of(contents: &[u8]) -> Digest {
    Digest::of(namespace(), DigestFunction::Sha1, contents)
}

fn output_directory_of(path: &str, tree: &Digest, root: Option<&Digest>) -> OutputDirectory {
    OutputDirectory {
        path: path.into(),
        tree_digest: proto(tree),
        root_directory_digest: root.and_then(proto),
        ..OutputDirectory::default()
    }
}

/// A result with an output directory for each of `trees`, at `0`, `1` and so on.
fn with_trees(trees: &[&Bytes]) -> ActionResult {
    let directories =
        trees.iter().enumerate().map(|(i, tree)| output_directory_of(&i.to_string(), &digest_of(tree), None));
    ActionResult { output_directories: directories.collect(), ..ActionResult::default() }
}

/// A content store that does as it is told, and remembers what it was asked.
#[derive(Debug)]
struct ScriptedCas {
    trees: Mutex<HashMap<Digest, Result<Vec<Result<Bytes>>>>>,
    missing: Mutex<HashSet<Digest>>,
    find_error: Mutex<Option<Error>>,
    /// The order in which sets were asked for, each sorted.
    asked: Mutex<Vec<DigestSet>>,
    read: Mutex<Vec<Digest>>,
    /// Let through those who find and those who read.
    may_find: Semaphore,
    may_read: Semaphore,
    reading: Arc<AtomicUsize>,
    most_reading: AtomicUsize,
    key_format: KeyFormat,
}

struct Leaving(Arc<AtomicUsize>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl ScriptedCas {
    fn new() -> Self {
        Self {
            trees: Mutex::default(),
            missing: Mutex::default(),
            find_error: Mutex::default(),
            asked: Mutex::default(),
            read: Mutex::default(),
            may_find: Semaphore::new(1000),
            may_read: Semaphore::new(1000),
            reading: Arc::default(),
            most_reading: AtomicUsize::new(0),
            key_format: KeyFormat::WithoutInstanceName,
        }
    }

    fn with_tree(self, tree: &Bytes) -> Self {
        self.with_pieces(&digest_of(tree), vec![Ok(tree.clone())])
    }

    fn with_pieces(self, digest: &Digest, pieces: Vec<Result<Bytes>>) -> Self {
        self.trees.lock().unwrap().insert(digest.clone(), Ok(pieces));
        self
    }

    fn with_unreadable(self, digest: &Digest, error: Error) -> Self {
        self.trees.lock().unwrap().insert(digest.clone(), Err(error));
        self
    }

    fn without(self, digest: &Digest) -> Self {
        self.missing.lock().unwrap().insert(digest.clone());
        self
    }

    fn with_find_error(self, error: Error) -> Self {
        *self.find_error.lock().unwrap() = Some(error);
        self
    }

    fn asked(&self) -> Vec<Vec<Digest>> {
        std::mem::take(&mut *self.asked.lock().unwrap()).into_iter().map(|set| set.as_slice().to_vec()).collect()
    }

    fn read(&self) -> Vec<Digest> {
        std::mem::take(&mut *self.read.lock().unwrap())
    }
}

#[async_trait]
impl BlobAccess for ScriptedCas {
    type Kind = Cas;

    async fn get(&self, _ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.read.lock().unwrap().push(digest.clone());
        let reading = self.reading.fetch_add(1, Ordering::SeqCst) + 1;
        let leaving = Leaving(Arc::clone(&self.reading));
        self.most_reading.fetch_max(reading, Ordering::SeqCst);
        self.may_read.acquire().await.unwrap().forget();
        let pieces = self.trees.lock().unwrap().get(digest).cloned();
        let pieces = pieces.unwrap_or_else(|| Err(Error::not_found(format!("blob {digest} is not stored"))))?;
        // Others get a turn before each piece but the first.
        let pieces = stream::iter(pieces).enumerate().then(|(index, piece)| async move {
            for _ in 0..3 * index {
                tokio::task::yield_now().await;
            }
            piece
        });
        Ok(Blob::from_untrusted_stream(digest, pieces, Provenance::store()).holding(leaving))
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        get_and_slice(self, ctx, parent, child, slicer).await
    }

    async fn put(&self, _ctx: &Context, _digest: &Digest, _blob: Blob) -> Result<PutOutcome> {
        Err(Error::unimplemented("nothing is put here"))
    }

    async fn find_missing(&self, _ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        self.asked.lock().unwrap().push(digests.clone());
        self.may_find.acquire().await.unwrap().forget();
        let error = self.find_error.lock().unwrap().clone();
        let missing = self.missing.lock().unwrap();
        error.map_or_else(|| Ok(digests.filter(|digest| missing.contains(digest))), Err)
    }

    async fn capabilities(&self, _ctx: &Context, _instance_name: &InstanceName) -> Result<Capabilities> {
        Err(Error::unimplemented("nobody asks"))
    }

    fn key_format(&self) -> KeyFormat {
        self.key_format
    }
}

impl Display for ScriptedCas {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("scripted")
    }
}

type Checking = CompletenessChecking<Arc<MemoryBlobAccess<Ac>>, Arc<ScriptedCas>>;

struct Fixture {
    ac: Arc<MemoryBlobAccess<Ac>>,
    cas: Arc<ScriptedCas>,
    checking: Checking,
}

fn options() -> CompletenessOptions {
    CompletenessOptions::new()
        .with_batch_size(5.try_into().unwrap())
        .with_max_message_size_bytes(1000)
        .with_max_total_tree_size_bytes(10_000)
}

fn fixture_with(cas: ScriptedCas, options: CompletenessOptions) -> Fixture {
    let (ac, cas) = (Arc::new(MemoryBlobAccess::new(1 << 20)), Arc::new(cas));
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

mod what_is_looked_for {
    use super::*;

    #[tokio::test]
    async fn a_result_without_outputs_needs_no_store() {
        let it = fixture(ScriptedCas::new().with_find_error(Error::unavailable("down")));
        it.check(&ActionResult::default()).await.unwrap();
        assert_eq!(it.cas.asked(), Vec::<Vec<_>>::new());
    }

    #[tokio::test]
    async fn all_digests_are_found_in_sets_of_the_size_permitted() {
        let tree = tree(directory(&[11, 12], &[13]), &[directory(&[14, 15], &[])]);
        let it = fixture(ScriptedCas::new().with_tree(&tree));
        let result = ActionResult {
            output_files: vec![file(1), file(2), file(3)],
            output_directories: vec![output_directory_of("bazel-out/foo", &digest_of(&tree), Some(&digest(4)))],
            stdout_digest: proto(&digest(5)),
            stderr_digest: proto(&digest(6)),
            ..ActionResult::default()
        };
        it.check(&result).await.unwrap();
        // The root's digest makes directories count, and these come after the files of their parent.
        let first = sorted([digest(1), digest(2), digest(3), digest_of(&tree), digest(4)]);
        assert_eq!(it.cas.asked(), [first, numbered([5, 6, 11, 12, 13]), numbered([14, 15])]);
        assert_eq!(it.cas.read(), [digest_of(&tree)]);
    }

    #[tokio::test]
    async fn a_full_set_is_passed_on_only_once_there_is_more() {
        let it = fixture(ScriptedCas::new());
        it.check(&files([1, 2, 3, 4, 5, 5, 1])).await.unwrap();
        assert_eq!(it.cas.asked(), [numbered(1..=5)]);
        it.check(&files(1..=6)).await.unwrap();
        assert_eq!(it.cas.asked(), [numbered(1..=5), numbered([6])]);
        it.check(&files(1..=10)).await.unwrap();
        assert_eq!(it.cas.asked(), [numbered(1..=5), numbered(6..=10)]);
    }

    #[tokio::test]
    async fn directories_count_only_if_the_root_is_named() {
        let tree = tree(directory(&[11], &[12]), &[directory(&[], &[])]);
        let it = fixture(ScriptedCas::new().with_tree(&tree));
        it.check(&with_trees(&[&tree])).await.unwrap();
        assert_eq!(it.cas.asked(), [sorted([digest_of(&tree), digest(11)])]);
    }

    #[tokio::test]
    async fn empty_blobs_count() {
        let it = fixture(ScriptedCas::new());
        it.check(&files([0])).await.unwrap();
        assert_eq!(it.cas.asked(), [numbered([0])]);
    }

    #[tokio::test]
    async fn a_tree_of_nothing_is_complete() {
        let tree = Bytes::new();
        let it = fixture(ScriptedCas::new().with_tree(&tree));
        it.check(&with_trees(&[&tree])).await.unwrap();
        assert_eq!(it.cas.asked(), [[digest_of(&tree)]]);
    }

    #[tokio::test]
    async fn absent_digests_links_and_contents_that_came_along_do_not() {
        #[expect(deprecated, reason = "they are stored all the same")]
        let result = ActionResult {
            output_files: vec![
                OutputFile { contents: "hello".into(), ..OutputFile::default() },
                OutputFile { contents: "hello".into(), ..file(1) },
            ],
            output_symlinks: vec![OutputSymlink { target: "nowhere".into(), ..OutputSymlink::default() }],
            output_file_symlinks: vec![OutputSymlink { target: "nowhere".into(), ..OutputSymlink::default() }],
            output_directory_symlinks: vec![OutputSymlink { target: "nowhere".into(), ..OutputSymlink::default() }],
            stdout_raw: "printed".into(),
            ..ActionResult::default()
        };
        let it = fixture(ScriptedCas::new());
        it.check(&result).await.unwrap();
        assert_eq!(it.cas.asked(), [numbered([1])]);
    }

    #[tokio::test]
    async fn a_tree_that_is_named_twice_is_read_once_and_with_directories_if_either_wants_them() {
        let tree = tree(directory(&[11], &[12]), &[]);
        let it = fixture(ScriptedCas::new().with_tree(&tree));
        let result = ActionResult {
            output_directories: vec![
                output_directory_of("a", &digest_of(&tree), None),
                output_directory_of("b", &digest_of(&tree), Some(&digest(3))),
            ],
            ..ActionResult::default()
        };
        it.check(&result).await.unwrap();
        assert_eq!(it.cas.read(), [digest_of(&tree)]);
        assert_eq!(it.cas.asked(), [sorted([digest_of(&tree), digest(3), digest(11), digest(12)])]);
    }

    #[tokio::test]
    async fn fields_that_are_not_known_are_returned_too() {
        let it = fixture(ScriptedCas::new());
        let message = [files([1]).encode_to_vec(), b"\xfa\x3f\x03new".to_vec()].concat();
        it.store(message.clone()).await;
        assert_eq!(it.get().await.unwrap(), message);
    }
}

mod what_fails {
    use super::*;

    #[tokio::test]
    async fn what_the_action_cache_fails_with_comes_as_it_is() {
        let it = fixture(ScriptedCas::new());
        let expected = it.ac.get(&Context::background(), &action()).await.unwrap_err();
        assert_error(&it.get().await.unwrap_err(), ErrorKind::NotFound, &expected.to_string());
    }

    #[tokio::test]
    async fn an_entry_that_is_no_action_result_is_a_loss() {
        let it = fixture(ScriptedCas::new());
        it.store(Bytes::from_static(b"\x12\x7fcut off")).await;
        let text = format!("what is stored for action {} is no action result", action());
        assert_error(&it.get().await.unwrap_err(), ErrorKind::DataLoss, &text);
    }

    #[tokio::test]
    async fn a_result_larger_than_permitted_is_refused() {
        let it = fixture(ScriptedCas::new());
        it.store(vec![0; 1001]).await;
        let text = format!("result of action {} is 1001 bytes, while at most 1000 are permitted", action());
        assert_error(&it.get().await.unwrap_err(), ErrorKind::InvalidArgument, &text);
    }

    #[tokio::test]
    async fn a_malformed_digest_makes_a_result_not_found() {
        let it = fixture(ScriptedCas::new());
        let reason = "hash has length 24, while 40 characters were expected";
        let text = format!("action result contained malformed digest: {reason}");
        let bad_file = OutputFile { digest: Some(bad()), ..OutputFile::default() };
        for result in [
            ActionResult { output_files: vec![file(1), bad_file], ..ActionResult::default() },
            ActionResult { stdout_digest: Some(bad()), ..ActionResult::default() },
            ActionResult { stderr_digest: Some(bad()), ..ActionResult::default() },
        ] {
            assert_error(&it.check_fails(&result).await, ErrorKind::NotFound, &text);
        }
        let sound = output_directory_of("a \"b\"", &digest(1), None);
        let text = format!("output directory {:?}: {text}", sound.path);
        for directory in [
            OutputDirectory { tree_digest: Some(bad()), ..sound.clone() },
            OutputDirectory { root_directory_digest: Some(bad()), ..sound },
        ] {
            let result = ActionResult { output_directories: vec![directory], ..ActionResult::default() };
            assert_error(&it.check_fails(&result).await, ErrorKind::NotFound, &text);
        }
        assert_eq!(it.cas.asked(), Vec::<Vec<_>>::new());
    }

    #[tokio::test]
    async fn an_output_directory_must_have_a_tree() {
        let directory = OutputDirectory {
            path: "a".into(),
            root_directory_digest: proto(&digest(1)),
            ..OutputDirectory::default()
        };
        let result = ActionResult { output_directories: vec![directory], ..ActionResult::default() };
        let text = "output directory \"a\": action result contained malformed digest: a tree has none";
        assert_error(&fixture(ScriptedCas::new()).check_fails(&result).await, ErrorKind::NotFound, text);
    }

    #[tokio::test]
    async fn the_first_blob_that_is_missing_is_named() {
        let it = fixture(ScriptedCas::new().without(&digest(3)).without(&digest(2)));
        let text = format!("blob {}, which the result of action {} refers to, is not stored", digest(2), action());
        assert_error(&it.check_fails(&files([4, 3, 2])).await, ErrorKind::NotFound, &text);
    }

    #[tokio::test]
    async fn nothing_further_is_looked_for_once_something_is_missing() {
        let it = fixture(ScriptedCas::new().without(&digest(3)));
        assert!(it.check_fails(&files(1..=12)).await.is_not_found());
        assert_eq!(it.cas.asked(), [numbered(1..=5)]);
    }

    #[tokio::test]
    async fn a_search_that_fails_keeps_its_kind() {
        let it = fixture(ScriptedCas::new().with_find_error(Error::unavailable("hard disk has a case of the Mondays")));
        let text = "failed to determine existence of child objects: hard disk has a case of the Mondays";
        let error = it.check_fails(&files([1])).await;
        assert_error(&error, ErrorKind::Unavailable, text);
        assert!(error.is_retryable());
    }

    #[tokio::test]
    async fn a_search_that_fails_is_never_an_absence() {
        let it = fixture(ScriptedCas::new().with_find_error(Error::not_found("no such method")));
        let text = "failed to determine existence of child objects: no such method";
        assert_error(&it.check_fails(&files([1])).await, ErrorKind::Internal, text);
    }

    #[tokio::test]
    async fn a_tree_that_cannot_be_read_is_told_with_its_path() {
        let tree = flat(&[11]);
        for (error, kind) in [
            (Error::unavailable("hard disk on fire"), ErrorKind::Unavailable),
            (Error::not_found("no tree"), ErrorKind::NotFound),
        ] {
            let text = format!("output directory \"0\": {}", error.message());
            let it = fixture(ScriptedCas::new().with_unreadable(&digest_of(&tree), error));
            assert_error(&it.check_fails(&with_trees(&[&tree])).await, kind, &text);
        }
    }

    #[tokio::test]
    async fn trees_larger_than_permitted_are_not_read() {
        let (a, b) = (flat(&[11, 12]), flat(&[13]));
        let total = u64::try_from(a.len() + b.len()).unwrap();
        let cas = || ScriptedCas::new().with_tree(&a).with_tree(&b);
        let result = with_trees(&[&a, &b, &a]);
        let it = fixture_with(cas(), options().with_max_total_tree_size_bytes(total - 1));
        let text = format!("output directories are {total} bytes in total, while at most {} are permitted", total - 1);
        assert_error(&it.check_fails(&result).await, ErrorKind::NotFound, &text);
        assert_eq!((it.cas.read(), it.cas.asked()), (vec![], vec![]));
        fixture_with(cas(), options().with_max_total_tree_size_bytes(total)).check(&result).await.unwrap();
    }

    #[tokio::test]
    async fn sizes_of_trees_do_not_overflow() {
        let huge = |byte| Digest::from_hash(namespace(), DigestFunction::Sha1, &[byte; 20], i64::MAX.unsigned_abs());
        // Together they are 0 in 64 bits.
        let directories =
            [huge(1).unwrap(), huge(3).unwrap(), digest(2)].map(|tree| output_directory_of("a", &tree, None));
        let result = ActionResult { output_directories: directories.to_vec(), ..ActionResult::default() };
        let error = fixture(ScriptedCas::new()).check_fails(&result).await;
        assert!(error.is_not_found() && error.message().contains("in total"), "{error:?}");
    }

    #[tokio::test]
    async fn a_tree_that_is_none_is_refused() {
        let (no_fields, no_directory) = (Bytes::from_static(b"\x08\x01"), Bytes::from_static(b"\x12\x02\x0a\x09"));
        let it = fixture(ScriptedCas::new().with_tree(&no_fields).with_tree(&no_directory));
        let text = "output directory \"0\": field with number 1 at offset 0 has type 0, while 2 was expected";
        assert_error(&it.check_fails(&with_trees(&[&no_fields])).await, ErrorKind::InvalidArgument, text);
        let text = "output directory \"0\": field with number 2 at offset 2 size 2 is no directory";
        assert_error(&it.check_fails(&with_trees(&[&no_directory])).await, ErrorKind::InvalidArgument, text);
    }

    #[tokio::test]
    async fn a_malformed_digest_in_a_tree_makes_a_result_not_found() {
        let mut root = directory(&[11], &[]);
        root.files.push(FileNode { digest: Some(bad()), ..FileNode::default() });
        let tree = tree(root, &[]);
        let it = fixture(ScriptedCas::new().with_tree(&tree));
        // The root begins after a tag of one byte and a size of one byte.
        let size = tree.len() - 2;
        let text = format!(
            "output directory \"0\": field with number 1 at offset 2 size {size}: action result contained malformed \
             digest: hash has length 24, while 40 characters were expected"
        );
        assert_error(&it.check_fails(&with_trees(&[&tree])).await, ErrorKind::NotFound, &text);
    }

    #[tokio::test]
    async fn a_directory_larger_than_permitted_is_refused() {
        let tree = flat(&[11; 30]);
        assert!(tree.len() > 1000);
        let it = fixture(ScriptedCas::new().with_tree(&tree));
        let error = it.check_fails(&with_trees(&[&tree])).await;
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().ends_with("bytes, while at most 1000 are permitted"), "{error}");
    }
}

mod what_a_failure_comes_from {
    use super::*;

    /// Three directories, the last of which is not what was stored, each in a piece of its own.
    fn corrupt() -> (Digest, Vec<Result<Bytes>>) {
        let [root, child] = [&[11, 12, 13], &[14, 15, 16]].map(|files| directory(files, &[]));
        let good = tree(root.clone(), &[child.clone(), directory(&[17, 18, 19], &[])]);
        let mut corrupt = tree(root, &[child, directory(&[17, 18, 20], &[])]);
        assert_eq!(good.len(), corrupt.len());
        let size = corrupt.len() / 3;
        let pieces = vec![Ok(corrupt.split_to(size)), Ok(corrupt.split_to(size)), Ok(corrupt)];
        (digest_of(&good), pieces)
    }

    fn result_with(tree: &Digest) -> ActionResult {
        ActionResult { output_directories: vec![output_directory_of("a", tree, None)], ..files(1..=3) }
    }

    #[tokio::test]
    async fn a_corrupt_tree_comes_before_what_an_early_search_did_not_find() {
        let (digest_of_tree, pieces) = corrupt();
        let it = fixture(ScriptedCas::new().with_pieces(&digest_of_tree, pieces).without(&digest(1)));
        let error = it.check_fails(&result_with(&digest_of_tree)).await;
        assert_eq!(error.kind(), ErrorKind::DataLoss, "{error:?}");
        assert_eq!(error.trail().collect::<Vec<_>>(), ["output directory \"a\""]);
    }

    #[tokio::test]
    async fn a_corrupt_tree_comes_before_a_search_that_failed() {
        let (digest_of_tree, pieces) = corrupt();
        let cas = ScriptedCas::new().with_pieces(&digest_of_tree, pieces);
        let it = fixture(cas.with_find_error(Error::unavailable("down")));
        assert_eq!(it.check_fails(&result_with(&digest_of_tree)).await.kind(), ErrorKind::DataLoss);
    }

    #[tokio::test]
    async fn a_corrupt_tree_comes_before_what_its_contents_look_like() {
        let digest_of_tree = digest_of(&flat(&[11]));
        let mut garbage = Bytes::from(vec![0xff; usize::try_from(digest_of_tree.size_bytes()).unwrap()]);
        let pieces = vec![Ok(garbage.split_to(20)), Ok(garbage)];
        let it = fixture(ScriptedCas::new().with_pieces(&digest_of_tree, pieces));
        assert_eq!(it.check_fails(&result_with(&digest_of_tree)).await.kind(), ErrorKind::DataLoss);
    }

    #[tokio::test]
    async fn a_tree_that_is_sound_leaves_what_an_early_search_did_not_find() {
        let tree = flat(&[11, 12, 13]);
        let it = fixture(ScriptedCas::new().with_tree(&tree).without(&digest(1)));
        let error = it.check_fails(&result_with(&digest_of(&tree))).await;
        assert!(error.is_not_found() && error.message().contains(&digest(1).to_string()), "{error:?}");
    }

    #[tokio::test]
    async fn trees_that_are_not_begun_are_not_read_after_a_failure() {
        let (a, b) = (flat(&[11, 12, 13]), flat(&[14]));
        let cas = ScriptedCas::new().with_tree(&a).with_tree(&b).without(&digest(1));
        let it = fixture_with(cas, options().with_trees_at_once(1.try_into().unwrap()));
        it.cas.may_read.forget_permits(1000);
        let result = ActionResult { output_directories: with_trees(&[&a, &b]).output_directories, ..files(1..=5) };
        // The set that finds one missing is full before the first tree is there.
        let get = it.check_fails(&result);
        let release = async {
            while it.cas.may_find.available_permits() == 1000 {
                tokio::task::yield_now().await;
            }
            it.cas.may_read.add_permits(2);
        };
        let (error, ()) = tokio::join!(get, release);
        assert!(error.is_not_found());
        assert_eq!(it.cas.read(), [digest_of(&a)]);
    }
}

mod several_trees {
    use super::*;

    #[tokio::test]
    async fn as_many_are_read_at_once_as_are_permitted() {
        let trees: Vec<_> = (11..18).map(|number| flat(&[number])).collect();
        for at_once in [1, 3, 7] {
            let cas = trees.iter().fold(ScriptedCas::new(), ScriptedCas::with_tree);
            cas.may_read.forget_permits(1000);
            let it = fixture_with(cas, options().with_trees_at_once(at_once.try_into().unwrap()));
            let result = with_trees(&trees.iter().collect::<Vec<_>>());
            let release = async {
                for _ in &trees {
                    while it.cas.reading.load(Ordering::SeqCst) < at_once && it.cas.read.lock().unwrap().len() < 7 {
                        tokio::task::yield_now().await;
                    }
                    it.cas.may_read.add_permits(1);
                }
            };
            let (outcome, ()) = tokio::join!(it.check(&result), release);
            outcome.unwrap();
            assert_eq!(it.cas.most_reading.load(Ordering::SeqCst), at_once);
            assert_eq!(it.cas.reading.load(Ordering::SeqCst), 0);
            let asked: usize = it.cas.asked().iter().map(Vec::len).sum();
            assert_eq!(asked, 14);
        }
    }

    #[tokio::test]
    async fn reading_never_waits_for_a_search() {
        let trees: Vec<_> = (11..41).map(|number| flat(&[number])).collect();
        let it = fixture_with(
            trees.iter().fold(ScriptedCas::new(), ScriptedCas::with_tree),
            options().with_trees_at_once(1.try_into().unwrap()).with_max_message_size_bytes(10_000),
        );
        it.cas.may_find.forget_permits(1000);
        let result = with_trees(&trees.iter().collect::<Vec<_>>());
        let release = async {
            while it.cas.read.lock().unwrap().len() < 30 || it.cas.reading.load(Ordering::SeqCst) > 0 {
                tokio::task::yield_now().await;
            }
            it.cas.may_find.add_permits(1000);
        };
        let (outcome, ()) = tokio::join!(it.check(&result), release);
        outcome.unwrap();
    }

    #[tokio::test]
    async fn a_large_tree_at_hand_lets_others_run_in_between() {
        let tree = tree(directory(&[], &[]), &vec![directory(&[11; 10], &[]); 400]);
        assert!(tree.len() > 2 << 16);
        let it = fixture_with(ScriptedCas::new().with_tree(&tree), options().with_max_total_tree_size_bytes(1 << 20));
        let result = with_trees(&[&tree]);
        let mut check = std::pin::pin!(it.check(&result));
        let mut turns = 1;
        while futures::poll!(&mut check).is_pending() {
            turns += 1;
        }
        assert!(turns > 1, "{turns}");
    }

    #[tokio::test]
    async fn a_check_that_is_dropped_leaves_nothing() {
        let tree = flat(&[11]);
        let it = fixture(ScriptedCas::new().with_tree(&tree));
        it.cas.may_find.forget_permits(1000);
        it.store(with_trees(&[&tree]).encode_to_vec()).await;
        {
            let mut get = std::pin::pin!(it.get());
            while it.cas.asked.lock().unwrap().is_empty() {
                assert!(futures::poll!(&mut get).is_pending());
            }
        }
        assert_eq!(it.cas.reading.load(Ordering::SeqCst), 0);
        assert_eq!(it.checking.snapshot().remembered_trees, 0);
        it.cas.may_find.add_permits(1);
        it.get().await.unwrap();
        assert_eq!(it.cas.read(), [digest_of(&tree), digest_of(&tree)]);
    }
}

mod what_is_remembered {
    use super::*;

    const SHORT: Duration = Duration::from_secs(10);

    fn remembering(cas: ScriptedCas) -> Fixture {
        fixture_with(cas, options().with_remembered_trees(2, SHORT))
    }

    #[tokio::test(start_paused = true)]
    async fn a_complete_tree_is_neither_read_nor_looked_into_again_until_the_duration_has_passed() {
        let tree = flat(&[11, 12]);
        let it = remembering(ScriptedCas::new().with_tree(&tree));
        let result = ActionResult { stdout_digest: proto(&digest(1)), ..with_trees(&[&tree]) };
        let all = sorted([digest_of(&tree), digest(1), digest(11), digest(12)]);
        it.check(&result).await.unwrap();
        assert_eq!((it.cas.read(), it.cas.asked()), (vec![digest_of(&tree)], vec![all.clone()]));

        advance(SHORT).await;
        it.check(&result).await.unwrap();
        assert_eq!((it.cas.read(), it.cas.asked()), (vec![], vec![sorted([digest_of(&tree), digest(1)])]));

        advance(Duration::from_nanos(1)).await;
        it.check(&result).await.unwrap();
        assert_eq!((it.cas.read(), it.cas.asked()), (vec![digest_of(&tree)], vec![all]));
        let snapshot = it.checking.snapshot();
        assert_eq!((snapshot.trees_read, snapshot.trees_known, snapshot.remembered_trees), (2, 1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_duration_begins_before_the_search() {
        let tree = flat(&[11]);
        let it = remembering(ScriptedCas::new().with_tree(&tree));
        it.cas.may_find.forget_permits(1000);
        let result = with_trees(&[&tree]);
        let release = async {
            advance(SHORT).await;
            it.cas.may_find.add_permits(1000);
        };
        let (outcome, ()) = tokio::join!(it.check(&result), release);
        outcome.unwrap();
        advance(Duration::from_nanos(1)).await;
        it.check(&result).await.unwrap();
        assert_eq!(it.cas.read().len(), 2);
    }

    #[tokio::test]
    async fn a_failure_is_not_remembered() {
        let tree = flat(&[11]);
        let it = remembering(ScriptedCas::new().with_tree(&tree).with_find_error(Error::unavailable("down")));
        let result = with_trees(&[&tree]);
        it.check_fails(&result).await;
        assert_eq!(it.checking.snapshot().remembered_trees, 0);
        *it.cas.find_error.lock().unwrap() = None;
        it.cas.missing.lock().unwrap().insert(digest(11));
        it.check_fails(&result).await;
        it.check_fails(&result).await;
        assert_eq!(it.cas.read().len(), 3);
    }

    #[tokio::test]
    async fn an_absence_forgets_the_trees_of_the_result_and_an_outage_does_not() {
        let tree = flat(&[11]);
        let it = remembering(ScriptedCas::new().with_tree(&tree));
        let result = ActionResult { stdout_digest: proto(&digest(1)), ..with_trees(&[&tree]) };
        it.check(&result).await.unwrap();
        *it.cas.find_error.lock().unwrap() = Some(Error::unavailable("down"));
        it.check_fails(&result).await;
        assert_eq!(it.checking.snapshot().remembered_trees, 1);
        *it.cas.find_error.lock().unwrap() = None;
        it.cas.missing.lock().unwrap().insert(digest(1));
        it.check_fails(&result).await;
        assert_eq!(it.checking.snapshot().remembered_trees, 0);
    }

    #[tokio::test]
    async fn a_tree_that_is_remembered_is_itself_still_looked_for() {
        let tree = flat(&[11]);
        let it = remembering(ScriptedCas::new().with_tree(&tree));
        it.check(&with_trees(&[&tree])).await.unwrap();
        it.cas.missing.lock().unwrap().insert(digest_of(&tree));
        assert!(it.check_fails(&with_trees(&[&tree])).await.is_not_found());
    }

    #[tokio::test]
    async fn a_tree_remembered_without_its_directories_is_read_for_them() {
        let tree = tree(directory(&[11], &[12]), &[]);
        let it = remembering(ScriptedCas::new().with_tree(&tree));
        let without = with_trees(&[&tree]);
        let root = output_directory_of("a", &digest_of(&tree), Some(&digest(3)));
        let with = ActionResult { output_directories: vec![root], ..ActionResult::default() };
        it.check(&without).await.unwrap();
        it.check(&with).await.unwrap();
        assert_eq!(it.cas.read().len(), 2);
        it.check(&without).await.unwrap();
        it.check(&with).await.unwrap();
        assert_eq!(it.cas.read().len(), 0);
    }

    #[tokio::test]
    async fn a_tree_complete_with_its_directories_is_complete_without_them() {
        let tree = tree(directory(&[11], &[12]), &[]);
        let it = remembering(ScriptedCas::new().with_tree(&tree));
        let root = output_directory_of("a", &digest_of(&tree), Some(&digest(3)));
        it.check(&ActionResult { output_directories: vec![root], ..ActionResult::default() }).await.unwrap();
        it.check(&with_trees(&[&tree])).await.unwrap();
        assert_eq!(it.cas.read().len(), 1);
    }

    #[tokio::test]
    async fn those_used_least_lately_go_first() {
        let [a, b, c] = [11, 12, 13].map(|number| flat(&[number]));
        let it = remembering([&a, &b, &c].into_iter().fold(ScriptedCas::new(), ScriptedCas::with_tree));
        for tree in [&a, &b, &a, &c, &a] {
            it.check(&with_trees(&[tree])).await.unwrap();
        }
        assert_eq!(it.cas.read(), [&a, &b, &c].map(|tree| digest_of(tree)));
        it.check(&with_trees(&[&b])).await.unwrap();
        assert_eq!(it.cas.read(), [digest_of(&b)]);
        assert_eq!(it.checking.snapshot().remembered_trees, 2);
    }

    #[tokio::test]
    async fn nothing_is_if_either_limit_is_zero() {
        let tree = flat(&[11]);
        for (trees, duration) in [(0, SHORT), (2, Duration::ZERO)] {
            let cas = ScriptedCas::new().with_tree(&tree);
            let it = fixture_with(cas, options().with_remembered_trees(trees, duration));
            it.check(&with_trees(&[&tree])).await.unwrap();
            it.check(&with_trees(&[&tree])).await.unwrap();
            assert_eq!(it.cas.read().len(), 2);
            assert_eq!(it.checking.snapshot().remembered_trees, 0);
        }
    }

    #[tokio::test]
    async fn a_tree_is_remembered_for_all_instance_names_that_the_store_does_not_tell_apart() {
        let tree = flat(&[11]);
        let other = digest_of(&tree).with_instance_name(InstanceName::empty());
        for (key_format, reads) in [(KeyFormat::WithoutInstanceName, 1), (KeyFormat::WithInstanceName, 2)] {
            let cas = ScriptedCas::new().with_tree(&tree).with_pieces(&other, vec![Ok(tree.clone())]);
            let it = remembering(ScriptedCas { key_format, ..cas });
            let result = Bytes::from(with_trees(&[&tree]).encode_to_vec());
            for name in [InstanceName::empty(), namespace(), InstanceName::empty(), namespace()] {
                let action = action().with_instance_name(name.clone());
                it.ac.put(&Context::background(), &action, Blob::from_bytes(result.clone())).await.unwrap();
                it.checking.get(&Context::background(), &action).await.unwrap();
                let asked = it.cas.asked();
                assert!(asked.iter().flatten().all(|digest| *digest.instance_name() == name), "{asked:?}");
            }
            assert_eq!(it.cas.read().len(), reads, "{key_format:?}");
        }
    }
}

mod what_passes_through {
    use super::*;

    #[derive(Debug)]
    struct FirstByte;

    #[async_trait]
    impl Slicer for FirstByte {
        async fn slice(&self, parent: Blob, child: &Digest) -> Result<Sliced> {
            let first = parent.into_bytes(1000).await?.slice(..1);
            let slices = vec![Slice { digest: child.clone(), offset: 0, size_bytes: 1 }];
            Ok(Sliced::new(Blob::from_bytes(first)).with_slices(slices))
        }
    }

    #[tokio::test]
    async fn a_part_is_returned_only_of_a_complete_result() {
        let it = fixture(ScriptedCas::new());
        it.check(&files([1])).await.unwrap();
        let ctx = Context::background();
        let action = action();
        let part = || it.checking.get_from_composite(&ctx, &action, &action, Arc::new(FirstByte));
        assert_eq!(part().await.unwrap().into_bytes(1).await.unwrap(), "\x12");
        it.cas.missing.lock().unwrap().insert(digest(1));
        assert!(part().await.unwrap_err().is_not_found());
    }

    #[tokio::test]
    async fn puts_searches_and_capabilities_are_those_of_the_action_cache() {
        let it = fixture(ScriptedCas::new());
        let ctx = Context::background();
        let blob = Blob::from_bytes("not looked at");
        let outcome = it.checking.put(&ctx, &action(), blob).await.unwrap();
        assert_eq!(outcome, PutOutcome::Created { stored_bytes: 13 });
        let digests = DigestSet::from([action(), digest(1)]);
        assert_eq!(it.checking.find_missing(&ctx, &digests).await.unwrap(), DigestSet::from(digest(1)));
        let capabilities = it.checking.capabilities(&ctx, &namespace()).await.unwrap();
        assert_eq!(capabilities, it.ac.capabilities(&ctx, &namespace()).await.unwrap());
        assert_eq!(it.cas.asked(), Vec::<Vec<_>>::new());
    }

    #[tokio::test]
    async fn it_prints_both_stores_and_heeds_the_names_that_either_heeds() {
        let it = fixture(ScriptedCas::new());
        assert_eq!(it.checking.to_string(), "completeness_checking(memory, scripted)");
        assert_eq!(it.checking.key_format(), KeyFormat::WithInstanceName);
    }
}
