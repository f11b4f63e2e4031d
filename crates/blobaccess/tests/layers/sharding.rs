//! Tests of the layer that spreads blobs over shards.

mod model;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use blobaccess::decorators::{Shard, ShardState, Sharding, ShardingOptions};
use blobaccess::{
    Ac, Blob, BlobAccess, BlobAccessExt, Cas, Clock, Context, DigestSet, Error, ErrorKind, InstanceName, KeyFormat,
    Kind, MemoryStore, Operation, PutCertainty, Result,
};
use blobaccess_testkit::fakes::{LeadingBytes, PausedStore, failing_stream};
use blobaccess_testkit::{ManualClock, digest_of};
use bytes::Bytes;
use futures::{FutureExt, poll};

use crate::{Inner, fail, inner, memory, stored};

static CTX: Context = Context::background();

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

fn shards<K: Kind, const N: usize>() -> [Inner<K>; N] {
    std::array::from_fn(|_| inner())
}

fn shard<K: Kind>(key: &'static str, store: &Inner<K>) -> Shard<Inner<K>> {
    Shard::new(key, Arc::clone(store))
}

fn two<K: Kind>(a: &Inner<K>, b: &Inner<K>) -> Sharding<Inner<K>> {
    Sharding::new([shard("a", a), shard("b", b)]).unwrap()
}

/// Returns contents whose home in `store` is the first of `keys`, followed by the others as the places to look.
fn contents_in<K: Kind>(store: &Sharding<Inner<K>>, keys: &[&str]) -> &'static str {
    let contents = (0..1000).map(|number| number.to_string()).find(|contents| {
        let found = store.shards_of(&digest_of(contents));
        found == keys
    });
    contents.unwrap_or_else(|| panic!("no blob is placed in {keys:?}")).leak()
}

async fn has<K: Kind>(store: &Inner<K>, contents: &str) -> bool {
    memory(store).get(&CTX, &digest_of(contents)).await.is_ok()
}

async fn read<S: BlobAccess>(store: &Sharding<S>, contents: &str) -> Result<String> {
    let bytes = store.get_bytes(&CTX, &digest_of(contents), 1 << 20).await?;
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

fn set(contents: &[&str]) -> DigestSet {
    contents.iter().map(digest_of).collect()
}

#[tokio::test]
async fn each_blob_is_put_to_one_shard_and_read_from_there() {
    let [a, b] = shards::<Cas, 2>();
    let store = two(&a, &b);
    for number in 0..40 {
        let contents: &str = number.to_string().leak();
        store.put_bytes(&CTX, &digest_of(contents), contents).await.unwrap();
        assert_eq!(read(&store, contents).await.unwrap(), contents);
        let home = store.shards_of(&digest_of(contents));
        assert_eq!(home, [if has(&a, contents).await { "a" } else { "b" }]);
        assert!(has(&a, contents).await != has(&b, contents).await);
    }
    assert!(a.counts().puts > 9 && b.counts().puts > 9);
    assert_eq!(a.counts().puts, a.counts().gets);
}

#[tokio::test]
async fn a_part_is_read_from_the_shard_of_its_composite() {
    let [a, b] = shards::<Cas, 2>();
    let store = two(&a, &b);
    let parent = contents_in(&store, &["b"]);
    let child = contents_in(&store, &["a"]);
    let slicer = Arc::new(LeadingBytes);
    let error = store.get_from_composite(&CTX, &digest_of(parent), &digest_of(child), slicer).await.unwrap_err();
    assert!(error.is_not_found());
    assert_eq!((a.counts().calls(), b.count_of(Operation::GetFromComposite)), (0, 1));
}

#[tokio::test]
async fn errors_name_the_shard_and_absence_does_not() {
    let [a, b] = shards::<Cas, 2>();
    let store = two(&a, &b);
    let (here, there) = (contents_in(&store, &["a"]), contents_in(&store, &["b"]));
    fail(&a, Error::internal("disk on fire"));
    assert_eq!(read(&store, here).await.unwrap_err().to_string(), "shard a: disk on fire");
    let error = store.put_bytes(&CTX, &digest_of(here), here).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Internal, "shard a: disk on fire"));
    let error = store.find_missing(&CTX, &set(&[here, there])).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Internal, "shard a: disk on fire"));
    let absent = read(&store, there).await.unwrap_err();
    assert!(absent.is_not_found() && !absent.to_string().contains("shard"), "{absent}");
}

