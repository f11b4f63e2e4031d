//! A store for the instance names that begin with a prefix.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use crate::{BlobAccess, Context, Digest, DigestSet, Error, InstanceName, InstanceNamePatcher, Kind, Result};

/// A store for the instance names that begin with a prefix, for [`Demultiplexing`](super::Demultiplexing).
///
/// The store gets the rest of the name: that of prefix `ci` gets `tests` for `ci/tests`, and the empty name for `ci`.
#[derive(Clone, Debug)]
pub struct Route<K: Kind> {
    patcher: InstanceNamePatcher,
    prefix: InstanceName,
    added_prefix: InstanceName,
    store: Arc<dyn BlobAccess<Kind = K>>,
}

impl<K: Kind> Route<K> {
    /// Makes a route to `store` for instance names whose first components are those of `prefix`. With the empty prefix,
    /// it is for all names that no other route is for.
    pub fn new(prefix: InstanceName, store: Arc<dyn BlobAccess<Kind = K>>) -> Self {
        let patcher = InstanceNamePatcher::new(prefix.clone(), InstanceName::empty());
        Self { patcher, prefix, added_prefix: InstanceName::empty(), store }
    }

    /// Sets the components that the store gets in place of the prefix. The default is none.
    ///
    /// The prefix itself leaves names as they are. Another one lets routes share a store that keeps them apart.
    #[must_use]
    pub fn with_added_prefix(self, prefix: InstanceName) -> Self {
        let patcher = InstanceNamePatcher::new(self.prefix.clone(), prefix.clone());
        Self { patcher, added_prefix: prefix, ..self }
    }

    /// Returns the prefix of the instance names that this route is for.
    #[must_use]
    pub const fn prefix(&self) -> &InstanceName {
        &self.prefix
    }

    /// Returns the components that the store gets in place of the prefix.
    #[must_use]
    pub const fn added_prefix(&self) -> &InstanceName {
        &self.added_prefix
    }

    /// Returns the store.
    #[must_use]
    pub const fn store(&self) -> &Arc<dyn BlobAccess<Kind = K>> {
        &self.store
    }

    /// Returns the store for calls of it. A call by the pointer would cost an allocation.
    pub(super) fn target(&self) -> &dyn BlobAccess<Kind = K> {
        &*self.store
    }

    /// Returns the name by which the store knows `name`.
    pub(super) fn patch(&self, name: &InstanceName) -> Result<InstanceName> {
        self.patcher.patch(name).ok_or_else(|| unknown(name))
    }

    /// Returns the digest by which the store knows `digest`.
    pub(super) fn patch_digest(&self, digest: &Digest) -> Result<Digest> {
        Ok(digest.with_instance_name(self.patch(digest.instance_name())?))
    }

    /// Returns which of `digests`, all of which go this way, the store lacks.
    pub(super) async fn find_missing(&self, ctx: &Context, digests: DigestSet) -> Result<DigestSet> {
        let patched = self.patcher.patch_set(&digests);
        let patched = patched.ok_or_else(|| Error::internal("a digest of another route was sent this way"))?;
        let missing = self.target().find_missing(ctx, &patched).await.map_err(|error| error.at(self.place()))?;
        if missing.is_empty() {
            return Ok(missing);
        }
        // A patched set has the order of the one that it was made of.
        let both = digests.iter().zip(&patched);
        Ok(both.filter(|(_, patched)| missing.contains(patched)).map(|(digest, _)| digest.clone()).collect())
    }

    /// Returns the place of errors of the store.
    pub(super) fn place(&self) -> String {
        format!("backend {}", self.prefix.quoted())
    }
}

/// Makes the error for an instance name without a route.
#[cold]
pub(super) fn unknown(instance_name: &InstanceName) -> Error {
    Error::invalid_argument(format!("unknown instance name: {}", instance_name.quoted()))
}

impl<K: Kind> Display for Route<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.prefix.quoted())?;
        if !self.added_prefix.is_empty() {
            write!(f, "as {} ", self.added_prefix.quoted())?;
        }
        Display::fmt(&self.store, f)
    }
}
