//! The totals of evicted blobs, to be subtracted from what accounts counted.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::{AccountName, Context, Result};

/// A store that can tell how much it evicted: by rotation, because it was replaced, or because it failed verification.
///
/// The totals cover the whole life of the store. A consumer that subtracts them keeps the highest total of each source
/// and account. A report that comes twice, late or out of order then changes nothing, and neither does a crash of
/// either side.
#[async_trait]
pub trait Evictions: Debug + Send + Sync + 'static {
    /// Returns the totals so far, as far as a crash of the store cannot undo them.
    ///
    /// # Errors
    ///
    /// If the totals cannot be determined now. The call may be repeated.
    async fn evicted(&self, ctx: &Context) -> Result<EvictionTotals>;
}

/// The evictions of a store's whole life.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EvictionTotals {
    /// The identifier of this life of the store. It changes when the store is created anew, and only then.
    pub source: [u8; 16],
    /// The totals, in the order of their accounts.
    pub totals: Vec<EvictionTotal>,
}

impl EvictionTotals {
    /// Makes the totals of the store that `source` identifies.
    #[must_use]
    pub fn new(source: [u8; 16], totals: Vec<EvictionTotal>) -> Self {
        Self { source, totals }
    }
}

/// The evictions of one account. Neither number ever decreases.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EvictionTotal {
    /// The account to which the blobs had been put.
    pub account_name: AccountName,
    /// The number of blobs.
    pub objects: u64,
    /// The sizes reported when the blobs were stored, in bytes.
    pub stored_bytes: u64,
}

impl EvictionTotal {
    /// Makes the total of one account.
    #[must_use]
    pub fn new(account_name: AccountName, objects: u64, stored_bytes: u64) -> Self {
        Self { account_name, objects, stored_bytes }
    }
}
