//! A fixture for stores that a function makes, and that leave nothing behind when they are dropped.

use std::fmt::{self, Debug, Formatter};

use blobaccess::{BlobAccess, Result};

use crate::{Fixture, Promises};

/// A [`Fixture`] for stores that a function makes, and that leave nothing behind when they are dropped.
///
/// # Examples
///
/// ```
/// use blobaccess::{Cas, MemoryStore};
/// use blobaccess_testkit::{Promises, Volatile, check, contracts};
///
/// let fixture = Volatile::new(|| MemoryStore::<Cas>::new(1 << 20)).promising(Promises::for_memory_store(1 << 20));
/// assert_eq!(check(contracts::reading::what_was_put_is_read(&fixture)), Ok(()));
/// ```
pub struct Volatile<M> {
    make: M,
    promises: Promises,
}

impl<M> Volatile<M> {
    /// Makes a fixture for the stores that `make` returns, with the promises [`Promises::IN_MEMORY`].
    pub const fn new(make: M) -> Self {
        Self { make, promises: Promises::IN_MEMORY }
    }

    /// Sets the promises.
    #[must_use]
    pub fn promising(mut self, promises: Promises) -> Self {
        self.promises = promises;
        self
    }
}

impl<S: BlobAccess, M: Fn() -> S + Send + Sync> Fixture for Volatile<M> {
    type Store = S;

    fn promises(&self) -> Promises {
        self.promises
    }

    async fn open(&self) -> Result<S> {
        Ok((self.make)())
    }
}

impl<M> Debug for Volatile<M> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Volatile").field("promises", &self.promises).finish_non_exhaustive()
    }
}
