//! Tests of copies of actions, directories and trees.

use std::collections::{BTreeSet, HashSet};
use std::num::NonZeroUsize;
use std::sync::Arc;

use blobaccess::replication::{LocalReplicator, NestedObject, NestedOptions, NestedReplicator};
use blobaccess::{
    Blob, BlobAccess, BlobAccessExt, Cas, Clock, Digest, DigestFunction, DigestSet, Error, ErrorKind, InstanceName,
    MemoryStore, Operation, Provenance, SystemClock,
};
use blobaccess_proto::remote_execution as proto;
use blobaccess_testkit::fakes::{PausedStore, ScriptedStore};
use blobaccess_testkit::{Numbers, digest_of, seed, time_budget};
use bytes::Bytes;
use futures::{FutureExt, poll};
use prost::Message;

use crate::{CTX, Store, has, memory, outage, paused, store, stored};

type Nested<A, B> = NestedReplicator<A, B, LocalReplicator<A, B>>;

fn nested<A, B>(source: &Arc<A>, sink: &Arc<B>) -> Nested<A, B>
where
    A: BlobAccess<Kind = Cas>,
    B: BlobAccess<Kind = Cas>,
{
    let base = LocalReplicator::new(Arc::clone(source), Arc::clone(sink));
    NestedReplicator::new(Arc::clone(source), Arc::clone(sink), base)
}

fn to_proto(digest: &Digest) -> proto::Digest {
    proto::Digest { hash: digest.hash().to_string(), size_bytes: i64::try_from(digest.size_bytes()).unwrap() }
}

fn file(name: &str, digest: &Digest) -> proto::FileNode {
    proto::FileNode { name: name.to_owned(), digest: Some(to_proto(digest)), ..proto::FileNode::default() }
}

fn directory(files: &[&Digest], directories: &[&Digest]) -> proto::Directory {
    let node = |(number, digest): (usize, &&Digest)| proto::DirectoryNode {
        name: format!("directory {number}"),
        digest: Some(to_proto(digest)),
    };
    proto::Directory {
        files: files.iter().enumerate().map(|(number, digest)| file(&format!("file {number}"), digest)).collect(),
        directories: directories.iter().enumerate().map(node).collect(),
        ..proto::Directory::default()
    }
}

/// Stores a message without a call that is counted.
async fn message(store: &Store<Cas>, message: &impl Message) -> Digest {
    let bytes = message.encode_to_vec();
    let digest = digest_of(&bytes);
    memory(store).put_bytes(&CTX, &digest, bytes).await.unwrap();
    digest
}

/// An action whose input root has files and two directories, with one below both of them.
struct Example {
    action: Digest,
    /// Everything below the action, and it.
    all: DigestSet,
}

async fn example(store: &Store<Cas>) -> Example {
    let command = stored(store, "cc -c main.c").await;
    let (main, header, tool) =
        (stored(store, "main").await, stored(store, "header").await, stored(store, "tool").await);
    let shared = message(store, &directory(&[&header, &tool], &[])).await;
    let a = message(store, &directory(&[&main], &[&shared])).await;
    // The file `header` is met again.
    let b = message(store, &directory(&[&header], &[&shared])).await;
    let root = message(store, &directory(&[], &[&a, &b])).await;
    let action = proto::Action {
        command_digest: Some(to_proto(&command)),
        input_root_digest: Some(to_proto(&root)),
        ..proto::Action::default()
    };
    let action = message(store, &action).await;
    let all = [&command, &main, &header, &tool, &shared, &a, &b, &root, &action];
    Example { action: action.clone(), all: all.into_iter().cloned().collect() }
}

