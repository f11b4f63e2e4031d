//! Layers over a store that fails at random.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::decorators::{
    Authorizers, Authorizing, DeadlineEnforcing, EmptyBlobInjecting, Observing, StaticAuthorizer,
};
use blobaccess::{Blob, BlobAccess, Cas, Context, DigestSet, ErrorKind, MemoryStore, NoObserver, PutCertainty};
use blobaccess_testkit::fakes::UnreliableStore;
use blobaccess_testkit::{Numbers, digest_of, seed};

/// The certainty about a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Absent,
    Stored,
    MaybeStored,
}

#[tokio::test]
async fn a_stack_never_takes_a_failure_for_absence_and_never_forgets_that_a_put_may_have_stored() {
    let ctx = Context::background();
    let mut numbers = Numbers::new(seed("BLOBACCESS_UNRELIABLE_SEED"));
    let memory = Arc::new(MemoryStore::<Cas>::new(16 << 20));
    let unreliable = UnreliableStore::new(Arc::clone(&memory), Numbers::new(numbers.draw()), 30);
    let store = DeadlineEnforcing::new(unreliable, Duration::from_hours(1));
    let store = EmptyBlobInjecting::new(Observing::new(store, "unreliable", Arc::new(NoObserver)));
    let store = Authorizing::new(store, Authorizers::all(Arc::new(StaticAuthorizer::Allow)));

    let mut states = HashMap::new();
    for _ in 0..3000 {
        let contents = numbers.below(40).to_string();
        let digest = digest_of(&contents);
        let state = states.entry(contents.clone()).or_insert(State::Absent);
        let error = match numbers.below(3) {
            0 => match store.put(&ctx, &digest, Blob::from_bytes(contents)).await {
                Ok(_) => {
                    *state = State::Stored;
                    continue;
                }
                Err(error) => {
                    if error.put_certainty() == PutCertainty::MaybeStored && *state == State::Absent {
                        *state = State::MaybeStored;
                    }
                    error
                }
            },
            1 => match store.get(&ctx, &digest).await {
                Ok(blob) => {
                    assert_eq!(blob.into_bytes(9).await.unwrap(), contents);
                    assert_ne!(*state, State::Absent, "{contents} was read before it was put");
                    *state = State::Stored;
                    continue;
                }
                Err(error) if error.is_not_found() => {
                    assert_ne!(*state, State::Stored, "{contents} is stored, but not found");
                    *state = State::Absent;
                    continue;
                }
                Err(error) => error,
            },
            _ => match store.find_missing(&ctx, &digest.clone().into()).await {
                Ok(missing) if missing.is_empty() => {
                    assert_ne!(*state, State::Absent, "{contents} was found before it was put");
                    *state = State::Stored;
                    continue;
                }
                Ok(missing) => {
                    assert_eq!(missing, DigestSet::from(digest));
                    assert_ne!(*state, State::Stored, "{contents} is stored, but missing");
                    *state = State::Absent;
                    continue;
                }
                Err(error) => error,
            },
        };
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    }
    for (contents, state) in states {
        let stored = memory.get(&ctx, &digest_of(&contents)).await.is_ok();
        assert!(state == State::MaybeStored || stored == (state == State::Stored), "{contents}: {state:?}, {stored}");
    }
}
