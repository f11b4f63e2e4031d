//! A table of footprints in memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use blobaccess::{Error, Result};
use xxhash_rust::xxh3::xxh3_64;

use super::{FootprintMark, FootprintRow, FootprintShard, FootprintTable};

/// A [`FootprintTable`] in memory, for tests and for programs that keep nothing.
///
/// # Memory
///
/// Some 150 bytes for each row, and its name.
#[derive(Debug, Default)]
pub struct MemoryFootprints {
    rows: Mutex<BTreeMap<String, FootprintRow>>,
}

impl MemoryFootprints {
    /// Makes a table without rows.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an active row, unless there is one of this name. Returns whether it was added.
    pub fn insert(&self, name: impl Into<String>) -> bool {
        let name = name.into();
        let mut rows = self.rows();
        if rows.contains_key(&name) {
            return false;
        }
        rows.insert(name.clone(), FootprintRow::new(name, 0, None));
        true
    }

    /// Returns the row of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<FootprintRow> {
        self.rows().get(name).cloned()
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<String, FootprintRow>> {
        // A panic cannot leave a row half changed.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the error of a row that is not there.
pub(super) fn no_row(name: &str) -> Error {
    Error::not_found(format!("there is no footprint of {name:?}"))
}

/// Returns `row` after an addition; `None` if its mark is not the expected one.
pub(super) fn added(
    row: &FootprintRow,
    expected: Option<&FootprintMark>,
    delta_bytes: i64,
    next: &FootprintMark,
) -> Result<Option<FootprintRow>> {
    if row.mark.as_ref() != expected {
        return Ok(None);
    }
    let footprint_bytes = row.footprint_bytes.checked_add(delta_bytes).ok_or_else(|| {
        let (name, bytes) = (&row.name, row.footprint_bytes);
        Error::out_of_range(format!("the footprint of {name:?} is {bytes} bytes and cannot grow by {delta_bytes}"))
    })?;
    Ok(Some(FootprintRow { footprint_bytes, mark: Some(*next), ..row.clone() }))
}

#[async_trait]
impl FootprintTable for MemoryFootprints {
    async fn active(&self, shard: FootprintShard, after: Option<&str>, limit: usize) -> Result<Vec<FootprintRow>> {
        let rows = self.rows();
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = rows.range::<str, _>((begin, Bound::Unbounded)).map(|(_, row)| row);
        Ok(rows.filter(|row| shard.has(xxh3_64(row.name.as_bytes()))).take(limit).cloned().collect())
    }

    async fn add(
        &self,
        name: &str,
        expected: Option<&FootprintMark>,
        delta_bytes: i64,
        next: &FootprintMark,
    ) -> Result<bool> {
        let mut rows = self.rows();
        let row = rows.get_mut(name).ok_or_else(|| no_row(name))?;
        match added(row, expected, delta_bytes, next)? {
            Some(changed) => *row = changed,
            None => return Ok(false),
        }
        Ok(true)
    }

    async fn import(&self, name: &str, footprint_bytes: Option<i64>, mark: &FootprintMark) -> Result<bool> {
        let mut rows = self.rows();
        let row = rows.entry(name.to_owned()).or_insert_with(|| FootprintRow::new(name, 0, None));
        if row.mark.is_some() {
            return Ok(false);
        }
        row.footprint_bytes = footprint_bytes.unwrap_or(row.footprint_bytes);
        row.mark = Some(*mark);
        Ok(true)
    }
}