#[tokio::test]
async fn an_action_is_copied_with_all_below_and_each_blob_once() {
    let (source, sink) = (store::<Cas>(), store::<Cas>());
    let example = example(&source).await;
    let replicator = nested(&source, &sink);
    let counts = replicator.copy(&CTX, [NestedObject::Action(example.action.clone())]).await.unwrap();
    assert_eq!(memory(&sink).find_missing(&CTX, &example.all).await.unwrap(), DigestSet::new());
    assert_eq!((sink.counts().puts, memory(&sink).snapshot().blobs), (9, 9));
    assert_eq!((counts.objects_read, counts.blobs, counts.copies.blobs, counts.found_present), (5, 9, 9, 0));
    assert_eq!((counts.bytes, counts.pending_blobs(), counts.pending_bytes()), (counts.copies.bytes, 0, 0));
    assert_eq!(replicator.to_string(), "nested(local(counting(memory) to counting(memory)))");
    // The action comes last, after the directories, which come after the files.
    let puts = sink.digests_of_each(Operation::Put);
    assert_eq!(puts.last().unwrap()[..], [example.action]);
    let sizes: Vec<_> = puts.iter().map(|put| put[0].size_bytes()).collect();
    assert!(sizes[..4].iter().all(|size| *size <= 12), "the files and the command come first: {sizes:?}");
}

#[tokio::test]
async fn a_copy_of_nothing_asks_no_store() {
    let (source, sink) = (store::<Cas>(), store::<Cas>());
    let replicator = nested(&source, &sink);
    assert_eq!(replicator.copy(&CTX, []).await.unwrap().blobs, 0);
    // The empty blob, and the empty directory, are there anyway.
    let empty = digest_of("");
    let roots = [NestedObject::Directory(empty.clone()), NestedObject::Blob(empty.clone()), NestedObject::Tree(empty)];
    assert_eq!(replicator.copy(&CTX, roots).await.unwrap().blobs, 0);
    assert_eq!((source.counts().calls(), sink.counts().calls()), (0, 0));
    assert_eq!(replicator.snapshot().ended, 2);
}

#[tokio::test]
async fn a_directory_that_the_sink_has_does_not_imply_what_is_below() {
    let (source, sink) = (store::<Cas>(), store::<Cas>());
    let (there, lacking) = (stored(&source, "there").await, stored(&source, "lacking").await);
    let below = directory(&[&there, &lacking], &[]);
    let below_digest = message(&source, &below).await;
    let root = directory(&[], &[&below_digest]);
    let root_digest = message(&source, &root).await;
    for known in [&below, &root] {
        message(&sink, known).await;
    }
    stored(&sink, "there").await;
    let counts = nested(&source, &sink).copy(&CTX, [NestedObject::Directory(root_digest)]).await.unwrap();
    assert!(has(&sink, &lacking).await);
    assert_eq!((counts.found_present, counts.copies.blobs, sink.counts().puts), (3, 1, 1));
    assert_eq!(counts.copies.bytes, 7);
}

#[tokio::test]
async fn a_tree_is_copied_with_its_files() {
    let (source, sink) = (store::<Cas>(), store::<Cas>());
    let (main, header) = (stored(&source, "main").await, stored(&source, "header").await);
    let child = directory(&[&header], &[]);
    let child_digest = digest_of(child.encode_to_vec());
    let tree = proto::Tree { root: Some(directory(&[&main], &[&child_digest])), children: vec![child] };
    let tree = message(&source, &tree).await;
    let counts = nested(&source, &sink).copy(&CTX, [NestedObject::Tree(tree.clone())]).await.unwrap();
    assert!(has(&sink, &tree).await && has(&sink, &main).await && has(&sink, &header).await);
    // Its directories are in the tree, and no blobs of their own.
    assert_eq!((counts.blobs, memory(&sink).snapshot().blobs), (3, 3));
}

#[tokio::test]
async fn a_tree_is_larger_than_a_message_may_be() {
    let (source, sink) = (store::<Cas>(), store::<Cas>());
    let mut children = Vec::new();
    for number in 0..500 {
        let contents = stored(&source, &format!("file {number}")).await;
        children.push(directory(&[&contents], &[]));
    }
    let tree = message(&source, &proto::Tree { root: Some(directory(&[], &[])), children }).await;
    let options = NestedOptions::new().with_max_message_size_bytes(1000).with_batch_size(NonZeroUsize::new(7).unwrap());
    assert!(tree.size_bytes() > 10_000);
    let replicator = nested(&source, &sink).with_options(options);
    assert_eq!(replicator.copy(&CTX, [NestedObject::Tree(tree)]).await.unwrap().copies.blobs, 501);
    assert!(sink.calls().iter().all(|call| call.digests.len() <= 7));
}

