//! Tests of the layers over two stores.

use std::sync::Arc;

use blobaccess::decorators::{Mirrored, ReadFallback};
use blobaccess::replication::LocalReplicator;
use blobaccess::{
    BlobAccess, BlobAccessExt, Cas, Context, Digest, DigestSet, Error, ErrorKind, Operation, PutCertainty,
};
use blobaccess_testkit::digest_of;

use crate::{Inner, fail, inner, memory, stored};

static CTX: Context = Context::background();

type Fallback = ReadFallback<Inner<Cas>, Inner<Cas>, LocalReplicator<Inner<Cas>, Inner<Cas>>>;

fn fallback() -> (Inner<Cas>, Inner<Cas>, Fallback) {
    let (primary, secondary) = (inner(), inner());
    let replicator = LocalReplicator::new(Arc::new(Arc::clone(&secondary)), Arc::new(Arc::clone(&primary)));
    (Arc::clone(&primary), Arc::clone(&secondary), ReadFallback::new(primary, secondary, replicator))
}

fn mirror() -> (Inner<Cas>, Inner<Cas>, Mirrored<Cas>) {
    let (a, b) = (inner(), inner());
    let a_to_b = LocalReplicator::new(Arc::clone(&a), Arc::clone(&b));
    let b_to_a = LocalReplicator::new(Arc::clone(&b), Arc::clone(&a));
    let store = Mirrored::new(Arc::new(Arc::clone(&a)), Arc::new(Arc::clone(&b)), Arc::new(a_to_b), Arc::new(b_to_a));
    (a, b, store)
}

async fn has(store: &Inner<Cas>, digest: &Digest) -> bool {
    memory(store).contains(&CTX, digest).await.unwrap()
}

#[tokio::test]
async fn what_the_primary_lacks_is_read_from_the_secondary_and_copied() {
    let (primary, secondary, store) = fallback();
    let digest = stored(&secondary, "hello").await;
    for _ in 0..2 {
        assert_eq!(store.get_bytes(&CTX, &digest, 9).await.unwrap(), "hello");
    }
    assert!(has(&primary, &digest).await);
    assert_eq!(secondary.calls().iter().filter(|call| call.operation == Operation::Get).count(), 1);
}

#[tokio::test]
async fn a_query_copies_what_only_the_secondary_has() {
    let (primary, secondary, store) = fallback();
    let (old, absent) = (stored(&secondary, "old").await, digest_of("absent"));
    let both = DigestSet::from([old.clone(), absent.clone()]);
    assert_eq!(store.find_missing(&CTX, &both).await.unwrap(), absent.into());
    assert!(has(&primary, &old).await);
}

#[tokio::test]
async fn an_outage_of_either_store_is_no_absence_and_says_which_it_is() {
    let (primary, secondary, store) = fallback();
    let digest = stored(&primary, "hello").await;
    fail(&secondary, Error::unavailable("down"));
    assert_eq!(store.get_bytes(&CTX, &digest, 9).await.unwrap(), "hello");
    let absent = digest_of("absent");
    assert_eq!(store.get(&CTX, &absent).await.unwrap_err().to_string(), "secondary: down");
    assert_eq!(store.find_missing(&CTX, &absent.clone().into()).await.unwrap_err().to_string(), "secondary: down");
    fail(&primary, Error::unavailable("down"));
    assert_eq!(store.get(&CTX, &absent).await.unwrap_err().to_string(), "primary: down");
}

#[tokio::test]
async fn a_secondary_that_lacks_what_it_has_reported_is_inconsistent() {
    let (primary, secondary) = (inner::<Cas>(), inner::<Cas>());
    let digest = stored(&secondary, "hello").await;
    // The replicator copies from a store that has lost the blob.
    let lost = LocalReplicator::new(Arc::new(inner::<Cas>()), Arc::new(Arc::clone(&primary)));
    let store = ReadFallback::new(primary, secondary, lost);
    let error = store.find_missing(&CTX, &digest.into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.to_string().starts_with("replication: "), "{error}");
}

#[tokio::test]
async fn a_mirror_serves_from_either_half_and_repairs_the_other() {
    for only_in_b in [false, true] {
        let (a, b, store) = mirror();
        let (holder, lacking) = if only_in_b { (&b, &a) } else { (&a, &b) };
        let digest = stored(holder, "hello").await;
        // Reads begin with each half in turn.
        for _ in 0..2 {
            assert_eq!(store.get_bytes(&CTX, &digest, 9).await.unwrap(), "hello");
        }
        assert!(has(lacking, &digest).await);
        let other = stored(holder, "other").await;
        assert!(store.contains(&CTX, &other).await.unwrap());
        assert!(has(lacking, &other).await);
    }
}

#[tokio::test]
async fn a_half_that_is_down_hides_nothing_that_the_other_has() {
    let (a, b, store) = mirror();
    let digest = digest_of("hello");
    store.put_bytes(&CTX, &digest, "hello").await.unwrap();
    assert!(has(&a, &digest).await && has(&b, &digest).await);
    fail(&a, Error::unavailable("down"));
    for _ in 0..2 {
        assert_eq!(store.get_bytes(&CTX, &digest, 9).await.unwrap(), "hello");
    }
    // Whether the half that is down has it is not known.
    for _ in 0..2 {
        let error = store.get(&CTX, &digest_of("absent")).await.unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Unavailable, "a: down"));
    }
}

#[tokio::test]
async fn a_put_that_one_half_refuses_may_be_stored() {
    let (a, b, store) = mirror();
    fail(&a, Error::unavailable("down").not_stored());
    let digest = digest_of("hello");
    let error = store.put_bytes(&CTX, &digest, "hello").await.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.put_certainty()), ("a: down", PutCertainty::MaybeStored));
    fail(&b, Error::unavailable("down").not_stored());
    let error = store.put_bytes(&CTX, &digest_of("other"), "other").await.unwrap_err();
    assert_eq!(error.put_certainty(), PutCertainty::NotStored);
}
