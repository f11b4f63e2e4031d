//! What a store gave up, for those who subtract it from what was counted.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::{Context, Namespace, Result};

/// Tells what a store gave up by itself: by rotation, because it was replaced, or because it proved wrong.
///
/// The totals are those of the store's whole life. Whoever subtracts them keeps, for each source and namespace, the
/// highest that it saw: then a report that comes twice, late or in another order changes nothing, and neither does a
/// crash of either side.
#[async_trait]
pub trait Releases: Debug + Send + Sync + 'static {
    /// What was given up so far, as far as a crash of the store cannot undo it.
    ///
    /// # Errors
    ///
    /// If that cannot be told now. It may be asked again.
    async fn released(&self, ctx: &Context) -> Result<ReleasedTotals>;
}

/// What a store gave up in its whole life.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReleasedTotals {
    /// Tells this life of the store from all others: it changes when the store is made anew, and only then.
    pub source: [u8; 16],
    /// By namespace, in their order.
    pub totals: Vec<ReleasedTotal>,
}

impl ReleasedTotals {
    /// The totals of the store that `source` names.
    #[must_use]
    pub fn new(source: [u8; 16], totals: Vec<ReleasedTotal>) -> Self {
        Self { source, totals }
    }
}

/// What a store gave up of one namespace. Neither number ever falls.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReleasedTotal {
    /// Whose account it had been put to.
    pub namespace: Namespace,
    /// Objects.
    pub objects: u64,
    /// Their size as it was told when they were stored, in bytes.
    pub stored_bytes: u64,
}

impl ReleasedTotal {
    /// So much of `namespace`.
    #[must_use]
    pub fn new(namespace: Namespace, objects: u64, stored_bytes: u64) -> Self {
        Self { namespace, objects, stored_bytes }
    }
}
