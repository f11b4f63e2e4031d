//! The changes of an index of owners, within one transaction.

use std::collections::{BTreeMap, HashMap};

use blobaccess::StorageType;
use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};

use super::entry::{Entry, FIRST_ACCOUNT, Key, Mark, OwnerId, State};
use super::figures::{Counts, Held};
use super::notes::Note;
use crate::ledger::codec::{Bytes, put_account};
use crate::ledger::redb::{Definition, Fault};
use crate::{Account, Amounts, Class, Outcome};

pub(super) const ENTRIES: Definition = TableDefinition::new("entries");
pub(super) const ACCOUNTS: Definition = TableDefinition::new("accounts");
const IDS: Definition = TableDefinition::new("ids");
pub(super) const COUNTS: Definition = TableDefinition::new("counts");
pub(super) const GONE: Definition = TableDefinition::new("gone");
pub(super) const GONE_BY_MARK: Definition = TableDefinition::new("gone_by_mark");
const GONE_BY_KEY: Definition = TableDefinition::new("gone_by_key");
pub(super) const META: Definition = TableDefinition::new("meta");

/// Every table of an index.
pub(super) const TABLES: [Definition; 8] = [ENTRIES, ACCOUNTS, IDS, COUNTS, GONE, GONE_BY_MARK, GONE_BY_KEY, META];

/// The names of single numbers.
pub(super) const SOURCE: &[u8] = b"source";
pub(super) const APPLIED: &[u8] = b"applied";
pub(super) const CHANGES: &[u8] = b"changes";
pub(super) const VERSION: &[u8] = b"version";
const NEXT_GONE: &[u8] = b"next_gone";
const NEXT_ID: &[u8] = b"next_id";

/// The number of blobs that are remembered after they are gone, for uploads whose end is noted later.
const MAX_GONE: u64 = 65_536;

type Bytewise<'t> = Table<'t, &'static [u8], &'static [u8]>;

/// A stored blob, as a listing or the store tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) whose: Whose,
    pub(super) stored_bytes: u64,
    pub(super) mark: Mark,
}

/// The owner of a stored blob, as far as it can be found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The account that its upload left with it.
    Account(Account),
    /// Nobody, as it was there before the ledger began.
    Adopted,
    /// Nobody knows.
    Foreign,
}

/// A change of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The blob is stored.
    Enter { key: Key, found: Found },
    /// The blob is gone, if the entry has this mark.
    Settle { key: Key, mark: Mark, class: Class },
    /// The state of the entry, if it has this mark.
    Set { key: Key, mark: Mark, state: State },
}

/// A transaction that changes an index.
pub(super) struct Changes<'t> {
    entries: Bytewise<'t>,
    accounts: Bytewise<'t>,
    ids: Bytewise<'t>,
    counts: Bytewise<'t>,
    gone: Bytewise<'t>,
    gone_by_mark: Bytewise<'t>,
    gone_by_key: Bytewise<'t>,
    meta: Bytewise<'t>,
    known: HashMap<Account, OwnerId>,
    changed: BTreeMap<OwnerId, Counts>,
    now: u32,
}

/// The owners whose counts changed, with their accounts.
pub(super) type Changed = Vec<(OwnerId, Option<Account>, Counts)>;

impl<'t> Changes<'t> {
    pub(super) fn begin(transaction: &'t WriteTransaction, now: u32) -> Result<Self, Fault> {
        Ok(Self {
            entries: transaction.open_table(ENTRIES)?,
            accounts: transaction.open_table(ACCOUNTS)?,
            ids: transaction.open_table(IDS)?,
            counts: transaction.open_table(COUNTS)?,
            gone: transaction.open_table(GONE)?,
            gone_by_mark: transaction.open_table(GONE_BY_MARK)?,
            gone_by_key: transaction.open_table(GONE_BY_KEY)?,
            meta: transaction.open_table(META)?,
            known: HashMap::new(),
            changed: BTreeMap::new(),
            now,
        })
    }

    /// Writes the counts that changed, and returns them.
    pub(super) fn finish(mut self) -> Result<Changed, Fault> {
        if !self.changed.is_empty() {
            let changes = self.number(CHANGES)?.saturating_add(1);
            self.set_number(CHANGES, changes)?;
        }
        let mut changed = Vec::new();
        for (owner, counts) in std::mem::take(&mut self.changed) {
            self.counts.insert(owner.0.to_be_bytes().as_slice(), counts.to_bytes().as_slice())?;
            changed.push((owner, self.account(owner)?, counts));
        }
        Ok(changed)
    }

