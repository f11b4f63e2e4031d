//! How several trees are read at once.

use super::*;

#[tokio::test]
async fn as_many_are_read_at_once_as_are_permitted() {
    let trees: Vec<_> = (11..18).map(|number| flat(&[number])).collect();
    for at_once in [1, 3, 7] {
        let cas = trees.iter().fold(ScriptedCas::new(), ScriptedCas::with_tree);
        cas.may_read.forget_permits(1000);
        let it = fixture_with(cas, options().with_trees_at_once(at_once));
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
        options().with_trees_at_once(1).with_max_message_size_bytes(10_000),
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
    let tree = tree(directory(&[]), &vec![directory(&[11; 10]); 400]);
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

#[tokio::test(start_paused = true)]
async fn limits_of_zero_are_one() {
    let (a, b) = (flat(&[11]), flat(&[12]));
    let cas = ScriptedCas::new().with_tree(&a).with_tree(&b);
    let it = fixture_with(cas, options().with_trees_at_once(0).with_batch_size(0));
    let result = with_trees(&[&a, &b]);
    // Time passes only if the check stalls.
    let (clock, check): (&dyn Clock, _) = (&SystemClock, it.check(&result));
    clock.timeout(Some(clock.monotonic() + Duration::from_secs(1)), check).await.unwrap().unwrap();
    assert_eq!(it.cas.most_reading.load(Ordering::SeqCst), 1);
    assert_eq!(it.cas.asked().iter().map(Vec::len).collect::<Vec<_>>(), [1; 4]);
}
