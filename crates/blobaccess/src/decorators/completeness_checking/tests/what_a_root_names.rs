//! Output directories that are described by their root alone.

use super::*;

/// Makes a store with these directories as blobs of their own.
fn with_directories(directories: &[&Directory]) -> ScriptedCas {
    directories.iter().fold(ScriptedCas::new(), |cas, directory| cas.with_tree(&directory.encode_to_vec().into()))
}

fn digest_of_directory(directory: &Directory) -> Digest {
    digest_of(&directory.encode_to_vec())
}

fn rooted(root: &Digest) -> ActionResult {
    let directory =
        OutputDirectory { path: "a".into(), root_directory_digest: proto(root), ..OutputDirectory::default() };
    ActionResult { output_directories: vec![directory], ..ActionResult::default() }
}

#[tokio::test]
async fn its_directories_are_read_once_each_and_their_files_are_looked_for() {
    let leaf = directory(&[11, 12]);
    let middle = parent(&[13], &[&leaf]);
    let root = parent(&[14], &[&middle, &leaf]);
    let it = fixture(with_directories(&[&root, &middle, &leaf]));
    it.check(&rooted(&digest_of_directory(&root))).await.unwrap();
    assert_eq!(sorted(it.cas.read()), sorted([&root, &middle, &leaf].map(digest_of_directory)));
    let asked = sorted(it.cas.asked().into_iter().flatten());
    assert_eq!(asked, sorted([11, 12, 13, 14].map(digest).into_iter().chain([digest_of_directory(&root)])));
    // They are remembered like a tree.
    it.check(&rooted(&digest_of_directory(&root))).await.unwrap();
    assert_eq!(it.cas.read(), []);
}

#[tokio::test]
async fn whatever_is_missing_or_of_no_use_below_it_makes_a_result_not_found() {
    let leaf = directory(&[11]);
    let root = parent(&[12], &[&leaf]);
    let result = rooted(&digest_of_directory(&root));
    fixture(with_directories(&[&root, &leaf])).check(&result).await.unwrap();
    let nameless = Directory { files: vec![FileNode::default()], ..Directory::default() };
    let no_directory = Bytes::from_static(b"\xff\xff\xff");
    for (cas, result) in [
        (with_directories(&[&leaf]), result.clone()),
        (with_directories(&[&root]), result.clone()),
        (with_directories(&[&root, &leaf]).without(&digest(11)), result.clone()),
        (with_directories(&[&nameless]), rooted(&digest_of_directory(&nameless))),
        (ScriptedCas::new().with_tree(&no_directory), rooted(&digest_of(&no_directory))),
    ] {
        let error = fixture(cas).check_fails(&result).await;
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
    let lost = with_directories(&[&root]).with_unreadable(&digest_of_directory(&leaf), Error::unavailable("on fire"));
    assert_error(&fixture(lost).check_fails(&result).await, ErrorKind::Unavailable, "output directory \"a\": on fire");
}

#[tokio::test]
async fn it_is_limited_as_a_tree_is() {
    let leaf = directory(&[11; 8]);
    let root = parent(&[12], &[&leaf]);
    let total = u64::try_from(leaf.encoded_len() + root.encoded_len()).unwrap();
    let result = rooted(&digest_of_directory(&root));
    let cas = || with_directories(&[&root, &leaf]);
    fixture_with(cas(), options().with_max_total_tree_size_bytes(total)).check(&result).await.unwrap();
    let small = u64::try_from(leaf.encoded_len()).unwrap() - 1;
    for options in [options().with_max_total_tree_size_bytes(total - 1), options().with_max_message_size_bytes(small)] {
        let it = fixture_with(cas(), options);
        assert!(it.check_fails(&result).await.is_not_found());
        assert_eq!(it.cas.read(), [digest_of_directory(&root)]);
    }
}
