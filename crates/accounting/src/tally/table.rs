//! The table of all accounts: found without a lock, added once, never removed, up to a fixed number.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use blobaccess::{AccountName, StorageType};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Tally;
use super::cells::Cells;
use crate::{Account, Amounts, Class};

/// The number of kinds of store, each of which has an account `__other__`.
const STORAGE_CODES: u8 = 5;

/// All accounts and their counters.
///
/// The table has a fixed size and open addressing. An entry is set once and never removed, so finding one takes neither a
/// lock nor a reference count. When the table is full, further account names share the account `__other__` of their kind
/// of store, and the uploads that were counted there are counted as overflowed.
#[derive(Debug)]
pub(crate) struct Table {
    slots: Box<[OnceLock<Entry>]>,
    /// The seed of the hashes, so that nobody can choose account names that collide.
    seed: u64,
    /// The number of entries that are set. It only grows, and only under the lock.
    taken: AtomicUsize,
    adding: Mutex<()>,
    max_accounts: usize,
    overflowed: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    account: Account,
    cells: Box<Cells>,
}

/// The place of an account in its [`Table`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Slot(usize);

/// The counts of all accounts so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TallySnapshot {
    /// The accounts that have counts, in their order.
    pub accounts: Vec<(Account, Tally)>,
    /// The number of uploads that were counted for `__other__`, because the table was full.
    pub overflowed: u64,
}

impl TallySnapshot {
    /// Returns the tally of all accounts together.
    #[must_use]
    pub fn sum(&self) -> Tally {
        let mut sum = Tally::new();
        self.accounts.iter().for_each(|(_, tally)| sum.add_all(tally));
        sum
    }
}

impl Table {
    pub(crate) fn new(max_accounts: usize) -> Self {
        // At least half of the slots stay empty, so that a search ends soon.
        let overflow = usize::from(STORAGE_CODES);
        let slots = max_accounts.saturating_add(overflow).saturating_mul(2).next_power_of_two();
        let table = Self {
            slots: std::iter::repeat_with(OnceLock::new).take(slots).collect(),
            seed: RandomState::new().hash_one(0),
            taken: AtomicUsize::new(0),
            adding: Mutex::new(()),
            max_accounts: max_accounts.saturating_add(overflow),
            overflowed: AtomicU64::new(0),
        };
        for storage_type in (0..STORAGE_CODES).filter_map(Account::storage_type_from_code) {
            table.find_or_add(crate::account::OVERFLOW, storage_type, || Account::overflow(storage_type));
        }
        table
    }

    /// Returns the account of `account_name`, which is added if there is room.
    pub(crate) fn slot(&self, account_name: &str, storage_type: StorageType) -> Slot {
        let make = || Account::new(AccountName::new(account_name), storage_type);
        if let Some(slot) = self.find_or_add(account_name, storage_type, make) {
            return slot;
        }
        self.overflowed.fetch_add(1, Ordering::Relaxed);
        let overflow = || Account::overflow(storage_type);
        // `__other__` was added first, so it is found.
        self.find_or_add(crate::account::OVERFLOW, storage_type, overflow).unwrap_or(Slot(0))
    }

    /// Returns the account of `account_name`, if there is one.
    pub(crate) fn find(&self, account_name: &str, storage_type: StorageType) -> Option<Slot> {
        let hash = self.hash(account_name, storage_type);
        for index in self.probe(hash) {
            let entry = self.slots.get(index)?.get()?;
            if entry.is(hash, account_name, storage_type) {
                return Some(Slot(index));
            }
        }
        None
    }

    /// Sets `slot` unless another thread has, and returns whether it is set now: it is not if there is no room.
    ///
    /// Adding takes a lock, as room that is claimed and given back would look like no room to other threads. Adding is
    /// rare, and the lock is not taken when there is no room.
    fn make_entry(&self, slot: &OnceLock<Entry>, make: impl FnOnce() -> Entry) -> bool {
        if self.taken.load(Ordering::Acquire) >= self.max_accounts {
            return slot.get().is_some();
        }
        // A panic leaves the slot empty and the number as it was.
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.get().is_some() {
            return true;
        }
        if self.taken.load(Ordering::Relaxed) >= self.max_accounts {
            return false;
        }
        if slot.set(make()).is_ok() {
            self.taken.fetch_add(1, Ordering::Release);
        }
        true
    }

