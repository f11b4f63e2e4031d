//! The speed of appending bytes to memory.

#![cfg_attr(
    target_arch = "x86_64",
    expect(
        unsafe_code,
        reason = "stores that bypass the caches are to be had by intrinsics only, which take a pointer"
    )
)]

/// Memory that was touched before and is filled from front to back, repeatedly.
#[derive(Debug)]
pub struct Arena {
    memory: Vec<u8>,
    at: usize,
}

impl Arena {
    /// Makes memory of `bytes` bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        // Not zero, because the system returns zeroes without a page behind them.
        Self { memory: vec![1; bytes], at: 0 }
    }

    fn reserve(&mut self, bytes: usize) -> &mut [u8] {
        let bytes = bytes.min(self.memory.len());
        if self.memory.len() - self.at < bytes {
            self.at = 0;
        }
        let begin = self.at;
        // Continues at the next line, as a store that keeps its blobs aligned does.
        self.at = (begin + bytes).next_multiple_of(64).min(self.memory.len());
        self.memory.get_mut(begin..begin + bytes).unwrap_or_default()
    }

    /// Appends with the copy of the standard library.
    pub fn append(&mut self, contents: &[u8]) {
        for (to, from) in self.reserve(contents.len()).chunks_mut(contents.len().max(1)).zip([contents]) {
            to.copy_from_slice(from.get(..to.len()).unwrap_or_default());
        }
    }

    /// Appends with store instructions that bypass the caches, if the contents are long enough for that to pay and the
    /// processor has them, and otherwise with a copy.
    pub fn append_past_caches(&mut self, contents: &[u8]) {
        #[cfg(target_arch = "x86_64")]
        if contents.len() >= 16 << 10 && std::is_x86_feature_detected!("avx512f") {
            let to = self.reserve(contents.len());
            // SAFETY: the processor has what the function is compiled for.
            unsafe { stream(to, contents) };
            return;
        }
        self.append(contents);
    }
}

/// Copies as much of `from` as fits into `to`, past the caches.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn stream(to: &mut [u8], from: &[u8]) {
    use std::arch::x86_64::{__m512i, _mm_sfence, _mm512_loadu_si512, _mm512_stream_si512};

    // SAFETY: any bytes are a vector.
    let (head, lines, _) = unsafe { to.align_to_mut::<__m512i>() };
    let (head, count) = (head.len(), lines.len());
    let from_lines = from.get(head..).unwrap_or_default().as_chunks::<64>().0;
    for (to, from) in lines.iter_mut().zip(from_lines) {
        // SAFETY: `from` has 64 bytes, at any address.
        let line = unsafe { _mm512_loadu_si512(from.as_ptr().cast()) };
        // SAFETY: `to` is aligned and borrowed exclusively.
        unsafe { _mm512_stream_si512(to, line) };
    }
    _mm_sfence();
    for range in [0..head, head + count * 64..to.len().min(from.len())] {
        if let (Some(to), Some(from)) = (to.get_mut(range.clone()), from.get(range)) {
            to.copy_from_slice(from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_is_there() {
        let contents: Vec<u8> = (0..100_001_u32).map(|number| number.to_le_bytes()[0]).collect();
        for append in [Arena::append, Arena::append_past_caches] {
            let mut arena = Arena::new(200_000);
            append(&mut arena, &contents[..7]);
            append(&mut arena, &contents);
            assert_eq!(arena.memory[..7], contents[..7]);
            assert_eq!(arena.memory[64..64 + contents.len()], contents);
            append(&mut arena, &contents);
            assert_eq!(arena.memory[..contents.len()], contents);
        }
    }
}