    fn account(&self, owner: OwnerId) -> Result<Option<Account>, Fault> {
        match self.accounts.get(owner.0.to_be_bytes().as_slice())? {
            None => Ok(None),
            Some(value) => Bytes(value.value()).account().map(Some).ok_or(Fault::Malformed),
        }
    }

    pub(super) fn number(&self, name: &[u8]) -> Result<u64, Fault> {
        read_number(&self.meta, name)
    }

    pub(super) fn set_number(&mut self, name: &[u8], number: u64) -> Result<(), Fault> {
        self.meta.insert(name, number.to_le_bytes().as_slice())?;
        Ok(())
    }

    /// Returns the number of an account, which gets one if it has none.
    pub(super) fn owner(&mut self, account: &Account) -> Result<OwnerId, Fault> {
        if let Some(owner) = self.known.get(account) {
            return Ok(*owner);
        }
        let mut bytes = Vec::new();
        put_account(&mut bytes, account);
        let known = self.ids.get(bytes.as_slice())?.map(|id| Bytes(id.value()).u32().ok_or(Fault::Malformed));
        let owner = if let Some(id) = known {
            OwnerId(id?)
        } else {
            let id = u32::try_from(self.number(NEXT_ID)?).map_err(|_| Fault::Malformed)?.max(FIRST_ACCOUNT);
            self.set_number(NEXT_ID, u64::from(id).saturating_add(1))?;
            self.ids.insert(bytes.as_slice(), id.to_le_bytes().as_slice())?;
            self.accounts.insert(id.to_be_bytes().as_slice(), bytes.as_slice())?;
            OwnerId(id)
        };
        self.known.insert(account.clone(), owner);
        Ok(owner)
    }

    fn counts(&mut self, owner: OwnerId) -> Result<&mut Counts, Fault> {
        if !self.changed.contains_key(&owner) {
            let counts = match self.counts.get(owner.0.to_be_bytes().as_slice())? {
                None => Counts::default(),
                Some(value) => Counts::from_bytes(value.value()).ok_or(Fault::Malformed)?,
            };
            self.changed.insert(owner, counts);
        }
        Ok(self.changed.entry(owner).or_default())
    }

    pub(super) fn get(&self, key: &Key) -> Result<Option<Entry>, Fault> {
        get_entry(&self.entries, key)
    }

    fn write(&mut self, key: &Key, entry: Entry) -> Result<(), Fault> {
        self.entries.insert(key.0.as_slice(), entry.to_bytes().as_slice())?;
        Ok(())
    }

    fn insert(&mut self, key: &Key, owner: OwnerId, stored_bytes: u64, mark: Mark) -> Result<(), Fault> {
        self.write(key, Entry { owner, stored_bytes, mark, state: State::Stored, since: self.now })?;
        let held = &mut self.counts(owner)?.held;
        *held = held.plus(Held { objects: 1, stored_bytes });
        Ok(())
    }

    fn remove(&mut self, key: &Key, entry: Entry) -> Result<(), Fault> {
        self.entries.remove(key.0.as_slice())?;
        let held = &mut self.counts(entry.owner)?.held;
        *held = held.minus(Held { objects: 1, stored_bytes: entry.stored_bytes });
        Ok(())
    }

    /// Counts that the blob of an entry is gone, and removes the entry: both or neither, so that it counts once.
    fn settle(&mut self, key: &Key, entry: Entry, class: Class) -> Result<(), Fault> {
        self.remove(key, entry)?;
        if entry.owner.is_account() {
            self.counts(entry.owner)?.tally.add(class, Amounts::deleted(1, entry.stored_bytes));
        }
        self.remember_gone(key, entry)
    }

