//! The settings of accounts.

use std::path::PathBuf;
use std::time::Duration;

use crate::{Quotas, Reporter};

/// The settings of [`Accounts`](super::Accounts).
///
/// The clock, the observer and the stores that are asked about lost answers are not settings:
/// [`Accounts::builder`](super::Accounts::builder) takes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountsOptions {
    pub(super) reporter: Reporter,
    pub(super) max_accounts: usize,
    pub(super) journal: Option<PathBuf>,
    pub(super) settle_after: Duration,
    pub(super) max_unresolved: usize,
    pub(super) quotas: Quotas,
}

impl AccountsOptions {
    /// Returns the defaults for `reporter`: 4,096 accounts, no journal, no quotas.
    #[must_use]
    pub fn new(reporter: Reporter) -> Self {
        Self {
            reporter,
            max_accounts: 4_096,
            journal: None,
            settle_after: Duration::from_secs(30),
            max_unresolved: 65_536,
            quotas: Quotas::new(),
        }
    }

    /// Sets the maximum number of accounts: each account name takes one for each kind of store. Further uploads are counted
    /// for `__other__`, and as overflowed; if that number grows, the maximum is too small.
    #[must_use]
    pub const fn with_max_accounts(mut self, max_accounts: usize) -> Self {
        self.max_accounts = max_accounts;
        self
    }

    /// Keeps a journal of the uploads under way in `directory`, so that a crash changes no count.
    ///
    /// Several processes may share a directory.
    #[must_use]
    pub fn with_journal(mut self, directory: impl Into<PathBuf>) -> Self {
        self.journal = Some(directory.into());
        self
    }

    /// Sets the time after a lost answer, or after a crash, from which absence is believed: 30 s by default. Until then, a
    /// request may still reach the store. Take the time after which the store gives up on a request.
    #[must_use]
    pub const fn with_settle_after(mut self, settle_after: Duration) -> Self {
        self.settle_after = settle_after;
        self
    }

    /// Sets how many uploads may wait for the store to be asked: 65,536 by default, some 200 bytes each. Further uploads
    /// end as ambiguous errors.
    #[must_use]
    pub const fn with_max_unresolved(mut self, max_unresolved: usize) -> Self {
        self.max_unresolved = max_unresolved;
        self
    }

    /// Sets the limits of accounts.
    #[must_use]
    pub fn with_quotas(mut self, quotas: Quotas) -> Self {
        self.quotas = quotas;
        self
    }
}
