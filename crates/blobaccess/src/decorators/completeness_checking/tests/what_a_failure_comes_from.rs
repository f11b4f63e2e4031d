//! Which of several failures a caller is told.

use super::*;

/// Makes three directories, each in a piece of its own, the last of which is not the one stored.
fn corrupt() -> (Digest, Vec<Result<Bytes>>) {
    let [root, child] = [&[11, 12, 13], &[14, 15, 16]].map(|files| directory(files));
    let good = tree(root.clone(), &[child.clone(), directory(&[17, 18, 19])]);
    let mut corrupt = tree(root, &[child, directory(&[17, 18, 20])]);
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
    let it = fixture_with(cas, options().with_trees_at_once(1));
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
