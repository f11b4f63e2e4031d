//! Quotas: uploads beyond the limit of an account are refused before a byte is sent.

mod enforced;

use std::collections::HashMap;

use blobaccess::AccountName;

pub(crate) use self::enforced::{EnforcedQuotas, Reserved};

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
/// Uploads by other processes are known as of the last report: [`Reporting`](crate::Reporting) then reads the ledger.
///
/// Until the ledger was read for the first time, only the uploads of this process are known, and limits are open to that
/// extent: [`QuotaUsage::is_known`] and [`AccountsSnapshot::quotas_known`](crate::AccountsSnapshot::quotas_known) say so.
/// [`with_refusal_while_unknown`](Self::with_refusal_while_unknown) refuses uploads until then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    by_account_name: HashMap<AccountName, Quota>,
    refuse_while_unknown: bool,
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
    /// Whether `used_bytes` has what other processes and earlier lives stored, as of the last report.
    pub is_known: bool,
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
        self.by_account_name.insert(account_name, quota);
        self
    }

    /// Sets whether uploads to accounts with limits are refused, as `Unavailable`, until the ledger was read and their use
    /// is known: not by default. Then a ledger that is down at a start stops these uploads.
    #[must_use]
    pub const fn with_refusal_while_unknown(mut self, refuse: bool) -> Self {
        self.refuse_while_unknown = refuse;
        self
    }

    /// Returns the names of the accounts with limits.
    pub(crate) fn names(&self) -> impl Iterator<Item = AccountName> {
        self.by_account_name.keys().cloned()
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::sync::{Arc, Mutex};

    use blobaccess::{Context, Digest, DigestFunction, Error, ErrorKind, InstanceName, PutCertainty, StorageType};

    use super::*;
    use crate::{
        AccountingObserver, Accounts, AccountsOptions, Class, Deletion, Ledger, MemoryLedger, Outcome, Reporter,
        Reporting,
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
        Accounts::builder(options).with_observer(Arc::clone(told)).open().unwrap()
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
            Accounts::builder(options).with_observer(Arc::clone(&told)).open().unwrap()
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