    fn remember_gone(&mut self, key: &Key, entry: Entry) -> Result<(), Fault> {
        let number = self.number(NEXT_GONE)?;
        self.set_number(NEXT_GONE, number.saturating_add(1))?;
        let mut value = entry.mark.0.to_le_bytes().to_vec();
        value.extend(key.mark().to_le_bytes());
        value.extend(entry.stored_bytes.to_le_bytes());
        let name = number.to_be_bytes();
        self.gone.insert(name.as_slice(), value.as_slice())?;
        if entry.mark.is_some() {
            self.gone_by_mark.insert(entry.mark.0.to_le_bytes().as_slice(), name.as_slice())?;
        }
        self.gone_by_key.insert(key.mark().to_le_bytes().as_slice(), name.as_slice())?;
        if let Some(oldest) = number.checked_sub(MAX_GONE) {
            self.forget_gone(oldest)?;
        }
        Ok(())
    }

    fn forget_gone(&mut self, number: u64) -> Result<(), Fault> {
        let name = number.to_be_bytes();
        let Some(value) = self.gone.remove(name.as_slice())?.map(|value| value.value().to_vec()) else { return Ok(()) };
        let gone = Gone::from_bytes(&value).ok_or(Fault::Malformed)?;
        for (table, by) in [(&mut self.gone_by_mark, gone.mark.0), (&mut self.gone_by_key, gone.key_mark)] {
            let by = by.to_le_bytes();
            // A later one may have taken its place.
            let is_own = table.get(by.as_slice())?.is_some_and(|known| known.value() == name);
            if is_own {
                table.remove(by.as_slice())?;
            }
        }
        Ok(())
    }

    fn was_gone(&self, mark: Mark) -> Result<bool, Fault> {
        Ok(mark.is_some() && self.gone_by_mark.get(mark.0.to_le_bytes().as_slice())?.is_some())
    }

    /// Returns the size of the blob of this key that went last, if that is remembered, and forgets it.
    fn take_gone_by_key(&mut self, key: &Key) -> Result<Option<u64>, Fault> {
        let by = key.mark().to_le_bytes();
        let name = self.gone_by_key.remove(by.as_slice())?.map(|name| name.value().to_vec());
        let Some(name) = name else { return Ok(None) };
        let stored_bytes = match self.gone.get(name.as_slice())? {
            None => None,
            Some(value) => Some(Gone::from_bytes(value.value()).ok_or(Fault::Malformed)?.stored_bytes),
        };
        Ok(stored_bytes)
    }

    /// Charges what `from` has counted of a value that was replaced to `to`, whose upload counted the growth alone.
    fn hand_over(&mut self, from: OwnerId, to: OwnerId, bytes: u64) -> Result<(), Fault> {
        if from == to {
            return Ok(());
        }
        if from.is_account() {
            let lost = Amounts { old_bytes: bytes, ..Amounts::default() };
            self.counts(from)?.tally.add(Class::Replaced, lost);
        }
        if to.is_account() {
            let gained = Amounts { stored_bytes: bytes, ..Amounts::default() };
            self.counts(to)?.tally.add(Class::Replaced, gained);
        }
        Ok(())
    }

    /// Takes the end of an upload, which was counted for the account of the note.
    pub(super) fn note(&mut self, note: &Note, key: &Key) -> Result<(), Fault> {
        let mark = Mark::of_token(Some(&note.token));
        let storage_type = note.account.storage_type();
        // The blob was found by a question, and may be gone already: that was counted then.
        if self.was_gone(mark)? {
            return Ok(());
        }
        let before = self.get(key)?;
        let is_known = before.is_some_and(|entry| entry.mark == mark);
        match note.outcome {
            Outcome::Created { stored_bytes } if !is_known => {
                if let Some(entry) = before {
                    self.settle(key, entry, gone_as(entry))?;
                }
                let owner = self.owner(&note.account)?;
                self.insert(key, owner, stored_bytes, mark)
            }
            Outcome::Replaced { stored_bytes, old_bytes } if !is_known => {
                let owner = self.owner(&note.account)?;
                match before {
                    Some(entry) => {
                        self.remove(key, entry)?;
                        self.hand_over(entry.owner, owner, entry.stored_bytes)?;
                    }
                    // The value before was counted as gone, and now as replaced too.
                    None if self.take_gone_by_key(key)? == Some(old_bytes) => {
                        let gained = Amounts { stored_bytes: old_bytes, ..Amounts::default() };
                        self.counts(owner)?.tally.add(Class::Replaced, gained);
                    }
                    None => {}
                }
                self.insert(key, owner, stored_bytes, mark)
            }
            Outcome::Unclassified { stored_bytes } => {
                let owner = OwnerId::foreign(storage_type);
                match before {
                    // It was found by a question, and taken for one that is counted.
                    Some(entry) if is_known && entry.owner.is_account() => {
                        self.remove(key, entry)?;
                        self.insert(key, owner, entry.stored_bytes, mark)
                    }
                    Some(_) => Ok(()),
                    None => {
                        let stored_bytes = stored_bytes.unwrap_or(note.logical_bytes);
                        self.insert(key, owner, stored_bytes, mark)
                    }
                }
            }
            Outcome::Created { .. }
            | Outcome::Replaced { .. }
            | Outcome::AlreadyExists { .. }
            | Outcome::Error(_)
            | Outcome::Dropped { .. } => Ok(()),
        }
    }

