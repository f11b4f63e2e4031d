//! Counts the stored and the evicted objects of each account: each object once.

use crate::account_names::NOBODY;
use crate::key_location_map::Record;

/// A number of objects, and their size as it was reported when they were stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
}

impl Amount {
    fn add(&mut self, more: Self) {
        self.objects += more.objects;
        self.bytes += more.bytes;
    }

    fn take(&mut self, less: Self) {
        self.objects = self.objects.saturating_sub(less.objects);
        self.bytes = self.bytes.saturating_sub(less.bytes);
    }

    /// Returns how much this exceeds `other`.
    pub(crate) fn above(self, other: Self) -> Self {
        Self { objects: self.objects.saturating_sub(other.objects), bytes: self.bytes.saturating_sub(other.bytes) }
    }
}

/// The totals of one account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// The stored objects. An object that no look-up finds any more, but that the log of a block in use still names,
    /// counts as stored until that block is recycled: a restart may bring it back.
    pub(crate) stored: Amount,
    /// The objects given up in the store's whole life.
    pub(crate) released: Amount,
}

/// The totals of each account.
///
/// `docs/safety.md` says why each object is counted as given up once, also across a crash.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    /// The totals, by the number of the account.
    accounts: Vec<Account>,
    /// The objects that go when their block is recycled, by block and number of the account.
    leaving: Vec<Vec<(u16, Amount)>>,
}

fn amount(record: &Record) -> Amount {
    Amount { objects: 1, bytes: record.location.size_bytes }
}

impl Accounts {
    /// Takes the totals that a store had, by number less one.
    pub(crate) fn new(accounts: impl IntoIterator<Item = Account>) -> Self {
        Self { accounts: [Account::default()].into_iter().chain(accounts).collect(), leaving: Vec::new() }
    }

    /// Returns the totals by number, from 1 on.
    pub(crate) fn all(&self) -> &[Account] {
        self.accounts.get(1..).unwrap_or_default()
    }

    fn account(&mut self, account_name: u16) -> Option<&mut Account> {
        if account_name == NOBODY {
            return None;
        }
        let index = usize::from(account_name);
        if self.accounts.len() <= index {
            self.accounts.resize(index + 1, Account::default());
        }
        self.accounts.get_mut(index)
    }

    /// Notes that an object was stored.
    pub(crate) fn store(&mut self, record: &Record) {
        if let Some(account) = self.account(record.account_name) {
            account.stored.add(amount(record));
        }
    }

    /// Notes that an object is not stored, although it was counted: recovery found its replacement.
    pub(crate) fn forget(&mut self, record: &Record) {
        if let Some(account) = self.account(record.account_name) {
            account.stored.take(amount(record));
        }
    }

    /// Notes that an object was given up, and that nothing brings it back.
    pub(crate) fn release(&mut self, record: &Record) {
        self.release_amount(record.account_name, amount(record));
    }

    fn release_amount(&mut self, account_name: u16, amount: Amount) {
        if let Some(account) = self.account(account_name) {
            account.stored.take(amount);
            account.released.add(amount);
        }
    }

    /// Notes that an object was given up that its block's log still names.
    pub(crate) fn leave(&mut self, record: &Record) {
        if record.account_name == NOBODY {
            return;
        }
        let block = usize::from(record.location.block);
        if self.leaving.len() <= block {
            self.leaving.resize(block + 1, Vec::new());
        }
        let Some(leaving) = self.leaving.get_mut(block) else { return };
        match leaving.iter_mut().find(|(account_name, _)| *account_name == record.account_name) {
            Some((_, amount_leaving)) => amount_leaving.add(amount(record)),
            None => leaving.push((record.account_name, amount(record))),
        }
    }

    /// Notes that the log of a block is no more.
    pub(crate) fn release_block(&mut self, block: u16) {
        let leaving = self.leaving.get_mut(usize::from(block)).map(std::mem::take).unwrap_or_default();
        for (account_name, amount) in leaving {
            self.release_amount(account_name, amount);
        }
    }

    /// Notes that objects were given up that a superblock counted as stored and recovery did not find.
    pub(crate) fn reconcile(&mut self, vouched: impl IntoIterator<Item = Amount>) {
        for (number, vouched) in (1..).zip(vouched) {
            if let Some(account) = self.account(number) {
                let lost = vouched.above(account.stored);
                account.released.add(lost);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::location::Location;

    fn record(account_name: u16, block: u16, size_bytes: u64) -> Record {
        Record {
            key_words: [1, 2, 3, 4],
            location: Location { block, generation: 1, offset: 0, size_bytes },
            function: 1,
            is_part: false,
            has_tail: false,
            account_name,
            sequence: 9,
            entry: 0,
        }
    }

    fn account(stored: (u64, u64), released: (u64, u64)) -> Account {
        let amount = |(objects, bytes)| Amount { objects, bytes };
        Account { stored: amount(stored), released: amount(released) }
    }

    #[test]
    fn what_is_stored_is_given_up_once() {
        let mut accounts = Accounts::new([]);
        for size in [10, 20, 30] {
            accounts.store(&record(2, 5, size));
        }
        accounts.store(&record(NOBODY, 5, 7));
        accounts.release(&record(2, 5, 10));
        accounts.release(&record(NOBODY, 5, 7));
        assert_eq!(accounts.all(), [account((0, 0), (0, 0)), account((2, 50), (1, 10))]);
        accounts.leave(&record(2, 5, 20));
        accounts.release_block(4);
        assert_eq!(accounts.all().last(), Some(&account((2, 50), (1, 10))));
        accounts.release_block(5);
        accounts.release_block(5);
        assert_eq!(accounts.all().last(), Some(&account((1, 30), (2, 30))));
    }

    #[test]
    fn what_recovery_does_not_find_was_given_up() {
        let mut accounts = Accounts::new([account((0, 0), (3, 4)), account((0, 0), (1, 1))]);
        accounts.store(&record(1, 0, 10));
        accounts.store(&record(2, 0, 10));
        accounts.reconcile([Amount { objects: 2, bytes: 15 }, Amount { objects: 1, bytes: 10 }]);
        assert_eq!(accounts.all(), [account((1, 10), (4, 9)), account((1, 10), (1, 1))]);
    }
}
