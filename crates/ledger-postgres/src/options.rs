//! The settings of a ledger.

use std::time::Duration;

use blobaccess::{Error, Result};

/// The settings of a [`PostgresLedger`](crate::PostgresLedger).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresOptions {
    pub(crate) table_prefix: String,
    pub(crate) timeout: Duration,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { table_prefix: "blobaccess_".to_owned(), timeout: Duration::from_secs(30) }
    }
}

impl PostgresOptions {
    /// The length of the longest prefix, in bytes: the names of indexes have more.
    pub const MAX_PREFIX_BYTES: usize = 32;

    /// Returns the defaults: tables whose names begin with `blobaccess_`, and calls of up to 30 s.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the beginning of the names of all tables, so that several ledgers share a database.
    #[must_use]
    pub fn with_table_prefix(mut self, table_prefix: impl Into<String>) -> Self {
        self.table_prefix = table_prefix.into();
        self
    }

    /// Sets the time after which a call fails, its connection included. A server that is silent, or gone behind a router,
    /// holds up nobody for longer.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Checks the prefix, which becomes a part of statements.
    pub(crate) fn check(&self) -> Result<()> {
        let prefix = &self.table_prefix;
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let begins = prefix.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_');
        if begins && prefix.len() <= Self::MAX_PREFIX_BYTES && prefix.bytes().all(is_name) {
            return Ok(());
        }
        let most = Self::MAX_PREFIX_BYTES;
        Err(Error::invalid_argument(format!(
            "ledger in postgresql: the prefix of tables is {prefix:?}; it must have 1 to {most} of a-z, 0-9 and _, and \
             begin with none of 0-9"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_part_of_a_name_and_nothing_else() {
        for prefix in ["a", "_", "staging_", "blobaccess_2_"] {
            PostgresOptions::new().with_table_prefix(prefix).check().unwrap();
        }
        for prefix in ["", "2a", "A", "a;--", "a b", "ä", &"a".repeat(33)] {
            PostgresOptions::new().with_table_prefix(prefix).check().unwrap_err();
        }
    }
}
