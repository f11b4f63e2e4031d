//! On whose behalf, until when and under which token a call is made.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Debug, Display, Formatter};
use std::sync::Arc;
use std::time::Instant;

use crate::AccountName;

/// What every call carries from layer to layer: deadline, caller, account, trace parent, metadata and upload token.
///
/// It is cheap to clone; [`Context::background`] allocates nothing, nor does setting the token of an upload. Layers that
/// change one thing clone and change it:
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
    /// Beside what is shared, as each put has one of its own.
    upload_token: Option<UploadToken>,
}

#[derive(Clone, Default)]
struct Carried {
    deadline: Option<Instant>,
    caller: Option<Caller>,
    account_name: Option<AccountName>,
    trace_parent: Option<Arc<str>>,
    metadata: Arc<Metadata>,
}

impl Context {
    /// A context that carries nothing: for embedders, for tests and for work that nobody waits for.
    #[must_use]
    pub const fn background() -> Self {
        Self { carried: None, upload_token: None }
    }

    fn change(mut self, change: impl FnOnce(&mut Carried)) -> Self {
        change(Arc::make_mut(self.carried.get_or_insert_default()));
        self
    }

    /// When the caller stops waiting, on the monotonic time of the program's [`Clock`](crate::Clock).
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.carried.as_ref()?.deadline
    }

    /// Who makes the call, as far as anybody has said.
    #[must_use]
    pub fn caller(&self) -> Option<&Caller> {
        self.carried.as_ref()?.caller.as_ref()
    }

    /// Whose account what is put goes to, where that is not the digest's instance name ([`AccountName::of`]).
    #[must_use]
    pub fn account_name(&self) -> Option<&AccountName> {
        self.carried.as_ref()?.account_name.as_ref()
    }

    /// The W3C `traceparent` of the call.
    #[must_use]
    pub fn trace_parent(&self) -> Option<&str> {
        self.carried.as_ref()?.trace_parent.as_deref()
    }

    /// What remote stores are to be sent along with the call. Empty unless set.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        static EMPTY: Metadata = Metadata { entries: BTreeMap::new() };
        self.carried.as_ref().map_or(&EMPTY, |carried| &carried.metadata)
    }

    /// The token that a put is to leave with what it stores, where the store can.
    #[must_use]
    pub fn upload_token(&self) -> Option<&UploadToken> {
        self.upload_token.as_ref()
    }

    /// The same context, ending at `deadline` where it would have ended later.
    #[must_use]
    pub fn with_deadline(self, deadline: Instant) -> Self {
        self.change(|carried| {
            carried.deadline = Some(carried.deadline.map_or(deadline, |before| before.min(deadline)));
        })
    }

    /// The same context without a deadline: for work that outlives the call which asked for it.
    #[must_use]
    pub fn without_deadline(self) -> Self {
        if self.deadline().is_none() { self } else { self.change(|carried| carried.deadline = None) }
    }

    /// The same context, on behalf of `caller`.
    #[must_use]
    pub fn with_caller(self, caller: Caller) -> Self {
        self.change(|carried| carried.caller = Some(caller))
    }

    /// The same context, whose puts go to the account of `account_name`.
    #[must_use]
    pub fn with_account_name(self, account_name: AccountName) -> Self {
        self.change(|carried| carried.account_name = Some(account_name))
    }

    /// The same context, as part of the trace that `trace_parent` (a W3C `traceparent`) names.
    #[must_use]
    pub fn with_trace_parent(self, trace_parent: impl Into<Arc<str>>) -> Self {
        self.change(|carried| carried.trace_parent = Some(trace_parent.into()))
    }

    /// The same context, with this metadata in place of any before.
    #[must_use]
    pub fn with_metadata(self, metadata: Metadata) -> Self {
        self.change(|carried| carried.metadata = Arc::new(metadata))
    }

    /// The same context, whose puts leave `token` with what they store.
    #[must_use]
    pub fn with_upload_token(self, token: UploadToken) -> Self {
        Self { upload_token: Some(token), ..self }
    }
}

impl Debug for Context {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("deadline", &self.deadline())
            .field("caller", &self.caller().map(Caller::name))
            .field("account_name", &self.account_name())
            .field("trace_parent", &self.trace_parent())
            .field("metadata", &self.metadata().names().collect::<Vec<_>>())
            .field("upload_token", &self.upload_token())
            .finish()
    }
}

/// Who makes a call: a name that authorizers, quotas and logs tell callers apart by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Caller(Arc<str>);

impl Caller {
    /// The caller of this name.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name.
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

/// Named values that are forwarded to remote stores, as the metadata of gRPC is.
///
/// Names are in lower case; those that end in `-bin` have values of any bytes. Values are not shown by `Debug`, since
/// credentials travel here.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    entries: BTreeMap<Cow<'static, str>, Vec<u8>>,
}

impl Metadata {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: BTreeMap::new() }
    }

    /// The same metadata with `value` under `name`, in place of any before.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Vec<u8>>) -> Self {
        let mut name = name.into();
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            name = Cow::Owned(name.to_ascii_lowercase());
        }
        self.entries.insert(name, value.into());
        self
    }

    /// The value under `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.entries.get(name).map(Vec::as_slice)
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(AsRef::as_ref)
    }

    /// Names and values, in order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.entries.iter().map(|(name, value)| (name.as_ref(), value.as_slice()))
    }

    /// Whether there are none.
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

/// What tells one upload from all others: sixteen bytes, random or otherwise unique.
///
/// A store that can keeps it beside what it stores, so that after a lost answer it can be found out whose upload the
/// stored object is ([`ResolveUpload`](crate::ResolveUpload)).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UploadToken([u8; 16]);

impl UploadToken {
    /// The token with these bytes. Whoever makes tokens sees to it that none is used twice.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl Display for UploadToken {
    /// 32 digits of lower-case hexadecimal.
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
    fn a_background_context_is_a_pointer_and_a_token_and_carries_nothing() {
        assert!(size_of::<Context>() <= size_of::<usize>() + 24);
        let ctx = Context::background();
        assert!(ctx.deadline().is_none() && ctx.caller().is_none() && ctx.upload_token().is_none());
        assert!(ctx.metadata().is_empty());
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
