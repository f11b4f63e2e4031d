//! Tests of what a caller may do.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use blobaccess::decorators::{Authorizer, Authorizers, Authorizing, StaticAuthorizer};
use blobaccess::{
    Blob, BlobAccess, Caller, Cas, Context, DigestSet, Error, ErrorKind, InstanceName, Operation, PutCertainty,
    PutOutcome, Result,
};
use blobaccess_testkit::digest_of;
use blobaccess_testkit::fakes::LeadingBytes;

use crate::{Inner, fail, inner, memory, stored};

static CTX: Context = Context::background();

fn name(name: &str) -> InstanceName {
    InstanceName::new(name).unwrap()
}

/// An authorizer that allows the caller whose name is the instance name, and keeps what it is asked.
#[derive(Debug, Default)]
struct OwnName {
    asked: Mutex<Vec<Vec<InstanceName>>>,
    failure: Option<Error>,
    silent: bool,
}

#[async_trait]
impl Authorizer for OwnName {
    async fn authorize(&self, ctx: &Context, instance_names: &[InstanceName]) -> Vec<Result<()>> {
        self.asked.lock().unwrap().push(instance_names.to_vec());
        if self.silent {
            return Vec::new();
        }
        let caller = ctx.caller().map_or("", Caller::name);
        let answer = |name: &InstanceName| match &self.failure {
            Some(error) => Err(error.clone()),
            None if name.as_str() == caller => Ok(()),
            None => Err(Error::permission_denied(format!("caller {caller:?} is not welcome"))),
        };
        instance_names.iter().map(answer).collect()
    }
}

fn stack(get: bool, put: bool, find_missing: bool) -> (Inner<Cas>, Authorizing<Inner<Cas>>) {
    let [get, put, find_missing] = [get, put, find_missing].map(|allow| -> Arc<dyn Authorizer> {
        Arc::new(if allow { StaticAuthorizer::Allow } else { StaticAuthorizer::Deny })
    });
    let inner = inner();
    (Arc::clone(&inner), Authorizing::new(inner, Authorizers::new(get, put, find_missing)))
}

fn with(authorizer: OwnName) -> (Inner<Cas>, Arc<OwnName>, Authorizing<Inner<Cas>>) {
    let (inner, authorizer) = (inner(), Arc::new(authorizer));
    let authorizers = Authorizers::all(Arc::<OwnName>::clone(&authorizer));
    (Arc::clone(&inner), authorizer, Authorizing::new(inner, authorizers))
}

#[tokio::test]
async fn an_allowed_caller_reaches_the_inner_store() {
    let (inner, store) = stack(true, true, true);
    let digest = digest_of("hello");
    assert!(store.find_missing(&CTX, &digest.clone().into()).await.unwrap().contains(&digest));
    let outcome = store.put(&CTX, &digest, Blob::from_bytes("hello")).await.unwrap();
    assert_eq!(outcome, PutOutcome::Created { stored_bytes: 5 });
    assert_eq!(store.get(&CTX, &digest).await.unwrap().into_bytes(9).await.unwrap(), "hello");
    store.get_from_composite(&CTX, &digest, &digest_of("he"), Arc::new(LeadingBytes)).await.unwrap();
    fail(&inner, Error::unavailable("gone fishing"));
    assert_eq!(store.get(&CTX, &digest).await.unwrap_err().to_string(), "gone fishing");
}

#[tokio::test]
async fn each_operation_has_its_own_authorizer_and_a_denied_call_does_not_reach_the_inner_store() {
    let digest = digest_of("hello");
    let asked = DigestSet::from(digest.clone());
    for denied in 0..3 {
        let (inner, store) = stack(denied != 0, denied != 1, denied != 2);
        let hello = stored(&inner, "hello").await;
        let results = [
            (0, store.get(&CTX, &hello).await.map(drop)),
            (0, store.get_from_composite(&CTX, &hello, &digest_of("he"), Arc::new(LeadingBytes)).await.map(drop)),
            (1, store.put(&CTX, &digest, Blob::from_bytes("hello")).await.map(drop)),
            (2, store.find_missing(&CTX, &asked).await.map(drop)),
        ];
        let mut allowed = 0;
        for (group, result) in results {
            if group == denied {
                let error = result.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::PermissionDenied);
                let place = if group == 2 { r#"authorization of instance name """# } else { "authorization" };
                assert_eq!(error.to_string(), format!("{place}: permission denied"));
            } else {
                result.unwrap();
                allowed += 1;
            }
        }
        assert_eq!(inner.calls().len(), allowed);
    }
}

