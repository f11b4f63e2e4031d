//! The table of all accounts: those that stored something are found without a lock and stay, others may go.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use blobaccess::{AccountName, StorageType};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Tally;
use super::cells::Cells;
use crate::{Account, Amounts, Class};

/// The number of kinds of store, each of which has an account `__other__`.
const STORAGE_CODES: u8 = 5;

/// The number of known names for which there is room beyond those that the table begins with.
const SPARE_KNOWN: usize = 256;

/// The number of uploads without room between two attempts to make some.
const SWEEP_AFTER: u32 = 256;

/// All accounts and their counters.
///
/// Accounts that have stored something, and those of known names, are *settled*: they have a place in a table of fixed size
/// with open addressing. A place is set once and never given back, so finding one takes neither a lock nor a reference
/// count.
///
/// All others are *fresh*. Anybody can make up names, so a fresh account whose uploads have all ended goes as soon as room
/// is needed, and before each report: its counts are folded into the account `__other__` of its kind. So names that never
/// stored anything neither fill the table nor reach a ledger.
///
/// When there is no room left, uploads of further names are counted for `__other__`, and as overflowed.
#[derive(Debug)]
pub(crate) struct Table {
    places: Box<[OnceLock<Settled>]>,
    /// The seed of the hashes, so that nobody can choose account names that collide.
    seed: u64,
    changing: Mutex<Changing>,
    max_accounts: usize,
    overflowed: AtomicU64,
}

/// The part of the table that changes under a lock.
#[derive(Debug, Default)]
struct Changing {
    fresh: HashMap<Account, Arc<Fresh>>,
    /// The names that have an account whenever they need one.
    known: HashSet<AccountName>,
    /// The number of accounts that are neither of known names nor `__other__`.
    taken: usize,
    /// The number of places that are set.
    set: usize,
    /// The uploads without room until the next attempt to make some.
    skipped: u32,
}

#[derive(Debug)]
struct Settled {
    hash: u64,
    account: Account,
    cells: Arc<Cells>,
}

/// An account that has not stored anything yet.
#[derive(Debug)]
pub(crate) struct Fresh {
    account: Account,
    cells: Arc<Cells>,
    /// Whether a report has named the account, so that a ledger has it.
    reported: AtomicBool,
}

/// An account in its [`Table`].
#[derive(Clone, Debug)]
pub(crate) enum Slot {
    Settled(usize),
    Fresh(Arc<Fresh>),
}