#[tokio::test]
async fn the_outputs_of_an_action_are_those_that_its_result_names() {
    let (source, sink) = (store::<Cas>(), store::<Cas>());
    let (object, log, header) =
        (stored(&source, "object").await, stored(&source, "log").await, stored(&source, "h").await);
    let root = directory(&[&header], &[]);
    let root_digest = message(&source, &root).await;
    let tree = message(&source, &proto::Tree { root: Some(root), children: Vec::new() }).await;
    let result = proto::ActionResult {
        output_files: vec![proto::OutputFile {
            path: "main.o".to_owned(),
            digest: Some(to_proto(&object)),
            ..proto::OutputFile::default()
        }],
        output_directories: vec![proto::OutputDirectory {
            path: "include".to_owned(),
            tree_digest: Some(to_proto(&tree)),
            root_directory_digest: Some(to_proto(&root_digest)),
            ..proto::OutputDirectory::default()
        }],
        stdout_digest: Some(to_proto(&digest_of(""))),
        stderr_digest: Some(to_proto(&log)),
        ..proto::ActionResult::default()
    };
    let action = digest_of("action").with_instance_name(InstanceName::empty());
    let outputs = NestedObject::outputs_of(&action, &result.encode_to_vec()).unwrap();
    assert_eq!(outputs.len(), 5);
    nested(&source, &sink).copy(&CTX, outputs).await.unwrap();
    for digest in [&object, &log, &header, &root_digest, &tree] {
        assert!(has(&sink, digest).await, "{digest}");
    }
    let error = NestedObject::outputs_of(&action, b"\xff").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataLoss);
    let malformed = proto::ActionResult {
        stdout_digest: Some(proto::Digest { hash: "no hash".to_owned(), size_bytes: 1 }),
        ..proto::ActionResult::default()
    };
    let error = NestedObject::outputs_of(&action, &malformed.encode_to_vec()).unwrap_err();
    assert_eq!((error.kind(), error.trail().next()), (ErrorKind::InvalidArgument, Some("standard output")));
}

#[tokio::test]
async fn only_an_absent_root_is_not_found() {
    let (source, sink) = (store::<Cas>(), store::<Cas>());
    let (replicator, absent) = (nested(&source, &sink), digest_of("absent"));
    let makers: [fn(Digest) -> NestedObject; 4] =
        [NestedObject::Action, NestedObject::Directory, NestedObject::Tree, NestedObject::Blob];
    for make in makers {
        let error = replicator.copy(&CTX, [make(absent.clone())]).await.unwrap_err();
        assert!(error.is_not_found() && error.trail().any(|place| place == "source"), "{error:?}");
    }
    let lacks_a_file = message(&source, &directory(&[&absent], &[])).await;
    let lacks_a_directory = message(&source, &directory(&[], &[&absent])).await;
    for root in [lacks_a_file, lacks_a_directory] {
        let error = replicator.copy(&CTX, [NestedObject::Directory(root.clone())]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error:?}");
        assert!(error.to_string().contains(&absent.to_string()) && error.to_string().contains("source"), "{error:?}");
        assert!(!has(&sink, &root).await, "a directory comes after what it refers to");
    }
    assert_eq!(replicator.snapshot().under_way, []);
}

