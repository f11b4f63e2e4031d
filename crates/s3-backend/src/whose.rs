//! Finds out whose an object is that lies where another was to be put.

use std::time::{Duration, Instant};

use blobaccess::{Context, PutCertainty, PutOutcome, Result, UploadToken};

use crate::bucket::ObjectInfo;
use crate::shared::{Shared, token_of};

/// The least time by which an object without a token must be older than a put to be another's. The server tells times in
/// whole seconds, and the clocks of its nodes differ.
const MARGIN: Duration = Duration::from_secs(15);

/// The upload that left an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Ours,
    Anothers,
    /// The object has no token, and was written since the first attempt of this put: its metadata may have been lost.
    Unknown,
}

/// A put, and all earlier ones under the same token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Putting {
    pub(crate) token: UploadToken,
    /// The time at which the first of them began.
    pub(crate) since: Instant,
    /// Whether the caller named the token, so that it may repeat the put.
    named: bool,
    /// Whether an earlier put under this token may have stored the object.
    repeated: bool,
}

impl Shared {
    /// Begins a put under the token of `ctx`, or under a new one.
    pub(crate) fn begin_putting(&self, ctx: &Context) -> Putting {
        let (token, now) = (token_of(ctx), self.clock().monotonic());
        let named = ctx.upload_token().is_some() && self.bucket.provider().is_remote();
        let (since, repeated) = if named { self.doubts.begin(token, now) } else { (now, false) };
        Putting { token, since, named, repeated }
    }

    /// Ends a put. One that may have stored the object stays in doubt, as one does that is dropped.
    pub(crate) fn end_putting(&self, putting: &Putting, result: &Result<PutOutcome>) {
        let is_known = match result {
            Ok(_) => true,
            Err(error) => !putting.repeated && error.put_certainty() == PutCertainty::NotStored,
        };
        if putting.named && is_known {
            self.doubts.end(&putting.token);
        }
    }

    /// Returns whose `found` is, for a put under `token` whose first attempt began at `since`. Where tokens are not kept, it is
    /// another's unless the caller knows better.
    ///
    /// Metadata can be lost: by a server that keeps it in memory, by a proxy, by a copy of the bucket. So an object without a
    /// token is another's only if it is older than the put. Its age is the difference of two times of the server's clock.
    pub(crate) fn whose(&self, found: &ObjectInfo, token: &UploadToken, since: Instant) -> Whose {
        let kept = self.findings().keeps_tokens;
        match &found.token {
            Some(stored) if kept && stored == token => Whose::Ours,
            None if kept && self.bucket.provider().is_remote() && !self.is_older(found, since) => Whose::Unknown,
            Some(_) | None => Whose::Anothers,
        }
    }

    fn is_older(&self, found: &ObjectInfo, since: Instant) -> bool {
        let put_for = self.clock().monotonic().saturating_duration_since(since);
        found.age.is_some_and(|age| age >= put_for.saturating_add(MARGIN))
    }

    /// Returns the outcome of a put that finds the blob stored.
    pub(crate) fn outcome_of_found(&self, found: &ObjectInfo, putting: &Putting) -> PutOutcome {
        let stored_bytes = found.size_bytes;
        match self.whose(found, &putting.token, putting.since) {
            // The caller repeats a put whose outcome was unknown.
            Whose::Ours => PutOutcome::Created { stored_bytes },
            Whose::Anothers => PutOutcome::AlreadyExists { stored_bytes },
            Whose::Unknown => PutOutcome::Unclassified { stored_bytes: Some(stored_bytes) },
        }
    }
}
