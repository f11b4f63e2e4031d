//! The accounts of one store: counters, journal, resolvers, quotas and observer.

mod builder;
mod options;
mod peers;
mod resolving;
mod ticket;
mod watch;

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use blobaccess::{
    AccountName, Clock, Context, Digest, PutOutcome, Result, StorageType, StoredSize, UploadResolution, UploadToken,
};

use self::peers::{PeerPut, PeerPuts};
use self::resolving::{Resolvers, Unresolved};
use self::ticket::{BorrowedTicket, TicketState};
use self::watch::Watch;
use crate::journal::{Dead, Journal};
use crate::quota::{EnforcedQuotas, Reserved};
use crate::tally::{Slot, Table};
use crate::tokens::Tokens;
use crate::{
    Account, AccountingObserver, Amounts, Class, Epoch, ErrorReason, Outcome, OwnerIndex, QuotaUsage, Quotas, Report,
    Reporter, TallySnapshot,
};

pub use self::builder::AccountsBuilder;
pub use self::options::AccountsOptions;
pub(crate) use self::resolving::lock as lock_dead;
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
/// For each account permitted, 200 bytes; for each that is used, some 800 more. With a journal, about 250 bytes for each
/// upload under way. For each of the latest 16,384 puts with a token of a peer, some 200 bytes.
pub struct Accounts {
    reporter: Reporter,
    epoch: Epoch,
    table: Table,
    /// The names that have accounts besides those with quotas.
    known: Vec<AccountName>,
    tokens: Tokens,
    journal: Option<Journal>,
    journal_is_optional: bool,
    foreign_journals: u64,
    unreadable_journals: u64,
    damaged_records: u64,
    dead: Mutex<Vec<Arc<Mutex<Dead>>>>,
    resolvers: Resolvers,
    /// The uploads about which the store is to be asked, by number.
    unresolved: Mutex<BTreeMap<u64, Unresolved>>,
    /// The number from which on the store is asked next.
    next_asked: AtomicU64,
    peers: PeerPuts,
    watch: Watch,
    max_blob_size_bytes: u64,
    settle_after: Duration,
    max_unresolved: usize,
    quotas: EnforcedQuotas,
    observer: Arc<dyn AccountingObserver>,
    clock: Arc<dyn Clock>,
    owners: Option<OwnerIndex>,
}

/// The data that is needed to count the outcome of an upload.
#[derive(Debug)]
pub(crate) struct Upload {
    slot: Slot,
    number: u64,
    logical_bytes: u64,
    /// The bytes that the blob would take in the store.
    size: StoredSize,
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
    /// Whether the journal lacks records, as it could not be written. Nothing is reported then, unless the journal is
    /// [optional](AccountsOptions::with_optional_journal).
    pub journal_lacking: bool,
    /// The number of records in journals of earlier lives that could not be read. A second name of each such journal stays,
    /// with the extension `damaged`.
    pub damaged_records: u64,
    /// The number of journals in the same directory that are those of other reporters or stores.
    pub foreign_journals: u64,
    /// The number of files there with the extension of journals that could not be read.
    pub unreadable_journals: u64,
    /// The number of uploads since the last report that was acknowledged.
    pub unreported: u64,
    /// Whether the use of every quota is known: the ledger was read since its limits were set.
    pub quotas_known: bool,
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

