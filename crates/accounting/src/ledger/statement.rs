//! Statements: the footprint of an account over time.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crate::{Account, Tally};

/// The changes of an account since its statement was last updated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Movement {
    /// The account.
    pub account: Account,
    /// The counts since then.
    pub tally: Tally,
    /// The adjustments since then, in bytes.
    pub adjusted_bytes: i64,
}

impl Movement {
    /// Makes a movement of `account`.
    #[must_use]
    pub const fn new(account: Account, tally: Tally, adjusted_bytes: i64) -> Self {
        Self { account, tally, adjusted_bytes }
    }

    /// Returns the change of the footprint, in bytes.
    #[must_use]
    pub fn bytes(&self) -> i128 {
        self.tally.net_bytes() + i128::from(self.adjusted_bytes)
    }
}

/// The footprint of an account over time, until its latest update.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Statement {
    /// The account.
    pub account: Account,
    /// The counts.
    pub tally: Tally,
    /// The sum of the adjustments, in bytes.
    pub adjusted_bytes: i64,
    /// The integral of the footprint over time, in bytes times milliseconds.
    pub byte_millis: i128,
    /// The time of the latest update.
    pub as_of: SystemTime,
}

/// A correction of the integral of a statement, such as of what a clock that was ahead has billed.
///
/// Statements are never overwritten: a correction is a row of its own, and statements are read with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Correction {
    /// The name of the correction. With the account, it identifies it.
    pub correction_id: String,
    /// The account that is corrected.
    pub account: Account,
    /// The part that is added to the integral, in bytes times milliseconds. It may be negative.
    pub byte_millis: i128,
    /// The time of the correction.
    pub made_at: SystemTime,
}

impl Correction {
    /// Makes a correction of `account` by `byte_millis`, in bytes times milliseconds.
    #[must_use]
    pub fn new(correction_id: impl Into<String>, account: Account, byte_millis: i128, made_at: SystemTime) -> Self {
        Self { correction_id: correction_id.into(), account, byte_millis, made_at }
    }

    /// Adds all `corrections` to the integrals of the statements of their accounts, as a ledger does that is read.
    pub fn add_all<'a>(corrections: impl IntoIterator<Item = &'a Self>, statements: &mut [Statement]) {
        let mut sums: BTreeMap<&Account, i128> = BTreeMap::new();
        for correction in corrections {
            let sum = sums.entry(&correction.account).or_default();
            *sum = sum.saturating_add(correction.byte_millis);
        }
        for statement in statements {
            let sum = sums.get(&statement.account).copied().unwrap_or(0);
            statement.byte_millis = statement.byte_millis.saturating_add(sum);
        }
    }
}

/// The longest time by which a statement advances at once.
const MAX_STEP: Duration = Duration::from_hours(24);

/// The number of milliseconds in an hour.
const HOUR_MILLIS: i128 = 3_600_000;

impl Statement {
    /// Makes the statement of an account of which nothing was known before `as_of`.
    #[must_use]
    pub const fn new(account: Account, as_of: SystemTime) -> Self {
        Self { account, tally: Tally::new(), adjusted_bytes: 0, byte_millis: 0, as_of }
    }

    /// Sets the integral.
    #[must_use]
    pub const fn with_byte_millis(mut self, byte_millis: i128) -> Self {
        self.byte_millis = byte_millis;
        self
    }

    /// Returns the bytes that the account had in the store at `as_of`.
    #[must_use]
    pub fn footprint_bytes(&self) -> i128 {
        self.tally.net_bytes() + i128::from(self.adjusted_bytes)
    }

    /// Returns the integral of the footprint over time, in bytes times hours, rounded towards zero.
    #[must_use]
    pub const fn byte_hours(&self) -> i128 {
        self.byte_millis / HOUR_MILLIS
    }

    /// Returns the time to which a ledger advances the statement at `now`: not back, and by a day at most. So a clock that
    /// is ahead once bills no more than that day, and it is made up for while the right time passes. A ledger that was not
    /// consumed for longer catches up by a day with each call.
    #[must_use]
    pub fn next_time(&self, now: SystemTime) -> SystemTime {
        now.clamp(self.as_of, self.as_of.checked_add(MAX_STEP).unwrap_or(self.as_of))
    }

    /// Takes back what was billed beyond `to`: sets the time back, and takes the present footprint over that time from the
    /// integral. A statement that is not beyond `to` stays as it is.
    pub fn rewind(&mut self, to: SystemTime) {
        let Ok(beyond) = self.as_of.duration_since(to) else { return };
        let millis = i128::try_from(beyond.as_millis()).unwrap_or(i128::MAX);
        self.byte_millis = self.byte_millis.saturating_sub(self.footprint_bytes().saturating_mul(millis));
        self.as_of = to;
    }

    /// Advances the statement to `now`. The changes in `movement` count from `now`, as their exact times are not known. A
    /// clock that went back changes no integral.
    pub fn advance(&mut self, now: SystemTime, movement: &Movement) {
        let since = now.duration_since(self.as_of).unwrap_or_default();
        let millis = i128::try_from(since.as_millis()).unwrap_or(i128::MAX);
        self.byte_millis = self.byte_millis.saturating_add(self.footprint_bytes().saturating_mul(millis));
        self.tally.add_all(&movement.tally);
        self.adjusted_bytes = self.adjusted_bytes.saturating_add(movement.adjusted_bytes);
        self.as_of = self.as_of.max(now);
    }
}

#[cfg(test)]
mod tests {
    use blobaccess::{AccountName, StorageType};

    use super::*;
    use crate::{Amounts, Class, Outcome};

    #[test]
    fn byte_hours_are_the_integral_of_the_footprint() {
        let account = Account::new(AccountName::new("a"), StorageType::Cas);
        let at = |hours| SystemTime::UNIX_EPOCH + Duration::from_hours(hours);
        let created = Amounts::ended(Outcome::Created { stored_bytes: 100 }, 100);
        let more = Movement::new(account.clone(), [(Class::Created, created)].into_iter().collect(), 0);
        let nothing = Movement::new(account.clone(), Tally::new(), 0);
        let mut statement = Statement::new(account, at(0));
        statement.advance(at(1), &more);
        assert_eq!((statement.byte_hours(), statement.footprint_bytes()), (0, 100));
        statement.advance(at(3), &more);
        assert_eq!((statement.byte_hours(), statement.footprint_bytes()), (200, 200));
        statement.advance(at(2), &nothing);
        assert_eq!((statement.byte_hours(), statement.as_of), (200, at(3)));
        statement.advance(at(4), &nothing);
        assert_eq!(statement.byte_hours(), 400);
    }

    #[test]
    fn a_clock_that_is_ahead_once_bills_a_day_at_most() {
        let account = Account::new(AccountName::new("a"), StorageType::Cas);
        let at = |hours| SystemTime::UNIX_EPOCH + Duration::from_hours(hours);
        let created = Amounts::ended(Outcome::Created { stored_bytes: 100 }, 100);
        let created = Movement::new(account.clone(), [(Class::Created, created)].into_iter().collect(), 0);
        let mut statement = Statement::new(account.clone(), at(0));
        statement.advance(at(0), &created);
        for (hours, until) in [(365 * 24, 24), (1, 24), (2, 24), (25, 25), (30, 30)] {
            statement.advance(statement.next_time(at(hours)), &Movement::new(account.clone(), Tally::new(), 0));
            assert_eq!((statement.byte_hours(), statement.as_of), (100 * i128::from(until), at(until)));
        }
    }
}
