//! Quotas at work: the use of each limit, and the reservations of uploads under way.

use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use blobaccess::{AccountName, Error, Result};

use super::{Quota, QuotaUsage, Quotas};
use crate::tally::{Slot, Table};
use crate::{Account, Class, Report, Total};

/// [`Quotas`], with the use that is made of them.
pub(crate) struct EnforcedQuotas {
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

impl EnforcedQuotas {
    /// Makes unused quotas with these limits.
    pub(crate) fn new(quotas: &Quotas) -> Self {
        let unused = |quota| Usage {
            quota,
            reserved_bytes: AtomicU64::new(0),
            others_bytes: AtomicI64::new(0),
            soft_passed: AtomicBool::new(false),
        };
        let by_account_name = quotas.by_account_name.iter();
        Self { by_account_name: by_account_name.map(|(name, quota)| (name.clone(), unused(*quota))).collect() }
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
    pub(crate) fn rebase(&self, totals: &[Total], acknowledged: &Report) {
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

impl Debug for EnforcedQuotas {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.by_account_name.iter().map(|(account_name, usage)| (account_name, usage.quota)))
            .finish()
    }
}
