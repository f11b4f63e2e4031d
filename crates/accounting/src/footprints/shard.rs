//! A shard: a part of the rows of a table, by their names.

use std::fmt::{self, Display, Formatter};

use blobaccess::{Error, Result};

/// A part of the rows of a table: those whose hash leaves the remainder `index` when it is divided by `count`.
///
/// Every table has a hash of its own. Processes that share out the shards of one table agree, as the table itself chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FootprintShard {
    index: u16,
    count: u16,
}

impl FootprintShard {
    /// All rows.
    pub const ALL: Self = Self { index: 0, count: 1 };

    /// Makes the shard `index` of `count`.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if there is no such shard.
    pub fn new(index: u16, count: u16) -> Result<Self> {
        if index < count {
            return Ok(Self { index, count });
        }
        Err(Error::invalid_argument(format!("there is no shard {index} of {count}: the first one is 0")))
    }

    /// Returns the number of this shard, from 0.
    #[must_use]
    pub const fn index(self) -> u16 {
        self.index
    }

    /// Returns the number of shards.
    #[must_use]
    pub const fn count(self) -> u16 {
        self.count
    }

    /// Returns whether a name with this hash is in the shard.
    #[must_use]
    pub fn has(self, hash: u64) -> bool {
        hash.checked_rem(self.count.into()) == Some(self.index.into())
    }
}

impl Display for FootprintShard {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "shard {} of {}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_in_one_shard() {
        for count in 1..5 {
            let shards: Vec<_> = (0..count).map(|index| FootprintShard::new(index, count).unwrap()).collect();
            for hash in 0..50 {
                assert_eq!(shards.iter().filter(|shard| shard.has(hash)).count(), 1);
            }
        }
        FootprintShard::new(0, 0).unwrap_err();
        FootprintShard::new(2, 2).unwrap_err();
    }
}
