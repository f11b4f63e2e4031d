//! The names of the accounts that objects go to, as numbers that fit into a record.

use std::collections::HashMap;
use std::sync::Arc;

use blobaccess::AccountName;

use crate::machine::casts;

/// The number of objects that are on no account: parts of other objects, and their copies.
pub(crate) const NOBODY: u16 = 0;

/// The number of [`OTHERS_NAME`].
pub(crate) const OTHERS: u16 = 1;

/// The name of the account that stands for all accounts without a number.
pub(crate) const OTHERS_NAME: &str = "__other__";

/// The bytes of a superblock that an account takes besides its name: eight totals and the length of the name.
pub(crate) const FIXED_BYTES: u64 = 34;

/// The names that have numbers. No name is ever forgotten: its evictions are reported for the store's whole life.
#[derive(Debug)]
pub(crate) struct AccountNames {
    by_name: HashMap<Arc<str>, u16>,
    /// The names, by number less one.
    names: Vec<Arc<str>>,
    /// The number that was asked for last: puts of one account often follow each other.
    last: u16,
    /// The maximum number of names, the first one included.
    max_names: usize,
    /// The maximum size of names and totals in a superblock, in bytes.
    max_bytes: u64,
    bytes: u64,
}

impl AccountNames {
    /// Takes the names that a store had, the first of which is [`OTHERS_NAME`]: up to `max_names`, which take up to
    /// `max_bytes` of a superblock.
    pub(crate) fn new(names: impl IntoIterator<Item = Arc<str>>, max_names: u32, max_bytes: u64) -> Self {
        let max_names = casts::index(max_names);
        let mut account_names =
            Self { by_name: HashMap::new(), names: Vec::new(), last: OTHERS, max_names, max_bytes, bytes: 0 };
        account_names.add(Arc::from(OTHERS_NAME));
        for name in names.into_iter().skip(1) {
            account_names.add(name);
        }
        account_names
    }

    fn add(&mut self, name: Arc<str>) -> u16 {
        self.bytes += FIXED_BYTES + casts::on_device(name.len());
        self.names.push(Arc::clone(&name));
        let number = u16::try_from(self.names.len()).unwrap_or(OTHERS);
        self.by_name.insert(name, number);
        number
    }

    /// Returns the number of a name that has one.
    pub(crate) fn known(&mut self, name: &str) -> Option<u16> {
        if self.names.get(usize::from(self.last) - 1).is_none_or(|last| **last != *name) {
            self.last = *self.by_name.get(name)?;
        }
        Some(self.last)
    }

    /// Returns the number of a name: a new one, or [`OTHERS`] if there are too many, or the name is too long.
    pub(crate) fn number(&mut self, name: &str) -> u16 {
        if let Some(number) = self.known(name) {
            return number;
        }
        let bytes = FIXED_BYTES + casts::on_device(name.len());
        if self.names.len() >= self.max_names || self.bytes + bytes > self.max_bytes {
            return OTHERS;
        }
        self.add(Arc::from(name))
    }

    /// Returns the names, in the order of their numbers, from [`OTHERS`] on.
    pub(crate) fn names(&self) -> &[Arc<str>] {
        &self.names
    }
}

/// Returns the account name of a call, or else the digest's instance name, without an allocation.
pub(crate) fn name_of<'a>(ctx: &'a blobaccess::Context, digest: &'a blobaccess::Digest) -> &'a str {
    ctx.account_name().map_or_else(|| digest.instance_name().as_str(), AccountName::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_numbers_and_what_is_too_much_is_others() {
        let mut account_names = AccountNames::new([], 4, 1 << 10);
        let numbers: Vec<_> = ["", "a", "b", "c", "a", "__other__"].map(|name| account_names.number(name)).into();
        assert_eq!(numbers, [2, 3, 4, OTHERS, 3, OTHERS]);
        let mut again = AccountNames::new(account_names.names().to_vec(), 4, 1 << 10);
        assert_eq!(again.number("b"), 4);
        let mut narrow = AccountNames::new([], 100, 100);
        assert_eq!(narrow.number(&"x".repeat(50)), OTHERS);
        assert_eq!(narrow.number("x"), 2);
    }
}