#[tokio::test]
async fn a_query_is_split_by_shard_and_its_answers_are_merged() {
    let [a, b] = shards::<Cas, 2>();
    let store = two(&a, &b);
    let all: Vec<&str> = (0..100).map(|number: u8| &*number.to_string().leak()).collect();
    for contents in all.iter().step_by(3) {
        store.put_bytes(&CTX, &digest_of(contents), *contents).await.unwrap();
    }
    let absent: Vec<_> = all.iter().enumerate().filter(|(index, _)| index % 3 != 0).map(|(_, one)| *one).collect();
    assert_eq!(store.find_missing(&CTX, &set(&all)).await.unwrap(), set(&absent));
    assert_eq!((a.counts().finds, b.counts().finds), (1, 1));
    assert_eq!(a.counts().digests_asked + b.counts().digests_asked, 100);
    // One digest asks one shard.
    assert_eq!(store.find_missing(&CTX, &set(&all[1..2])).await.unwrap(), set(&all[1..2]));
    assert_eq!(a.counts().finds + b.counts().finds, 3);
    assert!(store.find_missing(&CTX, &DigestSet::new()).await.unwrap().is_empty());
    assert_eq!(a.counts().finds + b.counts().finds, 3);
}

#[tokio::test]
async fn the_first_failure_ends_a_query_while_other_shards_still_answer() {
    let (slow, down) = (Arc::new(PausedStore::new(inner::<Cas>())), inner::<Cas>());
    fail(&down, Error::unavailable("down"));
    let shared: Arc<dyn BlobAccess<Kind = Cas>> = Arc::<PausedStore<_>>::clone(&slow);
    let down: Arc<dyn BlobAccess<Kind = Cas>> = Arc::new(down);
    let store = Sharding::new([Shard::new("slow", shared), Shard::new("down", down)]).unwrap();
    let all: DigestSet = (0..20).map(|number: u8| digest_of(number.to_string())).collect();
    let error = store.find_missing(&CTX, &all).now_or_never().expect("the slow shard is not waited for").unwrap_err();
    assert_eq!(error.to_string(), "shard down: down");
    assert_eq!(slow.waiting(), 0);
}

#[tokio::test]
async fn the_shards_of_a_query_are_asked_at_the_same_time() {
    let stores = [(); 3].map(|()| Arc::new(PausedStore::new(inner::<Cas>())));
    let shards = stores.iter().zip(["a", "b", "c"]).map(|(store, key)| Shard::new(key, Arc::clone(store)));
    let store = Sharding::new(shards).unwrap();
    let all: DigestSet = (0..30).map(|number: u8| digest_of(number.to_string())).collect();
    let mut query = store.find_missing(&CTX, &all);
    assert!(poll!(&mut query).is_pending());
    assert!(stores.iter().all(|store| store.waiting() == 1));
    for store in &stores {
        store.release_all();
    }
    assert_eq!(query.await.unwrap(), all);
}

