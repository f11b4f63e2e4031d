//! Digests without duplicates: union, difference, partition.

mod merge;
mod sort;

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt::{self, Formatter};
use std::hash::Hash;
use std::slice;
use std::sync::Arc;

use self::merge::{Found, merge};
use super::Digest;

/// A set of digests, sorted and immutable.
///
/// A clone shares the digests, and an operation that leaves a set as it is returns a clone of it. The empty set takes
/// no memory.
///
/// # Memory
///
/// 96 bytes for each digest. Building a set from a [`Vec`] takes that vector over.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct DigestSet(
    /// `None` if it is empty. A vector, as a shared slice would be a copy of the one that the set is built from.
    Option<Arc<Vec<Digest>>>,
);

impl DigestSet {
    /// Makes the set without digests.
    #[must_use]
    pub const fn new() -> Self {
        Self(None)
    }

    /// Makes the set of digests that are sorted and without duplicates.
    fn from_sorted(digests: Vec<Digest>) -> Self {
        debug_assert!(digests.is_sorted_by(|a, b| a < b));
        Self((!digests.is_empty()).then(|| Arc::new(digests)))
    }

    /// Makes the set of `digests`, which are a sorted part of those of `whole`.
    fn from_part(digests: Vec<Digest>, whole: &Self) -> Self {
        if digests.len() == whole.len() { whole.clone() } else { Self::from_sorted(digests) }
    }

    /// Makes the set of `part`, which holds digests of this set in their order.
    pub(crate) fn of_part(&self, part: &[&Digest]) -> Self {
        if part.len() == self.len() {
            return self.clone();
        }
        Self::from_sorted(part.iter().copied().cloned().collect())
    }

    /// Returns the digests, sorted.
    #[must_use]
    pub fn as_slice(&self) -> &[Digest] {
        self.0.as_ref().map_or(&[], |digests| digests)
    }

