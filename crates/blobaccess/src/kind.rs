//! What a store holds: contents, or one of the kinds of messages.

use crate::KeyFormat;

mod sealed {
    #[expect(unnameable_types, reason = "nobody else is to implement it")]
    pub trait Sealed {}
}

/// What a store holds, as a type, so that a stack of the wrong kind does not compile.
///
/// It is sealed: the five kinds are those of Buildbarn's configuration.
pub trait Kind: sealed::Sealed + Clone + Copy + std::fmt::Debug + Send + Sync + 'static {
    /// The kind as a value.
    const STORAGE_TYPE: StorageType;
}

/// What a store holds, as a value: for labels, logs and configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StorageType {
    /// [`Cas`].
    Cas,
    /// [`Ac`].
    Ac,
    /// [`Icas`].
    Icas,
    /// [`Iscc`].
    Iscc,
    /// [`Fsac`].
    Fsac,
}

impl StorageType {
    /// The name that metrics and configuration use: `cas`, `ac`, `icas`, `iscc` or `fsac`.
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

    /// Whether a digest may be given another value later on.
    ///
    /// Contents are what their digest says, and never change. Messages are stored under a digest that is not theirs.
    #[must_use]
    pub const fn is_mutable(self) -> bool {
        !matches!(self, Self::Cas)
    }

    /// How a plain store of this kind tells its entries apart: contents are the same in every instance name,
    /// messages are not.
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
    /// The indirect content-addressable storage: where the contents of a digest are to be had elsewhere.
    Icas;
    /// The initial size class cache: statistics of earlier executions, under a reduced action digest.
    Iscc;
    /// The file system access cache: which paths an action reads, under a reduced action digest.
    Fsac;
}