#[tokio::test]
async fn a_drained_shard_is_read_and_not_written_to() {
    let [a, b] = shards::<Cas, 2>();
    let before = two(&a, &b);
    let contents = contents_in(&before, &["a"]);
    before.put_bytes(&CTX, &digest_of(contents), contents).await.unwrap();

    let options = ShardingOptions::new().with_copies_on_get(false);
    let store = Sharding::new([shard("a", &a).drained(), shard("b", &b)]).unwrap().with_options(options);
    assert_eq!(store.shards_of(&digest_of(contents)), ["b", "a"]);
    assert_eq!(read(&store, contents).await.unwrap(), contents);
    assert!(store.find_missing(&CTX, &set(&[contents, "absent"])).await.unwrap() == set(&["absent"]));
    assert!(!has(&b, contents).await);
    let puts = a.counts().puts;
    store.put_bytes(&CTX, &digest_of(contents), contents).await.unwrap();
    assert!(has(&b, contents).await);
    assert_eq!(a.counts().puts, puts);
    // What was never there is not asked for there.
    let elsewhere = contents_in(&store, &["b"]);
    let gets = a.counts().gets;
    assert!(read(&store, elsewhere).await.unwrap_err().is_not_found());
    assert_eq!(a.counts().gets, gets);
}

#[tokio::test]
async fn of_several_readers_of_a_blob_that_moved_one_copies_it() {
    let [a, b] = shards::<Cas, 2>();
    let before = two(&a, &b);
    let contents = contents_in(&before, &["a"]);
    before.put_bytes(&CTX, &digest_of(contents), contents).await.unwrap();
    let store = Sharding::new([shard("a", &a).drained(), shard("b", &b)]).unwrap();
    let digest = digest_of(contents);
    let blobs = [store.get(&CTX, &digest).await.unwrap(), store.get(&CTX, &digest).await.unwrap()];
    for blob in blobs {
        assert_eq!(blob.into_bytes(9).await.unwrap(), contents);
    }
    assert!(has(&b, contents).await);
    assert_eq!(b.counts().puts, 1);
}

#[tokio::test]
async fn an_added_shard_falls_back_to_where_blobs_were_for_a_set_time() {
    let [a, b] = shards::<Cas, 2>();
    let clock = ManualClock::new();
    let options = ShardingOptions::new().with_copies_on_get(false);
    let store = Sharding::new([shard("a", &a), shard("b", &b).added(SystemTime::UNIX_EPOCH, HOUR)])
        .unwrap()
        .with_options(options)
        .with_clock(Arc::new(clock.clone()));
    let contents = contents_in(&store, &["b", "a"]);
    stored(&a, contents).await;
    assert_eq!(read(&store, contents).await.unwrap(), contents);
    assert!(store.find_missing(&CTX, &set(&[contents])).await.unwrap().is_empty());
    assert_eq!(store.snapshot()[1].state, ShardState::Added);

    clock.advance(59 * MINUTE);
    assert_eq!(read(&store, contents).await.unwrap(), contents);
    clock.advance(MINUTE);
    assert_eq!(store.shards_of(&digest_of(contents)), ["b"]);
    assert_eq!(store.snapshot()[1].state, ShardState::Settled);
    let gets = a.counts().gets;
    assert!(read(&store, contents).await.unwrap_err().is_not_found());
    assert_eq!(store.find_missing(&CTX, &set(&[contents])).await.unwrap(), set(&[contents]));
    assert_eq!(a.counts().gets, gets);
}

#[tokio::test]
async fn several_changes_at_a_time_are_each_fallen_back_from() {
    let [a, b, c, d] = shards::<Cas, 4>();
    let options = ShardingOptions::new().with_copies_on_get(false);
    let added = |shard: Shard<Inner<Cas>>| shard.added(SystemTime::UNIX_EPOCH, HOUR);
    let store = Sharding::new([shard("a", &a), added(shard("b", &b)), added(shard("c", &c)), shard("d", &d).drained()])
        .unwrap()
        .with_options(options)
        .with_clock(Arc::new(ManualClock::new()));
    let contents = contents_in(&store, &["c", "d", "b", "a"]);
    // A query goes on to the next shard only with what it has not found.
    stored(&d, contents).await;
    assert!(store.find_missing(&CTX, &set(&[contents])).await.unwrap().is_empty());
    assert_eq!([&a, &b, &c, &d].map(|inner| inner.counts().finds), [0, 0, 1, 1]);
    let absent = set(&["absent"]);
    for (key, inner) in [("a", &a), ("b", &b), ("d", &d), ("c", &c)] {
        if key != "d" {
            stored(inner, contents).await;
        }
        assert_eq!(read(&store, contents).await.unwrap(), contents, "{key}");
        assert_eq!(store.find_missing(&CTX, &set(&[contents, "absent"])).await.unwrap(), absent, "{key}");
    }
    // The last of them has it, so the others are not asked any more.
    let calls = [&a, &b, &d].map(|inner| inner.counts().calls());
    read(&store, contents).await.unwrap();
    store.find_missing(&CTX, &set(&[contents])).await.unwrap();
    assert_eq!([&a, &b, &d].map(|inner| inner.counts().calls()), calls);
}

