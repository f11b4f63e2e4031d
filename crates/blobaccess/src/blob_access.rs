//! The trait that backends and layers share, and the outcomes of a put.

use std::fmt::{Debug, Display};
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;

use crate::{Blob, Capabilities, Context, Digest, DigestSet, InstanceName, KeyFormat, Kind, Result, Slicer};

/// A store of blobs under their digests: a backend, or a decorator around other stores.
///
/// It is object-safe: `Arc<dyn BlobAccess<Kind = Cas>>` is a store too. Its `Display` is one line that names every
/// layer, outermost first: `existence_caching(memory)`.
///
/// # Contract
///
/// * **Whole or not at all.** No reader sees a part of a blob, or one whose size or hash is not what its digest says.
/// * **Only absence is [`NotFound`](crate::ErrorKind::NotFound).** An outage, a time-out, overload or corruption keeps
///   its own kind. It is returned by [`get`](Self::get), never later by the blob: whoever streams waits for the first
///   bytes only.
/// * **[`find_missing`](Self::find_missing) is exact.** What it reports cannot be read; what it does not report can be,
///   and stays for as long as the store promises, because a query counts as a use.
/// * **A put decides about existence.** It may return [`AlreadyExists`](PutOutcome::AlreadyExists) before it reads a
///   byte of the blob. Of any number of concurrent puts of one absent digest, exactly one is
///   [`Created`](PutOutcome::Created).
/// * **A put that fails says whether it may have stored the blob** ([`Error::put_certainty`](crate::Error)).
/// * **A dropped future** leaves the store as if the call had not been made, or had completed.
/// * **What is returned owns what it needs.** A blob keeps alive whatever its reading requires, and lets go of it when
///   it is dropped.
///
/// The suite in `blobaccess-testkit` holds an implementation to each of these.
///
/// # Decorators
///
/// A decorator implements every method, if only to forward it. There are no default bodies, so that a layer cannot
/// forget one and thereby bypass what its inner store does better.
///
/// It passes the errors of a single inner store on unchanged. With more than one, it adds which it was:
/// `.map_err(|error| error.at("secondary"))`.
///
/// # Choosing the outcome of a put
///
/// Caching, canary and fallback layers return that of the store that writes go to; sharding and demultiplexing that of
/// the store chosen; a mirror that of its first backend. A layer that knows may answer by itself.
#[async_trait]
pub trait BlobAccess: Debug + Display + Send + Sync + 'static {
    /// The kind of blobs that this store holds.
    type Kind: Kind;

    /// Reads the blob that `digest` names.
    ///
    /// # Errors
    ///
    /// `NotFound` if it is not stored, and only then. `DataLoss` if what is stored is not what was put; a blob that is
    /// verified as it flows reports this in place of its last bytes.
    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob>;

    /// Reads `child`, which is a part of the blob `parent` that `slicer` knows how to find.
    ///
    /// A store may remember the parts that the slicer finds, and answer for each of them from then on.
    ///
    /// # Errors
    ///
    /// As those of [`get`](Self::get) for `parent`; `NotFound` also if `parent` is stored and has no such part, and
    /// then [`is_part_missing`](crate::Error::is_part_missing) of the error returns true.
    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob>;

    /// Stores `blob` under `digest`, where it can be read once this returns.
    ///
    /// In a mutable kind, a value that differs replaces the one before.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the contents are not what `digest` names, or are larger than the store takes. Whatever the
    /// source of the blob failed with. Nothing is stored then, unless the error says that it may be.
    ///
    /// # Cancel safety
    ///
    /// A dropped put leaves nothing partial: either all of the blob is stored or none.
    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome>;

    /// Returns the `digests` that are not stored.
    ///
    /// A set of no digests needs no store and cannot fail. Callers keep a set under some
    /// [`RECOMMENDED_FIND_MISSING_DIGESTS`]; stores take any number.
    ///
    /// # Errors
    ///
    /// If it cannot be told for even one of them. `Unimplemented` if the store does not find in bulk
    /// ([`finds_in_bulk`](Self::finds_in_bulk)).
    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet>;

    /// Returns the abilities of this store for callers in `instance_name`.
    ///
    /// # Errors
    ///
    /// If a store behind this one cannot be asked.
    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities>;

    /// Returns whether a blob of one instance name is visible in another, which decides the keys of caches above.
    fn key_format(&self) -> KeyFormat;

    /// Returns whether this store offers [`find_missing`](Self::find_missing), without asking anything behind it.
    ///
    /// The Remote Execution API has no such call for action results, so a remote action cache does not. Layers over two
    /// stores that repair one from the other then skip the repair.
    fn finds_in_bulk(&self) -> bool;
}

/// The number of digests that one call of [`BlobAccess::find_missing`] is best given at most: 10,000.
///
/// At some 70 bytes each they take 700 KB on the wire, well below the smallest common message limit of 4 MiB.
pub const RECOMMENDED_FIND_MISSING_DIGESTS: usize = 10_000;

