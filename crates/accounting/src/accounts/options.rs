//! The settings of accounts.

use std::path::PathBuf;
use std::time::Duration;

use blobaccess::AccountName;

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
    pub(super) store_name: String,
    pub(super) optional_journal: bool,
    pub(super) max_blob_size_bytes: u64,
    pub(super) known_accounts: Vec<AccountName>,
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
            store_name: String::new(),
            optional_journal: false,
            max_blob_size_bytes: 1 << 40,
            known_accounts: Vec::new(),
        }
    }

    /// Sets the maximum number of accounts: each account name takes one for each kind of store. Further uploads are counted
    /// for `__other__`, and as overflowed; if that number grows, the maximum is too small.
    ///
    /// Names whose uploads have all failed give way to others. Names with [quotas](Self::with_quotas) and
    /// [known names](Self::with_known_accounts) have accounts besides.
    #[must_use]
    pub const fn with_max_accounts(mut self, max_accounts: usize) -> Self {
        self.max_accounts = max_accounts;
        self
    }

    /// Keeps a journal of the uploads under way in `directory`, so that a crash changes no count.
    ///
    /// Several processes and stores may share a directory. A journal is taken up by its reporter only, for the same
    /// [store](Self::with_store_name): no other store can tell what became of an upload. So a reporter with a new name
    /// leaves the journals of the old one alone; [`AccountsSnapshot`](super::AccountsSnapshot) counts them.
    #[must_use]
    pub fn with_journal(mut self, directory: impl Into<PathBuf>) -> Self {
        self.journal = Some(directory.into());
        self
    }

    /// Sets whether accounts open although their journal cannot be made, as on a full disk, and report although it lacks
    /// records: not by default. The journal is written as soon as that works. A crash before loses counts.
    #[must_use]
    pub const fn with_optional_journal(mut self, optional: bool) -> Self {
        self.optional_journal = optional;
        self
    }

    /// Names the store that these accounts are about, such as a bucket, in the journal: then a journal of the same reporter
    /// for another store is left alone. Without a name, the reporter decides.
    #[must_use]
    pub fn with_store_name(mut self, store_name: impl Into<String>) -> Self {
        self.store_name = store_name.into();
        self
    }

    /// Sets the largest size of a blob that is believed before it has arrived, in bytes: 1 TiB by default. Peers can
    /// announce any. An upload of a larger one is counted without its size.
    #[must_use]
    pub const fn with_max_blob_size_bytes(mut self, max_blob_size_bytes: u64) -> Self {
        self.max_blob_size_bytes = max_blob_size_bytes;
        self
    }

    /// Sets the names that have accounts besides the [maximum](Self::with_max_accounts), whatever other names peers make up.
    /// Those with quotas have them anyway.
    #[must_use]
    pub fn with_known_accounts(mut self, known_accounts: impl IntoIterator<Item = AccountName>) -> Self {
        self.known_accounts = known_accounts.into_iter().collect();
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