#[tokio::test]
async fn a_blob_that_is_read_moves_home_and_one_that_is_found_if_asked_for() {
    let [a, b] = shards::<Cas, 2>();
    let store = Sharding::new([shard("a", &a).drained(), shard("b", &b)]).unwrap();
    let contents = contents_in(&store, &["b", "a"]);
    stored(&a, contents).await;
    assert!(store.find_missing(&CTX, &set(&[contents])).await.unwrap().is_empty());
    assert!(!has(&b, contents).await);
    assert_eq!(read(&store, contents).await.unwrap(), contents);
    assert!(has(&b, contents).await);

    let [a, b] = shards::<Cas, 2>();
    let options = ShardingOptions::new().with_copies_on_find(true);
    let store = Sharding::new([shard("a", &a).drained(), shard("b", &b)]).unwrap().with_options(options);
    stored(&a, contents).await;
    assert!(store.find_missing(&CTX, &set(&[contents])).await.unwrap().is_empty());
    assert!(has(&b, contents).await);
}

#[tokio::test]
async fn a_copy_never_replaces_a_newer_message() {
    let [a, b] = shards::<Ac, 2>();
    let store = Sharding::new([shard("a", &a).drained(), shard("b", &b)]).unwrap();
    let key = contents_in(&store, &["b", "a"]);
    let digest = digest_of(key);
    memory(&a).put(&CTX, &digest, Blob::from_bytes("old")).await.unwrap();
    assert_eq!(store.get_bytes(&CTX, &digest, 9).await.unwrap(), "old");
    assert_eq!(memory(&b).get_bytes(&CTX, &digest, 9).await.unwrap(), "old");
    store.put(&CTX, &digest, Blob::from_bytes("new")).await.unwrap();
    assert_eq!(store.get_bytes(&CTX, &digest, 9).await.unwrap(), "new");
    assert_eq!(memory(&a).get_bytes(&CTX, &digest, 9).await.unwrap(), "old");
}

#[tokio::test]
async fn a_put_waits_for_the_copy_of_an_older_message() {
    let (old, home) = (inner::<Ac>(), Arc::new(PausedStore::new(inner::<Ac>())));
    let shared: Arc<dyn BlobAccess<Kind = Ac>> = Arc::<PausedStore<_>>::clone(&home);
    let drained: Arc<dyn BlobAccess<Kind = Ac>> = Arc::new(Arc::clone(&old));
    let store = Sharding::new([Shard::new("a", drained).drained(), Shard::new("b", shared)]).unwrap();
    let contents = (0..99).map(|number| number.to_string());
    let digest = contents.map(digest_of).find(|digest| store.shards_of(digest) == ["b", "a"]).unwrap();
    memory(&old).put(&CTX, &digest, Blob::from_bytes("old")).await.unwrap();

    let mut read = store.get(&CTX, &digest);
    assert!(poll!(&mut read).is_pending());
    home.release_one();
    // The home lacks it. The copy looks for a newer value, and is held there.
    assert!(poll!(&mut read).is_pending());
    let mut put = store.put(&CTX, &digest, Blob::from_bytes("new"));
    assert!(poll!(&mut put).is_pending());
    assert_eq!(home.waiting(), 1);
    home.release_all();
    assert_eq!(read.await.unwrap().into_bytes(9).await.unwrap(), "old");
    put.await.unwrap();
    assert_eq!(store.get_bytes(&CTX, &digest, 9).await.unwrap(), "new");
}

