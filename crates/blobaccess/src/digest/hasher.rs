//! Hashes contents piece by piece, with any of the functions.

use std::fmt::{self, Formatter};

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::sha256_tree::Sha256Tree;
use super::{DigestFunction, Hash};

/// A computation of a [`Hash`](struct@Hash) over contents that arrive in pieces.
///
/// [`DigestFunction::hasher`] begins one.
///
/// # Memory
///
/// Up to about 2 KiB, whatever the size of the contents. Pieces are not copied. Only the tree of
/// [`DigestFunction::Sha256Tree`] allocates memory as it grows, a few times in all.
#[derive(Clone)]
pub struct Hasher(State);

/// The state of each function. The two largest are boxed, so that all others are cheap to move.
#[derive(Clone)]
enum State {
    Blake3(Box<blake3::Hasher>),
    Md5(Md5),
    /// The state of SHA-1, and of Git's once it has hashed the header.
    Sha1(Sha1),
    Sha256(Sha256),
    Sha256Tree(Box<Sha256Tree>),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Hasher {
    pub(super) fn new(function: DigestFunction, size_bytes: u64) -> Self {
        Self(match function {
            DigestFunction::Blake3 => State::Blake3(Box::default()),
            DigestFunction::GitSha1 => State::Sha1(Sha1::new_with_prefix(format!("blob {size_bytes}\0"))),
            DigestFunction::Md5 => State::Md5(Md5::new()),
            DigestFunction::Sha1 => State::Sha1(Sha1::new()),
            DigestFunction::Sha256 => State::Sha256(Sha256::new()),
            DigestFunction::Sha256Tree => State::Sha256Tree(Box::default()),
            DigestFunction::Sha384 => State::Sha384(Sha384::new()),
            DigestFunction::Sha512 => State::Sha512(Sha512::new()),
        })
    }

    /// Hashes the next piece of the contents. How they are cut into pieces does not matter.
    pub fn update(&mut self, piece: &[u8]) {
        match &mut self.0 {
            State::Blake3(state) => {
                state.update(piece);
            }
            State::Md5(state) => state.update(piece),
            State::Sha1(state) => state.update(piece),
            State::Sha256(state) => state.update(piece),
            State::Sha256Tree(state) => state.update(piece),
            State::Sha384(state) => state.update(piece),
            State::Sha512(state) => state.update(piece),
        }
    }

    /// Returns the hash of all pieces.
    #[must_use]
    pub fn finish(self) -> Hash {
        match self.0 {
            State::Blake3(state) => Hash::from_array(*state.finalize().as_bytes()),
            State::Md5(state) => Hash::from_array(state.finalize().into()),
            State::Sha1(state) => Hash::from_array(state.finalize().into()),
            State::Sha256(state) => Hash::from_array(state.finalize().into()),
            State::Sha256Tree(state) => Hash::from_array(state.finish()),
            State::Sha384(state) => Hash::from_array(state.finalize().into()),
            State::Sha512(state) => Hash::from_array(state.finalize().into()),
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(function: DigestFunction, contents: &[u8]) -> Hash {
        let mut hasher = function.hasher(u64::try_from(contents.len()).unwrap());
        hasher.update(contents);
        hasher.finish()
    }

    #[test]
    fn hashes_are_those_that_others_compute() {
        use DigestFunction::{Blake3, GitSha1, Md5, Sha1, Sha256, Sha256Tree, Sha384, Sha512};
        let hello_256 = "185f8db32271fe25f561a6fc938b2e264306ec304eda518007d1764826381969";
        let vectors: [(_, &[u8], _); 13] = [
            (Md5, b"xyzzy", "1271ed5ef305aadabc605b1609e24c52"),
            (Md5, b"Xyzzy world", "3c61ab3f7343f99e0d18e0a7dfb3b0ce"),
            (Sha1, b"Hello", "f7ff9e8b7bb2e09b70935a5d785e0cc5d9d0abf0"),
            (Sha1, b"", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
            (GitSha1, b"", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
            (GitSha1, b"hello\n", "ce013625030ba8dba906f756967f9e9ca394464a"),
            (Sha256, b"Hello", hello_256),
            (Sha256Tree, b"Hello", hello_256),
            (Sha256, b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (Sha256Tree, b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (Blake3, b"", "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
            (
                Sha384,
                b"abc",
                "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
            ),
            (
                Sha512,
                b"abc",
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                 2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            ),
        ];
        for (function, contents, expected) in vectors {
            assert_eq!(hash(function, contents).to_string(), expected, "{function}");
        }
    }

    #[test]
    fn the_hash_of_git_depends_on_the_size_that_was_announced() {
        let mut hasher = DigestFunction::GitSha1.hasher(7);
        hasher.update(b"hello\n");
        assert_ne!(hasher.finish(), hash(DigestFunction::GitSha1, b"hello\n"));
    }

    #[test]
    fn hashes_are_as_long_as_their_function_says() {
        for function in DigestFunction::ALL {
            assert_eq!(hash(function, b"contents").as_bytes().len(), function.hash_size_bytes());
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            contents in prop::collection::vec(any::<u8>(), 0..5000),
            cuts in prop::collection::vec(1_usize..3000, 1..6),
        ) {
            for function in DigestFunction::ALL {
                let mut hasher = function.hasher(u64::try_from(contents.len()).unwrap());
                let mut rest = &*contents;
                for cut in cuts.iter().cycle() {
                    let (piece, after) = rest.split_at((*cut).min(rest.len()));
                    hasher.update(piece);
                    hasher.update(&[]);
                    rest = after;
                    if rest.is_empty() {
                        break;
                    }
                }
                prop_assert_eq!(hasher.finish(), hash(function, &contents));
            }
        }
    }
}
