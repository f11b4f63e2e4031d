//! Tests of messages that are found in the parents of an instance name.

use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::decorators::HierarchicalInstanceNames;
use blobaccess::{
    Ac, Blob, BlobAccess, BlobAccessExt, Context, Digest, DigestSet, Error, ErrorKind, Operation, PutOutcome, Result,
    Slice, Sliced, Slicer,
};
use blobaccess_testkit::fakes::{LeadingBytes, ScriptedStore};
use blobaccess_testkit::{Numbers, digest_of, seed};

use crate::{Inner, fail, inner, memory, name, store_as};

static CTX: Context = Context::background();

fn stack() -> (Inner<Ac>, HierarchicalInstanceNames<Inner<Ac>>) {
    let inner = inner();
    (Arc::clone(&inner), HierarchicalInstanceNames::new(inner))
}

fn within(digest: &Digest, instance_name: &str) -> Digest {
    digest.with_instance_name(name(instance_name))
}

/// Returns the instance names of the digests of each call of `operation`.
fn names_asked(inner: &Inner<Ac>, operation: Operation) -> Vec<Vec<String>> {
    let calls = inner.digests_of_each(operation).into_iter();
    calls.map(|digests| digests.iter().map(|digest| digest.instance_name().to_string()).collect()).collect()
}

#[tokio::test]
async fn a_message_is_read_from_the_most_specific_name_that_has_it() {
    let (inner, store) = stack();
    let action = digest_of("action");
    store_as(&inner, &within(&action, ""), "of all").await;
    store_as(&inner, &within(&action, "a/b"), "of b").await;
    for (asked, value, steps) in [
        ("a/b/c/d", "of b", 3),
        ("a/b/c", "of b", 2),
        ("a/b", "of b", 1),
        ("a", "of all", 2),
        ("", "of all", 1),
        ("x/y", "of all", 3),
    ] {
        let before = inner.count_of(Operation::Get);
        assert_eq!(store.get_bytes(&CTX, &within(&action, asked), 99).await.unwrap(), value, "{asked}");
        assert_eq!(inner.count_of(Operation::Get) - before, steps, "{asked}");
    }
}

#[tokio::test]
async fn what_is_in_no_name_is_not_found_in_the_name_that_was_asked() {
    let (inner, store) = stack();
    let action = within(&digest_of("absent"), "a/b");
    let error = store.get(&CTX, &action).await.unwrap_err();
    assert!(error.is_blob_missing());
    assert_eq!(error.trail().count(), 0);
    assert!(error.to_string().contains(&action.to_string()), "{error}");
    assert_eq!(names_asked(&inner, Operation::Get), [["a/b"], ["a"], [""]]);
    let part = within(&digest_of("part"), "a/b");
    let error = store.get_from_composite(&CTX, &action, &part, Arc::new(LeadingBytes)).await.unwrap_err();
    assert!(error.is_blob_missing() && error.trail().count() == 0);
    let asked = names_asked(&inner, Operation::GetFromComposite);
    assert_eq!(asked, [["a/b", "a/b"], ["a", "a"], ["", ""]]);
}

fn gone_fishing<T>() -> Result<T> {
    Err(Error::unavailable("gone fishing"))
}

#[tokio::test]
async fn an_outage_at_any_level_ends_the_search_and_says_where() {
    let action = within(&digest_of("action"), "a/b");
    let part = within(&digest_of("part"), "a/b");
    for (above, down) in ["a/b", "a", ""].into_iter().enumerate() {
        let mut script = ScriptedStore::<Ac>::new();
        for _ in 0..above {
            script =
                script.on_get(Err(Error::not_found("absent"))).on_get_from_composite(Err(Error::not_found("absent")));
        }
        let script = Arc::new(script.on_get(gone_fishing()).on_get_from_composite(gone_fishing()));
        let store = HierarchicalInstanceNames::new(Arc::clone(&script));
        let expected = (ErrorKind::Unavailable, format!("instance name {down:?}: gone fishing"));
        let error = store.get(&CTX, &action).await.unwrap_err();
        assert_eq!((error.kind(), error.to_string()), expected);
        let error = store.get_from_composite(&CTX, &action, &part, Arc::new(LeadingBytes)).await.unwrap_err();
        assert_eq!((error.kind(), error.to_string()), expected);
        assert_eq!(script.calls().len(), 2 * (above + 1));
    }
}