    /// Applies a change, and returns whether it changed anything.
    pub(super) fn apply(&mut self, storage_type: StorageType, change: &Change) -> Result<bool, Fault> {
        match change {
            Change::Enter { key, found } => self.enter(storage_type, key, found),
            Change::Settle { key, mark, class } => match self.get(key)? {
                Some(entry) if entry.mark == *mark => {
                    let class = if entry.state == State::Deleting { Class::DeletedOnRequest } else { *class };
                    self.settle(key, entry, class).map(|()| true)
                }
                Some(_) | None => Ok(false),
            },
            Change::Set { key, mark, state } => match self.get(key)? {
                Some(entry) if entry.mark == *mark && entry.state != *state => {
                    self.write(key, Entry { state: *state, since: self.now, ..entry }).map(|()| true)
                }
                Some(_) | None => Ok(false),
            },
        }
    }

    fn enter(&mut self, storage_type: StorageType, key: &Key, found: &Found) -> Result<bool, Fault> {
        let owner = match &found.whose {
            // It was counted as gone: the answer is older than that, or the blob is back by other means.
            Whose::Account(_) if self.was_gone(found.mark)? => OwnerId::foreign(storage_type),
            Whose::Account(account) => self.owner(account)?,
            Whose::Adopted => OwnerId::adopted(storage_type),
            Whose::Foreign => OwnerId::foreign(storage_type),
        };
        let Some(entry) = self.get(key)? else {
            return self.insert(key, owner, found.stored_bytes, found.mark).map(|()| true);
        };
        if !found.mark.is_some() && (found.whose == Whose::Adopted || found.stored_bytes == entry.stored_bytes) {
            return Ok(false);
        }
        if found.mark.is_some() && found.mark == entry.mark {
            if entry.state != State::Missed {
                return Ok(false);
            }
            return self.write(key, Entry { state: State::Stored, since: self.now, ..entry }).map(|()| true);
        }
        if storage_type.is_mutable() && entry.state == State::Stored {
            self.remove(key, entry)?;
            self.hand_over(entry.owner, owner, entry.stored_bytes)?;
        } else {
            self.settle(key, entry, gone_as(entry))?;
        }
        self.insert(key, owner, found.stored_bytes, found.mark).map(|()| true)
    }
}

/// Returns the class in which the blob of an entry is counted that turns out to be gone.
const fn gone_as(entry: Entry) -> Class {
    match entry.state {
        State::Deleting => Class::DeletedOnRequest,
        State::Stored | State::Missed => Class::DeletedByCollection,
    }
}

/// A blob that is gone.
pub(super) struct Gone {
    mark: Mark,
    key_mark: u64,
    pub(super) stored_bytes: u64,
}

impl Gone {
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut bytes = Bytes(bytes);
        Some(Self { mark: Mark(bytes.u64()?), key_mark: bytes.u64()?, stored_bytes: bytes.u64()? })
    }
}

pub(super) fn get_entry(
    entries: &impl ReadableTable<&'static [u8], &'static [u8]>,
    key: &Key,
) -> Result<Option<Entry>, Fault> {
    match entries.get(key.0.as_slice())? {
        None => Ok(None),
        Some(value) => Entry::from_bytes(value.value()).map(Some).ok_or(Fault::Malformed),
    }
}

pub(super) fn read_number(meta: &impl ReadableTable<&'static [u8], &'static [u8]>, name: &[u8]) -> Result<u64, Fault> {
    match meta.get(name)? {
        None => Ok(0),
        Some(value) => Bytes(value.value()).u64().ok_or(Fault::Malformed),
    }
}
