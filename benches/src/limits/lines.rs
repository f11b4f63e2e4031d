//! How fast lines of memory can be read at random places.

#![expect(unsafe_code, reason = "prefetches and huge pages are to be had by a pointer only")]

use blobaccess_testkit::Numbers;

/// Lines of 64 bytes, on huge pages where the system has them.
#[derive(Debug)]
pub struct Lines {
    lines: Vec<[u64; 8]>,
}

/// How many lines are on their way at once.
const BATCH: usize = 32;

impl Lines {
    /// So many of them.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let mut lines: Vec<[u64; 8]> = Vec::with_capacity(count);
        let memory = lines.spare_capacity_mut();
        let (begin, bytes) = (memory.as_mut_ptr(), size_of_val(memory));
        let skipped = begin.addr().next_multiple_of(2 << 20) - begin.addr();
        if let Some(rest) = bytes.checked_sub(skipped) {
            let begin = begin.wrapping_byte_add(skipped).cast();
            // SAFETY: the range lies within memory that is borrowed, and the advice concerns its pages only.
            let _: rustix::io::Result<()> =
                unsafe { rustix::mm::madvise(begin, rest / (2 << 20) * (2 << 20), rustix::mm::Advice::LinuxHugepage) };
        }
        lines.resize(count, [1; 8]);
        Self { lines }
    }

    /// Reads so many lines at random places, each asked for ahead; the sum keeps the compiler from leaving it out.
    #[must_use]
    pub fn walk(&self, seed: u64, reads: usize) -> u64 {
        let mut numbers = Numbers::new(seed);
        let mut sum = 0;
        for _ in 0..reads.div_ceil(BATCH) {
            let places: [usize; BATCH] = std::array::from_fn(|_| numbers.below(self.lines.len()));
            for place in places {
                self.prefetch(place);
            }
            for place in places {
                sum += self.lines.get(place).map_or(0, |[first, ..]| *first);
            }
        }
        sum
    }

    #[inline]
    fn prefetch(&self, place: usize) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let line = self.lines.as_ptr().wrapping_add(place);
            // SAFETY: a prefetch reads nothing, so that any address will do.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) };
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
        assert_eq!(Lines::new(100_000).walk(1, 320), 320);
    }
}
