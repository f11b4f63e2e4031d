//! The properties that blobs must share to travel in one batch.

use blobaccess::{Caller, Context, Digest, DigestFunction, InstanceName, Metadata};
use uuid::Uuid;

/// Tells servers on whose behalf a call is made: which tool, which build, which action. It only informs, and differs
/// from action to action.
const REQUEST_METADATA: &str = "build.bazel.remote.execution.v2.requestmetadata-bin";

/// The properties that blobs must share to travel in one batch: all that the call says about every one of them.
///
/// Forwarded metadata may decide about rights, so that of one caller must not serve another. `RequestMetadata` does
/// not, and is dropped from a batch of several. The token of an upload is not that of a call: each entry has its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct BatchKey {
    pub(super) instance_name: InstanceName,
    pub(super) function: DigestFunction,
    metadata: Vec<(String, Vec<u8>)>,
    /// The caller, where what is sent depends on it.
    caller: Option<Caller>,
    /// Another one for each call whose claims decide: they cannot be compared by what they say.
    alone: Option<Uuid>,
}

impl BatchKey {
    /// Returns the key of `digest`. Calls for different callers are kept apart if they differ `by_caller`.
    pub(super) fn new(ctx: &Context, digest: &Digest, by_caller: bool) -> Self {
        let shared = ctx.metadata().iter().filter(|(name, _)| *name != REQUEST_METADATA);
        Self {
            instance_name: digest.instance_name().clone(),
            function: digest.function(),
            metadata: shared.map(|(name, value)| (name.to_owned(), value.to_vec())).collect(),
            caller: ctx.caller().filter(|_| by_caller).cloned(),
            alone: ctx.claims().filter(|_| by_caller).map(|_| Uuid::new_v4()),
        }
    }
}

/// Returns the context of a call on behalf of all of `contexts`, which have their key in common. It lasts as long as that of
/// whoever waits longest.
pub(super) fn common(contexts: &[Context]) -> Context {
    let Some((first, others)) = contexts.split_first() else { return Context::background() };
    if others.is_empty() {
        return first.clone();
    }
    let mut ctx = Context::background();
    if let Some(caller) = first.caller()
        && others.iter().all(|other| other.caller() == Some(caller))
    {
        ctx = ctx.with_caller(caller.clone());
    }
    let agreed = |get: fn(&Context) -> Option<&[u8]>| others.iter().all(|other| get(other) == get(first));
    if let Some(parent) = first.trace_parent()
        && agreed(|ctx| ctx.trace_parent().map(str::as_bytes))
    {
        ctx = ctx.with_trace_parent(parent);
    }
    let keep = agreed(|ctx| ctx.metadata().get(REQUEST_METADATA));
    let metadata = first.metadata().iter().filter(|(name, _)| keep || *name != REQUEST_METADATA);
    let metadata = metadata.fold(Metadata::new(), |all, (name, value)| all.with(name.to_owned(), value));
    if !metadata.is_empty() {
        ctx = ctx.with_metadata(metadata);
    }
    let deadlines: Option<Vec<_>> = contexts.iter().map(Context::deadline).collect();
    match deadlines.and_then(|deadlines| deadlines.into_iter().max()) {
        Some(latest) => ctx.with_deadline(latest),
        None => ctx,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use blobaccess::{Clock, SystemClock, UploadToken};

    use super::*;

    fn digest() -> Digest {
        Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello")
    }

    #[test]
    fn callers_with_other_rights_do_not_travel_together_and_other_actions_do() {
        let with = |name: &'static str, value: &str| {
            Context::background().with_metadata(Metadata::new().with(name, value.as_bytes()))
        };
        let key = |ctx: &Context| BatchKey::new(ctx, &digest(), false);
        assert_ne!(key(&with("authorization", "a")), key(&with("authorization", "b")));
        assert_eq!(key(&with(REQUEST_METADATA, "a")), key(&with(REQUEST_METADATA, "b")));
        let called = |name: &'static str| Context::background().with_caller(Caller::new(name));
        assert_eq!(key(&called("ci")), key(&called("alice")));
        let by_caller = |name| BatchKey::new(&called(name), &digest(), true);
        assert_ne!(by_caller("ci"), by_caller("alice"));
        assert_eq!(common(&[called("ci"), called("ci")]).caller(), Some(&Caller::new("ci")));
        assert_eq!(common(&[called("ci"), called("alice")]).caller(), None);
        let tokened = Context::background().with_upload_token(UploadToken::from_bytes([1; 16]));
        assert_eq!(key(&tokened), key(&Context::background()));
        assert_eq!(common(&[tokened.clone(), tokened.clone()]).upload_token(), None);
        let elsewhere = digest().with_instance_name(InstanceName::new("a").unwrap());
        assert_ne!(BatchKey::new(&tokened, &elsewhere, true), key(&tokened));
    }

    #[test]
    fn a_batch_says_what_all_agree_on_and_lasts_as_long_as_the_longest() {
        let now = SystemClock.monotonic();
        let of = |action: &str, trace: &str, seconds| {
            let metadata = Metadata::new().with(REQUEST_METADATA, action.as_bytes()).with("x-user", b"me".as_slice());
            Context::background()
                .with_metadata(metadata)
                .with_trace_parent(trace)
                .with_deadline(now + Duration::from_secs(seconds))
        };
        let ctx = common(&[of("a", "t", 1), of("b", "t", 9), of("c", "t", 5)]);
        assert_eq!(ctx.metadata().names().collect::<Vec<_>>(), ["x-user"]);
        assert_eq!(ctx.trace_parent(), Some("t"));
        assert_eq!(ctx.deadline(), Some(now + Duration::from_secs(9)));
        let ctx = common(&[of("a", "t", 1), of("a", "u", 1).without_deadline()]);
        assert_eq!(ctx.metadata().get(REQUEST_METADATA), Some(b"a".as_slice()));
        assert_eq!((ctx.trace_parent(), ctx.deadline()), (None, None));
    }
}
