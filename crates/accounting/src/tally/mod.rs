//! The amounts that were counted for one account, by class.

mod cells;
mod table;

use std::collections::BTreeMap;

pub use self::table::TallySnapshot;
pub(crate) use self::table::{Slot, Table};

use crate::{Amounts, Class};

/// The amounts that were counted for one account, by class. Classes without counts are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tally {
    by_class: BTreeMap<Class, Amounts>,
}

impl Tally {
    /// Makes an empty tally.
    #[must_use]
    pub const fn new() -> Self {
        Self { by_class: BTreeMap::new() }
    }

    /// Returns the amounts of `class`.
    #[must_use]
    pub fn get(&self, class: Class) -> Amounts {
        self.by_class.get(&class).copied().unwrap_or_default()
    }

    /// Iterates over the classes that have counts, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (Class, Amounts)> {
        self.by_class.iter().map(|(class, amounts)| (*class, *amounts))
    }

    /// Returns whether nothing was counted.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.by_class.is_empty()
    }

    /// Counts `amounts` of `class`.
    pub fn add(&mut self, class: Class, amounts: Amounts) {
        self.change(class, amounts, Amounts::plus);
    }

    /// Raises each number to that of `other` if that is higher, as a ledger does with a cumulative report.
    pub fn raise(&mut self, other: &Self) {
        for (class, amounts) in other.iter() {
            self.change(class, amounts, Amounts::highest);
        }
    }

    /// Adds all of `other`.
    pub fn add_all(&mut self, other: &Self) {
        for (class, amounts) in other.iter() {
            self.add(class, amounts);
        }
    }

    /// Returns the difference between this tally and `other`, column by column; no column falls below 0.
    #[must_use]
    pub fn beyond(&self, other: &Self) -> Self {
        let mut beyond = Self::new();
        for (class, amounts) in self.iter() {
            beyond.add(class, amounts.beyond(other.get(class)));
        }
        beyond
    }

    /// Returns the sum of all outcomes.
    #[must_use]
    pub fn ended(&self) -> Amounts {
        Class::OUTCOMES.iter().copied().fold(Amounts::default(), |sum, class| sum.plus(self.get(class)))
    }

    /// Returns the uploads that have begun and have no outcome yet, and their logical bytes.
    #[must_use]
    pub fn in_flight(&self) -> Amounts {
        let (started, ended) = (self.get(Class::Started), self.ended());
        let objects = started.objects.saturating_sub(ended.objects);
        Amounts {
            objects,
            logical_bytes: started.logical_bytes.saturating_sub(ended.logical_bytes),
            ..Amounts::default()
        }
    }

    /// Returns the bytes that the uploads left in the store: created, plus the growth of replaced values, minus deleted.
    #[must_use]
    pub fn net_bytes(&self) -> i128 {
        i128::from(self.added_bytes()) - i128::from(self.removed_bytes())
    }

    /// Returns the bytes that the uploads added to the store.
    #[must_use]
    pub fn added_bytes(&self) -> u64 {
        self.get(Class::Created).stored_bytes.saturating_add(self.get(Class::Replaced).stored_bytes)
    }

    /// Returns the bytes that left the store: deleted or replaced.
    #[must_use]
    pub fn removed_bytes(&self) -> u64 {
        self.get(Class::Replaced).old_bytes.saturating_add(self.deleted().stored_bytes)
    }

    /// Returns the deletions, for whatever reason.
    #[must_use]
    pub fn deleted(&self) -> Amounts {
        [Class::DeletedByRotation, Class::DeletedOnRequest, Class::DeletedByCollection]
            .into_iter()
            .fold(Amounts::default(), |sum, class| sum.plus(self.get(class)))
    }

    /// Returns the number of objects that the uploads left in the store.
    #[must_use]
    pub fn net_objects(&self) -> i128 {
        i128::from(self.get(Class::Created).objects) - i128::from(self.deleted().objects)
    }

    fn change(&mut self, class: Class, amounts: Amounts, change: impl FnOnce(Amounts, Amounts) -> Amounts) {
        if !amounts.is_zero() {
            let counted = self.by_class.entry(class).or_default();
            *counted = change(*counted, amounts);
        }
    }
}

impl FromIterator<(Class, Amounts)> for Tally {
    fn from_iter<I: IntoIterator<Item = (Class, Amounts)>>(counted: I) -> Self {
        let mut tally = Self::new();
        for (class, amounts) in counted {
            tally.add(class, amounts);
        }
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;

    #[test]
    fn the_net_is_what_is_left_in_the_store() {
        let mut tally = Tally::new();
        for (outcome, logical) in [
            (Outcome::Created { stored_bytes: 100 }, 200),
            (Outcome::AlreadyExists { stored_bytes: 100 }, 200),
            (Outcome::Replaced { stored_bytes: 30, old_bytes: 50 }, 60),
        ] {
            tally.add(Class::Started, Amounts::started(logical));
            tally.add(Class::from_outcome(outcome), Amounts::ended(outcome, logical));
        }
        tally.add(Class::Started, Amounts::started(7));
        tally.add(Class::DeletedByRotation, Amounts::deleted(1, 25));
        assert_eq!((tally.net_bytes(), tally.net_objects()), (55, 0));
        assert_eq!((tally.in_flight().objects, tally.in_flight().logical_bytes), (1, 7));
    }

    #[test]
    fn raising_is_idempotent_and_takes_any_order() {
        let early: Tally = [(Class::Created, Amounts::deleted(1, 5))].into_iter().collect();
        let late: Tally = [(Class::Created, Amounts::deleted(2, 9))].into_iter().collect();
        for order in [[&early, &late, &late], [&late, &early, &late], [&late, &late, &early]] {
            let mut tally = Tally::new();
            for report in order {
                tally.raise(report);
            }
            assert_eq!(tally, late);
        }
        assert_eq!(late.beyond(&early).get(Class::Created).stored_bytes, 4);
        assert!(early.beyond(&late).is_zero());
    }
}
