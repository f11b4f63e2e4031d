//! The circumstances of a call: its caller, its deadline, its account and its token.

use std::any::Any;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Debug, Display, Formatter};
use std::sync::Arc;
use std::time::Instant;

use crate::AccountName;

/// The circumstances of a call, which pass from layer to layer: deadline, caller and its claims, account, trace parent,
/// metadata and upload token.
///
/// A context is cheap to clone. [`Context::background`] allocates nothing, nor does setting an upload token. A layer
/// that changes one thing clones the context and changes that:
///
/// ```
/// use blobaccess::{Caller, Context};
///
/// let ctx = Context::background().with_caller(Caller::new("ci"));
/// assert_eq!(ctx.caller().map(Caller::name), Some("ci"));
/// ```
#[derive(Clone, Default)]
pub struct Context {
    carried: Option<Arc<Carried>>,
    /// The upload token. It is not in the shared part, as each put has a token of its own.
    upload_token: Option<UploadToken>,
    /// The account that the upload is counted for. It is beside the token, as setting it must allocate nothing.
    counted_account: Option<AccountName>,
}

#[derive(Clone, Default)]
struct Carried {
    deadline: Option<Instant>,
    caller: Option<Caller>,
    claims: Option<Claims>,
    account_name: Option<AccountName>,
    trace_parent: Option<Arc<str>>,
    metadata: Arc<Metadata>,
}

impl Context {
    /// Returns a context that carries nothing: for embedders, for tests and for work that nobody waits for.
    #[must_use]
    pub const fn background() -> Self {
        Self { carried: None, upload_token: None, counted_account: None }
    }

    fn change(mut self, change: impl FnOnce(&mut Carried)) -> Self {
        change(Arc::make_mut(self.carried.get_or_insert_default()));
        self
    }

    /// Returns the time at which the caller stops waiting, on the monotonic time of the program's
    /// [`Clock`](crate::Clock).
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.carried.as_ref()?.deadline
    }

    /// Returns whether the deadline has come by `now`. A call that ends for want of time then says nothing about the store.
    #[must_use]
    pub fn is_overdue(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
    }

    /// Returns the caller, if a layer or a service has set one.
    #[must_use]
    pub fn caller(&self) -> Option<&Caller> {
        self.carried.as_ref()?.caller.as_ref()
    }

    /// Returns the claims of the caller, if a layer or a service has set some.
    #[must_use]
    pub fn claims(&self) -> Option<&Claims> {
        self.carried.as_ref()?.claims.as_ref()
    }

    /// Returns the account that puts are charged to, if it is not that of the digest's instance name
    /// ([`AccountName::for_call`]).
    #[must_use]
    pub fn account_name(&self) -> Option<&AccountName> {
        self.carried.as_ref()?.account_name.as_ref()
    }

    /// Returns the W3C `traceparent` of the call.
    #[must_use]
    pub fn trace_parent(&self) -> Option<&str> {
        self.carried.as_ref()?.trace_parent.as_deref()
    }

    /// Returns the metadata that remote stores send along with the call. It is empty unless set.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        static EMPTY: Metadata = Metadata { entries: BTreeMap::new() };
        self.carried.as_ref().map_or(&EMPTY, |carried| &carried.metadata)
    }

    /// Returns the token that a put leaves with the stored blob, where the store can.
    #[must_use]
    pub fn upload_token(&self) -> Option<&UploadToken> {
        self.upload_token.as_ref()
    }

    /// Returns the account that an upload is counted for, which a put leaves with the stored blob, where the store can.
    ///
    /// A layer that counts sets it, for the store below. It differs from [`account_name`](Self::account_name) where that
    /// layer had no room for an account of that name. No service takes it from a peer, and no client sends it to one.
    #[must_use]
    pub const fn counted_account(&self) -> Option<&AccountName> {
        self.counted_account.as_ref()
    }

    /// Sets the deadline to `deadline`, unless the present one is earlier.
    #[must_use]
    pub fn with_deadline(self, deadline: Instant) -> Self {
        self.change(|carried| {
            carried.deadline = Some(carried.deadline.map_or(deadline, |before| before.min(deadline)));
        })
    }

    /// Removes the deadline, for work that outlives the call that started it.
    #[must_use]
    pub fn without_deadline(self) -> Self {
        if self.deadline().is_none() { self } else { self.change(|carried| carried.deadline = None) }
    }

    /// Sets the caller.
    #[must_use]
    pub fn with_caller(self, caller: Caller) -> Self {
        self.change(|carried| carried.caller = Some(caller))
    }

    /// Sets the claims of the caller.
    #[must_use]
    pub fn with_claims(self, claims: Claims) -> Self {
        self.change(|carried| carried.claims = Some(claims))
    }

    /// Sets the account that puts are charged to.
    #[must_use]
    pub fn with_account_name(self, account_name: AccountName) -> Self {
        self.change(|carried| carried.account_name = Some(account_name))
    }

    /// Makes the call a part of the trace that `trace_parent` (a W3C `traceparent`) names.
    #[must_use]
    pub fn with_trace_parent(self, trace_parent: impl Into<Arc<str>>) -> Self {
        self.change(|carried| carried.trace_parent = Some(trace_parent.into()))
    }

    /// Sets the metadata, in place of any before.
    #[must_use]
    pub fn with_metadata(self, metadata: Metadata) -> Self {
        self.change(|carried| carried.metadata = Arc::new(metadata))
    }

    /// Sets the token that puts leave with the stored blob.
    #[must_use]
    pub fn with_upload_token(self, token: UploadToken) -> Self {
        Self { upload_token: Some(token), ..self }
    }

    /// Sets the account that an upload is counted for, on behalf of a layer that counts.
    #[must_use]
    pub fn with_counted_account(self, account_name: AccountName) -> Self {
        Self { counted_account: Some(account_name), ..self }
    }
}

