//! Quotas: uploads beyond the limit of an account are refused before a byte is sent.

use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use blobaccess::{AccountName, Error, Result};

use crate::tally::{Slot, Table};
use crate::{Account, Class, Report, Total};

/// The limits of one account, in bytes as stored, over all kinds of stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The number of bytes above which the observer is notified.
    pub soft_bytes: u64,
    /// The number of bytes beyond which uploads are refused.
    pub hard_bytes: u64,
}

/// The limits of accounts.
///
/// Two things count against a limit: the bytes that the account has, and the full size of every blob under way, as
/// nobody knows yet how small the store will make it. So the uploads that this process admits never pass a hard limit.
/// Uploads by other processes are known as of the last [`rebase`](Self::rebase), which
/// [`Reporting`](crate::Reporting) does after each report.
#[derive(Default)]
pub struct Quotas {
    by_account_name: HashMap<AccountName, Usage>,
}

struct Usage {
    quota: Quota,
    /// The size of the blobs under way.
    reserved_bytes: AtomicU64,
    /// The bytes in the ledger that other processes reported.
    others_bytes: AtomicI64,
    soft_passed: AtomicBool,
}

/// A reservation for an upload under way.
#[derive(Debug)]
pub(crate) struct Reserved {
    account_name: AccountName,
    bytes: u64,
    /// The bytes in use and the soft limit, if the limit has just been passed.
    pub(crate) passed_soft: Option<(u64, u64)>,
}

/// The use of an account's limits, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuotaUsage {
    /// The limits.
    pub quota: Quota,
    /// The bytes stored.
    pub used_bytes: u64,
    /// The size of the blobs under way.
    pub reserved_bytes: u64,
}

impl Quotas {
    /// Makes quotas without any limit.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the limits of `account_name`.
    #[must_use]
    pub fn with_quota(mut self, account_name: AccountName, quota: Quota) -> Self {
        let usage = Usage {
            quota,
            reserved_bytes: AtomicU64::new(0),
            others_bytes: AtomicI64::new(0),
            soft_passed: AtomicBool::new(false),
        };
        self.by_account_name.insert(account_name, usage);
        self
    }

    /// Reserves room for an upload if its account has limits.
    ///
    /// The size is reserved before the limit is checked, so that at most one of two uploads passes that do not both fit.
    pub(crate) fn admit(&self, table: &Table, account_name: &AccountName, bytes: u64) -> Result<Option<Reserved>> {
        let Some(usage) = self.by_account_name.get(account_name) else { return Ok(None) };
        let reserved = usage.reserved_bytes.fetch_add(bytes, Ordering::AcqRel);
        let used = usage.used_bytes(table, account_name);
        let taken = used.saturating_add(reserved).saturating_add(bytes);
        let Quota { soft_bytes, hard_bytes } = usage.quota;
        if taken > hard_bytes {
            usage.release(bytes);
            let message = format!(
                "account {account_name} has {used} bytes and {reserved} under way; the maximum is {hard_bytes}: \
                 {bytes} more are refused"
            );
            return Err(Error::resource_exhausted(message).not_stored());
        }
        let passed = taken > soft_bytes;
        let notified = usage.soft_passed.swap(passed, Ordering::AcqRel);
        Ok(Some(Reserved {
            account_name: account_name.clone(),
            bytes,
            passed_soft: (passed && !notified).then_some((taken, soft_bytes)),
        }))
    }

    /// Gives a reservation back, after the outcome of the upload was counted.
    pub(crate) fn release(&self, reserved: &Reserved) {
        if let Some(usage) = self.by_account_name.get(&reserved.account_name) {
            usage.release(reserved.bytes);
        }
    }

    /// Learns from the ledger how much other processes have put into the accounts. Read `totals` after `acknowledged`, the
    /// latest report of this process, and before its next.
    pub fn rebase(&self, totals: &[Total], acknowledged: &Report) {
        for (account_name, usage) in &self.by_account_name {
            let is_same = |account: &Account| account.account_name() == account_name;
            let all: i128 = totals.iter().filter(|total| is_same(&total.account)).map(Total::footprint_bytes).sum();
            let own: i128 = acknowledged
                .accounts
                .iter()
                .filter(|(account, _)| is_same(account))
                .map(|(_, tally)| tally.net_bytes())
                .sum();
            let others = i64::try_from(all - own).unwrap_or(i64::MAX);
            usage.others_bytes.store(others, Ordering::Release);
        }
    }