    /// Returns the digests, in order.
    pub fn iter(&self) -> slice::Iter<'_, Digest> {
        self.as_slice().iter()
    }

    /// Returns the number of digests.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Returns whether there are no digests.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the smallest digest.
    #[must_use]
    pub fn first(&self) -> Option<&Digest> {
        self.as_slice().first()
    }

    /// Returns whether `digest` is in the set.
    #[must_use]
    pub fn contains(&self, digest: &Digest) -> bool {
        self.as_slice().binary_search(digest).is_ok()
    }

    /// Returns all digests that are in any of `sets`, in one pass over them.
    #[must_use]
    pub fn union(sets: impl IntoIterator<Item = impl Borrow<Self>>) -> Self {
        let sets: Vec<_> = sets.into_iter().map(|set| set.borrow().clone()).filter(|set| !set.is_empty()).collect();
        let union = match &*sets {
            [] => return Self::new(),
            [only] => return only.clone(),
            [a, b] if a.is_same(b) => return a.clone(),
            [a, b] => merge(a.as_slice(), b.as_slice()).map(Found::digest).cloned().collect(),
            many => merge::union(many.iter().map(Self::as_slice)),
        };
        match sets.iter().find(|set| set.len() == union.len()) {
            Some(whole) => whole.clone(),
            None => Self::from_sorted(union),
        }
    }

    /// Returns the digests that are in this set only, in both, and in `other` only, in one pass over them.
    #[must_use]
    pub fn split(&self, other: &Self) -> (Self, Self, Self) {
        if self.is_same(other) {
            return (Self::new(), self.clone(), Self::new());
        }
        let (mut only_self, mut both, mut only_other) = (Vec::new(), Vec::new(), Vec::new());
        for found in merge(self.as_slice(), other.as_slice()) {
            match found {
                Found::Left(digest) => only_self.push(digest.clone()),
                Found::Both(digest) => both.push(digest.clone()),
                Found::Right(digest) => only_other.push(digest.clone()),
            }
        }
        let both = if both.len() == self.len() { self.clone() } else { Self::from_part(both, other) };
        (Self::from_part(only_self, self), both, Self::from_part(only_other, other))
    }

    /// Returns the digests that are in this set but not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        if self.is_same(other) {
            return Self::new();
        }
        if other.is_empty() {
            return self.clone();
        }
        let digests = merge(self.as_slice(), other.as_slice()).filter_map(Found::left_only).cloned().collect();
        Self::from_part(digests, self)
    }

    /// Returns the digests that are in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        if self.is_same(other) {
            return self.clone();
        }
        let digests = merge(self.as_slice(), other.as_slice()).filter_map(Found::both).cloned().collect();
        Self::from_part(digests, self)
    }

    /// Returns the digests for which `keep` returns `true`.
    #[must_use]
    pub fn filter(&self, mut keep: impl FnMut(&Digest) -> bool) -> Self {
        let Some(first_dropped) = self.iter().position(|digest| !keep(digest)) else { return self.clone() };
        let (kept, rest) = self.as_slice().split_at(first_dropped);
        let rest = rest.iter().skip(1).filter(|digest| keep(digest));
        Self::from_sorted(kept.iter().chain(rest).cloned().collect())
    }

    /// Returns all digests but those of size 0, whose contents are known anyway.
    #[must_use]
    pub fn without_empty_blobs(&self) -> Self {
        self.filter(|digest| !digest.is_empty_blob())
    }

    /// Splits the digests by instance name, in the order in which the names first occur.
    #[must_use]
    pub fn partition_by_instance_name(&self) -> Vec<Self> {
        self.partition_by(Digest::instance_name).into_iter().map(|(_, part)| part).collect()
    }

    /// Splits the digests by the result of `key`, in the order in which the keys first occur. No part is empty.
    #[must_use]
    pub fn partition_by<'a, K: Eq + Hash>(&'a self, mut key: impl FnMut(&'a Digest) -> K) -> Vec<(K, Self)> {
        let mut indexes: HashMap<K, usize> = HashMap::new();
        let mut parts: Vec<Vec<&Digest>> = Vec::new();
        for digest in self {
            let index = *indexes.entry(key(digest)).or_insert(parts.len());
            match parts.get_mut(index) {
                Some(part) => part.push(digest),
                None => parts.push(vec![digest]),
            }
        }
        let mut keys: Vec<_> = indexes.into_iter().collect();
        keys.sort_unstable_by_key(|(_, index)| *index);
        let parts = parts.into_iter().map(|part| {
            if part.len() == self.len() { self.clone() } else { Self::from_sorted(part.into_iter().cloned().collect()) }
        });
        keys.into_iter().map(|(key, _)| key).zip(parts).collect()
    }

    /// Returns whether both are one vector in memory, or empty.
    fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(digests), Some(others)) => Arc::ptr_eq(digests, others),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }
}

impl From<Vec<Digest>> for DigestSet {
    /// Sorts the digests if they are not sorted, and drops duplicates.
    fn from(mut digests: Vec<Digest>) -> Self {
        sort::sort_and_deduplicate(&mut digests);
        Self::from_sorted(digests)
    }
}

impl<const N: usize> From<[Digest; N]> for DigestSet {
    fn from(digests: [Digest; N]) -> Self {
        Self::from(Vec::from(digests))
    }
}

impl From<Digest> for DigestSet {
    fn from(digest: Digest) -> Self {
        Self::from_sorted(vec![digest])
    }
}

impl FromIterator<Digest> for DigestSet {
    fn from_iter<I: IntoIterator<Item = Digest>>(digests: I) -> Self {
        Self::from(Vec::from_iter(digests))
    }
}

impl<'a> IntoIterator for &'a DigestSet {
    type Item = &'a Digest;
    type IntoIter = slice::Iter<'a, Digest>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for DigestSet {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self).finish()
    }
}

#[cfg(test)]
mod tests;