impl Debug for Context {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("deadline", &self.deadline())
            .field("caller", &self.caller().map(Caller::name))
            .field("claims", &self.claims())
            .field("account_name", &self.account_name())
            .field("trace_parent", &self.trace_parent())
            .field("metadata", &self.metadata().names().collect::<Vec<_>>())
            .field("upload_token", &self.upload_token())
            .field("counted_account", &self.counted_account())
            .finish()
    }
}

/// The caller: a name by which authorizers, quotas and logs tell callers apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Caller(Arc<str>);

impl Caller {
    /// Makes the caller of this name.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl Display for Caller {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The claims of a caller: facts that an authenticator has found out, for authorizers that need more than a name.
///
/// They are a value of any type that authenticator and authorizer have agreed on. It is not printed, since it may be
/// secret, and is compared by identity.
///
/// ```
/// use blobaccess::{Claims, Context};
///
/// #[derive(Debug)]
/// struct Groups(Vec<String>);
///
/// let ctx = Context::background().with_claims(Claims::new(Groups(vec!["ci".to_owned()])));
/// let groups = ctx.claims().and_then(|claims| claims.get::<Groups>());
/// assert!(groups.is_some_and(|groups| groups.0.iter().any(|group| group == "ci")));
/// ```
#[derive(Clone)]
pub struct Claims(Arc<dyn Any + Send + Sync>);

impl Claims {
    /// Makes claims of a value.
    #[must_use]
    pub fn new<T: Any + Send + Sync>(value: T) -> Self {
        Self(Arc::new(value))
    }

    /// Returns the value, if it is of this type.
    #[must_use]
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

impl PartialEq for Claims {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Claims {}

impl Debug for Claims {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims").finish_non_exhaustive()
    }
}

/// Named values that are forwarded to remote stores, as gRPC metadata.
///
/// Names are in lower case. A name that ends in `-bin` has a value of any bytes. `Debug` does not print values, since
/// they may be credentials.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    entries: BTreeMap<Cow<'static, str>, Vec<u8>>,
}

impl Metadata {
    /// Makes metadata without any value.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: BTreeMap::new() }
    }

