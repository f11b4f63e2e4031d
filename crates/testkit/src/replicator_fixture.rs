//! A replicator under test, made over stores that a contract chooses.

use std::fmt::{self, Debug, Formatter};
use std::marker::PhantomData;
use std::sync::Arc;

use blobaccess::replication::Replicator;
use blobaccess::{BlobAccess, Kind};

/// A store of any type.
pub type AnyStore<K> = Arc<dyn BlobAccess<Kind = K>>;

/// A way to make the replicator under test, and the one way in which replicators may differ.
pub trait ReplicatorFixture: Sync {
    /// The kind of blobs that are copied.
    type Kind: Kind;

    /// The type of the replicator.
    type Replicator: Replicator<Kind = Self::Kind>;

    /// Makes a replicator from `source` into `sink`.
    fn replicator(&self, source: AnyStore<Self::Kind>, sink: AnyStore<Self::Kind>) -> Self::Replicator;

    /// Returns whether the replicator copies. If not, it must leave the sink alone.
    fn copies(&self) -> bool;
}

/// A [`ReplicatorFixture`] of a closure.
///
/// # Examples
///
/// ```
/// use blobaccess::Cas;
/// use blobaccess::replication::LocalReplicator;
/// use blobaccess_testkit::{Replicating, check, contracts};
///
/// let fixture = Replicating::<Cas, _>::new(|source, sink| LocalReplicator::new(source, sink));
/// assert_eq!(check(contracts::replicating::what_the_source_lacks_is_not_found(&fixture)), Ok(()));
/// ```
pub struct Replicating<K, M> {
    make: M,
    copies: bool,
    kind: PhantomData<fn() -> K>,
}

impl<K: Kind, R: Replicator<Kind = K>, M: Fn(AnyStore<K>, AnyStore<K>) -> R> Replicating<K, M> {
    /// Makes a fixture for the replicator that `make` makes from a source into a sink.
    pub const fn new(make: M) -> Self {
        Self { make, copies: true, kind: PhantomData }
    }

    /// Declares that the replicator copies nothing.
    #[must_use]
    pub fn copying_nothing(mut self) -> Self {
        self.copies = false;
        self
    }
}

impl<K: Kind, R: Replicator<Kind = K>, M: Fn(AnyStore<K>, AnyStore<K>) -> R + Sync> ReplicatorFixture
    for Replicating<K, M>
{
    type Kind = K;
    type Replicator = R;

    fn replicator(&self, source: AnyStore<K>, sink: AnyStore<K>) -> R {
        (self.make)(source, sink)
    }

    fn copies(&self) -> bool {
        self.copies
    }
}

impl<K, M> Debug for Replicating<K, M> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replicating").field("copies", &self.copies).finish_non_exhaustive()
    }
}
