//! The speed of reading lines of memory at random places.

#![expect(unsafe_code, reason = "prefetches and huge pages are to be had by a pointer only")]

use blobaccess_testkit::Numbers;

/// Memory in lines of 64 bytes, on huge pages if the system has them.
#[derive(Debug)]
pub struct Lines {
    lines: Vec<Line>,
}

#[derive(Clone, Debug)]
#[repr(align(64))]
struct Line([u64; 8]);

/// The number of lines that are prefetched at once.
const AHEAD: usize = 48;

impl Lines {
    /// Makes `count` lines.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let mut lines: Vec<Line> = Vec::with_capacity(count);
        let memory = lines.spare_capacity_mut();
        let (begin, bytes) = (memory.as_mut_ptr(), size_of_val(memory));
        let skipped = begin.addr().next_multiple_of(2 << 20) - begin.addr();
        if let Some(rest) = bytes.checked_sub(skipped) {
            let begin = begin.wrapping_byte_add(skipped).cast();
            // SAFETY: the range lies within memory that is borrowed, and the advice concerns its pages only.
            let _: rustix::io::Result<()> =
                unsafe { rustix::mm::madvise(begin, rest / (2 << 20) * (2 << 20), rustix::mm::Advice::LinuxHugepage) };
        }
        lines.resize(count, Line([1; 8]));
        Self { lines }
    }

    /// Draws `count` random places.
    #[must_use]
    pub fn places(&self, seed: u64, count: usize) -> Vec<usize> {
        let mut numbers = Numbers::new(seed);
        (0..count).map(|_| numbers.below(self.lines.len())).collect()
    }

    /// Reads the lines at `places`, each prefetched. The sum keeps the compiler from leaving the reads out.
    #[must_use]
    pub fn walk(&self, places: &[usize]) -> u64 {
        let mut sum = 0;
        for (at, place) in places.iter().enumerate() {
            if let Some(ahead) = places.get(at + AHEAD) {
                self.prefetch(*ahead);
            }
            sum += self.lines.get(*place).map_or(0, |Line([first, ..])| *first);
        }
        sum
    }

    #[inline]
    fn prefetch(&self, place: usize) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
            let line = self.lines.as_ptr().wrapping_add(place);
            // SAFETY: a prefetch reads nothing, so that any address will do.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(line.cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _: usize = place;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_reads_as_many_lines_as_asked_for() {
        let lines = Lines::new(100_000);
        assert_eq!(lines.walk(&lines.places(1, 320)), 320);
    }
}
