//! The workloads of benchmarks, examples and load tests: contents, digests and sizes, the same in every run.

pub mod contest;
mod latencies;
pub mod limits;
pub mod local_store;
mod popularity;
mod process;
#[cfg(doctest)]
mod readmes;
mod real;
pub mod simulation;
mod size_distribution;

pub use latencies::Latencies;
pub use popularity::Zipf;
pub use process::{
    load_average, monotonic_time, processor_time, resident_bytes, temporary_directory, thread_time, written_bytes,
};
pub use real::{real, real_len};
pub use size_distribution::SizeDistribution;

use blobaccess::{Digest, DigestFunction, DigestSet, InstanceName};
use bytes::Bytes;

/// Returns whether this run only shows that the benchmarks work (`cargo bench -- --test`). Every workload is small
/// then.
#[must_use]
pub fn is_test_run() -> bool {
    std::env::args().any(|argument| argument == "--test")
}

/// Returns `full`, or `small` in a test run.
#[must_use]
pub fn scaled(full: usize, small: usize) -> usize {
    if is_test_run() { small } else { full }
}

/// Returns bytes that look random and are the same for the same `seed`. They come from xorshift64*, which is fast
/// enough for gigabytes.
#[must_use]
pub fn contents(seed: u64, size: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(size);
    bytes.into()
}

/// Returns `count` blobs of `size` bytes, with their SHA-256 digests.
#[must_use]
pub fn blobs(seed: u64, count: usize, size: usize) -> Vec<(Digest, Bytes)> {
    let seeds = (0_u64..).map(|number| seed.wrapping_mul(1_000_003).wrapping_add(number));
    seeds
        .take(count)
        .map(|seed| {
            let bytes = contents(seed, size);
            (Digest::of(InstanceName::empty(), DigestFunction::Sha256, &bytes), bytes)
        })
        .collect()
}

/// Returns `count` random SHA-256 digests, unordered.
#[must_use]
pub fn digests(seed: u64, count: usize) -> Vec<Digest> {
    let bytes = contents(seed, count * 32);
    let hashes = bytes.chunks_exact(32);
    hashes
        .filter_map(|hash| Digest::from_hash(InstanceName::empty(), DigestFunction::Sha256, hash, 1024).ok())
        .collect()
}

/// Returns `count` random SHA-256 digests as a set.
#[must_use]
pub fn digest_set(seed: u64, count: usize) -> DigestSet {
    digests(seed, count).into()
}
