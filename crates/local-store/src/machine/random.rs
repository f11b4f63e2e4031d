//! Random numbers that nobody can guess.

/// Returns a number that nobody can guess.
pub(crate) fn number() -> u64 {
    u64::from_le_bytes(bytes())
}

/// Returns bytes that nobody can guess.
#[cfg(not(shuttle))]
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let flags = rustix::rand::GetRandomFlags::empty();
    if rustix::rand::getrandom(&mut bytes, flags) != Ok(N) {
        // A kernel without a generator: the standard library has seeds of its own.
        for chunk in bytes.chunks_mut(8) {
            use std::hash::BuildHasher as _;
            let number = std::hash::RandomState::new().hash_one(chunk.len());
            for (byte, number) in chunk.iter_mut().zip(number.to_le_bytes()) {
                *byte = number;
            }
        }
    }
    bytes
}

/// Returns bytes from the schedule, so that a replayed schedule gets the same ones.
#[cfg(shuttle)]
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    use shuttle::rand::RngCore as _;
    let mut bytes = [0; N];
    shuttle::rand::thread_rng().fill_bytes(&mut bytes);
    bytes
}
