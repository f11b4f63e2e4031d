//! How accounts are kept.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::{Clock, ResolveUpload, StorageType, SystemClock};

use crate::resolving::Resolvers;
use crate::{AccountingObserver, NoAccountingObserver, Quotas, Reporter};

/// How [`Accounts`](super::Accounts) are kept.
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
    /// Those for `reporter`: 4,096 accounts, no journal, nobody to ask, no limits.
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

    /// How many accounts there may be: a account has one for each kind of store it puts to. Further ones share
    /// `__other__`, and are counted; if that number grows, this one is too small.
    #[must_use]
    pub const fn with_max_accounts(mut self, max_accounts: usize) -> Self {
        self.max_accounts = max_accounts;
        self
    }

    /// Writes down in `directory` which uploads are under way, so that a crash changes no count.
    ///
    /// Several processes may share a directory.
    #[must_use]
    pub fn with_journal(mut self, directory: impl Into<PathBuf>) -> Self {
        self.journal = Some(directory.into());
        self
    }

    /// Asks `resolver`, for stores of this kind, what became of uploads whose answer was lost. Without it they end as
    /// ambiguous errors.
    #[must_use]
    pub fn with_resolver(mut self, storage_type: StorageType, resolver: Arc<dyn ResolveUpload>) -> Self {
        self.resolvers.set(storage_type, resolver);
        self
    }

    /// How long after an answer was lost, or the process before died, absence is believed: 30 s by default. Until then
    /// what had been sent may still arrive at the store. Take the time after which the store gives up on a request.
    #[must_use]
    pub const fn with_settle_after(mut self, settle_after: Duration) -> Self {
        self.settle_after = settle_after;
        self
    }

    /// How many uploads may wait for the store to be asked: 65,536 by default, at some 200 bytes each. Further ones end
    /// as ambiguous errors.
    #[must_use]
    pub const fn with_max_unresolved(mut self, max_unresolved: usize) -> Self {
        self.max_unresolved = max_unresolved;
        self
    }

    /// Limits what accounts may have.
    #[must_use]
    pub fn with_quotas(mut self, quotas: Quotas) -> Self {
        self.quotas = quotas;
        self
    }

    /// Tells `observer`.
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
