//! The figures of an index: the blobs that each owner has, and the counts for the ledger.

use std::collections::BTreeMap;

use blobaccess::StorageType;

use super::changes::Changed;
use super::entry::OwnerId;
use crate::drift::Owner;
use crate::ledger::codec::{Bytes, put_tally};
use crate::{Account, Tally};

/// A number of stored blobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Held {
    /// The number of blobs.
    pub objects: u64,
    /// The bytes that they take, as stored.
    pub stored_bytes: u64,
}

impl Held {
    pub(super) const fn plus(self, other: Self) -> Self {
        Self {
            objects: self.objects.saturating_add(other.objects),
            stored_bytes: self.stored_bytes.saturating_add(other.stored_bytes),
        }
    }

    pub(super) const fn minus(self, other: Self) -> Self {
        Self {
            objects: self.objects.saturating_sub(other.objects),
            stored_bytes: self.stored_bytes.saturating_sub(other.stored_bytes),
        }
    }
}

/// The figures of one owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// The blobs in the index.
    pub(super) held: Held,
    /// The counts for the ledger, which only grow.
    pub(super) tally: Tally,
}

impl Counts {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.held.objects.to_le_bytes().to_vec();
        bytes.extend(self.held.stored_bytes.to_le_bytes());
        put_tally(&mut bytes, &self.tally);
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut bytes = Bytes(bytes);
        let held = Held { objects: bytes.u64()?, stored_bytes: bytes.u64()? };
        let tally = bytes.tally()?;
        bytes.is_empty().then_some(Self { held, tally })
    }
}

/// The figures of all owners, as of the last transaction.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) source: [u8; 16],
    /// The number of transactions that changed a figure.
    pub(super) changes: u64,
    by_owner: BTreeMap<OwnerId, (Option<Account>, Counts)>,
}

impl Figures {
    /// Makes the figures of the index that `source` identifies.
    pub(super) fn new(source: [u8; 16]) -> Self {
        Self { source, ..Self::default() }
    }

    /// Takes the figures that a transaction changed.
    pub(super) fn take(&mut self, changed: Changed) {
        if !changed.is_empty() {
            self.changes = self.changes.saturating_add(1);
        }
        for (owner, account, counts) in changed {
            self.by_owner.insert(owner, (account, counts));
        }
    }

    /// Returns the blobs of an owner.
    pub(super) fn held(&self, owner: OwnerId) -> Held {
        self.by_owner.get(&owner).map(|(_, counts)| counts.held).unwrap_or_default()
    }

    /// Returns the blobs of accounts of a kind of store.
    pub(super) fn held_by_accounts(&self, storage_type: StorageType) -> Held {
        let accounts = self.accounts().filter(|(account, _)| account.storage_type() == storage_type);
        accounts.fold(Held::default(), |sum, (_, counts)| sum.plus(counts.held))
    }

    /// Iterates over the accounts.
    pub(super) fn accounts(&self) -> impl Iterator<Item = (&Account, &Counts)> {
        self.by_owner.values().filter_map(|(account, counts)| Some((account.as_ref()?, counts)))
    }

    /// Returns the owner with this number.
    pub(super) fn owner(&self, owner: OwnerId) -> Owner {
        match self.by_owner.get(&owner) {
            Some((Some(account), _)) => Owner::Account(account.account_name().clone()),
            Some((None, _)) | None if owner.is_adopted() => Owner::Adopted,
            Some((None, _)) | None => Owner::Unknown,
        }
    }
}
