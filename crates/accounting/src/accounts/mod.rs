//! The accounts of one store: counters, journal, resolvers, quotas and observer.

mod builder;
mod options;
mod resolving;
mod ticket;

use std::collections::VecDeque;
use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use blobaccess::{AccountName, Clock, Context, Digest, Result, StorageType, UploadToken};

use self::resolving::{Resolvers, Unresolved};
use self::ticket::{BorrowedTicket, TicketState};
use crate::journal::{Dead, Journal};
use crate::quota::{EnforcedQuotas, Reserved};
use crate::tally::{Slot, Table};
use crate::tokens::Tokens;
use crate::{
    AccountingObserver, Amounts, Class, Epoch, ErrorReason, Outcome, QuotaUsage, Report, Reporter, TallySnapshot,
};

pub use self::builder::AccountsBuilder;
pub use self::options::AccountsOptions;
#[cfg(test)]
pub(crate) use self::resolving::outcome_of;
pub use self::ticket::Ticket;

/// The accounts of one store: the uploads to it, by account name and kind of store.
///
/// Everything that uploads to one store shares its accounts: [`Accounted`](crate::Accounted) stores of each kind, and
/// queues of uploads (the crate `blobaccess-write-behind`). Stores that are filled separately, such as the halves of a
/// mirror, have accounts and reporters of their own. [`Reporting`](crate::Reporting) reports the counts to a ledger.
///
/// # Memory
///
/// For each account permitted, 64 bytes; for each that is used, some 800 more. With a journal, about 250 bytes for each
/// upload under way.
pub struct Accounts {
    reporter: Reporter,
    epoch: Epoch,
    table: Table,
    tokens: Tokens,
    journal: Option<Journal>,
    dead: Mutex<Vec<Dead>>,
    resolvers: Resolvers,
    unresolved: Mutex<VecDeque<Unresolved>>,
    settle_after: Duration,
    max_unresolved: usize,
    quotas: EnforcedQuotas,
    observer: Arc<dyn AccountingObserver>,
    clock: Arc<dyn Clock>,
}

/// The data that is needed to count the outcome of an upload.
#[derive(Debug)]
pub(crate) struct Upload {
    slot: Slot,
    number: u64,
    logical_bytes: u64,
    reserved: Option<Reserved>,
}

/// The state of [`Accounts`] apart from the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccountsSnapshot {
    /// The number of uploads whose answer was lost and about which the store is still to be asked.
    pub unresolved: usize,
    /// The number of earlier lives whose last report has not been acknowledged.
    pub dead_lives: usize,
    /// The number of open uploads in the journal; 0 without a journal.
    pub journal_open: usize,
    /// The number of failures to write the journal. A crash at such a time may lose an outcome.
    pub journal_failures: u64,
    /// The size of the journal, in bytes.
    pub journal_bytes: u64,
}

impl Accounts {
    /// Opens accounts with these settings, without resolvers and observer, with the time of the system. The short form of
    /// [`builder`](Self::builder).
    ///
    /// # Errors
    ///
    /// Those of [`AccountsBuilder::open`].
    pub fn open(options: AccountsOptions) -> Result<Arc<Self>> {
        Self::builder(options).open()
    }

    /// Returns a builder, which takes the components that the accounts use, and opens them.
    pub fn builder(options: AccountsOptions) -> AccountsBuilder {
        AccountsBuilder::new(options)
    }

    /// Returns the reporter of these accounts.
    #[must_use]
    pub const fn reporter(&self) -> &Reporter {
        &self.reporter
    }