/// The counts of all accounts so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TallySnapshot {
    /// The accounts that have counts, in their order.
    pub accounts: Vec<(Account, Tally)>,
    /// The number of uploads that were counted for `__other__`: there was no room for their account, or it stored nothing.
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
    /// Makes a table with room for `max_accounts`, and for those of the `known` names besides.
    pub(crate) fn new(max_accounts: usize, known: impl IntoIterator<Item = AccountName>) -> Self {
        let known: HashSet<_> = known.into_iter().collect();
        let kinds = usize::from(STORAGE_CODES);
        let more = known.len().saturating_add(SPARE_KNOWN).saturating_add(1).saturating_mul(kinds);
        // At least half of the places stay empty, so that a search ends soon.
        let places = max_accounts.saturating_add(more).saturating_mul(2).next_power_of_two();
        let table = Self {
            places: std::iter::repeat_with(OnceLock::new).take(places).collect(),
            seed: RandomState::new().hash_one(0),
            changing: Mutex::new(Changing { known, ..Changing::default() }),
            max_accounts,
            overflowed: AtomicU64::new(0),
        };
        for storage_type in (0..STORAGE_CODES).filter_map(Account::storage_type_from_code) {
            let _: Option<usize> =
                table.settle_at(&mut table.changing(), Account::overflow(storage_type), &Arc::new(Cells::new()));
        }
        table
    }

    fn changing(&self) -> MutexGuard<'_, Changing> {
        // Every change is complete before anything that could panic.
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the names that have an account whenever they need one, in place of those before. Accounts stay.
    pub(crate) fn set_known(&self, known: impl IntoIterator<Item = AccountName>) {
        self.changing().known = known.into_iter().collect();
    }

    /// Returns the account of `account_name`, which is added if there is room. `folded` is told of each account that has to
    /// go for it, before it goes.
    #[inline]
    pub(crate) fn slot(&self, account_name: &str, storage_type: StorageType, folded: &dyn Fn(&Account)) -> Slot {
        match self.find(account_name, storage_type) {
            Some(place) => Slot::Settled(place),
            None => self.slot_of_fresh(Account::new(AccountName::new(account_name), storage_type), folded),
        }
    }

    fn slot_of_fresh(&self, account: Account, folded: &dyn Fn(&Account)) -> Slot {
        let mut changing = self.changing();
        // Another thread may have settled it, and the name may have been bounded.
        if let Some(place) = self.find(account.account_name().as_str(), account.storage_type()) {
            return Slot::Settled(place);
        }
        if let Some(fresh) = changing.fresh.get(&account) {
            return Slot::Fresh(Arc::clone(fresh));
        }
        if changing.known.contains(account.account_name())
            && let Some(place) = self.settle_at(&mut changing, account.clone(), &Arc::new(Cells::new()))
        {
            return Slot::Settled(place);
        }
        if changing.taken >= self.max_accounts && changing.skipped == 0 && self.fold(&mut changing, folded) == 0 {
            changing.skipped = SWEEP_AFTER;
        }
        if changing.taken >= self.max_accounts {
            changing.skipped = changing.skipped.saturating_sub(1);
            self.overflowed.fetch_add(1, Ordering::Relaxed);
            return self.overflow(account.storage_type());
        }
        changing.taken += 1;
        let fresh = Arc::new(Fresh {
            account: account.clone(),
            cells: Arc::new(Cells::new()),
            reported: AtomicBool::new(false),
        });
        changing.fresh.insert(account, Arc::clone(&fresh));
        Slot::Fresh(fresh)
    }

    /// Returns the account `__other__`, which every table begins with.
    fn overflow(&self, storage_type: StorageType) -> Slot {
        Slot::Settled(self.find(crate::account::OVERFLOW, storage_type).unwrap_or(0))
    }

    /// Returns the place of the account of `account_name`, if it is settled.
    pub(crate) fn find(&self, account_name: &str, storage_type: StorageType) -> Option<usize> {
        let hash = self.hash(account_name, storage_type);
        for index in self.probe(hash) {
            if self.places.get(index)?.get()?.is(hash, account_name, storage_type) {
                return Some(index);
            }
        }
        None
    }

    /// Gives an account its place; `None` if there is no place left.
    fn settle_at(&self, changing: &mut Changing, account: Account, cells: &Arc<Cells>) -> Option<usize> {
        if changing.set.saturating_mul(2) >= self.places.len() {
            return None;
        }
        let hash = self.hash(account.account_name().as_str(), account.storage_type());
        let place =
            self.probe(hash).find(|place| self.places.get(*place).is_some_and(|place| place.get().is_none()))?;
        // Places are set under the lock only, so this one is still empty.
        let settled = Settled { hash, account, cells: Arc::clone(cells) };
        self.places.get(place)?.set(settled).ok()?;
        changing.set += 1;
        Some(place)
    }

    /// Lets an account stay, as it has something in the store.
    #[inline]
    pub(crate) fn settle(&self, slot: &Slot) {
        if let Slot::Fresh(fresh) = slot {
            self.settle_fresh(fresh);
        }
    }

    fn settle_fresh(&self, fresh: &Fresh) {
        let mut changing = self.changing();
        if changing.fresh.contains_key(&fresh.account)
            && self.settle_at(&mut changing, fresh.account.clone(), &fresh.cells).is_some()
        {
            changing.fresh.remove(&fresh.account);
        }
    }

    /// Folds every fresh account that no upload has and no report has named into `__other__`, and returns their number.
    fn fold(&self, changing: &mut Changing, folded: &dyn Fn(&Account)) -> usize {
        let mut gone = 0;
        // References are made under the lock only, so an account with a single one is nobody's.
        changing.fresh.retain(|account, fresh| {
            if Arc::strong_count(fresh) > 1 || fresh.reported.load(Ordering::Relaxed) || fresh.has_stored() {
                return true;
            }
            folded(account);
            let other = self.overflow(account.storage_type());
            let tally = fresh.cells.snapshot();
            self.overflowed.fetch_add(tally.get(Class::Started).objects, Ordering::Relaxed);
            tally.iter().for_each(|(class, amounts)| self.add(&other, class, amounts));
            gone += 1;
            false
        });
        changing.taken = changing.taken.saturating_sub(gone);
        gone
    }

    fn hash(&self, account_name: &str, storage_type: StorageType) -> u64 {
        let seed = self.seed.wrapping_add(u64::from(Account::storage_code(storage_type)));
        xxh3_64_with_seed(account_name.as_bytes(), seed)
    }

    fn probe(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        // The number of places is a power of two.
        let mask = self.places.len() - 1;
        let first = usize::try_from(hash & u64::from(u32::MAX)).unwrap_or(0);
        (0..=mask).map(move |step| first.wrapping_add(step) & mask)
    }

    fn settled(&self, place: usize) -> Option<&Settled> {
        self.places.get(place)?.get()
    }

    fn cells<'a>(&'a self, slot: &'a Slot) -> Option<&'a Cells> {
        match slot {
            Slot::Settled(place) => self.settled(*place).map(|settled| settled.cells.as_ref()),
            Slot::Fresh(fresh) => Some(fresh.cells.as_ref()),
        }
    }

    /// Counts `amounts` of `class`. Takes no lock and allocates nothing.
    pub(crate) fn add(&self, slot: &Slot, class: Class, amounts: Amounts) {
        if let Some(cells) = self.cells(slot) {
            cells.add(class, amounts);
        }
    }

    /// Returns the amounts of `class` so far of the settled account at `place`.
    pub(crate) fn amounts(&self, place: usize, class: Class) -> Amounts {
        self.settled(place).map_or_else(Amounts::default, |settled| settled.cells.get(class))
    }

    /// Returns the account in `slot`.
    pub(crate) fn account<'a>(&'a self, slot: &'a Slot) -> Option<&'a Account> {
        match slot {
            Slot::Settled(place) => self.settled(*place).map(|settled| &settled.account),
            Slot::Fresh(fresh) => Some(&fresh.account),
        }
    }

    /// Returns the counts of all accounts so far, in which no upload ended before it began.
    pub(crate) fn snapshot(&self) -> TallySnapshot {
        let changing = self.changing();
        self.collect(changing.fresh.values())
    }

    /// Folds what can be folded, and returns the counts to report.
    ///
    /// A fresh account with uploads under way is reported too, as a listing may show their blobs. It stays from then on, so
    /// at most half of the accounts may be such; uploads of others are reported once they have ended.
    pub(crate) fn reported(&self, folded: &dyn Fn(&Account)) -> TallySnapshot {
        let mut changing = self.changing();
        self.fold(&mut changing, folded);
        let is_reported = |fresh: &Fresh| fresh.reported.load(Ordering::Relaxed);
        let mut room =
            (self.max_accounts / 2).saturating_sub(changing.fresh.values().filter(|f| is_reported(f)).count());
        let mut named = Vec::new();
        for fresh in changing.fresh.values() {
            if !is_reported(fresh) && !fresh.has_stored() {
                if room == 0 {
                    continue;
                }
                room -= 1;
            }
            fresh.reported.store(true, Ordering::Relaxed);
            named.push(fresh);
        }
        self.collect(named)
    }

    fn collect<'a>(&self, fresh: impl IntoIterator<Item = &'a Arc<Fresh>>) -> TallySnapshot {
        let settled = self.places.iter().filter_map(OnceLock::get).map(|settled| (&settled.account, &settled.cells));
        let fresh = fresh.into_iter().map(|fresh| (&fresh.account, &fresh.cells));
        let counted = settled.chain(fresh).map(|(account, cells)| (account, cells.snapshot()));
        let mut accounts: Vec<_> =
            counted.filter(|(_, tally)| !tally.is_zero()).map(|(account, tally)| (account.clone(), tally)).collect();
        accounts.sort_by(|(a, _), (b, _)| a.cmp(b));
        TallySnapshot { accounts, overflowed: self.overflowed.load(Ordering::Relaxed) }
    }
}

