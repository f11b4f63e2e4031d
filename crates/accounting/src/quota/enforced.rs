//! Quotas at work: the use of each limit, and the reservations of uploads under way.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Debug, Formatter};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use blobaccess::{AccountName, Error, Result};

use super::{Quota, QuotaUsage, Quotas};
use crate::tally::Table;
use crate::{Account, Class, Report, Total};

/// [`Quotas`], with the use that is made of them.
pub(crate) struct EnforcedQuotas {
    by_account_name: RwLock<HashMap<AccountName, Arc<Usage>>>,
    /// Whether there is no limit at all, so that no lock need be taken.
    empty: AtomicBool,
    refuse_while_unknown: AtomicBool,
}

#[derive(Debug)]
struct Usage {
    soft_bytes: AtomicU64,
    hard_bytes: AtomicU64,
    /// The size of the blobs under way.
    reserved_bytes: AtomicU64,
    /// The bytes in the ledger that other processes reported.
    others_bytes: AtomicI64,
    /// Whether the ledger was read since the account has limits.
    known: AtomicBool,
    soft_passed: AtomicBool,
}

/// A reservation for an upload under way.
#[derive(Debug)]
pub(crate) struct Reserved {
    usage: Arc<Usage>,
    bytes: u64,
    /// The bytes in use and the soft limit, if the limit has just been passed.
    pub(crate) passed_soft: Option<(u64, u64)>,
}

impl EnforcedQuotas {
    /// Makes unused quotas with these limits.
    pub(crate) fn new(quotas: &Quotas) -> Self {
        let enforced = Self {
            by_account_name: RwLock::default(),
            empty: AtomicBool::new(true),
            refuse_while_unknown: AtomicBool::new(false),
        };
        enforced.set(quotas);
        enforced
    }

