//! Blobs that no store has seen, drawn from a seed that is printed.

use blobaccess::{BlobAccess, Digest, DigestFunction, InstanceName, Kind};
use bytes::{Bytes, BytesMut};

use crate::{Fixture, Numbers, seed};

/// The environment variable that sets the seed.
const SEED_VARIABLE: &str = "BLOBACCESS_TESTKIT_SEED";

/// The maximum size of a message less its filling, in bytes.
const MESSAGE_OVERHEAD_BYTES: u64 = 16;

/// Returns the SHA-256 digest of `contents` in the empty instance name.
#[must_use]
pub fn digest_of(contents: impl AsRef<[u8]>) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents.as_ref())
}

/// A source of blobs that no store has seen.
#[derive(Debug)]
pub(crate) struct Samples(Numbers);

/// A value, and the digest that it is put under.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// The digest that the value is put under: of contents, their own.
    pub(crate) digest: Digest,
    pub(crate) value: Bytes,
}

/// Returns whether the store of `F` holds messages.
pub(crate) fn is_mutable<F: Fixture>() -> bool {
    <F::Store as BlobAccess>::Kind::STORAGE_TYPE.is_mutable()
}

impl Samples {
    /// Makes a source of the seed that the environment names, or otherwise of a fresh one.
    pub(crate) fn new() -> Self {
        Self(Numbers::new(seed(SEED_VARIABLE)))
    }

    /// Draws the next number.
    pub(crate) fn number(&mut self) -> u64 {
        self.0.draw()
    }

    /// Draws `size_bytes` bytes.
    pub(crate) fn bytes(&mut self, size_bytes: u64) -> Bytes {
        self.0.bytes(usize::try_from(size_bytes).unwrap_or(usize::MAX)).into()
    }

    /// Draws a value for a store of the kind of `fixture`: contents of `size_bytes`, or a message of nearly that size.
    pub(crate) fn sample<F: Fixture>(&mut self, fixture: &F, size_bytes: u64) -> Sample {
        let name = Self::instance_name(fixture);
        if is_mutable::<F>() {
            let filling = self.bytes(size_bytes.saturating_sub(MESSAGE_OVERHEAD_BYTES).max(1));
            // The digest of some action.
            let action = self.bytes(142);
            let digest = Digest::of(name, DigestFunction::Sha256, &action);
            Sample { digest, value: fixture.message(&filling) }
        } else {
            let filling = self.bytes(size_bytes);
            Sample { digest: Digest::of(name, DigestFunction::Sha256, &filling), value: filling }
        }
    }

    /// Draws a value of 100 to 200 bytes, for contracts in which the size does not matter.
    pub(crate) fn small<F: Fixture>(&mut self, fixture: &F) -> Sample {
        let size = 100 + self.number() % 100;
        self.sample(fixture, size)
    }

    /// Draws a digest that was never put.
    pub(crate) fn absent<F: Fixture>(&mut self, fixture: &F) -> Digest {
        self.small(fixture).digest
    }

    fn instance_name<F: Fixture>(fixture: &F) -> InstanceName {
        let [name, _] = fixture.instance_names();
        name
    }
}

impl Sample {
    /// Returns the size of the value, in bytes.
    pub(crate) fn size_bytes(&self) -> u64 {
        u64::try_from(self.value.len()).unwrap_or(u64::MAX)
    }

    /// Returns the same value under the same digest in another instance name.
    pub(crate) fn within(&self, name: InstanceName) -> Self {
        Self { digest: self.digest.with_instance_name(name), value: self.value.clone() }
    }

    /// Returns another value of the same size, which does not match the digest of contents.
    pub(crate) fn wrong_value(&self) -> Bytes {
        let mut wrong = BytesMut::from(&*self.value);
        if let Some(last) = wrong.last_mut() {
            *last ^= 1;
        }
        wrong.freeze()
    }
}
