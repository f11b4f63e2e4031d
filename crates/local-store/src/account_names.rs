//! The names of the accounts that objects go to, as numbers that fit into a record.

use std::collections::HashMap;
use std::sync::Arc;

use blobaccess::AccountName;

use crate::machine::casts;

/// The number of what is on nobody's account: parts of other objects, and what became of them.
pub(crate) const NOBODY: u16 = 0;

/// The number of [`OTHERS_NAME`].
pub(crate) const OTHERS: u16 = 1;

/// The account of all accounts that there is no number for.
pub(crate) const OTHERS_NAME: &str = "__other__";

/// What a account takes of a superblock besides its name, in bytes: eight totals and the length of the name.
pub(crate) const FIXED_BYTES: u64 = 34;

/// The names that have numbers. None is ever forgotten: what was given up of it is told for the store's whole life.
#[derive(Debug)]
pub(crate) struct AccountNames {
    by_name: HashMap<Arc<str>, u16>,
    /// By number less one.
    names: Vec<Arc<str>>,
    /// The number that was asked for last: puts of one account often follow each other.
    last: u16,
    /// Names at most, the first one included.
    most: usize,
    /// What names and totals may take of a superblock.
    most_bytes: u64,
    bytes: u64,
}

impl AccountNames {
    /// The names that a store had, the first of which is [`OTHERS_NAME`]; as many as `most`, which take no more than
    /// `most_bytes` of a superblock.
    pub(crate) fn new(names: impl IntoIterator<Item = Arc<str>>, most: u32, most_bytes: u64) -> Self {
        let most = casts::index(most);
        let mut account_names =
            Self { by_name: HashMap::new(), names: Vec::new(), last: OTHERS, most, most_bytes, bytes: 0 };
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

    /// The number of a name: a new one, unless there are too many, or the name is too long.
    pub(crate) fn number(&mut self, name: &str) -> u16 {
        if self.names.get(usize::from(self.last) - 1).is_some_and(|last| **last == *name) {
            return self.last;
        }
        if let Some(number) = self.by_name.get(name) {
            self.last = *number;
            return *number;
        }
        let bytes = FIXED_BYTES + casts::on_device(name.len());
        if self.names.len() >= self.most || self.bytes + bytes > self.most_bytes {
            return OTHERS;
        }
        self.add(Arc::from(name))
    }

    /// The names, in the order of their numbers, from [`OTHERS`] on.
    pub(crate) fn names(&self) -> &[Arc<str>] {
        &self.names
    }
}

/// The name that a call names, or else the digest's instance name, as [`AccountName::for_call`] says, without an allocation.
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
