//! Random numbers that nobody can guess.

/// Returns a number that nobody can guess.
pub(crate) fn number() -> u64 {
    u64::from_le_bytes(bytes())
}

/// Returns bytes that nobody can guess.
#[cfg(not(shuttle))]
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if fill(&mut bytes).is_err() {
        // A system without a generator: the standard library has seeds of its own.
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

/// Fills `bytes` from the system's generator.
#[cfg(all(not(shuttle), target_os = "linux"))]
fn fill(bytes: &mut [u8]) -> std::io::Result<()> {
    let length = bytes.len();
    match rustix::rand::getrandom(bytes, rustix::rand::GetRandomFlags::empty())? {
        drawn if drawn == length => Ok(()),
        _ => Err(std::io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Fills `bytes` from the system's generator.
#[cfg(all(not(shuttle), not(target_os = "linux")))]
fn fill(bytes: &mut [u8]) -> std::io::Result<()> {
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, bytes)
}

/// Returns bytes from the schedule, so that a replayed schedule gets the same ones.
#[cfg(shuttle)]
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    use shuttle::rand::RngCore as _;
    let mut bytes = [0; N];
    shuttle::rand::thread_rng().fill_bytes(&mut bytes);
    bytes
}
