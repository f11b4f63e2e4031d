//! The trees that were found complete lately.

use std::num::NonZeroUsize;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use lru::LruCache;

use super::references::{TreeForm, TreeReference};
use crate::locks::{Mutex, MutexGuard};
use crate::{DigestKey, KeyFormat};

/// Remembers up to so many trees for so long. Those used least lately go first.
#[derive(Debug)]
pub(super) struct CompleteTrees {
    /// None, if nothing is to be remembered. A tree is known with its directories, without them, or both.
    since: Option<Mutex<LruCache<Key, Instant>>>,
    duration: Duration,
    key_format: KeyFormat,
}

type Key = (DigestKey, TreeForm);

impl CompleteTrees {
    pub(super) fn new(capacity: usize, duration: Duration, key_format: KeyFormat) -> Self {
        let capacity = NonZeroUsize::new(capacity).filter(|_| !duration.is_zero());
        Self { since: capacity.map(|capacity| Mutex::new(LruCache::sparse(capacity))), duration, key_format }
    }

    /// Returns whether all of `tree` was stored at a time that is no longer ago than the duration.
    pub(super) fn knows(&self, tree: &TreeReference, now: Instant) -> bool {
        let Some(mut since) = self.since() else { return false };
        // A tree that is complete with its directories is so without them.
        let forms: &[_] = match tree.form {
            TreeForm::Tree => &[TreeForm::TreeAndDirectories, TreeForm::Tree],
            TreeForm::TreeAndDirectories => &[TreeForm::TreeAndDirectories],
            TreeForm::Directories => &[TreeForm::Directories],
        };
        forms.iter().any(|form| {
            let key = (tree.digest.cache_key(self.key_format), *form);
            let is_recent = since.get(&key).is_some_and(|at| now.saturating_duration_since(*at) <= self.duration);
            if !is_recent {
                since.pop(&key);
            }
            is_recent
        })
    }

    /// Remembers that all of each was stored at `at`.
    pub(super) fn remember<'a>(&self, trees: impl IntoIterator<Item = &'a TreeReference>, at: Instant) {
        let Some(mut since) = self.since() else { return };
        for tree in trees {
            let at_least = since.peek(&self.key(tree)).map_or(at, |known| at.max(*known));
            since.put(self.key(tree), at_least);
        }
    }

    /// Forgets all of `trees`.
    pub(super) fn forget<'a>(&self, trees: impl IntoIterator<Item = &'a TreeReference>) {
        let Some(mut since) = self.since() else { return };
        for tree in trees {
            let digest = tree.digest.cache_key(self.key_format);
            for form in [TreeForm::Tree, TreeForm::TreeAndDirectories, TreeForm::Directories] {
                since.pop(&(digest.clone(), form));
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.since().map_or(0, |since| since.len())
    }

    fn key(&self, tree: &TreeReference) -> Key {
        (tree.digest.cache_key(self.key_format), tree.form)
    }

    fn since(&self) -> Option<MutexGuard<'_, LruCache<Key, Instant>>> {
        // Each use of it is one call, so that a panic leaves it whole.
        self.since.as_ref().map(|since| since.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
