//! The hash functions of the protocol.

use std::fmt::{self, Display, Formatter};

use super::Hasher;
use crate::{Error, Result};

/// A hash function for contents.
///
/// These are the supported ones of `build.bazel.remote.execution.v2.DigestFunction.Value`, ordered as in
/// [`ALL`](Self::ALL).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DigestFunction {
    /// BLAKE3, 32 bytes.
    Blake3,
    /// SHA-1 over what Git would store for a file with the contents, 20 bytes.
    GitSha1,
    /// MD5, 16 bytes.
    Md5,
    /// SHA-1, 20 bytes.
    Sha1,
    /// SHA-256, 32 bytes.
    Sha256,
    /// The protocol's tree of SHA-256 over chunks of 1 KiB, 32 bytes.
    Sha256Tree,
    /// SHA-384, 48 bytes.
    Sha384,
    /// SHA-512, 64 bytes.
    Sha512,
}

impl DigestFunction {
    /// All functions, in the order in which services list them.
    pub const ALL: [Self; 8] = [
        Self::Blake3,
        Self::GitSha1,
        Self::Md5,
        Self::Sha1,
        Self::Sha256,
        Self::Sha256Tree,
        Self::Sha384,
        Self::Sha512,
    ];

    /// Returns the number in the protocol: 1 to 10.
    #[must_use]
    pub const fn number(self) -> i32 {
        match self {
            Self::Blake3 => 9,
            Self::GitSha1 => 10,
            Self::Md5 => 3,
            Self::Sha1 => 2,
            Self::Sha256 => 1,
            Self::Sha256Tree => 8,
            Self::Sha384 => 5,
            Self::Sha512 => 6,
        }
    }

    /// Returns the function with this number; `None` for 0 (`UNKNOWN`), for unsupported functions and for unassigned
    /// numbers.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|function| function.number() == number)
    }

    /// Returns the name in the protocol, in lower case: `sha256tree`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blake3 => "blake3",
            Self::GitSha1 => "gitsha1",
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha256Tree => "sha256tree",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Returns the function with this [`name`](Self::name), in lower case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|function| function.name() == name)
    }

    /// Returns the length of the function's hashes, in bytes: 16 to 64.
    #[must_use]
    pub const fn hash_size_bytes(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::GitSha1 | Self::Sha1 => 20,
            Self::Blake3 | Self::Sha256 | Self::Sha256Tree => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Returns the function of a request that names none, by the length of a hash in hexadecimal characters.
    ///
    /// Only functions older than the field that names them are inferred: a hash of 64 characters is SHA-256.
    #[must_use]
    pub const fn infer(hash_hex_length: usize) -> Option<Self> {
        match hash_hex_length {
            32 => Some(Self::Md5),
            40 => Some(Self::Sha1),
            64 => Some(Self::Sha256),
            96 => Some(Self::Sha384),
            128 => Some(Self::Sha512),
            _ => None,
        }
    }

    /// Returns the function that a request names by this number, or for number 0 (`UNKNOWN`) the one inferred from the
    /// length of its first hash in hexadecimal characters.
    ///
    /// A service that requires a named function passes a length of 0.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if that is no supported function.
    pub fn resolve(number: i32, hash_hex_length: usize) -> Result<Self> {
        let function = if number == 0 { Self::infer(hash_hex_length) } else { Self::from_number(number) };
        function.ok_or_else(|| {
            Error::invalid_argument(match (number, hash_hex_length) {
                (0, 0) => "no digest function was named".to_owned(),
                (0, length) => {
                    format!("no digest function was named, and none has hashes of {length} hexadecimal characters")
                }
                (number, _) => format!("unknown digest function: number {number}"),
            })
        })
    }

    /// Returns whether resource names of the byte stream spell this function out. All others are inferred from the
    /// length of the hash.
    #[must_use]
    pub const fn appears_in_resource_names(self) -> bool {
        self.number() > 7
    }

    /// Returns a hasher for contents of `size_bytes`.
    ///
    /// Only [`GitSha1`](Self::GitSha1) depends on the size: if the size is wrong, so is the hash.
    #[must_use]
    pub fn hasher(self, size_bytes: u64) -> Hasher {
        Hasher::new(self, size_bytes)
    }

    /// Returns the position in [`ALL`](Self::ALL).
    #[expect(clippy::as_conversions, reason = "the discriminants count from 0 in that order")]
    pub(super) const fn index(self) -> u8 {
        self as u8
    }
}

impl Display for DigestFunction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn functions_have_the_numbers_and_names_of_the_protocol() {
        let numbers = DigestFunction::ALL.map(DigestFunction::number);
        assert_eq!(numbers, [9, 10, 3, 2, 1, 8, 5, 6]);
        for (function, index) in DigestFunction::ALL.into_iter().zip(0..) {
            assert_eq!(DigestFunction::from_number(function.number()), Some(function));
            assert_eq!(DigestFunction::from_name(function.name()), Some(function));
            assert_eq!(function.to_string(), function.name());
            assert_eq!(function.index(), index);
        }
        assert!(DigestFunction::ALL.is_sorted());
    }

    #[test]
    fn functions_that_are_not_supported_have_no_value() {
        // 0 is UNKNOWN, 4 is VSO, 7 is MURMUR3, 11 is not assigned.
        for number in [i32::MIN, -1, 0, 4, 7, 11, i32::MAX] {
            assert_eq!(DigestFunction::from_number(number), None);
        }
        for name in ["", "vso", "murmur3", "SHA256", "unknown", "sha-256"] {
            assert_eq!(DigestFunction::from_name(name), None);
        }
    }

    #[test]
    fn a_function_that_is_not_named_is_told_by_the_length_of_the_hash() {
        let inferred = [DigestFunction::Md5, DigestFunction::Sha1, DigestFunction::Sha256]
            .into_iter()
            .chain([DigestFunction::Sha384, DigestFunction::Sha512]);
        for function in inferred {
            let length = 2 * function.hash_size_bytes();
            assert_eq!(DigestFunction::infer(length), Some(function));
            assert_eq!(DigestFunction::resolve(0, length).unwrap(), function);
        }
        for length in [0, 31, 33, 41, 65, 127, 129] {
            assert_eq!(DigestFunction::infer(length), None);
            assert_eq!(DigestFunction::resolve(0, length).unwrap_err().kind(), ErrorKind::InvalidArgument);
        }
    }

    #[test]
    fn a_function_that_is_named_needs_no_hash() {
        for function in DigestFunction::ALL {
            assert_eq!(DigestFunction::resolve(function.number(), 0).unwrap(), function);
        }
        let error = DigestFunction::resolve(4, 64).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert_eq!(error.to_string(), "unknown digest function: number 4");
    }

    #[test]
    fn resource_names_spell_out_the_functions_that_a_length_does_not_tell() {
        for function in DigestFunction::ALL {
            let inferred = DigestFunction::infer(2 * function.hash_size_bytes());
            assert_eq!(function.appears_in_resource_names(), inferred != Some(function), "{function}");
        }
    }
}
