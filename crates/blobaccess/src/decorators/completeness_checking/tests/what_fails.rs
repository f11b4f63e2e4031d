//! The failures: each way in which a result is not complete, or cannot be told to be.

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
async fn a_result_larger_than_permitted_is_not_found() {
    let it = fixture(ScriptedCas::new());
    it.store(vec![0; 1001]).await;
    let text = format!("result of action {} is 1001 bytes, while at most 1000 are permitted", action());
    assert_error(&it.get().await.unwrap_err(), ErrorKind::NotFound, &text);
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
    let no_blob = remote_execution::Digest { size_bytes: 0, ..proto(&digest(1)).unwrap() };
    for result in [
        ActionResult { stdout_digest: Some(no_blob), ..ActionResult::default() },
        ActionResult { output_files: vec![OutputFile { digest: None, ..file(1) }], ..ActionResult::default() },
        ActionResult { output_directories: vec![OutputDirectory::default()], ..ActionResult::default() },
    ] {
        let error = it.check_fails(&result).await;
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("action result contained malformed digest"), "{error}");
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
async fn an_output_directory_must_have_a_tree_or_a_root() {
    let directory = OutputDirectory { path: "a".into(), ..OutputDirectory::default() };
    let result = ActionResult { output_directories: vec![directory], ..ActionResult::default() };
    let text = "output directory \"a\": action result contained malformed digest: an output directory has none";
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
    let huge = |byte| Digest::from_hash(account_name(), DigestFunction::Sha1, &[byte; 20], i64::MAX.unsigned_abs());
    // Together they are 0 in 64 bits.
    let directories = [huge(1).unwrap(), huge(3).unwrap(), digest(2)].map(|tree| output_directory_of("a", &tree, None));
    let result = ActionResult { output_directories: directories.to_vec(), ..ActionResult::default() };
    let error = fixture(ScriptedCas::new()).check_fails(&result).await;
    assert!(error.is_not_found() && error.message().contains("in total"), "{error:?}");
}

#[tokio::test]
async fn a_tree_that_is_none_makes_a_result_not_found() {
    let (no_fields, no_directory) = (Bytes::from_static(b"\x08\x01"), Bytes::from_static(b"\x12\x02\x0a\x09"));
    let it = fixture(ScriptedCas::new().with_tree(&no_fields).with_tree(&no_directory));
    let text = "output directory \"0\": field with number 1 at offset 0 has type 0, while 2 was expected";
    assert_error(&it.check_fails(&with_trees(&[&no_fields])).await, ErrorKind::NotFound, text);
    let text = "output directory \"0\": field with number 2 at offset 2 size 2 is no directory";
    assert_error(&it.check_fails(&with_trees(&[&no_directory])).await, ErrorKind::NotFound, text);
}

#[tokio::test]
async fn a_malformed_digest_in_a_tree_makes_a_result_not_found() {
    let mut root = directory(&[11]);
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
async fn a_directory_larger_than_permitted_makes_a_result_not_found() {
    let tree = flat(&[11; 30]);
    assert!(tree.len() > 1000);
    let it = fixture(ScriptedCas::new().with_tree(&tree));
    let error = it.check_fails(&with_trees(&[&tree])).await;
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().ends_with("bytes, while at most 1000 are permitted"), "{error}");
}

#[tokio::test]
async fn a_file_or_directory_without_digest_in_a_tree_makes_a_result_not_found() {
    let file = Directory { files: vec![FileNode::default()], ..Directory::default() };
    let child = Directory { directories: vec![DirectoryNode::default()], ..Directory::default() };
    for root in [file, child] {
        let tree = tree(root, &[]);
        let error = fixture(ScriptedCas::new().with_tree(&tree)).check_fails(&with_trees(&[&tree])).await;
        assert!(error.is_not_found() && error.to_string().ends_with("has none"), "{error}");
    }
}

#[tokio::test]
async fn a_directory_that_a_tree_names_must_be_in_it() {
    let [leaf, other] = [11, 12].map(|file| directory(&[file]));
    let middle = parent(&[], &[&leaf, &other]);
    let root = parent(&[], &[&middle, &leaf]);
    let whole = tree(root.clone(), &[middle.clone(), leaf.clone(), other.clone()]);
    let reversed = tree(root.clone(), &[other, leaf.clone(), middle.clone()]);
    let lacking = tree(root, &[middle, leaf]);
    let it = fixture(ScriptedCas::new().with_tree(&whole).with_tree(&reversed).with_tree(&lacking));
    it.check(&with_trees(&[&whole, &reversed])).await.unwrap();
    let error = it.check_fails(&with_trees(&[&lacking])).await;
    let text = format!(
        "output directory \"0\": directory {} is named by the tree, and not in it",
        digest_of(&directory(&[12]).encode_to_vec())
    );
    assert_error(&error, ErrorKind::NotFound, &text);
}

#[tokio::test]
async fn a_directory_is_in_a_tree_however_the_tree_spells_it() {
    let child = directory(&[11]);
    // With a field that this version does not know, and would not write.
    let spelled = [child.encode_to_vec(), b"\xfa\x3f\x03new".to_vec()].concat();
    let read = Directory::decode(&*spelled).unwrap();
    for named in [digest_of(&spelled), digest_of(&read.encode_to_vec())] {
        let node = DirectoryNode { digest: proto(&named), ..DirectoryNode::default() };
        let root = Directory { directories: vec![node], ..Directory::default() };
        let mut tree = Tree { root: Some(root), children: Vec::new() }.encode_to_vec();
        prost::encoding::bytes::encode(2, &spelled, &mut tree);
        let tree = Bytes::from(tree);
        let it = fixture(ScriptedCas::new().with_tree(&tree));
        it.check(&with_trees(&[&tree])).await.unwrap();
    }
}
