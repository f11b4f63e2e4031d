//! The objects that proved to be wrong, until they are replaced.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use blobaccess::{Digest, InstanceName};

/// The number of objects that are remembered. Of more, those found first are found anew when they are read again.
const MAX_REMEMBERED: usize = 65_536;

/// The objects that were read and proved to be wrong. Each is missing until it is replaced: by this process, which learns
/// that at once, or by another one, as its `ETag` tells.
///
/// About 200 bytes for each.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    known: Mutex<Known>,
    found: AtomicU64,
    repaired: AtomicU64,
}

#[derive(Debug, Default)]
struct Known {
    e_tags: HashMap<Digest, String>,
    /// The digests in the order in which they were found, some of which may have been repaired since.
    order: VecDeque<Digest>,
}

impl Damage {
    fn known(&self) -> MutexGuard<'_, Known> {
        // A panic cannot leave it worse than with a digest too many in the order.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(digest: &Digest) -> Digest {
        digest.with_instance_name(InstanceName::empty())
    }

    /// Remembers that the object of `digest` with this `ETag` is wrong. Without an `ETag`, nothing could tell it from its
    /// replacement.
    pub(crate) fn note(&self, digest: &Digest, e_tag: Option<&str>) {
        let Some(e_tag) = e_tag else { return };
        let key = Self::key(digest);
        let mut known = self.known();
        if known.e_tags.insert(key.clone(), bare(e_tag).to_owned()).is_none() {
            self.found.fetch_add(1, Ordering::Relaxed);
            known.order.push_back(key);
            while known.order.len() > MAX_REMEMBERED {
                if let Some(oldest) = known.order.pop_front() {
                    known.e_tags.remove(&oldest);
                }
            }
        }
    }

    /// Returns whether the object with this `ETag` is known to be wrong. Forgets one that was replaced since.
    pub(crate) fn is_known(&self, digest: &Digest, e_tag: Option<&str>) -> bool {
        let mut known = self.known();
        if known.e_tags.is_empty() {
            return false;
        }
        let key = Self::key(digest);
        match known.e_tags.get(&key) {
            Some(wrong) if e_tag.is_none_or(|e_tag| bare(e_tag) == wrong) => true,
            Some(_) => {
                known.e_tags.remove(&key);
                false
            }
            None => false,
        }
    }

    /// Forgets the object of `digest`, which was replaced by the right one.
    pub(crate) fn repaired(&self, digest: &Digest) {
        self.repaired.fetch_add(1, Ordering::Relaxed);
        self.known().e_tags.remove(&Self::key(digest));
    }

    /// Returns how many objects are known to be wrong now, were found to be, and were replaced.
    pub(crate) fn counts(&self) -> (usize, u64, u64) {
        let (found, repaired) = (self.found.load(Ordering::Relaxed), self.repaired.load(Ordering::Relaxed));
        (self.known().e_tags.len(), found, repaired)
    }
}

/// Returns an `ETag` without its quotation marks, which some servers leave out of listings.
fn bare(e_tag: &str) -> &str {
    e_tag.trim_matches('"')
}

#[cfg(test)]
mod tests {
    use blobaccess::DigestFunction;

    use super::*;

    fn digest(number: usize) -> Digest {
        Digest::of(InstanceName::empty(), DigestFunction::Sha256, &number.to_le_bytes())
    }

    #[test]
    fn an_object_is_wrong_until_it_has_another_e_tag() {
        let damage = Damage::default();
        damage.note(&digest(1), Some("\"a\""));
        damage.note(&digest(1), Some("a"));
        assert!(damage.is_known(&digest(1), Some("a")) && !damage.is_known(&digest(2), Some("a")));
        assert!(!damage.is_known(&digest(1), Some("b")));
        assert!(!damage.is_known(&digest(1), Some("a")), "it was replaced in between");
        assert_eq!(damage.counts(), (0, 1, 0));
    }

    #[test]
    fn only_so_many_are_remembered() {
        let damage = Damage::default();
        for number in 0..=MAX_REMEMBERED {
            damage.note(&digest(number), Some("a"));
        }
        assert!(!damage.is_known(&digest(0), Some("a")) && damage.is_known(&digest(1), Some("a")));
        assert_eq!(damage.counts().0, MAX_REMEMBERED);
    }
}