/// A slicer that knows its part by one digest, and finds another one by the way.
#[derive(Debug)]
struct Knowing(Digest);

#[async_trait]
impl Slicer for Knowing {
    async fn slice(&self, parent: Blob, child: &Digest) -> Result<Sliced> {
        assert_eq!(*child, self.0, "the slicer gets the digest that the caller asks for");
        let sliced = LeadingBytes.slice(parent, child).await?;
        Ok(sliced.with_slices(vec![Slice { digest: child.clone(), offset: 0, size_bytes: child.size_bytes() }]))
    }
}

#[tokio::test]
async fn a_part_is_sliced_from_the_composite_of_a_parent_under_the_digest_that_was_asked_for() {
    let (inner, store) = stack();
    let action = within(&digest_of("action"), "a/b");
    store_as(&inner, &within(&action, "a"), "hello").await;
    let part = within(&digest_of("he"), "a/b");
    let blob = store.get_from_composite(&CTX, &action, &part, Arc::new(Knowing(part.clone()))).await.unwrap();
    assert_eq!(blob.into_bytes(9).await.unwrap(), "he");
}

#[tokio::test]
async fn a_composite_without_the_part_hides_those_of_the_parents() {
    #[derive(Debug)]
    struct WithoutParts;
    #[async_trait]
    impl Slicer for WithoutParts {
        async fn slice(&self, _parent: Blob, _child: &Digest) -> Result<Sliced> {
            Err(Error::part_not_found("no such part"))
        }
    }
    let (inner, store) = stack();
    let action = within(&digest_of("action"), "a/b");
    store_as(&inner, &action, "hello").await;
    let part = within(&digest_of("he"), "a/b");
    let error = store.get_from_composite(&CTX, &action, &part, Arc::new(WithoutParts)).await.unwrap_err();
    assert!(error.is_part_missing());
    assert_eq!(inner.count_of(Operation::GetFromComposite), 1);
}

#[tokio::test]
async fn a_query_asks_level_by_level_about_what_is_still_missing() {
    let (inner, store) = stack();
    let (one, two) = (digest_of("one"), digest_of("two"));
    store_as(&inner, &within(&one, "a"), "of a").await;
    let asked = DigestSet::from([
        within(&one, "a/b/c"),
        within(&one, "a/b"),
        within(&one, "x"),
        within(&two, "a/b/c"),
        within(&two, "a/b/d"),
        within(&two, ""),
    ]);
    let missing = store.find_missing(&CTX, &asked).await.unwrap();
    assert_eq!(missing, asked.filter(|digest| digest.hash() == two.hash() || *digest.instance_name() == name("x")));
    let mut calls = inner.digests_of_each(Operation::FindMissing).into_iter().map(DigestSet::from);
    assert_eq!(calls.next(), Some(asked));
    // Digests of one hash in names with the same parent are one question.
    assert_eq!(
        calls.next(),
        Some([within(&one, "a/b"), within(&one, "a"), within(&one, ""), within(&two, "a/b")].into())
    );
    assert_eq!(calls.next(), Some([within(&one, "a"), within(&two, "a")].into()));
    assert_eq!(calls.next(), Some(within(&two, "").into()));
    assert_eq!(calls.next(), None);
}