    /// Returns the clock of these accounts, for layers that begin tickets and have to wait.
    #[must_use]
    pub const fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Returns the journal, if there is one.
    pub(crate) const fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref()
    }

    /// Returns the observer.
    pub(crate) fn observer(&self) -> &dyn AccountingObserver {
        self.observer.as_ref()
    }

    /// Returns the epoch, which identifies this life of the reporter.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Begins an upload of a blob of `logical_bytes` to a store of this kind: the [`Ticket`] will have exactly one
    /// outcome, whatever happens.
    ///
    /// The upload is counted for the account name of the context or, if it has none, of the digest
    /// ([`AccountName::for_call`]).
    ///
    /// # Errors
    ///
    /// `ResourceExhausted` if the upload could pass the quota of its account. That is counted as rejected.
    pub fn begin(
        self: &Arc<Self>,
        ctx: &Context,
        digest: &Digest,
        storage_type: StorageType,
        logical_bytes: u64,
    ) -> Result<Ticket> {
        let (upload, token) = self.start(ctx, digest, storage_type, logical_bytes)?;
        Ok(Ticket::new(TicketState::new(Arc::clone(self), digest.clone(), storage_type, upload, token)))
    }

    /// Begins an upload as [`begin`](Self::begin) does, borrowing, for callers that await the upload.
    #[inline]
    pub(crate) fn begin_borrowed<'a>(
        &'a self,
        ctx: &Context,
        digest: &'a Digest,
        storage_type: StorageType,
        logical_bytes: u64,
    ) -> Result<BorrowedTicket<'a>> {
        let (upload, token) = self.start(ctx, digest, storage_type, logical_bytes)?;
        Ok(TicketState::new(self, digest, storage_type, upload, token))
    }

    fn start(
        &self,
        ctx: &Context,
        digest: &Digest,
        storage_type: StorageType,
        logical_bytes: u64,
    ) -> Result<(Upload, UploadToken)> {
        let account_name = ctx.account_name().map_or_else(|| digest.instance_name().as_str(), AccountName::as_str);
        let slot = self.table.slot(account_name, storage_type);
        let number = self.tokens.number();
        let own = ctx.upload_token().copied();
        self.table.add(slot, Class::Started, Amounts::started(logical_bytes));
        if let (Some(journal), Some(account)) = (&self.journal, self.table.account(slot)) {
            journal.open(account, number, digest, logical_bytes, own);
        }
        let mut upload = Upload { slot, number, logical_bytes, reserved: None };
        if !self.quotas.is_empty() {
            // The upload may be counted for `__other__`, while the limit is that of its own account.
            let account_name = AccountName::for_call(ctx, digest);
            match self.quotas.admit(&self.table, &account_name, logical_bytes) {
                Ok(reserved) => {
                    if let Some((used, soft)) = reserved.as_ref().and_then(|reserved| reserved.passed_soft) {
                        self.observer.soft_limit_passed(&account_name, used, soft);
                    }
                    upload.reserved = reserved;
                }
                Err(error) => {
                    self.end(&upload, Outcome::Error(ErrorReason::Rejected));
                    return Err(error);
                }
            }
        }
        Ok((upload, own.unwrap_or_else(|| self.tokens.token(number))))
    }

    /// Counts blobs that were deleted, whose `stored_bytes` had been counted for `account_name`.
    ///
    /// Call this after the blobs are gone. A crash in between leaves them in the footprint until a scan shows it.
    pub fn deleted(
        &self,
        account_name: &AccountName,
        storage_type: StorageType,
        cause: Deletion,
        objects: u64,
        stored_bytes: u64,
    ) {
        let class = match cause {
            Deletion::Requested => Class::DeletedOnRequest,
            Deletion::Collected => Class::DeletedByCollection,
        };
        let slot = self.table.slot(account_name.as_str(), storage_type);
        let amounts = Amounts::deleted(objects, stored_bytes);
        if let (Some(journal), Some(account)) = (&self.journal, self.table.account(slot)) {
            journal.deleted(account, class, amounts);
        }
        self.table.add(slot, class, amounts);
    }

    /// Returns the counts of this life so far.
    #[must_use]
    pub fn tallies(&self) -> TallySnapshot {
        self.table.snapshot()
    }

    /// Returns the state apart from the counters.
    #[must_use]
    pub fn snapshot(&self) -> AccountsSnapshot {
        let (journal_open, journal_failures, journal_bytes) =
            self.journal.as_ref().map_or((0, 0, 0), Journal::condition);
        AccountsSnapshot {
            unresolved: self.unresolved().len(),
            dead_lives: self.dead().len(),
            journal_open,
            journal_failures,
            journal_bytes,
        }
    }

    /// Returns the use of the limits of `account_name`; `None` if it has none.
    #[must_use]
    pub fn quota_usage(&self, account_name: &AccountName) -> Option<QuotaUsage> {
        self.quotas.usage(&self.table, account_name)
    }

    pub(crate) const fn quotas(&self) -> &EnforcedQuotas {
        &self.quotas
    }

    /// Makes the report with this number, of the counts of this life.
    pub(crate) fn report(&self, seq: u64) -> Report {
        let taken_at = self.clock.now();
        Report::new(self.reporter.clone(), self.epoch, seq, taken_at, self.table.snapshot().accounts)
    }

    /// Counts the outcome of an upload. The journal is written first, so that everything reported is in it.
    pub(crate) fn end(&self, upload: &Upload, outcome: Outcome) {
        if let Some(journal) = &self.journal {
            journal.end(upload.number, outcome);
        }
        self.table.add(upload.slot, Class::from_outcome(outcome), Amounts::ended(outcome, upload.logical_bytes));
        if let Some(reserved) = &upload.reserved {
            self.quotas.release(reserved);
        }
        if let Some(account) = self.table.account(upload.slot) {
            self.observer.upload_ended(account, outcome, upload.logical_bytes);
        }
    }

    fn dead(&self) -> MutexGuard<'_, Vec<Dead>> {
        // Nothing that panics is called while the list is half changed.
        self.dead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the earlier lives whose last report has not been acknowledged.
    pub(crate) fn take_dead(&self) -> Vec<Dead> {
        std::mem::take(&mut *self.dead())
    }

    /// Gives back the lives that are still not reported to their end.
    pub(crate) fn put_back(&self, dead: Vec<Dead>) {
        self.dead().extend(dead);
    }

    /// Loses the journal, for tests: from here on nothing is written down, as after `kill -9`.
    #[cfg(test)]
    #[cfg(not(loom))]
    pub(crate) fn lose_the_journal(&self) {
        if let Some(journal) = &self.journal {
            journal.abandon();
        }
    }

    pub(crate) const fn settle_after(&self) -> Duration {
        self.settle_after
    }
}

/// The reason why a blob was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deletion {
    /// A request to delete it.
    Requested,
    /// A collection that keeps the store within its limits.
    Collected,
}

impl Debug for Accounts {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts")
            .field("reporter", &self.reporter)
            .field("epoch", &self.epoch)
            .field("journal", &self.journal)
            .finish_non_exhaustive()
    }
}
