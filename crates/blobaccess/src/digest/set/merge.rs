//! Iterates over the sorted digests of several sets together.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::iter;

use super::Digest;

/// A digest, and which of two sets have it.
#[derive(Clone, Copy)]
pub(super) enum Found<'a> {
    Left(&'a Digest),
    Both(&'a Digest),
    Right(&'a Digest),
}

impl<'a> Found<'a> {
    pub(super) const fn digest(self) -> &'a Digest {
        match self {
            Self::Left(digest) | Self::Both(digest) | Self::Right(digest) => digest,
        }
    }

    pub(super) const fn left_only(self) -> Option<&'a Digest> {
        if let Self::Left(digest) = self { Some(digest) } else { None }
    }

    pub(super) const fn both(self) -> Option<&'a Digest> {
        if let Self::Both(digest) = self { Some(digest) } else { None }
    }
}

/// Returns the digests of two sets, in order.
pub(super) fn merge<'a>(mut left: &'a [Digest], mut right: &'a [Digest]) -> impl Iterator<Item = Found<'a>> {
    iter::from_fn(move || {
        let order = match (left.first(), right.first()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(left), Some(right)) => left.cmp(right),
        };
        match order {
            Ordering::Less => left.split_off_first().map(Found::Left),
            Ordering::Greater => right.split_off_first().map(Found::Right),
            Ordering::Equal => {
                right.split_off_first();
                left.split_off_first().map(Found::Both)
            }
        }
    })
}

/// The rest of a set, ordered by its first digest only.
struct Rest<'a>(&'a [Digest]);

impl PartialEq for Rest<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Rest<'_> {}

impl PartialOrd for Rest<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rest<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.first().cmp(&other.0.first())
    }
}

/// Returns the digests of any number of sets, in order and each once.
pub(super) fn union<'a>(sets: impl Iterator<Item = &'a [Digest]>) -> Vec<Digest> {
    let mut rests: BinaryHeap<_> = sets.map(|set| Reverse(Rest(set))).collect();
    let mut union = Vec::new();
    while let Some(mut smallest) = rests.peek_mut() {
        let Reverse(Rest(rest)) = &mut *smallest;
        match rest.split_off_first() {
            Some(digest) if union.last() == Some(digest) => {}
            Some(digest) => union.push(digest.clone()),
            None => {
                PeekMut::pop(smallest);
            }
        }
    }
    union
}
