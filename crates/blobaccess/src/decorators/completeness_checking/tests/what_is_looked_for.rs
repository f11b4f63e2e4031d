//! The digests that are looked for: every digest that a result names, in sets of the size permitted.

use super::*;

#[tokio::test]
async fn a_result_without_outputs_needs_no_store() {
    let it = fixture(ScriptedCas::new().with_find_error(Error::unavailable("down")));
    it.check(&ActionResult::default()).await.unwrap();
    assert_eq!(it.cas.asked(), Vec::<Vec<_>>::new());
}

#[tokio::test]
async fn all_digests_are_found_in_sets_of_the_size_permitted() {
    let child = directory(&[14, 15]);
    let tree = tree(parent(&[11, 12], &[&child]), std::slice::from_ref(&child));
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
    let child = digest_of(&child.encode_to_vec());
    let second = sorted([digest(5), digest(6), digest(11), digest(12), child]);
    assert_eq!(it.cas.asked(), [first, second, numbered([14, 15])]);
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
    let child = directory(&[]);
    let tree = tree(parent(&[11], &[&child]), std::slice::from_ref(&child));
    let it = fixture(ScriptedCas::new().with_tree(&tree));
    it.check(&with_trees(&[&tree])).await.unwrap();
    assert_eq!(it.cas.asked(), [sorted([digest_of(&tree), digest(11)])]);
}

#[tokio::test]
async fn empty_blobs_count() {
    let it = fixture(ScriptedCas::new());
    let empty = digest_of(b"");
    it.check(&ActionResult { stdout_digest: proto(&empty), ..ActionResult::default() }).await.unwrap();
    assert_eq!(it.cas.asked(), [[empty]]);
}

#[tokio::test]
async fn a_tree_of_nothing_is_complete() {
    let tree = Bytes::new();
    let it = fixture(ScriptedCas::new().with_tree(&tree));
    it.check(&with_trees(&[&tree])).await.unwrap();
    assert_eq!(it.cas.asked(), [[digest_of(&tree)]]);
}

#[tokio::test]
async fn links_and_contents_that_came_along_do_not() {
    #[expect(deprecated, reason = "they are stored all the same")]
    let result = ActionResult {
        output_files: vec![OutputFile { contents: "hello".into(), ..file(1) }],
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
    let child = directory(&[12]);
    let tree = tree(parent(&[11], &[&child]), std::slice::from_ref(&child));
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
    let child = digest_of(&child.encode_to_vec());
    assert_eq!(it.cas.asked(), [sorted([digest_of(&tree), digest(3), digest(11), child, digest(12)])]);
}

#[tokio::test]
async fn fields_that_are_not_known_are_returned_too() {
    let it = fixture(ScriptedCas::new());
    let message = [files([1]).encode_to_vec(), b"\xfa\x3f\x03new".to_vec()].concat();
    it.store(message.clone()).await;
    assert_eq!(it.get().await.unwrap(), message);
}
