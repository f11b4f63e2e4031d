//! Tests of instance names that each have a store of their own.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::decorators::{Demultiplexing, Route};
use blobaccess::{
    Ac, Blob, BlobAccess, BlobAccessExt, Capabilities, Cas, Context, Digest, DigestSet, Error, ErrorKind, InstanceName,
    KeyFormat, Kind, MemoryStore, Operation, PutCertainty, PutOutcome, Result, Slicer,
};
use blobaccess_testkit::fakes::{LeadingBytes, PausedStore, ScriptedStore};
use blobaccess_testkit::{Numbers, digest_of, seed};
use futures::{FutureExt, poll};

use crate::{Inner, fail, inner, memory, name, store_as};

static CTX: Context = Context::background();

fn within(digest: &Digest, instance_name: &str) -> Digest {
    digest.with_instance_name(name(instance_name))
}

fn route<B: BlobAccess>(prefix: &str, store: B) -> Route<B::Kind> {
    Route::new(name(prefix), Arc::new(store))
}

/// Makes a layer with three routes: `ci` without its prefix, `ci/tests` with another, and `as/it/is` unchanged.
fn stack<K: Kind>() -> ([Inner<K>; 3], Demultiplexing<K>) {
    let stores = [inner(), inner(), inner()];
    let [ci, tests, same] =
        stores.each_ref().map(|store| -> Arc<dyn BlobAccess<Kind = K>> { Arc::new(Arc::clone(store)) });
    let store = Demultiplexing::new([
        route("ci", ci),
        route("ci/tests", tests).with_added_prefix(name("t/u")),
        route("as/it/is", same).with_added_prefix(name("as/it/is")),
    ]);
    (stores, store.unwrap())
}

/// Instance names, the store that serves each, and the name that it gets.
const ROUTED: [(&str, usize, &str); 7] = [
    ("ci", 0, ""),
    ("ci/x", 0, "x"),
    ("ci/testsuite/y", 0, "testsuite/y"),
    ("ci/tests", 1, "t/u"),
    ("ci/tests/x/y", 1, "t/u/x/y"),
    ("as/it/is", 2, "as/it/is"),
    ("as/it/is/x", 2, "as/it/is/x"),
];

const UNKNOWN: [&str; 5] = ["", "c", "cider", "as/it", "x/ci"];

#[tokio::test]
async fn the_longest_prefix_decides_and_is_replaced() {
    for (asked, index, expected) in ROUTED {
        let (stores, store) = stack::<Ac>();
        let digest = within(&digest_of("he"), asked);
        let patched = within(&digest, expected);
        store.put(&CTX, &digest, Blob::from_bytes("hello")).await.unwrap();
        assert_eq!(store.get_bytes(&CTX, &digest, 9).await.unwrap(), "hello");
        let part = store.get_from_composite(&CTX, &digest, &digest, Arc::new(LeadingBytes)).await.unwrap();
        assert_eq!(part.into_bytes(9).await.unwrap(), "he");
        assert!(store.find_missing(&CTX, &digest.clone().into()).await.unwrap().is_empty());
        store.capabilities(&CTX, digest.instance_name()).await.unwrap();
        for (other, inner) in stores.iter().enumerate() {
            let asked = inner.calls().into_iter().flat_map(|call| call.digests);
            assert!(asked.into_iter().all(|digest| digest == patched));
            assert_eq!(inner.calls().len(), if other == index { 5 } else { 0 });
        }
        assert!(memory(&stores[index]).contains(&CTX, &patched).await.unwrap());
    }
}

#[tokio::test]
async fn capabilities_are_those_of_the_name_that_the_store_gets() {
    let script = Arc::new(ScriptedStore::<Cas>::new());
    let route = route("ci", Arc::clone(&script)).with_added_prefix(name("x"));
    let store = Demultiplexing::new([route]).unwrap();
    store.capabilities(&CTX, &name("ci/tests")).await.unwrap_err();
    let calls = format!("{:?}", script.calls());
    assert!(calls.contains("x/tests"), "{calls}");
}