/// The outcome of a put that succeeded.
///
/// Each counts bytes as the store keeps them, which for a store that compresses is not the size of the blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PutOutcome {
    /// This call added the blob.
    Created {
        /// The bytes that the blob takes in the store.
        stored_bytes: u64,
    },
    /// An equal blob (an equal value, in a mutable kind) was there. Nothing was added.
    AlreadyExists {
        /// The bytes that the blob takes in the store.
        stored_bytes: u64,
    },
    /// An entry of a mutable kind got a new value.
    Replaced {
        /// The bytes that the new value takes in the store.
        stored_bytes: u64,
        /// The bytes that the previous value took.
        old_bytes: u64,
    },
    /// It is stored, but the store cannot tell whether this call added it. Counted apart, never guessed.
    Unclassified {
        /// The bytes that the blob takes in the store, if the store knows.
        stored_bytes: Option<u64>,
    },
}

impl PutOutcome {
    /// Returns the bytes that the blob takes in the store, if the store knows.
    #[must_use]
    pub const fn stored_bytes(self) -> Option<u64> {
        match self {
            Self::Created { stored_bytes }
            | Self::AlreadyExists { stored_bytes }
            | Self::Replaced { stored_bytes, .. } => Some(stored_bytes),
            Self::Unclassified { stored_bytes } => stored_bytes,
        }
    }

    /// Returns the name of this outcome in metrics and logs: `created`, `already_exists`, `replaced` or
    /// `unclassified`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::AlreadyExists { .. } => "already_exists",
            Self::Replaced { .. } => "replaced",
            Self::Unclassified { .. } => "unclassified",
        }
    }
}

// The methods are those that `async_trait` makes, written out: so they return the future of the store itself, and a pointer
// takes neither an allocation nor time. As `async fn`s, each would put that future into one of its own.
macro_rules! forward {
    ($($pointer:ident),*) => {
        $(
            impl<B: BlobAccess + ?Sized> BlobAccess for $pointer<B> {
                type Kind = B::Kind;

                fn get<'life0, 'life1, 'life2, 'async_trait>(
                    &'life0 self,
                    ctx: &'life1 Context,
                    digest: &'life2 Digest,
                ) -> BoxFuture<'async_trait, Result<Blob>>
                where
                    'life0: 'async_trait,
                    'life1: 'async_trait,
                    'life2: 'async_trait,
                    Self: 'async_trait,
                {
                    (**self).get(ctx, digest)
                }

                fn get_from_composite<'life0, 'life1, 'life2, 'life3, 'async_trait>(
                    &'life0 self,
                    ctx: &'life1 Context,
                    parent: &'life2 Digest,
                    child: &'life3 Digest,
                    slicer: Arc<dyn Slicer>,
                ) -> BoxFuture<'async_trait, Result<Blob>>
                where
                    'life0: 'async_trait,
                    'life1: 'async_trait,
                    'life2: 'async_trait,
                    'life3: 'async_trait,
                    Self: 'async_trait,
                {
                    (**self).get_from_composite(ctx, parent, child, slicer)
                }

                fn put<'life0, 'life1, 'life2, 'async_trait>(
                    &'life0 self,
                    ctx: &'life1 Context,
                    digest: &'life2 Digest,
                    blob: Blob,
                ) -> BoxFuture<'async_trait, Result<PutOutcome>>
                where
                    'life0: 'async_trait,
                    'life1: 'async_trait,
                    'life2: 'async_trait,
                    Self: 'async_trait,
                {
                    (**self).put(ctx, digest, blob)
                }

                fn find_missing<'life0, 'life1, 'life2, 'async_trait>(
                    &'life0 self,
                    ctx: &'life1 Context,
                    digests: &'life2 DigestSet,
                ) -> BoxFuture<'async_trait, Result<DigestSet>>
                where
                    'life0: 'async_trait,
                    'life1: 'async_trait,
                    'life2: 'async_trait,
                    Self: 'async_trait,
                {
                    (**self).find_missing(ctx, digests)
                }

                fn capabilities<'life0, 'life1, 'life2, 'async_trait>(
                    &'life0 self,
                    ctx: &'life1 Context,
                    instance_name: &'life2 InstanceName,
                ) -> BoxFuture<'async_trait, Result<Capabilities>>
                where
                    'life0: 'async_trait,
                    'life1: 'async_trait,
                    'life2: 'async_trait,
                    Self: 'async_trait,
                {
                    (**self).capabilities(ctx, instance_name)
                }

                fn key_format(&self) -> KeyFormat {
                    (**self).key_format()
                }

                fn finds_in_bulk(&self) -> bool {
                    (**self).finds_in_bulk()
                }
            }
        )*
    };
}

forward!(Arc, Box);