impl Fresh {
    /// Returns whether the account has something in the store, and only found no place to settle at.
    fn has_stored(&self) -> bool {
        Class::ALL.into_iter().any(|class| class.concerns_the_store() && self.cells.get(class).objects > 0)
    }
}

impl Settled {
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
    use crate::{ErrorReason, Outcome};

    fn slot(table: &Table, account_name: &str) -> Slot {
        table.slot(account_name, StorageType::Cas, &|_| {})
    }

    fn started(table: &Table, slot: &Slot) {
        table.add(slot, Class::Started, Amounts::started(10));
    }

    fn ended(table: &Table, slot: &Slot, outcome: Outcome) {
        table.add(slot, Class::from_outcome(outcome), Amounts::ended(outcome, 10));
        if Class::from_outcome(outcome).concerns_the_store() {
            table.settle(slot);
        }
    }

    fn upload(table: &Table, account_name: &str, outcome: Outcome) {
        let slot = slot(table, account_name);
        started(table, &slot);
        ended(table, &slot, outcome);
    }

    const STORED: Outcome = Outcome::Created { stored_bytes: 10 };
    const REFUSED: Outcome = Outcome::Error(ErrorReason::Rejected);

    fn name(table: &Table, slot: &Slot) -> String {
        table.account(slot).unwrap().account_name().to_string()
    }

