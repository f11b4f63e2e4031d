//! The kinds of stores: one of contents, and four of messages.

use crate::{Digest, Error, KeyFormat};

mod sealed {
    #[expect(unnameable_types, reason = "nobody else is to implement it")]
    pub trait Sealed {}
}

/// The kind of a store as a type, so that a stack of the wrong kind does not compile.
///
/// The trait is sealed: the five kinds are those of Buildbarn's configuration.
pub trait Kind: sealed::Sealed + Clone + Copy + std::fmt::Debug + Send + Sync + 'static {
    /// The kind as a value.
    const STORAGE_TYPE: StorageType;
}

/// A kind of messages: every kind but [`Cas`].
///
/// A message is stored under the digest of something else, and in an instance name. Layers that only make sense for
/// messages require it, so that they do not compile over contents.
pub trait MessageKind: Kind {}

impl MessageKind for Ac {}
impl MessageKind for Icas {}
impl MessageKind for Iscc {}
impl MessageKind for Fsac {}

/// A kind whose stores find in bulk: contents, or references to contents.
///
/// The protocol has a `FindMissingBlobs` for the one and a `FindMissingReferences` for the other. A remote store of any
/// other kind answers [`find_missing`](crate::BlobAccess::find_missing) with `Unimplemented`, so layers that cannot do
/// without it require this trait.
pub trait BulkKind: Kind {}

impl BulkKind for Cas {}
impl BulkKind for Icas {}

/// The kind of a store as a value: for labels, logs and configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StorageType {
    /// The kind [`Cas`].
    Cas,
    /// The kind [`Ac`].
    Ac,
    /// The kind [`Icas`].
    Icas,
    /// The kind [`Iscc`].
    Iscc,
    /// The kind [`Fsac`].
    Fsac,
}

impl StorageType {
    /// Returns the name that metrics and configuration use: `cas`, `ac`, `icas`, `iscc` or `fsac`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cas => "cas",
            Self::Ac => "ac",
            Self::Icas => "icas",
            Self::Iscc => "iscc",
            Self::Fsac => "fsac",
        }
    }

    /// Returns the word for one thing in a store of this kind: `blob`, `action result`.
    #[must_use]
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Cas => "blob",
            Self::Ac => "action result",
            Self::Icas => "reference",
            Self::Iscc => "execution statistics",
            Self::Fsac => "file system access profile",
        }
    }

    /// Makes the error that a store of this kind has nothing under `digest`.
    #[must_use]
    pub fn absence(self, digest: &Digest) -> Error {
        let noun = self.noun();
        Error::not_found(match self {
            Self::Cas => format!("{noun} {digest} is not stored"),
            // The digest is that of something else.
            Self::Ac | Self::Icas | Self::Iscc | Self::Fsac => format!("no {noun} is stored for {digest}"),
        })
    }

    /// Returns whether a digest may be given another value later.
    ///
    /// Contents match their digest and never change. A message is stored under the digest of something else.
    #[must_use]
    pub const fn is_mutable(self) -> bool {
        !matches!(self, Self::Cas)
    }

    /// Returns the key format of a plain store of this kind. Contents are the same in every instance name; messages are
    /// not.
    #[must_use]
    pub const fn key_format(self) -> KeyFormat {
        if self.is_mutable() { KeyFormat::WithInstanceName } else { KeyFormat::WithoutInstanceName }
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug)]
            #[non_exhaustive]
            pub struct $name;

            impl sealed::Sealed for $name {}

            impl Kind for $name {
                const STORAGE_TYPE: StorageType = StorageType::$name;
            }
        )*
    };
}

kinds! {
    /// The content-addressable storage: bytes under the digest of themselves.
    Cas;
    /// The action cache: an `ActionResult` under the digest of the action.
    Ac;
    /// The indirect content-addressable storage: references to places outside the store that have the contents of a
    /// digest.
    Icas;
    /// The initial size class cache: statistics of earlier executions, under a reduced action digest.
    Iscc;
    /// The file system access cache: the paths that an action reads, under a reduced action digest.
    Fsac;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_mutable<K: MessageKind>() -> bool {
        K::STORAGE_TYPE.is_mutable()
    }

    #[test]
    fn kinds_of_messages_are_those_that_are_mutable() {
        assert!(is_mutable::<Ac>() && is_mutable::<Icas>() && is_mutable::<Iscc>() && is_mutable::<Fsac>());
        assert!(!Cas::STORAGE_TYPE.is_mutable());
    }
}
