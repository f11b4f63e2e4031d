//! The opening of accounts, with the components that they use.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use blobaccess::{Clock, ResolveUpload, Result, StorageType, SystemClock};

use super::peers::PeerPuts;
use super::resolving::Resolvers;
use super::watch::Watch;
use super::{Accounts, AccountsOptions};
use crate::journal::{Found, Journal, Owner};
use crate::quota::EnforcedQuotas;
use crate::tally::Table;
use crate::tokens::Tokens;
use crate::{AccountingObserver, Epoch, NoAccountingObserver, OwnerIndex};

/// [`Accounts`] that are about to be opened: their settings, and the components that they use.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use blobaccess::{Cas, MemoryStore, StorageType};
/// use blobaccess_accounting::{Accounts, AccountsOptions, NoAccountingObserver, Reporter};
///
/// # fn main() -> blobaccess::Result<()> {
/// let store = Arc::new(MemoryStore::<Cas>::new(1 << 20));
/// let accounts = Accounts::builder(AccountsOptions::new(Reporter::new("host-7")))
///     .with_resolver(StorageType::Cas, store)
///     .with_observer(NoAccountingObserver)
///     .open()?;
/// assert_eq!(accounts.snapshot().unresolved, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "accounts are opened by `open`"]
pub struct AccountsBuilder {
    options: AccountsOptions,
    resolvers: Resolvers,
    observer: Arc<dyn AccountingObserver>,
    clock: Arc<dyn Clock>,
    owners: Option<OwnerIndex>,
}

impl AccountsBuilder {
    /// Makes a builder of accounts without resolvers and observer, with the time of the system.
    pub(super) fn new(options: AccountsOptions) -> Self {
        Self {
            options,
            resolvers: Resolvers::default(),
            observer: Arc::new(NoAccountingObserver),
            clock: Arc::new(SystemClock),
            owners: None,
        }
    }

    /// Asks `resolver` about uploads to stores of this kind whose answer was lost. Without a resolver they end as ambiguous
    /// errors.
    pub fn with_resolver(mut self, storage_type: StorageType, resolver: Arc<dyn ResolveUpload>) -> Self {
        self.resolvers.set(storage_type, resolver);
        self
    }

    /// Notifies `observer` of outcomes, reports and limits.
    pub fn with_observer(mut self, observer: impl AccountingObserver) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Notes in `owners` whose each stored blob is, so that its deletion is counted for the same account.
    ///
    /// Where a resolver is set, it should be that of the index ([`OwnerIndex::resolver`]).
    pub fn with_owner_index(mut self, owners: OwnerIndex) -> Self {
        self.owners = Some(owners);
        self
    }

    /// Takes the time from `clock`, by default from that of the system.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Opens the accounts in a new epoch, and reads the journals of earlier lives in the same directory.
    /// [`Reporting`](crate::Reporting) then ends the open uploads of those lives and reports their counts.
    ///
    /// # Errors
    ///
    /// `FailedPrecondition` if the journal cannot be made, or the earlier ones cannot be read. `Internal` if the system
    /// has no randomness.
    pub fn open(self) -> Result<Arc<Accounts>> {
        let Self { options, resolvers, observer, clock, owners } = self;
        let epoch = Epoch::random()?;
        let (found, journal) = match &options.journal {
            None => (Found::default(), None),
            Some(directory) => {
                let owner = Owner { reporter: options.reporter.clone(), store: options.store_name };
                let found = match Found::in_directory(directory, &owner, clock.now()) {
                    Err(error) if options.optional_journal => {
                        tracing::error!(%error, "earlier lives are not reported before the next start");
                        Found::default()
                    }
                    found => found?,
                };
                let clock = Arc::clone(&clock);
                (found, Some(Journal::create(directory, owner, epoch, clock, options.optional_journal)?))
            }
        };
        let quotas = EnforcedQuotas::new(&options.quotas);
        let known = options.known_accounts;
        let watch = Watch::new(clock.monotonic());
        Ok(Arc::new(Accounts {
            reporter: options.reporter,
            epoch,
            table: Table::new(options.max_accounts, known.iter().cloned().chain(options.quotas.names())),
            known,
            tokens: Tokens::new(epoch),
            journal,
            journal_is_optional: options.optional_journal,
            foreign_journals: found.foreign,
            unreadable_journals: found.unreadable,
            damaged_records: found.damaged,
            dead: Mutex::new(found.dead.into_iter().map(|dead| Arc::new(Mutex::new(dead))).collect()),
            resolvers,
            unresolved: Mutex::new(BTreeMap::new()),
            next_asked: AtomicU64::new(0),
            peers: PeerPuts::default(),
            watch,
            max_blob_size_bytes: options.max_blob_size_bytes,
            settle_after: options.settle_after,
            max_unresolved: options.max_unresolved,
            quotas,
            observer,
            clock,
            owners,
        }))
    }
}