    #[test]
    fn accounts_are_told_apart_by_account_and_kind() {
        let table = Table::new(8, []);
        for (account_name, storage_type) in
            [("a", StorageType::Cas), ("a", StorageType::Ac), ("b", StorageType::Cas), ("a", StorageType::Cas)]
        {
            let slot = table.slot(account_name, storage_type, &|_| {});
            started(&table, &slot);
            ended(&table, &slot, STORED);
        }
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
        let table = Table::new(3, []);
        for number in 0..10 {
            upload(&table, &number.to_string(), STORED);
        }
        let snapshot = table.snapshot();
        assert_eq!(snapshot.overflowed, 7);
        assert_eq!(snapshot.accounts.len(), 4);
        let other = snapshot.accounts.iter().find(|(account, _)| *account == Account::overflow(StorageType::Cas));
        assert_eq!(other.unwrap().1.get(Class::Started).objects, 7);
        // Account names that had room keep their accounts.
        assert_eq!(name(&table, &slot(&table, "2")), "2");
    }

    #[test]
    fn made_up_names_close_the_table_to_nobody() {
        let table = Table::new(16, [AccountName::new("known")]);
        upload(&table, "tenant", STORED);
        let folded = Mutex::new(Vec::new());
        for number in 0..10_000 {
            let slot = table.slot(&format!("made up {number}"), StorageType::Cas, &|account| {
                folded.lock().unwrap().push(account.clone());
            });
            started(&table, &slot);
            ended(&table, &slot, REFUSED);
        }
        assert!(folded.lock().unwrap().len() > 9_000);
        for expected in ["tenant", "known", "new tenant"] {
            upload(&table, expected, STORED);
            assert_eq!(name(&table, &slot(&table, expected)), expected);
        }
        // Nothing was lost on the way.
        let sum = table.snapshot().sum();
        assert_eq!((sum.get(Class::Started).objects, sum.get(Class::Rejected).objects), (10_004, 10_000));
        assert_eq!(sum.in_flight(), Amounts::default());
        // No ledger learns their names.
        let names: Vec<_> = table.reported(&|_| {}).accounts.iter().map(|(account, _)| account.to_string()).collect();
        assert_eq!(names, ["cas of __other__", "cas of known", "cas of new tenant", "cas of tenant"]);
    }

    #[test]
    fn a_full_table_has_room_for_known_names() {
        let table = Table::new(4, [AccountName::new("quota")]);
        let held: Vec<_> = (0..10).map(|number| slot(&table, &number.to_string())).collect();
        assert_eq!(name(&table, &slot(&table, "quota")), "quota");
        assert_eq!(name(&table, &slot(&table, "another")), "__other__");
        table.set_known([AccountName::new("another")]);
        assert_eq!(name(&table, &slot(&table, "another")), "another");
        assert_eq!(name(&table, &held[3]), "3");
    }

    #[test]
    fn an_account_with_an_upload_under_way_is_reported_and_stays() {
        let table = Table::new(8, []);
        let held: Vec<_> = (0..8)
            .map(|number| {
                let slot = slot(&table, &number.to_string());
                started(&table, &slot);
                slot
            })
            .collect();
        let under_way = |table: &Table| table.reported(&|_| {}).sum().in_flight().objects;
        assert_eq!(under_way(&table), 4);
        for slot in &held {
            ended(&table, slot, REFUSED);
        }
        drop(held);
        let reported = table.reported(&|_| {});
        assert_eq!((reported.accounts.len(), reported.sum().get(Class::Rejected).objects), (5, 8));
        assert_eq!(under_way(&table), 0);
    }

    #[test]
    fn threads_that_race_for_an_account_share_it() {
        let table = Table::new(64, []);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..6_400 {
                        upload(&table, &(round % 64).to_string(), if round < 3_200 { REFUSED } else { STORED });
                    }
                });
            }
            scope.spawn(|| {
                for _ in 0..100 {
                    let sum = table.reported(&|_| {}).sum();
                    assert!(sum.ended().objects <= sum.get(Class::Started).objects);
                }
            });
        });
        let snapshot = table.snapshot();
        let sum = snapshot.sum();
        assert_eq!((sum.get(Class::Started).objects, sum.ended().objects), (25_600, 25_600));
        assert_eq!((sum.get(Class::Created).objects, sum.get(Class::Rejected).objects), (12_800, 12_800));
    }
}
