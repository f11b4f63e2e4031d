//! The blobs that one call has come across, and what is left to do with them.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use super::object::NestedObject;
use super::options::NestedOptions;
use super::progress::Progress;
use crate::locks::{Mutex, MutexGuard};
use crate::{Digest, DigestSet, Error, Result};

/// The blobs that one call has come across: each once, whatever refers to it.
#[derive(Debug)]
pub(super) struct Traversal {
    state: Mutex<State>,
    options: NestedOptions,
    progress: Arc<Progress>,
}

#[derive(Debug, Default)]
struct State {
    /// The roles in which each blob was met.
    roles: HashMap<Digest, Roles>,
    /// Objects to read. The last is read first, which keeps the list short.
    unread: Vec<Unread>,
    /// Blobs that refer to nothing, to be copied while objects are read.
    leaves: Vec<Digest>,
    /// Directories and trees, to be copied after the leaves.
    inner: Vec<Digest>,
    /// Actions, to be copied after everything else.
    actions: Vec<Digest>,
}

/// An object to read.
#[derive(Debug)]
pub(super) struct Unread {
    pub(super) object: NestedObject,
    /// The number of objects above it.
    pub(super) depth: usize,
}

/// The roles of a blob, as a set of bits: one blob may be a file in one place and a directory in another.
#[derive(Clone, Copy, Debug, Default)]
struct Roles(u8);

impl Roles {
    const fn of(object: &NestedObject) -> Self {
        Self(match object {
            NestedObject::Blob(_) => 0,
            NestedObject::Action(_) => 1,
            NestedObject::Directory(_) => 2,
            NestedObject::Tree(_) => 4,
        })
    }

    /// Adds `other`, and returns whether that is something new.
    const fn add(&mut self, other: Self) -> bool {
        let before = self.0;
        self.0 |= other.0;
        self.0 != before
    }
}

impl Traversal {
    pub(super) fn new(options: NestedOptions, progress: Arc<Progress>) -> Self {
        Self { state: Mutex::default(), options, progress }
    }

    /// Notes `object`, which has `depth` objects above it, unless it is known.
    ///
    /// The empty blob needs no copy, and as a directory it refers to nothing.
    pub(super) fn add(&self, object: NestedObject, depth: usize) -> Result<()> {
        if object.digest().is_empty_blob() {
            return Ok(());
        }
        let max = self.options.max_depth;
        if depth > max {
            return Err(Error::invalid_argument(format!("{object} lies below {depth} objects; the maximum is {max}")));
        }
        let mut state = self.state();
        let (count, max, mut is_new) = (state.roles.len(), self.options.max_digests, false);
        let roles = state.roles.entry(object.digest().clone()).or_insert_with(|| {
            is_new = true;
            Roles::default()
        });
        let is_unread = roles.add(Roles::of(&object));
        if is_new {
            if count >= max {
                return Err(Error::resource_exhausted(format!("there are more than {max} different blobs to copy")));
            }
            self.progress.count_blob(object.digest());
            let digest = object.digest().clone();
            match object {
                NestedObject::Blob(_) => state.leaves.push(digest),
                NestedObject::Directory(_) | NestedObject::Tree(_) => state.inner.push(digest),
                NestedObject::Action(_) => state.actions.push(digest),
            }
        }
        if is_unread {
            state.unread.push(Unread { object, depth });
        }
        Ok(())
    }

    /// Takes the next object to read.
    pub(super) fn take_unread(&self) -> Option<Unread> {
        self.state().unread.pop()
    }

    /// Returns the number of leaves that nobody has taken.
    pub(super) fn leaves(&self) -> usize {
        self.state().leaves.len()
    }

    /// Takes a batch of leaves: a whole one, or with `all_are_known` what there is.
    pub(super) fn take_leaves(&self, all_are_known: bool) -> Option<DigestSet> {
        let (size, mut state) = (self.options.batch_size.get(), self.state());
        let count = state.leaves.len();
        if count == 0 || (count < size && !all_are_known) {
            return None;
        }
        Some(state.leaves.split_off(count.saturating_sub(size)).into())
    }

    /// Takes the directories and trees, in batches.
    pub(super) fn take_inner(&self) -> Vec<DigestSet> {
        let inner = std::mem::take(&mut self.state().inner);
        self.batches(&inner)
    }

    /// Takes the actions, in batches.
    pub(super) fn take_actions(&self) -> Vec<DigestSet> {
        let actions = std::mem::take(&mut self.state().actions);
        self.batches(&actions)
    }

    fn batches(&self, digests: &[Digest]) -> Vec<DigestSet> {
        digests.chunks(self.options.batch_size.get()).map(|batch| batch.to_vec().into()).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A call that panics takes its traversal with it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
