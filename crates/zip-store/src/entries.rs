//! The entries of an archive by name, in bounded memory.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use blobaccess::{Error, Result};

use crate::entry::Known;
use crate::records::count;

/// The memory that an entry takes besides its name, in bytes: the entry, two allocations and a slot of a table that is
/// half empty. In an archive of 200,000, whose table is three quarters full, 123 were measured.
const ENTRY_BYTES: u64 = 144;

/// The entries of an archive by name. Of several entries of one name, the last counts.
#[derive(Debug)]
pub(crate) struct Entries {
    by_name: HashSet<ByName>,
    taken_bytes: u64,
    max_bytes: u64,
}

/// An entry that is found by its name.
#[derive(Debug)]
struct ByName(Arc<Known>);

impl Borrow<str> for ByName {
    fn borrow(&self) -> &str {
        &self.0.name
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for ByName {}

impl Hash for ByName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // As `str` does, by which entries are found.
        str::hash(&self.0.name, state);
    }
}

impl Entries {
    /// Makes a set of no entries, which takes up to `max_bytes` of memory.
    pub(crate) fn new(max_bytes: u64) -> Self {
        Self { by_name: HashSet::new(), taken_bytes: 0, max_bytes }
    }

    /// Adds an entry, in the place of any before.
    ///
    /// # Errors
    ///
    /// `ResourceExhausted` if the entries would take too much memory.
    pub(crate) fn add(&mut self, known: Arc<Known>) -> Result<()> {
        let more = self.missing_bytes(&known.name);
        self.check_room(more)?;
        self.taken_bytes += more;
        self.by_name.replace(ByName(known));
        Ok(())
    }

    /// Fails if the entries and one of this name take too much memory.
    pub(crate) fn check_room_for(&self, name: &str) -> Result<()> {
        self.check_room(self.missing_bytes(name))
    }

    /// Returns the memory that an entry of this name adds, in bytes.
    fn missing_bytes(&self, name: &str) -> u64 {
        if self.by_name.contains(name) { 0 } else { ENTRY_BYTES + count(name.len()) }
    }

    /// Fails if the entries and `more` bytes take too much memory.
    pub(crate) fn check_room(&self, more: u64) -> Result<()> {
        let (taken, max) = (self.taken_bytes.saturating_add(more), self.max_bytes);
        if taken <= max {
            return Ok(());
        }
        let entries = self.by_name.len();
        let message = format!("directory of {entries} entries takes {taken} bytes of memory; the maximum is {max}");
        Err(Error::resource_exhausted(message))
    }

    /// Returns the entry of this name, unless its contents were found wrong.
    pub(crate) fn find(&self, name: &str) -> Option<&Arc<Known>> {
        self.by_name.get(name).map(|by_name| &by_name.0).filter(|known| !known.is_wrong())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Known>> {
        self.by_name.iter().map(|by_name| &by_name.0).filter(|known| !known.is_wrong())
    }

    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(crate) fn taken_bytes(&self) -> u64 {
        self.taken_bytes
    }
}
