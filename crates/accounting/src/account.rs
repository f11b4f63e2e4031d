//! The account that an upload is counted for: an account name and a kind of store.

use std::cmp::Ordering;
use std::fmt::{self, Display, Formatter};

use blobaccess::{AccountName, StorageType};

/// The account that an upload is counted for: an [`AccountName`] and a kind of store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Account {
    account_name: AccountName,
    storage_type: StorageType,
}

/// Every kind of store, by its code: codes are written to files and are never changed.
const STORAGE_TYPES: [StorageType; 5] =
    [StorageType::Cas, StorageType::Ac, StorageType::Icas, StorageType::Iscc, StorageType::Fsac];

impl Account {
    /// Makes the account of `account_name` for stores of one kind.
    #[must_use]
    pub const fn new(account_name: AccountName, storage_type: StorageType) -> Self {
        Self { account_name, storage_type }
    }

    /// Returns the account `__other__`, for uploads whose own account found no room.
    #[must_use]
    pub fn overflow(storage_type: StorageType) -> Self {
        Self::new(AccountName::new(OVERFLOW), storage_type)
    }

    /// Returns the account name.
    #[must_use]
    pub const fn account_name(&self) -> &AccountName {
        &self.account_name
    }

    /// Returns the kind of store.
    #[must_use]
    pub const fn storage_type(&self) -> StorageType {
        self.storage_type
    }

    /// Returns the number of a kind of store in files.
    #[must_use]
    pub const fn storage_code(storage_type: StorageType) -> u8 {
        match storage_type {
            StorageType::Cas => 0,
            StorageType::Ac => 1,
            StorageType::Icas => 2,
            StorageType::Iscc => 3,
            StorageType::Fsac => 4,
        }
    }

    /// Returns the kind of store with this number.
    #[must_use]
    pub fn storage_type_from_code(code: u8) -> Option<StorageType> {
        STORAGE_TYPES.get(usize::from(code)).copied()
    }

    /// Returns the kind of store with this name, such as `cas`.
    #[must_use]
    pub fn storage_type_from_name(name: &str) -> Option<StorageType> {
        STORAGE_TYPES.into_iter().find(|storage_type| storage_type.name() == name)
    }

    fn order(&self) -> (&AccountName, u8) {
        (&self.account_name, Self::storage_code(self.storage_type))
    }
}

/// The name of the account that takes all uploads whose own account found no room.
pub(crate) const OVERFLOW: &str = "__other__";

impl Ord for Account {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}

impl PartialOrd for Account {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Display for Account {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.storage_type.name(), self.account_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_store_is_found_by_its_code_and_name() {
        for storage_type in STORAGE_TYPES {
            assert_eq!(Account::storage_type_from_code(Account::storage_code(storage_type)), Some(storage_type));
            assert_eq!(Account::storage_type_from_name(storage_type.name()), Some(storage_type));
        }
        assert_eq!(Account::storage_type_from_code(5), None);
        assert_eq!(Account::storage_type_from_name("CAS"), None);
    }
}
