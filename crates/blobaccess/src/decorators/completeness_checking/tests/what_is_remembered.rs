//! Which trees need not be looked into again, and for how long.

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
    let child = directory(&[12]);
    let tree = tree(parent(&[11], &[&child]), &[child]);
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
    let child = directory(&[12]);
    let tree = tree(parent(&[11], &[&child]), &[child]);
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
        for name in [InstanceName::empty(), account_name(), InstanceName::empty(), account_name()] {
            let action = action().with_instance_name(name.clone());
            it.ac.put(&Context::background(), &action, Blob::from_bytes(result.clone())).await.unwrap();
            it.checking.get(&Context::background(), &action).await.unwrap();
            let asked = it.cas.asked();
            assert!(asked.iter().flatten().all(|digest| *digest.instance_name() == name), "{asked:?}");
        }
        assert_eq!(it.cas.read().len(), reads, "{key_format:?}");
    }
}
