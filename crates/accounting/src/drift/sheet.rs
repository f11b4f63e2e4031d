//! The sheet of a scan: for each account, the bytes reported and the bytes listed.

use std::collections::HashMap;

use blobaccess::{AccountName, InventoryEntry, StorageType};

use super::Owner;
use crate::{Account, Total};

/// The sums of blobs that were listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Listed {
    /// The number of blobs.
    pub objects: u64,
    /// The bytes that they take.
    pub stored_bytes: u64,
    /// The bytes that the largest of them takes.
    pub largest_bytes: u64,
}

impl Listed {
    /// Makes the sums of one blob.
    #[must_use]
    pub const fn one(stored_bytes: u64) -> Self {
        Self { objects: 1, stored_bytes, largest_bytes: stored_bytes }
    }

    pub(super) const fn new(objects: u64, stored_bytes: u64, largest_bytes: u64) -> Self {
        Self { objects, stored_bytes, largest_bytes }
    }

    /// Returns the sums without those of a part of it.
    pub(super) const fn without(self, part: Self) -> Self {
        Self {
            objects: self.objects.saturating_sub(part.objects),
            stored_bytes: self.stored_bytes.saturating_sub(part.stored_bytes),
            largest_bytes: self.largest_bytes,
        }
    }

    /// Returns the sums of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            objects: self.objects.saturating_add(other.objects),
            stored_bytes: self.stored_bytes.saturating_add(other.stored_bytes),
            largest_bytes: self.largest_bytes.max(other.largest_bytes),
        }
    }
}

/// The sums of reports for an account, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reported {
    pub(super) footprint: i128,
    pub(super) added: u64,
    pub(super) removed: u64,
}

impl Reported {
    pub(super) fn from_total(total: &Total) -> Self {
        Self {
            footprint: total.footprint_bytes(),
            added: total.tally.added_bytes(),
            removed: total.tally.removed_bytes(),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            footprint: self.footprint.saturating_add(other.footprint),
            added: self.added.saturating_add(other.added),
            removed: self.removed.saturating_add(other.removed),
        }
    }
}

/// One account: the bytes reported before the listing, and the bytes listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) before: Reported,
    pub(super) listed: Listed,
}

/// The rows of one kind of store that are of no account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KindRows {
    /// The accounts for which there is no room.
    pub(super) others: Row,
    pub(super) adopted: Listed,
    pub(super) unknown: Listed,
}

/// The sums of a page by owner. A page has few owners, as a rule.
#[derive(Debug, Default)]
pub(super) struct PageSums {
    accounts: HashMap<AccountName, Listed>,
    adopted: Listed,
    unknown: Listed,
}

impl PageSums {
    pub(super) fn new(entries: &[InventoryEntry], owners: &[Owner]) -> Self {
        let mut sums = Self::default();
        for (entry, owner) in entries.iter().zip(owners) {
            let one = Listed::one(entry.stored_bytes);
            match owner {
                Owner::Account(name) => match sums.accounts.get_mut(name) {
                    Some(listed) => *listed = listed.plus(one),
                    None => drop(sums.accounts.insert(name.clone(), one)),
                },
                Owner::Adopted => sums.adopted = sums.adopted.plus(one),
                Owner::Unknown => sums.unknown = sums.unknown.plus(one),
            }
        }
        sums
    }
}

/// The rows of a scan. At most so many accounts are apart. If an account of the first reading finds no room, none is left for
/// any that is listed, so one that is not apart never becomes so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sheet {
    pub(super) accounts: HashMap<Account, Row>,
    pub(super) kinds: HashMap<StorageType, KindRows>,
    pub(super) max_accounts: usize,
}

impl Sheet {
    /// Makes the sheet of the first reading.
    pub(super) fn new(totals: &[Total], max_accounts: usize) -> Self {
        let mut order: Vec<&Total> = totals.iter().collect();
        if order.len() > max_accounts {
            order.sort_by_key(|total| std::cmp::Reverse(total.footprint_bytes().unsigned_abs()));
        }
        let mut sheet = Self { max_accounts, ..Self::default() };
        for (index, total) in order.into_iter().enumerate() {
            let before = Reported::from_total(total);
            if index < max_accounts {
                sheet.accounts.entry(total.account.clone()).or_default().before = before;
            } else {
                let others = &mut sheet.kinds.entry(total.account.storage_type()).or_default().others;
                others.before = others.before.plus(before);
            }
        }
        sheet
    }