    fn find_or_add(&self, account_name: &str, storage_type: StorageType, make: impl Fn() -> Account) -> Option<Slot> {
        let hash = self.hash(account_name, storage_type);
        for index in self.probe(hash) {
            let slot = self.slots.get(index)?;
            if slot.get().is_none()
                && !self.make_entry(slot, || Entry { hash, account: make(), cells: Box::new(Cells::new()) })
            {
                // Nothing is added any more, but another may have added it meanwhile.
                return self.find(account_name, storage_type);
            }
            // The slot is set now, by this thread or another.
            if slot.get().is_some_and(|entry| entry.is(hash, account_name, storage_type)) {
                return Some(Slot(index));
            }
        }
        None
    }

    fn hash(&self, account_name: &str, storage_type: StorageType) -> u64 {
        let seed = self.seed.wrapping_add(u64::from(Account::storage_code(storage_type)));
        xxh3_64_with_seed(account_name.as_bytes(), seed)
    }

    fn probe(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        // The number of slots is a power of two.
        let mask = self.slots.len() - 1;
        let first = usize::try_from(hash & u64::from(u32::MAX)).unwrap_or(0);
        (0..=mask).map(move |step| first.wrapping_add(step) & mask)
    }

    fn entry(&self, slot: Slot) -> Option<&Entry> {
        self.slots.get(slot.0)?.get()
    }

    /// Counts `amounts` of `class`. Takes no lock and allocates nothing.
    pub(crate) fn add(&self, slot: Slot, class: Class, amounts: Amounts) {
        if let Some(entry) = self.entry(slot) {
            entry.cells.add(class, amounts);
        }
    }

    /// Returns the amounts of `class` so far.
    pub(crate) fn amounts(&self, slot: Slot, class: Class) -> Amounts {
        self.entry(slot).map_or_else(Amounts::default, |entry| entry.cells.get(class))
    }

    /// Returns the account in `slot`.
    pub(crate) fn account(&self, slot: Slot) -> Option<&Account> {
        self.entry(slot).map(|entry| &entry.account)
    }

    pub(crate) fn snapshot(&self) -> TallySnapshot {
        let entries = self.slots.iter().filter_map(OnceLock::get);
        let mut accounts: Vec<_> = entries
            .map(|entry| (entry.account.clone(), entry.cells.snapshot()))
            .filter(|(_, tally)| !tally.is_zero())
            .collect();
        accounts.sort_by(|(a, _), (b, _)| a.cmp(b));
        TallySnapshot { accounts, overflowed: self.overflowed.load(Ordering::Relaxed) }
    }
}

impl Entry {
    fn is(&self, hash: u64, account_name: &str, storage_type: StorageType) -> bool {
        self.hash == hash
            && self.account.account_name().as_str() == account_name
            && self.account.storage_type() == storage_type
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn started(table: &Table, slot: Slot) {
        table.add(slot, Class::Started, Amounts::started(10));
    }

    #[test]
    fn accounts_are_told_apart_by_account_and_kind() {
        let table = Table::new(8);
        for (account_name, storage_type) in [("a", StorageType::Cas), ("a", StorageType::Ac), ("b", StorageType::Cas)] {
            started(&table, table.slot(account_name, storage_type));
            assert_eq!(table.slot(account_name, storage_type), table.slot(account_name, storage_type));
        }
        started(&table, table.slot("a", StorageType::Cas));
        let counted: Vec<_> = table
            .snapshot()
            .accounts
            .into_iter()
            .map(|(account, tally)| (account.to_string(), tally.get(Class::Started).objects))
            .collect();
        assert_eq!(counted, [("cas of a".to_owned(), 2), ("ac of a".to_owned(), 1), ("cas of b".to_owned(), 1)]);
    }

    #[test]
    fn more_accounts_than_permitted_share_an_account_and_are_counted() {
        let table = Table::new(3);
        for number in 0..10 {
            started(&table, table.slot(&number.to_string(), StorageType::Cas));
        }
        let snapshot = table.snapshot();
        assert_eq!(snapshot.overflowed, 7);
        assert_eq!(snapshot.accounts.len(), 4);
        let other = snapshot.accounts.iter().find(|(account, _)| *account == Account::overflow(StorageType::Cas));
        assert_eq!(other.unwrap().1.get(Class::Started).objects, 7);
        // Account names that had room keep their accounts.
        assert_eq!(table.account(table.slot("2", StorageType::Cas)).unwrap().account_name().as_str(), "2");
    }

    #[test]
    fn threads_that_race_for_an_account_share_it() {
        let table = Table::new(64);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..6_400 {
                        started(&table, table.slot(&(round % 64).to_string(), StorageType::Cas));
                    }
                });
            }
        });
        let snapshot = table.snapshot();
        assert_eq!((snapshot.accounts.len(), snapshot.overflowed), (64, 0));
        assert!(snapshot.accounts.iter().all(|(_, tally)| tally.get(Class::Started).objects == 400));
    }
}