    /// Sets the value under `name`, in place of any before.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Vec<u8>>) -> Self {
        let mut name = name.into();
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            name = Cow::Owned(name.to_ascii_lowercase());
        }
        self.entries.insert(name, value.into());
        self
    }

    /// Returns the value under `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.entries.get(name).map(Vec::as_slice)
    }

    /// Returns the names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(AsRef::as_ref)
    }

    /// Returns names and values, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.entries.iter().map(|(name, value)| (name.as_ref(), value.as_slice()))
    }

    /// Returns whether there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Debug for Metadata {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// The token of one upload: sixteen bytes, random or otherwise unique.
///
/// A store that can keeps the token beside the blob. After a lost answer, the token tells whose upload the stored blob
/// is ([`ResolveUpload`](crate::ResolveUpload)).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UploadToken([u8; 16]);

impl UploadToken {
    /// Makes the token of these bytes. The caller must use each token once.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl Display for UploadToken {
    /// Writes the token as 32 digits of lower-case hexadecimal.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Debug for UploadToken {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "UploadToken({self})")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Clock, SystemClock};

    #[test]
    fn a_background_context_is_three_pointers_and_a_token_and_carries_nothing() {
        assert!(size_of::<Context>() <= 3 * size_of::<usize>() + 24);
        let ctx = Context::background();
        assert!(ctx.deadline().is_none() && ctx.caller().is_none() && ctx.upload_token().is_none());
        assert!(ctx.metadata().is_empty() && ctx.claims().is_none() && ctx.counted_account().is_none());
    }

    #[test]
    fn the_account_that_is_counted_is_not_the_one_that_is_charged() {
        let ctx = Context::background().with_account_name(AccountName::new("made up"));
        assert_eq!(ctx.counted_account(), None, "only a layer that counts sets it");
        let counted = ctx.clone().with_counted_account(AccountName::new("__other__"));
        assert_eq!(counted.counted_account().map(AccountName::as_str), Some("__other__"));
        assert_eq!(counted.account_name(), ctx.account_name());
    }

    #[test]
    fn claims_are_found_by_their_type_and_are_not_shown() {
        let claims = Claims::new("secret".to_owned());
        let ctx = Context::background().with_claims(claims.clone());
        let found = ctx.claims().unwrap();
        assert_eq!(found.get::<String>().map(String::as_str), Some("secret"));
        assert_eq!(found.get::<u8>(), None);
        assert!(*found == claims && *found != Claims::new("secret".to_owned()));
        assert!(!format!("{ctx:?}").contains("secret"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_is_only_ever_moved_closer() {
        let now = SystemClock.monotonic();
        let (soon, late) = (now + Duration::from_secs(1), now + Duration::from_secs(9));
        assert_eq!(Context::background().with_deadline(soon).with_deadline(late).deadline(), Some(soon));
        assert_eq!(Context::background().with_deadline(late).with_deadline(soon).deadline(), Some(soon));
        assert_eq!(Context::background().with_deadline(soon).without_deadline().deadline(), None);
    }

    #[test]
    fn changing_a_clone_leaves_the_original() {
        let ctx = Context::background().with_caller(Caller::new("a"));
        let other = ctx.clone().with_caller(Caller::new("b")).with_metadata(Metadata::new().with("X-Key", "secret"));
        assert_eq!(ctx.caller().map(Caller::name), Some("a"));
        assert_eq!(other.metadata().get("x-key"), Some(b"secret".as_slice()));
        let shown = format!("{other:?}");
        assert!(shown.contains("x-key") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn a_token_prints_as_hexadecimal() {
        let token = UploadToken::from_bytes([0xab; 16]);
        assert_eq!(token.to_string(), "ab".repeat(16));
    }
}