    /// Sets the limits, in place of those before. The use of accounts that had limits stays known.
    pub(crate) fn set(&self, quotas: &Quotas) {
        let mut by_account_name = self.write();
        by_account_name.retain(|account_name, _| quotas.by_account_name.contains_key(account_name));
        for (account_name, quota) in &quotas.by_account_name {
            let usage = by_account_name.entry(account_name.clone()).or_default();
            usage.soft_bytes.store(quota.soft_bytes, Ordering::Relaxed);
            usage.hard_bytes.store(quota.hard_bytes, Ordering::Relaxed);
        }
        self.refuse_while_unknown.store(quotas.refuse_while_unknown, Ordering::Relaxed);
        self.empty.store(by_account_name.is_empty(), Ordering::Release);
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<AccountName, Arc<Usage>>> {
        // Nothing that panics is called while the limits are half changed.
        self.by_account_name.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<AccountName, Arc<Usage>>> {
        self.by_account_name.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, account_name: &AccountName) -> Option<Arc<Usage>> {
        self.read().get(account_name).map(Arc::clone)
    }

    /// Reserves room for an upload if its account has limits.
    ///
    /// The size is reserved before the limit is checked, so that at most one of two uploads passes that do not both fit. A
    /// size beyond the limit is not reserved at all, as a peer can announce any.
    pub(crate) fn admit(&self, table: &Table, account_name: &AccountName, bytes: u64) -> Result<Option<Reserved>> {
        let Some(usage) = self.find(account_name) else { return Ok(None) };
        if self.refuse_while_unknown.load(Ordering::Relaxed) && !usage.known.load(Ordering::Acquire) {
            let message = format!("the use of account {account_name} is not known yet: the ledger was not read");
            return Err(Error::unavailable(message).not_stored());
        }
        let Quota { soft_bytes, hard_bytes } = usage.quota();
        let refused = |used: u64, reserved: u64| {
            let message = format!(
                "account {account_name} has {used} bytes and {reserved} under way; the maximum is {hard_bytes}: \
                 {bytes} more are refused"
            );
            Error::resource_exhausted(message).not_stored()
        };
        if bytes > hard_bytes {
            return Err(refused(usage.used_bytes(table, account_name), usage.reserved_bytes.load(Ordering::Acquire)));
        }
        let reserve = |reserved: u64| reserved.checked_add(bytes);
        let reserved = usage
            .reserved_bytes
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, reserve)
            .map_err(|reserved| refused(usage.used_bytes(table, account_name), reserved))?;
        let used = usage.used_bytes(table, account_name);
        let taken = used.saturating_add(reserved).saturating_add(bytes);
        if taken > hard_bytes {
            usage.release(bytes);
            return Err(refused(used, reserved));
        }
        let passed = taken > soft_bytes;
        let notified = usage.soft_passed.swap(passed, Ordering::AcqRel);
        let passed_soft = (passed && !notified).then_some((taken, soft_bytes));
        Ok(Some(Reserved { usage, bytes, passed_soft }))
    }

    /// Returns the names of the accounts with limits.
    pub(crate) fn names(&self) -> Vec<AccountName> {
        self.read().keys().cloned().collect()
    }

    /// Learns from the ledger how much other processes have put into the accounts. Read `totals` after `acknowledged`, the
    /// latest report of this process, and before its next.
    pub(crate) fn rebase(&self, totals: &[Total], acknowledged: &Report) {
        let by_account_name = self.read();
        let mut others: BTreeMap<&AccountName, i128> = BTreeMap::new();
        let all = totals.iter().map(|total| (&total.account, total.footprint_bytes()));
        let own = acknowledged.accounts.iter().map(|(account, tally)| (account, -tally.net_bytes()));
        for (account, bytes) in
            all.chain(own).filter(|(account, _)| by_account_name.contains_key(account.account_name()))
        {
            *others.entry(account.account_name()).or_default() += bytes;
        }
        for (account_name, usage) in &*by_account_name {
            let bytes = others.get(account_name).copied().unwrap_or(0);
            let bytes = i64::try_from(bytes).unwrap_or(if bytes < 0 { i64::MIN } else { i64::MAX });
            usage.others_bytes.store(bytes, Ordering::Release);
            usage.known.store(true, Ordering::Release);
        }
    }

    /// Returns the use of the limits of `account_name`; `None` if it has none.
    pub(crate) fn usage(&self, table: &Table, account_name: &AccountName) -> Option<QuotaUsage> {
        let usage = self.find(account_name)?;
        Some(QuotaUsage {
            quota: usage.quota(),
            used_bytes: usage.used_bytes(table, account_name),
            reserved_bytes: usage.reserved_bytes.load(Ordering::Acquire),
            is_known: usage.known.load(Ordering::Acquire),
        })
    }

    /// Returns whether the use of every limit is known.
    pub(crate) fn are_known(&self) -> bool {
        self.read().values().all(|usage| usage.known.load(Ordering::Acquire))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.empty.load(Ordering::Acquire)
    }
}

impl Default for Usage {
    fn default() -> Self {
        Self {
            soft_bytes: AtomicU64::new(u64::MAX),
            hard_bytes: AtomicU64::new(u64::MAX),
            reserved_bytes: AtomicU64::new(0),
            others_bytes: AtomicI64::new(0),
            known: AtomicBool::new(false),
            soft_passed: AtomicBool::new(false),
        }
    }
}

impl Usage {
    fn quota(&self) -> Quota {
        Quota {
            soft_bytes: self.soft_bytes.load(Ordering::Relaxed),
            hard_bytes: self.hard_bytes.load(Ordering::Relaxed),
        }
    }

    fn used_bytes(&self, table: &Table, account_name: &AccountName) -> u64 {
        let kinds = (0..5).filter_map(Account::storage_type_from_code);
        // Names with limits are known to the table, so what they stored is theirs.
        let places = kinds.filter_map(|kind| table.find(account_name.as_str(), kind));
        let own: i128 = places.map(|place| net_bytes(table, place)).sum();
        let others = i128::from(self.others_bytes.load(Ordering::Acquire));
        u64::try_from((own + others).max(0)).unwrap_or(u64::MAX)
    }

    fn release(&self, bytes: u64) {
        self.reserved_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }
}

impl Reserved {
    /// Gives the reservation back, after the outcome of the upload was counted.
    pub(crate) fn release(&self) {
        self.usage.release(self.bytes);
    }
}

fn net_bytes(table: &Table, place: usize) -> i128 {
    let stored = |class| i128::from(table.amounts(place, class).stored_bytes);
    let replaced = table.amounts(place, Class::Replaced);
    let deleted: i128 =
        [Class::DeletedByRotation, Class::DeletedOnRequest, Class::DeletedByCollection].into_iter().map(stored).sum();
    stored(Class::Created) + i128::from(replaced.stored_bytes) - i128::from(replaced.old_bytes) - deleted
}

impl Debug for EnforcedQuotas {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let by_account_name = self.read();
        f.debug_map().entries(by_account_name.iter().map(|(name, usage)| (name, usage.quota()))).finish()
    }
}
