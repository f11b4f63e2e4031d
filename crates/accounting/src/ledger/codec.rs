//! Accounts and tallies as bytes, for ledgers and journals that are files.

use blobaccess::{AccountName, StorageType};

use crate::{Account, Amounts, Class, Tally};

/// A reader of numbers and texts, which returns `None` once there are too few bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    pub(crate) fn i128(&mut self) -> Option<i128> {
        self.array().map(i128::from_le_bytes)
    }

    pub(crate) fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (slice, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(slice)
    }

    /// Reads a text that its length precedes.
    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.u32()?).ok()?;
        std::str::from_utf8(self.slice(length)?).ok()
    }

    pub(crate) fn storage_type(&mut self) -> Option<StorageType> {
        Account::storage_type_from_code(self.byte()?)
    }

    pub(crate) fn account(&mut self) -> Option<Account> {
        let storage_type = self.storage_type()?;
        Some(Account::new(AccountName::new(self.text()?), storage_type))
    }

    pub(crate) fn amounts(&mut self) -> Option<Amounts> {
        let mut columns = [0; 5];
        for column in &mut columns {
            *column = self.u64()?;
        }
        Some(Amounts::from_columns(columns))
    }

    pub(crate) fn tally(&mut self) -> Option<Tally> {
        let mut tally = Tally::new();
        for _ in 0..self.byte()? {
            let class = Class::from_code(self.byte()?)?;
            tally.add(class, self.amounts()?);
        }
        Some(tally)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Appends the length of a text, and the text. A text of 4 GiB would be cut; account names are not that long.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    out.extend(length.to_le_bytes());
    out.extend(text.bytes().take(usize::try_from(length).unwrap_or(usize::MAX)));
}

pub(crate) fn put_account(out: &mut Vec<u8>, account: &Account) {
    out.push(Account::storage_code(account.storage_type()));
    put_text(out, account.account_name().as_str());
}

pub(crate) fn put_amounts(out: &mut Vec<u8>, amounts: Amounts) {
    out.extend(amounts.columns().into_iter().flat_map(u64::to_le_bytes));
}

pub(crate) fn put_tally(out: &mut Vec<u8>, tally: &Tally) {
    out.push(u8::try_from(tally.iter().count()).unwrap_or(u8::MAX));
    for (class, amounts) in tally.iter() {
        out.push(class.code());
        put_amounts(out, amounts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_less_is_not() {
        let account = Account::new(AccountName::new("a/b"), StorageType::Ac);
        let tally: Tally =
            Class::ALL.into_iter().zip(1..).map(|(class, number)| (class, Amounts::deleted(number, 1 << 40))).collect();
        let mut written = Vec::new();
        put_account(&mut written, &account);
        put_tally(&mut written, &tally);
        let mut bytes = Bytes(&written);
        assert_eq!((bytes.account(), bytes.tally()), (Some(account), Some(tally)));
        assert!(bytes.is_empty());
        for length in 0..written.len() {
            let mut bytes = Bytes(&written[..length]);
            assert!(bytes.account().is_none() || bytes.tally().is_none(), "{length}");
        }
    }
}