#[tokio::test]
async fn an_outage_is_no_absence_wherever_it_is() {
    let [a, b] = shards::<Cas, 2>();
    let store = Sharding::new([shard("a", &a).drained(), shard("b", &b)]).unwrap();
    let contents = contents_in(&store, &["b", "a"]);
    // The home is down: the blob may be elsewhere.
    fail(&b, Error::unavailable("down"));
    let error = read(&store, contents).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Unavailable, "shard b: down"));
    stored(&a, contents).await;
    assert_eq!(read(&store, contents).await.unwrap(), contents);
    assert_eq!(store.find_missing(&CTX, &set(&[contents])).await.unwrap_err().to_string(), "shard b: down");
    // Elsewhere is down: the home alone cannot tell.
    b.inner().outage().end();
    fail(&a, Error::data_loss("rotten"));
    let error = read(&store, contents).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::DataLoss, "shard a: rotten"));
    assert!(store.find_missing(&CTX, &set(&[contents])).await.is_err());
    // What the home has needs nobody else.
    store.put_bytes(&CTX, &digest_of(contents), contents).await.unwrap();
    assert_eq!(read(&store, contents).await.unwrap(), contents);
}

#[tokio::test]
async fn a_request_that_is_refused_is_not_repeated_elsewhere() {
    let [a, b] = shards::<Cas, 2>();
    let store = Sharding::new([shard("a", &a).drained(), shard("b", &b)]).unwrap();
    let contents = contents_in(&store, &["b", "a"]);
    fail(&b, Error::permission_denied("no"));
    assert_eq!(read(&store, contents).await.unwrap_err().to_string(), "shard b: no");
    assert_eq!(a.counts().gets, 0);
    b.inner().outage().end();
    fail(&a, Error::permission_denied("no"));
    assert_eq!(read(&store, contents).await.unwrap_err().to_string(), "shard a: no");
}

fn up<S: BlobAccess>(store: &Sharding<S>) -> Vec<bool> {
    store.snapshot().iter().map(|shard| shard.is_up).collect()
}

#[tokio::test]
async fn a_shard_that_fails_five_times_rests_and_is_tried_by_one_call() {
    let [a, b] = shards::<Cas, 2>();
    let clock = ManualClock::new();
    let store = two(&a, &b).with_clock(Arc::new(clock.clone()));
    let (here, there) = (contents_in(&store, &["a"]), contents_in(&store, &["b"]));
    fail(&a, Error::unavailable("connection refused"));
    for _ in 0..5 {
        assert_eq!(read(&store, here).await.unwrap_err().to_string(), "shard a: connection refused");
    }
    assert_eq!(up(&store), [false, true]);
    let calls = a.counts().calls();
    let error = read(&store, here).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.to_string(), "shard a: down after 5 failures in a row; to be tried again in 5s");
    let error = store.put_bytes(&CTX, &digest_of(here), here).await.unwrap_err();
    assert_eq!(error.put_certainty(), PutCertainty::NotStored);
    let error = store.find_missing(&CTX, &set(&[here, there])).await.unwrap_err();
    assert!(error.to_string().starts_with("shard a: down after 5 failures"), "{error}");
    assert_eq!(a.counts().calls(), calls);
    store.put_bytes(&CTX, &digest_of(there), there).await.unwrap();

    clock.advance(5 * SECOND);
    assert_eq!(read(&store, here).await.unwrap_err().to_string(), "shard a: connection refused");
    assert!(read(&store, here).await.unwrap_err().to_string().contains("down after 6 failures"));
    assert_eq!(a.counts().calls(), calls + 1);
    a.inner().outage().end();
    clock.advance(5 * SECOND);
    // Absence is an answer.
    assert!(read(&store, here).await.unwrap_err().is_not_found());
    assert_eq!(up(&store), [true, true]);
    let snapshot = store.snapshot();
    assert_eq!((snapshot[0].failures, snapshot[0].failures_in_a_row), (6, 0));
    store.put_bytes(&CTX, &digest_of(here), here).await.unwrap();
}