#[tokio::test]
async fn an_outage_keeps_its_kind_and_names_the_store() {
    let (source, sink) = (store::<Cas>(), store::<Cas>());
    let example = example(&source).await;
    let (replicator, root) = (nested(&source, &sink), NestedObject::Action(example.action.clone()));
    outage(&source).begin(Error::unavailable("gone fishing"));
    let error = replicator.copy(&CTX, [root.clone()]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.to_string(), format!("action {}: source: gone fishing", example.action));
    outage(&source).end();
    outage(&sink).begin(Error::unavailable("out of paper"));
    let error = replicator.copy(&CTX, [root.clone()]).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Unavailable, "sink: out of paper"));
    outage(&sink).end();
    replicator.copy(&CTX, [root]).await.unwrap();
    assert_eq!(memory(&sink).find_missing(&CTX, &example.all).await.unwrap(), DigestSet::new());
}

#[tokio::test]
async fn malformed_objects_are_refused_with_their_place() {
    let (source, sink) = (store::<Cas>(), store::<Cas>());
    let replicator = nested(&source, &sink);
    let garbage = stored(&source, "\u{1}garbage").await;
    let bad_digest = proto::Digest { hash: "no hash".to_owned(), size_bytes: 1 };
    let bad_file = proto::FileNode { name: "main".to_owned(), digest: Some(bad_digest), ..proto::FileNode::default() };
    let bad_child = proto::Directory { files: vec![bad_file], ..proto::Directory::default() };
    let no_digest = proto::Directory {
        directories: vec![proto::DirectoryNode { name: "src".to_owned(), digest: None }],
        ..proto::Directory::default()
    };
    let tree = proto::Tree { root: Some(bad_child.clone()), children: Vec::new() };
    let cases = [
        (NestedObject::Action(garbage.clone()), "it is no action"),
        (NestedObject::Directory(garbage.clone()), "it is no directory"),
        (NestedObject::Tree(garbage), "field"),
        (NestedObject::Directory(message(&source, &bad_child).await), "file \"main\""),
        (NestedObject::Directory(message(&source, &no_digest).await), "directory \"src\": it has no digest"),
        (NestedObject::Tree(message(&source, &tree).await), "field 1 at offset"),
    ];
    for (root, expected) in cases {
        let error = replicator.copy(&CTX, [root.clone()]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
        let text = error.to_string();
        assert!(text.contains(expected) && text.starts_with(&root.to_string()), "{text}");
    }
    assert_eq!(sink.counts().puts, 0);
}

#[tokio::test]
async fn a_tree_that_is_not_what_was_stored_is_damaged_rather_than_malformed() {
    let digest = digest_of("a tree of the same size");
    let damaged = Bytes::from_static(b"\xff tree of the same size");
    let damaged = Blob::from_untrusted_bytes(&digest, damaged.slice(..23), Provenance::store());
    let source = Arc::new(ScriptedStore::<Cas>::new().on_get(Ok(damaged)));
    let error = nested(&source, &store::<Cas>()).copy(&CTX, [NestedObject::Tree(digest)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataLoss, "{error:?}");
}

#[tokio::test]
async fn hostile_sizes_are_refused() {
    let (source, sink) = (store::<Cas>(), store::<Cas>());
    let mut deepest = message(&source, &directory(&[&stored(&source, "treasure").await], &[])).await;
    for _ in 0..20 {
        deepest = message(&source, &directory(&[], &[&deepest])).await;
    }
    let root = [NestedObject::Directory(deepest.clone())];
    let copy =
        async |options: NestedOptions| nested(&source, &sink).with_options(options).copy(&CTX, root.clone()).await;
    let options = NestedOptions::new();
    let too_deep = copy(options.clone().with_max_depth(20)).await.unwrap_err();
    assert_eq!(too_deep.kind(), ErrorKind::InvalidArgument);
    assert!(too_deep.message().ends_with("lies below 21 objects; the maximum is 20"), "{too_deep}");
    let too_many = copy(options.clone().with_max_digests(21)).await.unwrap_err();
    assert_eq!(too_many.kind(), ErrorKind::ResourceExhausted);
    let too_large = copy(options.clone().with_max_message_size_bytes(10)).await.unwrap_err();
    assert_eq!(too_large.kind(), ErrorKind::InvalidArgument);
    assert!(too_large.message().ends_with("bytes; the maximum is 10"), "{too_large}");
    copy(options.with_max_depth(21).with_max_digests(22)).await.unwrap();
}

#[tokio::test]
async fn a_directory_that_refers_to_itself_is_not_what_its_digest_says() {
    // No contents can have their own digest, so a source that has such a directory lies.
    let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"anything");
    let refers = directory(&[], &[&digest]).encode_to_vec();
    let source = ScriptedStore::<Cas>::new().on_get(Ok(Blob::from_bytes(refers)));
    let sink = store::<Cas>();
    let error = nested(&Arc::new(source), &sink).copy(&CTX, [NestedObject::Directory(digest)]).await.unwrap_err();
    assert!(error.to_string().contains("source"), "{error:?}");
    assert_eq!(sink.counts().calls(), 0);
}

#[tokio::test]
async fn a_blob_may_be_a_file_in_one_place_and_a_directory_in_another() {
    let (source, sink) = (store::<Cas>(), store::<Cas>());
    let main = stored(&source, "main").await;
    let below = message(&source, &directory(&[&main], &[])).await;
    let root = message(&source, &directory(&[&below], &[&below])).await;
    let counts = nested(&source, &sink).copy(&CTX, [NestedObject::Directory(root)]).await.unwrap();
    assert!(has(&sink, &main).await && has(&sink, &below).await);
    assert_eq!((counts.blobs, counts.copies.blobs, sink.counts().puts), (3, 3, 3));
}

#[tokio::test]
async fn no_more_objects_are_read_at_a_time_than_set() {
    let beneath = store::<Cas>();
    let mut below = Vec::new();
    for number in 0..50 {
        let contents = stored(&beneath, &format!("file {number}")).await;
        below.push(message(&beneath, &directory(&[&contents], &[])).await);
    }
    let root = message(&beneath, &directory(&[], &below.iter().collect::<Vec<_>>())).await;
    let (source, sink) = (paused(Arc::clone(&beneath)), store::<Cas>());
    let options = NestedOptions::new().with_reads_at_once(NonZeroUsize::new(4).unwrap());
    let replicator = nested(&source, &sink).with_options(options);
    let mut copying = replicator.copy(&CTX, [NestedObject::Directory(root)]).boxed();
    for released in 0..40 {
        assert!(poll!(&mut copying).is_pending());
        assert_eq!(source.waiting(), if released == 0 { 1 } else { 4 });
        source.release_one();
    }
    let progress = replicator.snapshot().under_way;
    assert_eq!((progress[0].objects_read, progress[0].pending_blobs()), (39, 89));
    source.release_all();
    assert_eq!(copying.await.unwrap().copies.blobs, 101);
    assert_eq!((replicator.snapshot().under_way.len(), replicator.snapshot().ended), (0, 1));
}

#[tokio::test]
async fn a_dropped_call_is_forgotten_and_a_second_one_completes_it() {
    let beneath = store::<Cas>();
    let example = example(&beneath).await;
    let root = NestedObject::Action(example.action);
    for released in 0..14 {
        let (source, sink): (Arc<PausedStore<Arc<Store<Cas>>>>, _) =
            (paused(Arc::clone(&beneath)), Arc::new(MemoryStore::<Cas>::new(1 << 20)));
        let replicator = nested(&source, &sink);
        let mut dropped = replicator.copy(&CTX, [root.clone()]).boxed();
        for _ in 0..released {
            source.release_one();
            drop(poll!(&mut dropped));
        }
        drop(dropped);
        assert_eq!(replicator.snapshot().under_way.len(), 0);
        source.release_all();
        let counts = replicator.copy(&CTX, [root.clone()]).await.unwrap();
        assert_eq!(counts.copies.blobs + counts.found_present, 9);
        assert_eq!(sink.find_missing(&CTX, &example.all).await.unwrap(), DigestSet::new());
    }
}

/// Copies random directories, of which the sink has random parts, and compares with what refers to what.
#[tokio::test]
async fn whatever_the_sink_has_it_has_all_below_the_root_in_the_end() {
    let (seed, began) = (seed("BLOBACCESS_REPLICATION_SEED"), SystemClock.monotonic());
    let (mut numbers, mut rounds, mut copied) = (Numbers::new(seed), 0_u64, 0);
    while SystemClock.monotonic() - began < time_budget() / 10 {
        let (source, sink) = (store::<Cas>(), store::<Cas>());
        // Each directory refers to some of the blobs before it.
        let (mut below, mut directories): (Vec<BTreeSet<Digest>>, Vec<Digest>) = (Vec::new(), Vec::new());
        let mut files = Vec::new();
        for number in 0..=numbers.below(20) {
            files.push(stored(&source, &format!("file {number} of {rounds}")).await);
        }
        for _ in 0..=numbers.below(20) {
            let of_files: Vec<&Digest> = files.iter().filter(|_| numbers.below(4) == 0).collect();
            let chosen: Vec<usize> = (0..directories.len()).filter(|_| numbers.below(3) == 0).collect();
            let of_directories: Vec<&Digest> = chosen.iter().map(|index| &directories[*index]).collect();
            let digest = message(&source, &directory(&of_files, &of_directories)).await;
            let mut all: BTreeSet<Digest> = of_files.into_iter().cloned().collect();
            for index in chosen {
                all.extend(below[index].iter().cloned());
            }
            all.insert(digest.clone());
            directories.push(digest);
            below.push(all);
        }
        for digest in files.iter().chain(&directories).filter(|digest| !digest.is_empty_blob()) {
            if numbers.below(3) == 0 {
                let contents = memory(&source).get_bytes(&CTX, digest, 1 << 20).await.unwrap();
                memory(&sink).put_bytes(&CTX, digest, contents).await.unwrap();
            }
        }
        let options = NestedOptions::new()
            .with_batch_size(NonZeroUsize::MIN.saturating_add(numbers.below(8)))
            .with_reads_at_once(NonZeroUsize::MIN.saturating_add(numbers.below(4)));
        let root = directories[directories.len() - 1].clone();
        let expected: BTreeSet<Digest> =
            below[below.len() - 1].iter().filter(|digest| !digest.is_empty_blob()).cloned().collect();
        let lacking = memory(&sink).find_missing(&CTX, &expected.iter().cloned().collect()).await.unwrap();
        let replicator = nested(&source, &sink).with_options(options);
        let counts = replicator.copy(&CTX, [NestedObject::Directory(root)]).await.unwrap();
        let puts: Vec<Digest> = sink.digests_of_each(Operation::Put).into_iter().flatten().collect();
        assert_eq!(puts.len(), puts.iter().collect::<HashSet<_>>().len(), "one was copied twice, seed {seed}");
        assert_eq!(puts.iter().cloned().collect::<DigestSet>(), lacking, "seed {seed}");
        assert_eq!(counts.blobs, u64::try_from(expected.len()).unwrap(), "seed {seed}");
        assert_eq!(counts.pending_blobs(), 0, "seed {seed}");
        rounds += 1;
        copied += puts.len();
    }
    println!("{rounds} rounds, {copied} blobs copied");
    assert!(rounds > 0);
}

#[tokio::test]
async fn digests_are_those_of_the_instance_name_and_function_of_the_root() {
    let (source, sink) = (store::<Cas>(), store::<Cas>());
    let name = InstanceName::new("some/name").unwrap();
    let digest = |contents: &[u8]| Digest::of(name.clone(), DigestFunction::Blake3, contents);
    let contents = Bytes::from_static(b"hello");
    let root_message = directory(&[&digest(&contents)], &[]).encode_to_vec();
    for contents in [contents.clone(), root_message.clone().into()] {
        memory(&source).put_bytes(&CTX, &digest(&contents), contents).await.unwrap();
    }
    nested(&source, &sink).copy(&CTX, [NestedObject::Directory(digest(&root_message))]).await.unwrap();
    assert!(has(&sink, &digest(&contents)).await);
    assert!(sink.digests_of_each(Operation::Put).iter().flatten().all(|digest| *digest.instance_name() == name));
}
