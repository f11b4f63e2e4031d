//! The settings of accounts.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::{Clock, ResolveUpload, StorageType, SystemClock};

use super::resolving::Resolvers;
use crate::{AccountingObserver, NoAccountingObserver, Quotas, Reporter};

/// The settings of [`Accounts`](super::Accounts).
#[derive(Debug)]
pub struct AccountsOptions {
    pub(super) reporter: Reporter,
    pub(super) max_accounts: usize,
    pub(super) journal: Option<PathBuf>,
    pub(super) resolvers: Resolvers,
    pub(super) settle_after: Duration,
    pub(super) max_unresolved: usize,
    pub(super) quotas: Quotas,
    pub(super) observer: Arc<dyn AccountingObserver>,
    pub(super) clock: Arc<dyn Clock>,
}

impl AccountsOptions {
    /// Returns the defaults for `reporter`: 4,096 accounts, no journal, no resolvers, no quotas.
    #[must_use]
    pub fn new(reporter: Reporter) -> Self {
        Self {
            reporter,
            max_accounts: 4_096,
            journal: None,
            resolvers: Resolvers::default(),
            settle_after: Duration::from_secs(30),
            max_unresolved: 65_536,
            quotas: Quotas::new(),
            observer: Arc::new(NoAccountingObserver),
            clock: Arc::new(SystemClock),
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

    /// Asks `resolver` about uploads to stores of this kind whose answer was lost. Without a resolver they end as ambiguous
    /// errors.
    #[must_use]
    pub fn with_resolver(mut self, storage_type: StorageType, resolver: Arc<dyn ResolveUpload>) -> Self {
        self.resolvers.set(storage_type, resolver);
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

    /// Notifies `observer` of outcomes, reports and limits.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn AccountingObserver>) -> Self {
        self.observer = observer;
        self
    }

    /// Takes the time from `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}