#[tokio::test]
async fn an_unknown_name_is_refused_before_any_store_is_asked() {
    let (stores, store) = stack::<Cas>();
    for asked in UNKNOWN {
        let digest = within(&digest_of("hello"), asked);
        let known = within(&digest, "ci");
        let put = store.put(&CTX, &digest, Blob::from_bytes("hello")).await.unwrap_err();
        assert_eq!(put.put_certainty(), PutCertainty::NotStored);
        for error in [
            put,
            store.get(&CTX, &digest).await.unwrap_err(),
            store.get_from_composite(&CTX, &digest, &digest, Arc::new(LeadingBytes)).await.unwrap_err(),
            store.find_missing(&CTX, &DigestSet::from([known, digest.clone()])).await.unwrap_err(),
            store.capabilities(&CTX, digest.instance_name()).await.unwrap_err(),
            store.route(digest.instance_name()).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert_eq!(error.to_string(), format!("unknown instance name: {asked:?}"));
        }
    }
    assert!(stores.iter().all(|inner| inner.calls().is_empty()));
}

#[tokio::test]
async fn errors_say_which_store_they_come_from() {
    let (stores, store) = stack::<Cas>();
    fail(&stores[1], Error::unavailable("gone fishing"));
    let digest = within(&digest_of("hello"), "ci/tests/x");
    let there = within(&digest, "ci");
    for error in [
        store.get(&CTX, &digest).await.unwrap_err(),
        store.get_from_composite(&CTX, &digest, &digest, Arc::new(LeadingBytes)).await.unwrap_err(),
        store.put(&CTX, &digest, Blob::from_bytes("hello")).await.unwrap_err(),
        store.find_missing(&CTX, &DigestSet::from([there, digest.clone()])).await.unwrap_err(),
        store.capabilities(&CTX, digest.instance_name()).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.to_string(), r#"backend "ci/tests": gone fishing"#);
    }
    let error = store.get(&CTX, &within(&digest, "ci")).await.unwrap_err();
    assert!(error.is_blob_missing() && error.to_string().starts_with(r#"backend "ci": "#), "{error}");
}

#[tokio::test]
async fn each_store_is_asked_once_and_answers_are_of_the_names_asked() {
    let (stores, store) = stack::<Cas>();
    let (here, gone) = (digest_of("here"), digest_of("gone"));
    for inner in &stores {
        store_as(inner, &here, "here").await;
    }
    let names = ROUTED.map(|(asked, ..)| asked);
    let asked: DigestSet = names.iter().flat_map(|name| [within(&here, name), within(&gone, name)]).collect();
    let expected: DigestSet = names.iter().map(|name| within(&gone, name)).collect();
    assert_eq!(store.find_missing(&CTX, &asked).await.unwrap(), expected);
    for (index, inner) in stores.iter().enumerate() {
        let routed = ROUTED.into_iter().filter(|(_, store, _)| *store == index);
        let patched: DigestSet = routed.flat_map(|(.., name)| [within(&here, name), within(&gone, name)]).collect();
        assert_eq!(inner.digests_of_each(Operation::FindMissing), [patched.as_slice()]);
    }
    let none = store.find_missing(&CTX, &expected.filter(|_| false)).await.unwrap();
    assert!(none.is_empty() && stores.iter().all(|inner| inner.count_of(Operation::FindMissing) == 1));
}

#[tokio::test]
async fn stores_are_asked_at_the_same_time() {
    let paused = [(); 2].map(|()| Arc::new(PausedStore::new(MemoryStore::<Cas>::new(1 << 20))));
    let [a, b] =
        paused.each_ref().map(|store| -> Arc<dyn BlobAccess<Kind = Cas>> { Arc::<PausedStore<_>>::clone(store) });
    let store = Demultiplexing::new([route("a", a), route("b", b)]).unwrap();
    let asked = DigestSet::from([within(&digest_of("x"), "a"), within(&digest_of("x"), "b")]);
    let mut query = store.find_missing(&CTX, &asked).boxed();
    assert!(poll!(&mut query).is_pending());
    assert!(paused.iter().all(|inner| inner.waiting() == 1));
    for inner in &paused {
        inner.release_all();
    }
    assert_eq!(query.await.unwrap(), asked);
}

#[tokio::test]
async fn a_store_that_reports_what_it_was_not_asked_about_does_no_harm() {
    let (asked, other) = (digest_of("asked"), digest_of("other"));
    let script = ScriptedStore::<Cas>::new().on_find_missing(Ok(DigestSet::from([other, asked.clone()])));
    let store = Demultiplexing::new([route("", script)]).unwrap();
    assert_eq!(store.find_missing(&CTX, &asked.clone().into()).await.unwrap(), asked.into());
}

#[test]
fn routes_that_cannot_work_are_refused() {
    let route = |prefix: &str| route(prefix, MemoryStore::<Cas>::new(1 << 20));
    let error = Demultiplexing::<Cas>::new([]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(error.to_string(), "there is no route for any instance name");
    for prefix in ["", "a/b"] {
        let error = Demultiplexing::new([route(prefix), route("a"), route(prefix)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert_eq!(error.to_string(), format!("two routes have the instance name prefix {prefix:?}"));
    }
}

#[test]
fn a_layer_describes_itself_and_its_stores() {
    let (_, store) = stack::<Cas>();
    assert_eq!(
        store.to_string(),
        r#"demultiplexing("ci": counting(memory), "ci/tests": as "t/u" counting(memory), "as/it/is": as "as/it/is" counting(memory))"#
    );
    assert_eq!(store.key_format(), KeyFormat::WithInstanceName);
    assert!(store.finds_in_bulk());
    assert_eq!(store.routes().len(), 3);
    let route = store.route(&name("ci/tests/x")).unwrap();
    assert_eq!((route.prefix(), route.added_prefix()), (&name("ci/tests"), &name("t/u")));
}

/// A store that does not find in bulk.
#[derive(Debug)]
struct NotInBulk(MemoryStore<Ac>);

#[async_trait]
impl BlobAccess for NotInBulk {
    type Kind = Ac;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.0.get(ctx, digest).await
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        self.0.get_from_composite(ctx, parent, child, slicer).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        self.0.put(ctx, digest, blob).await
    }

    async fn find_missing(&self, _ctx: &Context, _digests: &DigestSet) -> Result<DigestSet> {
        Err(Error::unimplemented("no such call"))
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        self.0.capabilities(ctx, instance_name).await
    }

    fn key_format(&self) -> KeyFormat {
        self.0.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        false
    }
}

impl Display for NotInBulk {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("not_in_bulk")
    }
}

#[tokio::test]
async fn a_store_that_does_not_find_in_bulk_keeps_the_layer_from_it() {
    let bulk = route("a", MemoryStore::<Ac>::new(1 << 20));
    let single = route("b", NotInBulk(MemoryStore::new(1 << 20)));
    let store = Demultiplexing::new([bulk, single]).unwrap();
    assert!(!store.finds_in_bulk());
    let error = store.find_missing(&CTX, &within(&digest_of("x"), "a").into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unimplemented);
    assert!(store.find_missing(&CTX, &DigestSet::new()).await.unwrap().is_empty());
}

/// Draws a name of up to three components, of which there are two.
fn draw_name(numbers: &mut Numbers) -> String {
    let components = numbers.below(4);
    (0..components).map(|_| if numbers.below(2) == 0 { "a" } else { "b" }).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn whatever_the_routes_a_query_and_a_read_agree() {
    let mut numbers = Numbers::new(seed("BLOBACCESS_NAMES_SEED"));
    let blobs = ["one", "two", "three"];
    for _ in 0..200 {
        let mut prefixes: Vec<_> = (0..4).map(|_| draw_name(&mut numbers)).chain([String::new()]).collect();
        prefixes.sort();
        prefixes.dedup();
        let routes = prefixes.iter().map(|prefix| {
            let route = route(prefix, MemoryStore::<Ac>::new(1 << 20));
            route.with_added_prefix(name(&draw_name(&mut numbers)))
        });
        let store = Demultiplexing::new(routes.collect::<Vec<_>>()).unwrap();
        let mut stored = DigestSet::new();
        for _ in 0..numbers.below(10) {
            let digest = within(&digest_of(blobs[numbers.below(3)]), &draw_name(&mut numbers));
            store.put_bytes(&CTX, &digest, "value").await.unwrap();
            stored = DigestSet::union([stored, digest.into()]);
        }
        let asked: DigestSet =
            (0..20).map(|_| within(&digest_of(blobs[numbers.below(3)]), &draw_name(&mut numbers))).collect();
        assert_eq!(store.find_missing(&CTX, &asked).await.unwrap(), asked.difference(&stored));
        for digest in &asked {
            assert_eq!(store.get(&CTX, digest).await.is_ok(), stored.contains(digest), "{digest}");
        }
    }
}