#[tokio::test]
async fn a_query_about_what_is_there_or_in_the_empty_name_is_one_call() {
    let (inner, store) = stack();
    let (there, absent) = (within(&digest_of("there"), "a/b"), digest_of("absent"));
    store_as(&inner, &there, "of b").await;
    let asked = DigestSet::from([there, absent.clone()]);
    assert_eq!(store.find_missing(&CTX, &asked).await.unwrap(), absent.into());
    assert_eq!(inner.count_of(Operation::FindMissing), 1);
    assert!(store.find_missing(&CTX, &DigestSet::new()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_failed_query_comes_as_it_is_at_the_first_level_and_later() {
    let asked = DigestSet::from(within(&digest_of("action"), "a/b"));
    let script = ScriptedStore::<Ac>::new().on_find_missing(gone_fishing());
    let error = HierarchicalInstanceNames::new(script).find_missing(&CTX, &asked).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Unavailable, "gone fishing"));
    let script = ScriptedStore::<Ac>::new().on_find_missing(Ok(asked.clone())).on_find_missing(gone_fishing());
    let error = HierarchicalInstanceNames::new(script).find_missing(&CTX, &asked).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Unavailable, "gone fishing"));
}

#[tokio::test]
async fn a_put_is_in_the_name_itself_only() {
    let (inner, store) = stack();
    let action = within(&digest_of("action"), "a/b");
    store_as(&inner, &within(&action, "a"), "of a").await;
    let outcome = store.put(&CTX, &action, Blob::from_bytes("of b")).await.unwrap();
    assert!(matches!(outcome, PutOutcome::Created { .. }));
    assert_eq!(store.get_bytes(&CTX, &within(&action, "a"), 9).await.unwrap(), "of a");
    assert_eq!(store.get_bytes(&CTX, &action, 9).await.unwrap(), "of b");
}

#[tokio::test]
async fn a_name_of_too_many_components_is_looked_in_and_its_parents_are_not() {
    let (inner, store) = stack();
    let action = digest_of("action");
    let (deep, deeper) = (within(&action, &["a"; 64].join("/")), within(&action, &["a"; 65].join("/")));
    assert!(store.get(&CTX, &deep).await.is_err_and(|error| error.is_not_found()));
    assert_eq!(inner.count_of(Operation::Get), 65);
    for error in [
        store.get(&CTX, &deeper).await.unwrap_err(),
        store.find_missing(&CTX, &deeper.clone().into()).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().ends_with("has 65 components; the maximum is 64"), "{error}");
    }
    assert_eq!((inner.count_of(Operation::Get), inner.count_of(Operation::FindMissing)), (66, 1));
    store_as(&inner, &deeper, "deep").await;
    assert_eq!(store.get_bytes(&CTX, &deeper, 9).await.unwrap(), "deep");
    fail(&inner, Error::unavailable("gone fishing"));
    assert_eq!(store.get(&CTX, &deeper).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

/// Draws a name of up to four components, of which there are two.
fn draw_name(numbers: &mut Numbers) -> String {
    let components = numbers.below(5);
    (0..components).map(|_| if numbers.below(2) == 0 { "a" } else { "b" }).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn a_query_and_a_read_agree_about_every_digest() {
    let mut numbers = Numbers::new(seed("BLOBACCESS_NAMES_SEED"));
    let actions: Vec<_> = (0..4).map(|number| digest_of(format!("action {number}"))).collect();
    for _ in 0..300 {
        let (inner, store) = stack();
        for _ in 0..numbers.below(6) {
            let action = &actions[numbers.below(actions.len())];
            memory(&inner).put_bytes(&CTX, &within(action, &draw_name(&mut numbers)), "value").await.unwrap();
        }
        let digests = 1 + numbers.below(20);
        let asked: DigestSet =
            (0..digests).map(|_| within(&actions[numbers.below(actions.len())], &draw_name(&mut numbers))).collect();
        let missing = store.find_missing(&CTX, &asked).await.unwrap();
        let depth = asked.iter().map(|digest| digest.instance_name().components().count()).max().unwrap_or_default();
        assert!(inner.count_of(Operation::FindMissing) <= depth + 1);
        for digest in &asked {
            let read = store.get(&CTX, digest).await;
            assert_eq!(read.is_err_and(|error| error.is_not_found()), missing.contains(digest), "{digest}");
        }
    }
}
