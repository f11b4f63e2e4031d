//! Blobs that no store has seen, drawn from a seed that is printed.

use std::hash::{BuildHasher, RandomState};

use blobaccess::{BlobAccess, Digest, DigestFunction, InstanceName, Kind};
use bytes::{Bytes, BytesMut};

use crate::Fixture;

/// The variable of the environment that sets the seed.
const SEED_VARIABLE: &str = "BLOBACCESS_TESTKIT_SEED";

/// What a message takes at most besides what it is filled with, in bytes.
const MESSAGE_OVERHEAD_BYTES: u64 = 16;

/// Draws blobs that no store has seen.
#[derive(Debug)]
pub(crate) struct Samples(u64);

/// A value, and the digest that it is put under.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// Of contents, that of the value.
    pub(crate) digest: Digest,
    pub(crate) value: Bytes,
}

/// Whether the store of `F` holds messages.
pub(crate) fn is_mutable<F: Fixture>() -> bool {
    <F::Store as BlobAccess>::Kind::STORAGE_TYPE.is_mutable()
}

impl Samples {
    /// Draws from the seed that the environment names, or else from a fresh one.
    #[expect(clippy::print_stdout, reason = "test output is shown when the test fails, and then the seed is wanted")]
    pub(crate) fn new() -> Self {
        let named = std::env::var(SEED_VARIABLE).ok().and_then(|seed| seed.parse().ok());
        let seed = named.unwrap_or_else(|| RandomState::new().hash_one(0));
        println!("drawn from {SEED_VARIABLE}={seed}");
        Self(seed)
    }

    /// The next of a sequence of numbers (`SplitMix64`).
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// As many bytes as asked for.
    pub(crate) fn bytes(&mut self, size_bytes: u64) -> Bytes {
        let size = usize::try_from(size_bytes).unwrap_or(usize::MAX);
        let mut bytes = BytesMut::with_capacity(size + 8);
        while bytes.len() < size {
            bytes.extend_from_slice(&self.number().to_le_bytes());
        }
        bytes.truncate(size);
        bytes.freeze()
    }

    /// What a store of the kind of `fixture` can be given: contents of `size_bytes`, or a message of nearly that size.
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

    /// Some 200 bytes, where the size does not matter.
    pub(crate) fn small<F: Fixture>(&mut self, fixture: &F) -> Sample {
        let size = 100 + self.number() % 100;
        self.sample(fixture, size)
    }

    /// A digest of nothing that was ever put.
    pub(crate) fn absent<F: Fixture>(&mut self, fixture: &F) -> Digest {
        self.small(fixture).digest
    }

    fn instance_name<F: Fixture>(fixture: &F) -> InstanceName {
        let [name, _] = fixture.instance_names();
        name
    }
}

impl Sample {
    /// The size of the value, in bytes.
    pub(crate) fn size_bytes(&self) -> u64 {
        u64::try_from(self.value.len()).unwrap_or(u64::MAX)
    }

    /// The same value under the same digest in another instance name.
    pub(crate) fn within(&self, name: InstanceName) -> Self {
        Self { digest: self.digest.with_instance_name(name), value: self.value.clone() }
    }

    /// Another value of the same size: of contents, one that the digest is not that of.
    pub(crate) fn wrong_value(&self) -> Bytes {
        let mut wrong = BytesMut::from(&*self.value);
        if let Some(last) = wrong.last_mut() {
            *last ^= 1;
        }
        wrong.freeze()
    }
}
