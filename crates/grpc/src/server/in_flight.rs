//! Limits the memory that calls hold.

use super::memory_pool::MemoryPool;

/// The bytes of a request that count for nothing, and those of an answer. Small calls are limited by their number, so that
/// nothing large keeps them out.
pub(crate) const FREE_BYTES: u64 = 32 << 10;

/// The memory of requests and answers that are larger than [`FREE_BYTES`].
///
/// Each has half of it: what clients send never takes the memory that reading needs.
#[derive(Clone, Debug)]
pub(crate) struct InFlight {
    /// The bytes of messages that have arrived, in part or whole, and are not done with.
    pub(crate) requests: MemoryPool,
    /// The bytes of answers that are being put together, or wait for their clients.
    pub(crate) answers: MemoryPool,
}

impl InFlight {
    /// Makes a limit of `bytes`.
    pub(crate) fn new(bytes: u64) -> Self {
        let half = (bytes / 2).max(1);
        Self { requests: MemoryPool::new(half), answers: MemoryPool::new(half) }
    }

    /// Returns the number of bytes that are taken now.
    pub(crate) fn taken_bytes(&self) -> u64 {
        self.requests.taken_bytes().saturating_add(self.answers.taken_bytes())
    }
}
