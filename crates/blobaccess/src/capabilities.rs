//! The capabilities of a store, for layers and clients that decide by them.

use std::fmt::{self, Display, Formatter};

use crate::DigestFunction;

/// A form in which contents are compressed.
///
/// The numbers are those of `build.bazel.remote.execution.v2.Compressor.Value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[repr(i32)]
pub enum Compressor {
    /// Zstandard frames (RFC 8878), one after another.
    Zstd = 1,
    /// Raw deflate (RFC 1951), without the header of zlib or gzip.
    Deflate = 2,
    /// Brotli (RFC 7932).
    Brotli = 3,
}

impl Compressor {
    /// All compressors that have a name in the protocol. The services offer only [`Zstd`](Self::Zstd).
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Deflate, Self::Brotli];

    /// Returns the name that resource names use: `zstd`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Deflate => "deflate",
            Self::Brotli => "brotli",
        }
    }

    /// Returns the number in the protocol.
    #[must_use]
    #[expect(clippy::as_conversions, reason = "the discriminants are the numbers")]
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// Returns the compressor with this number; `None` for 0 (`IDENTITY`) and for unassigned numbers.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|compressor| compressor.number() == number)
    }

    /// Returns the compressor that resource names call `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|compressor| compressor.name() == name)
    }
}

impl Display for Compressor {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The capabilities of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// The digest functions that the store takes, in the order of [`DigestFunction::ALL`].
    pub digest_functions: Vec<DigestFunction>,
    /// The compressors in which blobs may be transferred.
    pub compressors: Vec<Compressor>,
    /// The largest blob that the store takes, in bytes; `None` without such a limit.
    pub max_blob_size_bytes: Option<u64>,
    /// Whether the caller may put.
    pub updates_allowed: bool,
}

impl Capabilities {
    /// Returns the capabilities of a store without limits: every digest function, no compressor, updates allowed.
    #[must_use]
    pub fn unlimited() -> Self {
        Self {
            digest_functions: DigestFunction::ALL.to_vec(),
            compressors: Vec::new(),
            max_blob_size_bytes: None,
            updates_allowed: true,
        }
    }

    /// Returns the capabilities of two stores that must both serve a request: the intersection of sets, the smaller of
    /// limits.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self {
            digest_functions: common(&self.digest_functions, &other.digest_functions),
            compressors: common(&self.compressors, &other.compressors),
            max_blob_size_bytes: match (self.max_blob_size_bytes, other.max_blob_size_bytes) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (limit, None) | (None, limit) => limit,
            },
            updates_allowed: self.updates_allowed && other.updates_allowed,
        }
    }

    /// Sets the largest blob, unless the present limit is smaller.
    #[must_use]
    pub fn with_max_blob_size_bytes(mut self, max: u64) -> Self {
        self.max_blob_size_bytes = Some(self.max_blob_size_bytes.map_or(max, |before| before.min(max)));
        self
    }

    /// Sets the compressors.
    #[must_use]
    pub fn with_compressors(mut self, compressors: impl Into<Vec<Compressor>>) -> Self {
        self.compressors = compressors.into();
        self
    }

    /// Sets the digest functions, which are kept once each and in the order of [`DigestFunction::ALL`].
    #[must_use]
    pub fn with_digest_functions(mut self, functions: impl AsRef<[DigestFunction]>) -> Self {
        self.digest_functions = common(&DigestFunction::ALL, functions.as_ref());
        self
    }

    /// Sets whether the caller may put.
    #[must_use]
    pub fn with_updates_allowed(mut self, allowed: bool) -> Self {
        self.updates_allowed = allowed;
        self
    }
}

/// Returns the elements of `ours` that are also in `theirs`, in the order of `ours`.
fn common<T: Copy + PartialEq>(ours: &[T], theirs: &[T]) -> Vec<T> {
    ours.iter().filter(|item| theirs.contains(item)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intersection_takes_common_sets_and_smaller_limits() {
        let a = Capabilities::unlimited()
            .with_digest_functions([DigestFunction::Sha256, DigestFunction::Blake3])
            .with_compressors([Compressor::Zstd])
            .with_max_blob_size_bytes(10);
        let b = Capabilities::unlimited()
            .with_digest_functions([DigestFunction::Sha1, DigestFunction::Sha256])
            .with_max_blob_size_bytes(7);
        let both = a.intersection(&b);
        assert_eq!(both.digest_functions, [DigestFunction::Sha256]);
        assert_eq!(both.compressors, []);
        assert_eq!(both.max_blob_size_bytes, Some(7));
        assert!(both.updates_allowed);
        assert_eq!(both, b.intersection(&a));
        assert_eq!(a.intersection(&Capabilities::unlimited()).max_blob_size_bytes, Some(10));
    }

    #[test]
    fn digest_functions_are_kept_once_and_in_canonical_order() {
        let listed = [DigestFunction::Sha256, DigestFunction::Blake3, DigestFunction::Sha256];
        let capabilities = Capabilities::unlimited().with_digest_functions(listed);
        assert_eq!(capabilities.digest_functions, [DigestFunction::Blake3, DigestFunction::Sha256]);
    }

    #[test]
    fn compressors_have_the_names_and_numbers_of_the_protocol() {
        for compressor in Compressor::ALL {
            assert_eq!(Compressor::from_name(compressor.name()), Some(compressor));
            assert_eq!(Compressor::from_number(compressor.number()), Some(compressor));
        }
        assert_eq!(Compressor::from_number(0), None);
        assert_eq!(Compressor::from_name("identity"), None);
    }
}
