//! The keys and the form of stored blobs.

mod bazel_remote;
mod own;

use std::fmt::{self, Display, Formatter};

use blobaccess::{Digest, DigestFunction, Error, InstanceName, KeyFormat, Result, StorageType};

/// The keys and the form of stored blobs.
///
/// # Our own
///
/// `cas/sha256/18/185f8db3…-5`: kind, digest function, the first two digits of the hash, hash and size. The object is
/// the blob itself, so that any tool can read it. Compressed, it is a casblob, as bazel-remote has it, under
/// `cas.zst/`. Messages are never compressed. In kinds that tell instance names apart, the instance name follows as
/// further components.
///
/// # That of bazel-remote
///
/// `cas.v2/18/185f8db3…`, a casblob (a seekable container of zstd frames), and `ac/18/185f8db3…`, as bazel-remote 2
/// writes to S3 in its storage mode `zstd`. It holds contents and action results only, with SHA-256 only. The key does
/// not have the size: a digest with a stored hash and another size is found, but cannot be read. The empty blob is not
/// stored, and always exists.
///
/// Listings show actions with size 0, as neither the key nor the stored result has the size of the action. An entry
/// that was stored under an instance name is listed with the hash that stands for both. Sizes in the bucket are right
/// in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Own { compressed: bool },
    BazelRemote,
}

/// The form of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The blob.
    Plain,
    /// The blob in pieces, each compressed on its own.
    Casblob,
}

/// The meaning of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// A whole digest.
    Digest(Digest),
    /// A SHA-256 hash, without the size.
    Hash(Vec<u8>),
}

impl Layout {
    /// Returns our own layout, uncompressed.
    #[must_use]
    pub const fn own() -> Self {
        Self(Kind::Own { compressed: false })
    }

    /// Returns our own layout, with compressed contents.
    ///
    /// Source code and executables shrink to a third or a half. Blobs that are compressed already grow by a few bytes.
    #[must_use]
    pub const fn own_compressed() -> Self {
        Self(Kind::Own { compressed: true })
    }

    /// Returns the layout of bazel-remote.
    #[must_use]
    pub const fn bazel_remote() -> Self {
        Self(Kind::BazelRemote)
    }

    /// Returns whether a key tells the size of its blob.
    pub(crate) fn has_sizes_in_keys(self) -> bool {
        matches!(self.0, Kind::Own { .. })
    }

    pub(crate) fn supports(self, storage_type: StorageType) -> Result<()> {
        match (self.0, storage_type) {
            (Kind::Own { .. }, _) | (Kind::BazelRemote, StorageType::Cas | StorageType::Ac) => Ok(()),
            (Kind::BazelRemote, StorageType::Icas | StorageType::Iscc | StorageType::Fsac) => {
                let kind = storage_type.name();
                Err(Error::invalid_argument(format!("the layout of bazel-remote has no place for {kind}")))
            }
        }
    }

    /// Returns the digest functions that keys of this layout support.
    pub(crate) fn digest_functions(self) -> &'static [DigestFunction] {
        match self.0 {
            Kind::Own { .. } => &DigestFunction::ALL,
            Kind::BazelRemote => &[DigestFunction::Sha256],
        }
    }

    pub(crate) fn form(self, storage_type: StorageType) -> Form {
        match (self.0, storage_type) {
            (Kind::Own { compressed: true } | Kind::BazelRemote, StorageType::Cas) => Form::Casblob,
            (Kind::Own { .. } | Kind::BazelRemote, _) => Form::Plain,
        }
    }

    pub(crate) fn key(self, storage_type: StorageType, digest: &Digest) -> Result<String> {
        match self.0 {
            Kind::Own { .. } => Ok(own::key(self.root(storage_type), storage_type, digest)),
            Kind::BazelRemote => bazel_remote::key(self.root(storage_type), storage_type, digest),
        }
    }

    pub(crate) fn parse(self, storage_type: StorageType, key: &str) -> Option<Key> {
        let rest = key.strip_prefix(self.root(storage_type))?.strip_prefix('/')?;
        match self.0 {
            Kind::Own { .. } => own::parse(storage_type, rest).map(Key::Digest),
            Kind::BazelRemote => bazel_remote::parse(rest).map(Key::Hash),
        }
    }

    /// Returns the digest under which listings without sizes show a blob.
    pub(crate) fn listed_digest(self, storage_type: StorageType, digest: &Digest) -> Digest {
        match self.0 {
            Kind::Own { .. } if storage_type.key_format() == KeyFormat::WithInstanceName => digest.clone(),
            Kind::Own { .. } => digest.with_instance_name(InstanceName::empty()),
            Kind::BazelRemote => bazel_remote::listed_digest(storage_type, digest),
        }
    }

    /// Returns the first component of every key.
    pub(crate) fn root(self, storage_type: StorageType) -> &'static str {
        match (self.0, storage_type) {
            (Kind::Own { compressed: true }, StorageType::Cas) => "cas.zst",
            (Kind::BazelRemote, StorageType::Cas) => "cas.v2",
            (Kind::Own { .. } | Kind::BazelRemote, _) => storage_type.name(),
        }
    }

    /// Returns the folders that keys are spread over, in the order of keys.
    pub(crate) fn shards(self, storage_type: StorageType) -> Vec<String> {
        let root = self.root(storage_type);
        let folders = |above: String| (0..=u8::MAX).map(move |first| format!("{above}/{first:02x}"));
        match self.0 {
            Kind::Own { .. } => {
                let mut shards: Vec<_> = DigestFunction::ALL
                    .iter()
                    .flat_map(|function| folders(format!("{root}/{}", own::folder(*function))))
                    .collect();
                shards.sort_unstable();
                shards
            }
            Kind::BazelRemote => folders(root.to_owned()).collect(),
        }
    }
}

impl Default for Layout {
    fn default() -> Self {
        Self::own()
    }
}

impl Display for Layout {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Own { compressed: false } => "own",
            Kind::Own { compressed: true } => "own, compressed",
            Kind::BazelRemote => "bazel-remote",
        })
    }
}