#[tokio::test]
async fn failures_that_a_caller_causes_do_not_count() {
    let [a, b] = shards::<Cas, 2>();
    let clock = ManualClock::new();
    let store = two(&a, &b).with_clock(Arc::new(clock.clone()));
    let contents = contents_in(&store, &["a"]);
    let late = Context::background().with_deadline(clock.monotonic());
    for _ in 0..9 {
        // A source that fails.
        let source = failing_stream(Bytes::from_static(contents.as_bytes()), 1, 1, Error::unavailable("client gone"));
        let blob = Blob::from_verified_stream(&digest_of(contents), source);
        let error = store.put(&CTX, &digest_of(contents), blob).await.unwrap_err();
        assert_eq!(error.to_string(), "shard a: client gone");
    }
    fail(&a, Error::deadline_exceeded("too late"));
    for _ in 0..9 {
        assert!(store.get(&late, &digest_of(contents)).await.is_err());
    }
    fail(&a, Error::cancelled("given up"));
    for _ in 0..9 {
        assert!(read(&store, contents).await.is_err());
    }
    assert_eq!((up(&store), store.snapshot()[0].failures), (vec![true, true], 0));
    // A time-out of the shard's own counts.
    fail(&a, Error::deadline_exceeded("timed out after 5s"));
    for _ in 0..5 {
        assert!(store.get(&CTX, &digest_of(contents)).await.is_err());
    }
    assert_eq!(up(&store), [false, true]);
}

#[tokio::test]
async fn refused_requests_do_not_take_a_shard_down() {
    let [a, b] = shards::<Cas, 2>();
    let store = two(&a, &b);
    let contents = contents_in(&store, &["a"]);
    for error in [Error::invalid_argument("bad"), Error::resource_exhausted("full"), Error::data_loss("rotten")] {
        fail(&a, error);
        for _ in 0..9 {
            assert!(read(&store, contents).await.is_err());
        }
    }
    assert_eq!(up(&store), [true, true]);
}

#[tokio::test]
async fn blobs_of_a_shard_that_is_down_are_missing_if_asked_for() {
    let [a, b] = shards::<Cas, 2>();
    let store = two(&a, &b).with_options(ShardingOptions::new().with_missing_when_down(true));
    let (here, there) = (contents_in(&store, &["a"]), contents_in(&store, &["b"]));
    for contents in [here, there] {
        store.put_bytes(&CTX, &digest_of(contents), contents).await.unwrap();
    }
    fail(&a, Error::unavailable("down"));
    for _ in 0..9 {
        assert_eq!(store.find_missing(&CTX, &set(&[here, there])).await.unwrap(), set(&[here]));
    }
    // A read is no query: an outage is no absence.
    assert_eq!(read(&store, here).await.unwrap_err().kind(), ErrorKind::Unavailable);
    // A request that is refused says nothing about a shard that is down.
    fail(&b, Error::permission_denied("no"));
    assert_eq!(store.find_missing(&CTX, &set(&[there])).await.unwrap_err().to_string(), "shard b: no");
}

#[tokio::test]
async fn blobs_of_a_home_that_is_down_are_present_if_another_shard_has_them() {
    let [a, b] = shards::<Cas, 2>();
    let options = ShardingOptions::new().with_missing_when_down(true).with_copies_on_find(true);
    let store = Sharding::new([shard("a", &a).drained(), shard("b", &b)]).unwrap().with_options(options);
    let contents = contents_in(&store, &["b", "a"]);
    stored(&a, contents).await;
    fail(&b, Error::unavailable("down"));
    for _ in 0..9 {
        assert!(store.find_missing(&CTX, &set(&[contents])).await.unwrap().is_empty());
        assert_eq!(read(&store, contents).await.unwrap(), contents);
    }
}