#[tokio::test]
async fn a_part_is_authorized_by_its_composite() {
    let (inner, authorizer, store) = with(OwnName::default());
    let parent = stored(&inner, "hello").await;
    let child = digest_of("he").with_instance_name(name("elsewhere"));
    store.get_from_composite(&CTX, &parent, &child, Arc::new(LeadingBytes)).await.unwrap();
    assert_eq!(*authorizer.asked.lock().unwrap(), [[InstanceName::empty()]]);
}

#[tokio::test]
async fn all_instance_names_are_asked_about_at_once() {
    let (inner, authorizer, store) = with(OwnName::default());
    let ctx = CTX.clone().with_caller(Caller::new("b"));
    let digests: DigestSet = ["c", "b", "a", "b", "c"]
        .into_iter()
        .zip(["1", "2", "3", "4", "5"])
        .map(|(instance, contents)| digest_of(contents).with_instance_name(name(instance)))
        .collect();
    let error = store.find_missing(&ctx, &digests).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert_eq!(error.to_string(), r#"authorization of instance name "a": caller "b" is not welcome"#);
    assert_eq!(*authorizer.asked.lock().unwrap(), [["a", "b", "c"].map(name)]);
    assert!(inner.calls().is_empty());

    let own = digests.filter(|digest| digest.instance_name().as_str() == "b");
    assert_eq!(store.find_missing(&ctx, &own).await.unwrap(), own);
    assert_eq!(inner.count_of(Operation::FindMissing), 1);
    assert!(store.find_missing(&CTX, &DigestSet::new()).await.unwrap().is_empty());
    assert_eq!(authorizer.asked.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_refused_put_has_stored_nothing_whatever_it_is_refused_for() {
    let failure = Some(Error::unavailable("no directory"));
    let (inner, _, store) = with(OwnName { failure, ..OwnName::default() });
    let error = store.put(&CTX, &digest_of("hello"), Blob::from_bytes("hello")).await.unwrap_err();
    assert_eq!(error.to_string(), "authorization: no directory");
    assert_eq!(error.put_certainty(), PutCertainty::NotStored);
    assert_eq!(memory(&inner).snapshot().blobs, 0);
}

#[tokio::test]
async fn an_authorizer_that_says_nothing_lets_nobody_pass() {
    let (inner, _, store) = with(OwnName { silent: true, ..OwnName::default() });
    let digest = stored(&inner, "hello").await;
    assert_eq!(store.get(&CTX, &digest).await.unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(store.find_missing(&CTX, &digest.into()).await.unwrap_err().kind(), ErrorKind::Internal);
    assert!(inner.calls().is_empty());
}

#[tokio::test]
async fn a_caller_that_may_not_put_sees_that_updates_are_not_allowed() {
    let name = InstanceName::empty();
    let (inner, store) = stack(false, true, false);
    assert!(store.capabilities(&CTX, &name).await.unwrap().updates_allowed);
    assert_eq!(inner.count_of(Operation::GetCapabilities), 1);
    let (inner, store) = stack(true, false, true);
    let capabilities = store.capabilities(&CTX, &name).await.unwrap();
    let expected = memory(&inner).capabilities(&CTX, &name).await.unwrap().with_updates_allowed(false);
    assert_eq!(capabilities, expected);
    fail(&inner, Error::unavailable("gone fishing"));
    assert_eq!(store.capabilities(&CTX, &name).await.unwrap_err().to_string(), "gone fishing");
}

#[tokio::test]
async fn capabilities_fail_if_the_authorizer_of_puts_does() {
    let failure = Some(Error::unavailable("no directory"));
    let (_, _, store) = with(OwnName { failure, ..OwnName::default() });
    let error = store.capabilities(&CTX, &InstanceName::empty()).await.unwrap_err();
    assert_eq!(error.to_string(), "authorization: no directory");
}

#[tokio::test]
async fn a_store_without_updates_needs_no_authorizer_to_say_so() {
    let inner = Authorizing::new(inner::<Cas>(), Authorizers::all(Arc::new(StaticAuthorizer::Deny)));
    let authorizer = Arc::new(OwnName::default());
    let store = Authorizing::new(inner, Authorizers::all(Arc::<OwnName>::clone(&authorizer)));
    assert!(!store.capabilities(&CTX, &InstanceName::empty()).await.unwrap().updates_allowed);
    assert!(authorizer.asked.lock().unwrap().is_empty());
}
