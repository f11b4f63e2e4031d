//! Tells callers that looked for instance names whether they must look again.
//!
//! A name sees contents by a record of its own, which goes when its contents go. Others may put the contents anew, and
//! then a caller that looked for the name first and for the contents after that finds both, although the name does not
//! see these contents. So such a caller [begins](NamesSeen::look) before it looks for the name, and once it has found the
//! contents, it looks for the name again if the look [is outdated](NamesLook::is_outdated).

use std::sync::atomic::Ordering;

use crate::machine::concurrency::locks::AtomicU64;

/// The number of names that no longer see their contents. It grows before anybody can put the contents again.
#[derive(Debug)]
pub(crate) struct NamesSeen(AtomicU64);

/// A look for instance names.
#[derive(Debug)]
#[must_use]
pub(crate) struct NamesLook<'a> {
    names: &'a NamesSeen,
    forgotten: u64,
}

impl NamesSeen {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Notes that the record of a name went.
    pub(super) fn note_forgotten(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    /// Begins to look for names.
    pub(crate) fn look(&self) -> NamesLook<'_> {
        NamesLook { names: self, forgotten: self.0.load(Ordering::Acquire) }
    }
}

impl NamesLook<'_> {
    /// Returns whether names that were found since the look began may see nothing any more, so that the caller must look
    /// for them again.
    pub(crate) fn is_outdated(&self) -> bool {
        self.names.0.load(Ordering::Acquire) != self.forgotten
    }
}