#[test]
fn shards_that_cannot_work_together_are_refused_by_key() {
    let store = || MemoryStore::<Cas>::new(1 << 10);
    let refused = |shards: Vec<Shard<MemoryStore<Cas>>>| {
        let error = Sharding::new(shards).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        error.to_string()
    };
    assert_eq!(refused(vec![]), "there are no shards; at least one is needed");
    assert_eq!(
        refused(vec![Shard::new("a", store()), Shard::new("b", store()).with_weight(0)]),
        "shard \"b\" has weight 0; the minimum is 1"
    );
    assert_eq!(refused(vec![Shard::new("a", store()), Shard::new("a", store())]), "two shards have the key \"a\"");
    assert_eq!(
        refused(vec![Shard::new("a", store()).drained(), Shard::new("b", store()).drained()]),
        "all shards are drained, so that none takes blobs: a, b"
    );
    let added = Shard::new("a", store()).added(SystemTime::UNIX_EPOCH, HOUR);
    let error = Sharding::in_legacy_order([added], 1).unwrap_err();
    assert_eq!(error.to_string(), "shard \"a\" is added, which the legacy order does not allow");
    assert!(Sharding::in_legacy_order([Shard::new("a", store()).with_weight(0)], 1).is_err());
}

#[tokio::test]
async fn the_legacy_order_passes_over_drained_shards_and_reads_them() {
    let [a, b, c] = shards::<Cas, 3>();
    let legacy = |drained: bool| {
        let second = if drained { shard("b", &b).drained() } else { shard("b", &b) };
        Sharding::in_legacy_order([shard("a", &a), second, shard("c", &c)], 7).unwrap()
    };
    let before = legacy(false);
    let all: Vec<&str> = (0..60).map(|number: u8| &*number.to_string().leak()).collect();
    for contents in &all {
        before.put_bytes(&CTX, &digest_of(contents), *contents).await.unwrap();
    }
    let after = legacy(true);
    assert!(after.find_missing(&CTX, &set(&all)).await.unwrap().is_empty());
    let mut moved = 0;
    for contents in &all {
        assert_eq!(read(&after, contents).await.unwrap(), *contents);
        let (old, new) = (before.shards_of(&digest_of(contents)), after.shards_of(&digest_of(contents)));
        moved += usize::from(old == ["b"]);
        assert!(if old == ["b"] { new[1..] == ["b"] } else { new == old }, "{old:?} {new:?}");
    }
    assert!((10..30).contains(&moved), "{moved}");
}

#[tokio::test]
async fn capabilities_come_from_a_shard_that_is_up_and_takes_blobs() {
    let [a, b, c] = shards::<Cas, 3>();
    let store = Sharding::new([shard("a", &a), shard("b", &b), shard("c", &c).drained()]).unwrap();
    for _ in 0..6 {
        store.capabilities(&CTX, &InstanceName::empty()).await.unwrap();
    }
    assert!(a.counts().capabilities > 0 && b.counts().capabilities > 0);
    assert_eq!(c.counts().capabilities, 0);
    fail(&a, Error::unavailable("down"));
    for _ in 0..6 {
        store.capabilities(&CTX, &InstanceName::empty()).await.unwrap();
    }
    fail(&b, Error::unavailable("down"));
    let error = store.capabilities(&CTX, &InstanceName::empty()).await.unwrap_err();
    assert!(error.to_string().starts_with("shard "), "{error}");
}

#[test]
fn a_layer_describes_its_shards() {
    let [a, b] = shards::<Cas, 2>();
    let store = two(&a, &b);
    assert_eq!(store.to_string(), "sharding(a: counting(memory), b: counting(memory))");
    assert_eq!((store.key_format(), store.finds_in_bulk()), (KeyFormat::WithoutInstanceName, true));
    assert!(store.shard("a").is_some() && store.shard("z").is_none());
    let [a, b] = shards::<Ac, 2>();
    assert_eq!(two(&a, &b).key_format(), KeyFormat::WithInstanceName);
}