    /// Returns the use of the limits of `account_name`; `None` if it has none.
    pub(crate) fn usage(&self, table: &Table, account_name: &AccountName) -> Option<QuotaUsage> {
        let usage = self.by_account_name.get(account_name)?;
        Some(QuotaUsage {
            quota: usage.quota,
            used_bytes: usage.used_bytes(table, account_name),
            reserved_bytes: usage.reserved_bytes.load(Ordering::Acquire),
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_account_name.is_empty()
    }
}

impl Usage {
    fn used_bytes(&self, table: &Table, account_name: &AccountName) -> u64 {
        let slots = (0..5).filter_map(Account::storage_type_from_code);
        let own: i128 =
            slots.filter_map(|kind| table.find(account_name.as_str(), kind)).map(|slot| net_bytes(table, slot)).sum();
        let others = i128::from(self.others_bytes.load(Ordering::Acquire));
        u64::try_from((own + others).max(0)).unwrap_or(u64::MAX)
    }

    fn release(&self, bytes: u64) {
        self.reserved_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }
}

fn net_bytes(table: &Table, slot: Slot) -> i128 {
    let stored = |class| i128::from(table.amounts(slot, class).stored_bytes);
    let replaced = table.amounts(slot, Class::Replaced);
    let deleted: i128 =
        [Class::DeletedByRotation, Class::DeletedOnRequest, Class::DeletedByCollection].into_iter().map(stored).sum();
    stored(Class::Created) + i128::from(replaced.stored_bytes) - i128::from(replaced.old_bytes) - deleted
}

impl Debug for Quotas {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.by_account_name.iter().map(|(account_name, usage)| (account_name, usage.quota)))
            .finish()
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::sync::{Arc, Mutex};

    use blobaccess::{Context, Digest, DigestFunction, ErrorKind, InstanceName, PutCertainty, StorageType};

    use super::*;
    use crate::{
        AccountingObserver, Accounts, AccountsOptions, Deletion, Ledger, MemoryLedger, Outcome, Reporter, Reporting,
    };

    #[derive(Debug, Default)]
    struct SoftLimits(Mutex<Vec<(u64, u64)>>);

    impl AccountingObserver for SoftLimits {
        fn soft_limit_passed(&self, _account_name: &AccountName, used_bytes: u64, soft_bytes: u64) {
            self.0.lock().unwrap().push((used_bytes, soft_bytes));
        }
    }

    fn account_name() -> AccountName {
        AccountName::new("acme")
    }

    fn open(told: &Arc<SoftLimits>) -> Arc<Accounts> {
        let quotas = Quotas::new().with_quota(account_name(), Quota { soft_bytes: 60, hard_bytes: 100 });
        // Room for no account, so that this one is counted for `__other__`.
        let options = AccountsOptions::new(Reporter::new("host")).with_quotas(quotas).with_max_accounts(0);
        Accounts::open(options.with_observer(Arc::<SoftLimits>::clone(told))).unwrap()
    }

    fn digest() -> Digest {
        Digest::of(InstanceName::new("acme").unwrap(), DigestFunction::Sha256, b"hello")
    }

    #[test]
    fn what_is_on_its_way_counts_until_it_is_known_what_became_of_it() {
        let told = Arc::new(SoftLimits::default());
        let accounts = open(&told);
        let begin = |bytes| accounts.begin(&Context::background(), &digest(), StorageType::Cas, bytes);
        let one = begin(60).unwrap();
        let two = begin(40).unwrap();
        let error = begin(1).unwrap_err();
        assert_eq!((error.kind(), error.put_certainty()), (ErrorKind::ResourceExhausted, PutCertainty::NotStored));
        assert!(error.to_string().contains("has 0 bytes and 100 under way; the maximum is 100"), "{error}");
        assert_eq!(*told.0.lock().unwrap(), [(100, 60)]);
        drop(two);
        one.finish(Outcome::Created { stored_bytes: 30 });
        let usage = accounts.quota_usage(&account_name()).unwrap();
        assert_eq!(usage.reserved_bytes, 0);
        assert_eq!(accounts.tallies().accounts[0].1.get(Class::Rejected).objects, 1);
    }

    #[tokio::test]
    async fn what_others_have_counts_as_of_the_last_report() {
        let told = Arc::new(SoftLimits::default());
        let quotas = || Quotas::new().with_quota(account_name(), Quota { soft_bytes: 60, hard_bytes: 100 });
        let open = |name: &'static str| {
            let options = AccountsOptions::new(Reporter::new(name)).with_quotas(quotas());
            Accounts::open(options.with_observer(Arc::<SoftLimits>::clone(&told))).unwrap()
        };
        let ledger = Arc::new(MemoryLedger::new());
        let (one, two) = (open("one"), open("two"));
        let report = |accounts: &Arc<Accounts>| {
            let ledger: Arc<dyn Ledger> = Arc::<MemoryLedger>::clone(&ledger);
            Reporting::new(Arc::clone(accounts), ledger)
        };
        let put = |accounts: &Arc<Accounts>, bytes| {
            let ticket = accounts.begin(&Context::background(), &digest(), StorageType::Cas, bytes)?;
            ticket.finish(Outcome::Created { stored_bytes: bytes });
            Ok::<_, Error>(())
        };
        let (reports_of_one, reports_of_two) = (report(&one), report(&two));
        put(&one, 70).unwrap();
        reports_of_one.flush().await.unwrap();
        put(&two, 10).unwrap();
        reports_of_two.flush().await.unwrap();
        assert_eq!(two.quota_usage(&account_name()).unwrap().used_bytes, 80);
        assert!(put(&two, 21).is_err());
        put(&two, 20).unwrap();
        one.deleted(&account_name(), StorageType::Cas, Deletion::Requested, 1, 70);
        reports_of_one.flush().await.unwrap();
        reports_of_two.flush().await.unwrap();
        assert_eq!(two.quota_usage(&account_name()).unwrap().used_bytes, 30);
        assert_eq!(one.quota_usage(&AccountName::new("other")), None);
    }

    #[test]
    fn of_uploads_that_race_for_the_last_room_no_more_pass_than_fit() {
        let accounts = open(&Arc::new(SoftLimits::default()));
        let passed = std::thread::scope(|scope| {
            let begin = || accounts.begin(&Context::background(), &digest(), StorageType::Cas, 30);
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(begin)).collect();
            let tickets: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
            tickets.iter().filter(|ticket| ticket.is_ok()).count()
        });
        assert!(passed <= 3);
    }
}
