//! Under which keys, and in which form, blobs are stored.

mod bazel_remote;
mod own;

use std::fmt::{self, Display, Formatter};

use blobaccess::{Digest, DigestFunction, Error, Result, StorageType};

/// Under which keys, and in which form, blobs are stored.
///
/// # Our own
///
/// `cas/sha256/18/185f8db3…-5`: kind, digest function, the first two digits of the hash, hash and size. What is stored
/// is the blob itself, so that any tool can read it; or, compressed, under `cas.zst/` the casblob that
/// bazel-remote has. Messages are never compressed. Of a kind that tells instance names apart, the instance name
/// follows as further components.
///
/// # That of bazel-remote
///
/// `cas.v2/18/185f8db3…` in its casblob, a seekable container of zstd frames, and `ac/18/185f8db3…`, as bazel-remote 2 writes to
/// S3 while its storage mode is `zstd`. SHA-256 only, contents and action results only. The key does not have the size:
/// a digest of a stored hash and another size is found, and fails to be read. The blob of no bytes is not stored, and
/// always exists.
///
/// Listings show an action with size 0: neither its key nor what is stored (the result of the action) has the size of the
/// action. Of one that was stored under an instance name they show the hash that stands for both. What an entry takes in
/// the bucket is right all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Own { compressed: bool },
    BazelRemote,
}

/// What an object has within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The blob.
    Plain,
    /// The blob in pieces that are compressed each on its own.
    Casblob,
}

/// What a key says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// A digest in full.
    Digest(Digest),
    /// A SHA-256 hash; the size is not in the key.
    Hash(Vec<u8>),
}

impl Layout {
    /// Our own, with blobs as they are.
    #[must_use]
    pub const fn own() -> Self {
        Self(Kind::Own { compressed: false })
    }

    /// Our own, with contents compressed.
    ///
    /// A byte of source code or of an executable takes a third to a half; blobs that are compressed already take a few
    /// bytes more than before.
    #[must_use]
    pub const fn own_compressed() -> Self {
        Self(Kind::Own { compressed: true })
    }

    /// That of bazel-remote.
    #[must_use]
    pub const fn bazel_remote() -> Self {
        Self(Kind::BazelRemote)
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

    /// The digest functions whose blobs have a key.
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

    /// The first component of every key.
    pub(crate) fn root(self, storage_type: StorageType) -> &'static str {
        match (self.0, storage_type) {
            (Kind::Own { compressed: true }, StorageType::Cas) => "cas.zst",
            (Kind::BazelRemote, StorageType::Cas) => "cas.v2",
            (Kind::Own { .. } | Kind::BazelRemote, _) => storage_type.name(),
        }
    }

    /// The folders that keys are spread over, in the order of keys.
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
