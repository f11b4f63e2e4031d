//! What a store gave up, for those who subtract it from what was counted.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::{AccountName, Context, Result};

/// Tells what a store gave up by itself: by rotation, because it was replaced, or because it proved wrong.
///
/// The totals are those of the store's whole life. Whoever subtracts them keeps, for each source and account, the
/// highest that it saw: then a report that comes twice, late or in another order changes nothing, and neither does a
/// crash of either side.
#[async_trait]
pub trait Evictions: Debug + Send + Sync + 'static {
    /// What was given up so far, as far as a crash of the store cannot undo it.
    ///
    /// # Errors
    ///
    /// If that cannot be told now. It may be asked again.
    async fn evicted(&self, ctx: &Context) -> Result<EvictionTotals>;
}

/// What a store gave up in its whole life.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EvictionTotals {
    /// Tells this life of the store from all others: it changes when the store is made anew, and only then.
    pub source: [u8; 16],
    /// By account, in their order.
    pub totals: Vec<EvictionTotal>,
}

impl EvictionTotals {
    /// The totals of the store that `source` names.
    #[must_use]
    pub fn new(source: [u8; 16], totals: Vec<EvictionTotal>) -> Self {
        Self { source, totals }
    }
}

/// What a store gave up of one account. Neither number ever falls.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EvictionTotal {
    /// Whose account it had been put to.
    pub account_name: AccountName,
    /// Objects.
    pub objects: u64,
    /// Their size as it was told when they were stored, in bytes.
    pub stored_bytes: u64,
}

impl EvictionTotal {
    /// So much of `account_name`.
    #[must_use]
    pub fn new(account_name: AccountName, objects: u64, stored_bytes: u64) -> Self {
        Self { account_name, objects, stored_bytes }
    }
}