    /// Adds a page. `adopted` is the account of the blobs that were there before, if the ledger has one.
    pub(super) fn add_page(&mut self, storage_type: StorageType, sums: PageSums, adopted: Option<&AccountName>) {
        for (name, listed) in sums.accounts {
            self.add_listed(Account::new(name, storage_type), listed);
        }
        let kind = self.kinds.entry(storage_type).or_default();
        kind.adopted = kind.adopted.plus(sums.adopted);
        kind.unknown = kind.unknown.plus(sums.unknown);
        if let Some(name) = adopted.filter(|_| sums.adopted.objects > 0) {
            self.add_listed(Account::new(name.clone(), storage_type), sums.adopted);
        }
    }

    fn add_listed(&mut self, account: Account, listed: Listed) {
        if let Some(row) = self.accounts.get_mut(&account) {
            row.listed = row.listed.plus(listed);
        } else if self.accounts.len() < self.max_accounts {
            self.accounts.insert(account, Row { before: Reported::default(), listed });
        } else {
            let others = &mut self.kinds.entry(account.storage_type()).or_default().others;
            others.listed = others.listed.plus(listed);
        }
    }

    /// Sums up what the second reading says, by account that is apart and by kind for all others.
    pub(super) fn sort_totals(&self, totals: &[Total]) -> (HashMap<Account, Reported>, HashMap<StorageType, Reported>) {
        let (mut accounts, mut others) = (HashMap::new(), HashMap::<StorageType, Reported>::new());
        for total in totals {
            let reported = Reported::from_total(total);
            if self.accounts.contains_key(&total.account) {
                accounts.insert(total.account.clone(), reported);
            } else {
                let sum = others.entry(total.account.storage_type()).or_default();
                *sum = sum.plus(reported);
            }
        }
        (accounts, others)
    }
}

#[cfg(test)]
mod tests {
    use blobaccess::{Digest, DigestFunction, InstanceName};

    use super::*;
    use crate::{Amounts, Class};

    fn total(name: &str, bytes: u64) -> Total {
        let created = Amounts { objects: 1, stored_bytes: bytes, ..Amounts::default() };
        let account = Account::new(AccountName::new(name), StorageType::Cas);
        Total::new(account, [(Class::Created, created)].into_iter().collect(), 0)
    }

    fn page(owners: &[Owner]) -> PageSums {
        let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"a");
        PageSums::new(&vec![InventoryEntry::new(digest, 5); owners.len()], owners)
    }

    #[test]
    fn the_largest_accounts_are_apart_and_the_others_are_one() {
        let totals = [total("small", 1), total("large", 9), total("middle", 4), total("tiny", 0)];
        let mut sheet = Sheet::new(&totals, 2);
        let names = ["large", "small", "stranger"].map(|name| Owner::Account(AccountName::new(name)));
        sheet.add_page(StorageType::Cas, page(&names), None);
        assert_eq!(sheet.accounts.len(), 2);
        let others = sheet.kinds[&StorageType::Cas].others;
        assert_eq!((others.before.footprint, others.listed.stored_bytes), (1, 10));
        let (accounts, rest) = sheet.sort_totals(&totals);
        assert_eq!((accounts.len(), rest[&StorageType::Cas].added), (2, 1));
    }

    #[test]
    fn an_account_that_is_only_listed_has_a_row_while_there_is_room() {
        let mut sheet = Sheet::new(&[total("known", 1)], 2);
        let names = ["a", "b"].map(|name| Owner::Account(AccountName::new(name)));
        sheet.add_page(StorageType::Cas, page(&names), None);
        assert_eq!((sheet.accounts.len(), sheet.kinds[&StorageType::Cas].others.listed.objects), (2, 1));
    }

    #[test]
    fn what_was_there_before_is_a_figure_of_its_own_and_of_an_account_if_the_ledger_has_it() {
        let owners = [Owner::Adopted, Owner::Unknown, Owner::Adopted];
        let mut sheet = Sheet::new(&[], 10);
        sheet.add_page(StorageType::Cas, page(&owners), None);
        let kind = sheet.kinds[&StorageType::Cas];
        assert_eq!((kind.adopted.objects, kind.unknown.objects, sheet.accounts.len()), (2, 1, 0));
        sheet.add_page(StorageType::Cas, page(&owners), Some(&AccountName::new("before")));
        let account = Account::new(AccountName::new("before"), StorageType::Cas);
        assert_eq!(sheet.accounts[&account].listed, Listed::new(2, 10, 5));
    }
}