    /// Begins an upload that joins an equal one, which is queued or under way. It will store nothing itself, so no quota
    /// refuses it.
    pub fn begin_joined(
        self: &Arc<Self>,
        ctx: &Context,
        digest: &Digest,
        storage_type: StorageType,
        logical_bytes: u64,
    ) -> Ticket {
        let upload = self.count_start(ctx, digest, storage_type, logical_bytes);
        let token = self.tokens.token(upload.number);
        Ticket::new(TicketState::new(Arc::clone(self), digest.clone(), storage_type, upload, token))
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

    #[inline]
    fn start(
        &self,
        ctx: &Context,
        digest: &Digest,
        storage_type: StorageType,
        logical_bytes: u64,
    ) -> Result<(Upload, UploadToken)> {
        let mut upload = self.count_start(ctx, digest, storage_type, logical_bytes);
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
        let token = self.tokens.token(upload.number);
        Ok((upload, token))
    }

    /// Counts the beginning of an upload, and writes it into the journal.
    #[inline]
    fn count_start(&self, ctx: &Context, digest: &Digest, storage_type: StorageType, logical_bytes: u64) -> Upload {
        let account_name = ctx.account_name().map_or_else(|| digest.instance_name().as_str(), AccountName::as_str);
        let slot = self.table.slot(account_name, storage_type, &|account| self.fold(account));
        let number = self.tokens.number();
        if self.watch.is_overdue(number, || self.clock.monotonic()) {
            tracing::warn!(reporter = %self.reporter, "uploads are counted and not reported: is `Reporting::run` polled?");
        }
        // A peer can announce any size.
        let (counted_bytes, size) = if logical_bytes > self.max_blob_size_bytes {
            (0, StoredSize::Unknown)
        } else {
            (logical_bytes, self.resolvers.stored_size(storage_type, logical_bytes))
        };
        self.table.add(&slot, Class::Started, Amounts::started(counted_bytes));
        if let (Some(journal), Some(account)) = (&self.journal, self.table.account(&slot)) {
            journal.open(account, number, digest, counted_bytes, size);
        }
        Upload { slot, number, logical_bytes: counted_bytes, size, reserved: None }
    }

    /// Writes down that an account goes, before its counts are those of `__other__`.
    fn fold(&self, account: &Account) {
        if let Some(journal) = &self.journal {
            journal.folded(account);
        }
    }

    /// Returns the answer to a peer that put a blob under the token `peer`: an earlier put under that token may have created
    /// it, and its answer been lost. This counts nothing.
    pub(crate) async fn answer(
        &self,
        ctx: &Context,
        storage_type: StorageType,
        digest: &Digest,
        peer: UploadToken,
        outcome: PutOutcome,
    ) -> PutOutcome {
        match outcome {
            PutOutcome::Created { stored_bytes } => self.peers.note_created(peer, digest, stored_bytes),
            PutOutcome::AlreadyExists { .. } if !storage_type.is_mutable() => {
                if let Some(stored_bytes) = self.created_before(ctx, storage_type, digest, peer).await {
                    self.peers.note_created(peer, digest, stored_bytes);
                    return PutOutcome::Created { stored_bytes };
                }
            }
            PutOutcome::AlreadyExists { .. } | PutOutcome::Replaced { .. } | PutOutcome::Unclassified { .. } => {}
        }
        outcome
    }

    /// Returns the bytes that a blob takes in the store if an earlier put under the token `peer` created it.
    async fn created_before(
        &self,
        ctx: &Context,
        storage_type: StorageType,
        digest: &Digest,
        peer: UploadToken,
    ) -> Option<u64> {
        let tokens = match self.peers.find(peer, digest)? {
            PeerPut::Created { stored_bytes } => return Some(stored_bytes),
            PeerPut::Lost(tokens) => tokens,
        };
        for token in tokens {
            let answer = self.resolvers.ask(ctx, storage_type, digest, &token).await;
            if let Ok(UploadResolution::Mine { stored_bytes }) = answer {
                return Some(stored_bytes);
            }
        }
        None
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
        let slot = self.table.slot(account_name.as_str(), storage_type, &|account| self.fold(account));
        let amounts = Amounts::deleted(objects, stored_bytes);
        if let (Some(journal), Some(account)) = (&self.journal, self.table.account(&slot)) {
            journal.deleted(account, class, amounts);
        }
        self.table.add(&slot, class, amounts);
        self.table.settle(&slot);
    }

    /// Returns the counts of this life so far.
    #[must_use]
    pub fn tallies(&self) -> TallySnapshot {
        self.table.snapshot()
    }

    /// Returns the state apart from the counters.
    #[must_use]
    pub fn snapshot(&self) -> AccountsSnapshot {
        let journal = self.journal.as_ref().map(Journal::condition).unwrap_or_default();
        let started = self.table.snapshot().sum().get(Class::Started).objects;
        AccountsSnapshot {
            unresolved: self.unresolved().len(),
            dead_lives: self.dead().len(),
            journal_open: journal.open,
            journal_failures: journal.failures,
            journal_bytes: journal.bytes,
            journal_lacking: journal.lacking,
            damaged_records: self.damaged_records,
            foreign_journals: self.foreign_journals,
            unreadable_journals: self.unreadable_journals,
            unreported: started.saturating_sub(self.watch.acknowledged()),
            quotas_known: self.quotas.are_known(),
        }
    }

    /// Sets the limits of accounts, in place of those before, while uploads go on. An account that had limits keeps what is
    /// known of its use; of another one, the use is known once the ledger was read.
    pub fn set_quotas(&self, quotas: &Quotas) {
        self.table.set_known(self.known.iter().cloned().chain(quotas.names()));
        self.quotas.set(quotas);
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
        let counted = self.table.reported(&|account| self.fold(account)).accounts;
        Report::new(self.reporter.clone(), self.epoch, seq, taken_at, counted)
    }

    /// Counts the outcome of an upload. The journal is written first, so that everything reported is in it.
    pub(crate) fn end(&self, upload: &Upload, outcome: Outcome) {
        if let Some(journal) = &self.journal {
            journal.end(upload.number, outcome);
        }
        let class = Class::from_outcome(outcome);
        self.table.add(&upload.slot, class, Amounts::ended_with(outcome, upload.logical_bytes, upload.size));
        if class.concerns_the_store() {
            self.table.settle(&upload.slot);
        }
        if let Some(reserved) = &upload.reserved {
            reserved.release();
        }
        if let Some(account) = self.table.account(&upload.slot) {
            self.observer.upload_ended(account, outcome, upload.logical_bytes);
        }
    }

    /// Notes whose the blob of an upload is that is about to end with `outcome`.
    ///
    /// The index has the blob before the outcome is counted: a crash in between leaves an upload whose outcome is asked for,
    /// rather than a blob that nobody owns.
    pub(crate) fn note_owner(
        &self,
        account: &Account,
        digest: &Digest,
        token: UploadToken,
        outcome: Outcome,
        logical_bytes: u64,
    ) {
        if let Some(owners) = &self.owners {
            owners.note(account, digest, token, outcome, logical_bytes);
        }
    }

    /// Notes whose the blob of an upload of this life is.
    fn note_upload(&self, upload: &Upload, digest: &Digest, token: UploadToken, outcome: Outcome) {
        if self.owners.is_some()
            && let Some(account) = self.table.account(&upload.slot)
        {
            self.note_owner(account, digest, token, outcome, upload.logical_bytes);
        }
    }

    fn dead(&self) -> MutexGuard<'_, Vec<Arc<Mutex<Dead>>>> {
        // Nothing that panics is called while the list is half changed.
        self.dead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the earlier lives whose last report has not been acknowledged.
    pub(crate) fn dead_lives(&self) -> Vec<Arc<Mutex<Dead>>> {
        self.dead().clone()
    }

    /// Forgets an earlier life, whose journal is deleted.
    pub(crate) fn forget_dead(&self, life: &Arc<Mutex<Dead>>) {
        self.dead().retain(|dead| !Arc::ptr_eq(dead, life));
    }

    /// Returns whether reports are made although the journal lacks records.
    pub(crate) const fn reports_without_journal(&self) -> bool {
        self.journal_is_optional
    }

    /// Returns the watch over reports.
    pub(crate) const fn watch(&self) -> &Watch {
        &self.watch
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

impl Drop for Accounts {
    fn drop(&mut self) {
        // With a journal, the next life reports them.
        if self.watch.is_expected() && self.journal.is_none() {
            let unreported = self.snapshot().unreported;
            if unreported > 0 {
                tracing::warn!(reporter = %self.reporter, unreported, "counts of uploads are lost: nobody reported them");
            }
        }
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
