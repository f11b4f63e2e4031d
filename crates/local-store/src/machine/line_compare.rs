//! Compares the sixteen words of a cache line at once.
//!
//! A look-up compares fifteen tags. The compiler does not do that by vectors, since the tags are atomic: one by one it
//! takes some 90 instructions, this way 20.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m128i, _mm_and_si128, _mm_cmpeq_epi32, _mm_movemask_epi8, _mm_packs_epi16, _mm_packs_epi32, _mm_set1_epi32,
};

use std::sync::atomic::AtomicU32;
#[cfg(not(target_arch = "x86_64"))]
use std::sync::atomic::Ordering;

/// A cache line.
pub(crate) type Line = [AtomicU32; 16];

/// Returns the positions of the words that equal `value` once masked, as bits. Each word is read as by a relaxed load.
#[inline]
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "the compiler is to be told that the processor has vectors")]
pub(crate) fn equal(line: &Line, mask: u32, value: u32) -> u32 {
    // SAFETY: Every x86-64 processor has SSE2.
    unsafe { equal_by_vectors(line, mask, value) }
}

/// Returns the positions of the words that equal `value` once masked, as bits. Each word is read as by a relaxed load.
#[inline]
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn equal(line: &Line, mask: u32, value: u32) -> u32 {
    let is_equal = |word: &AtomicU32| u32::from(word.load(Ordering::Relaxed) & mask == value);
    (0..).zip(line).fold(0, |bits, (position, word): (u32, _)| bits | is_equal(word) << position)
}

#[inline]
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
fn equal_by_vectors(line: &Line, mask: u32, value: u32) -> u32 {
    let (mask, value) = (_mm_set1_epi32(mask.cast_signed()), _mm_set1_epi32(value.cast_signed()));
    let [a, b, c, d] = load(line).map(|words| _mm_cmpeq_epi32(_mm_and_si128(words, mask), value));
    // Each word is all ones or all zeros, and stays so as a byte.
    let bytes = _mm_packs_epi16(_mm_packs_epi32(a, b), _mm_packs_epi32(c, d));
    _mm_movemask_epi8(bytes).cast_unsigned()
}

#[inline]
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "atomic words cannot be loaded by vectors in safe code")]
fn load(line: &Line) -> [__m128i; 4] {
    let (a, b, c, d);
    // SAFETY: It reads the 64 bytes that are borrowed, and nothing else. It does what sixteen relaxed loads would do, in
    // some order: on this architecture an aligned word is never torn, also as a part of a vector. Assembly rather than
    // a plain load, since others may write meanwhile, which only atomic accesses and the machine's own permit.
    unsafe {
        std::arch::asm!(
            "movdqu {a}, [{line}]",
            "movdqu {b}, [{line} + 16]",
            "movdqu {c}, [{line} + 32]",
            "movdqu {d}, [{line} + 48]",
            line = in(reg) line.as_ptr(),
            a = out(xmm_reg) a,
            b = out(xmm_reg) b,
            c = out(xmm_reg) c,
            d = out(xmm_reg) d,
            options(nostack, readonly, preserves_flags),
        );
    }
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_position_is_told_apart() {
        for position in 0..16 {
            let line: Line = std::array::from_fn(|at| AtomicU32::new(if at == position { 0xabcd_0007 } else { 6 }));
            assert_eq!(equal(&line, 0xffff, 7), 1 << position);
            assert_eq!(equal(&line, 0xffff, 6), 0xffff ^ 1 << position);
            assert_eq!(equal(&line, 0xffff_ffff, 7), 0);
            assert_eq!(equal(&line, 0x8000_0000, 0x8000_0000), 1 << position);
        }
    }
}
