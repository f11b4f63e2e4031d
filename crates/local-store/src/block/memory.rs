//! Memory that many threads fill at once, each a place of its own, and that readers share once a place is filled.
//!
//! Unsafe code, so what it keeps to is in the types: each byte is in exactly one
//! [`Place`], which is writable and exclusive, or in any number of [`Written`] ranges, which are readable and shared.
//! A place becomes written by being given up, and never the other way round. `docs/safety.md`, section 5, says what
//! this buys.

#![expect(unsafe_code, reason = "safe code cannot lend disjoint parts of one allocation to several threads for good")]

use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

use bytes::Bytes;

use super::free::Free;

/// From this size on, bytes go past the caches: what is so large is not likely to be read soon, nor to fit.
const STREAMED_BYTES: usize = 16 << 10;

/// An allocation, which goes back to where it came from with the last memory that is a part of it.
#[derive(Debug)]
struct Span {
    start: NonNull<u8>,
    length: usize,
    home: Arc<Free>,
}

// SAFETY: A span is an allocation of plain bytes, bound to no thread. Nobody but places and written ranges get at the
// bytes, as described above.
unsafe impl Send for Span {}
// SAFETY: As above; a shared span hands out nothing by itself.
unsafe impl Sync for Span {}

impl Drop for Span {
    fn drop(&mut self) {
        let bytes = NonNull::slice_from_raw_parts(self.start, self.length);
        // SAFETY: `start` and `length` are those of the box that `Place::whole` took apart. This is dropped once, after
        // the last place and written range.
        let buffer = unsafe { Box::from_raw(bytes.as_ptr()) };
        self.home.push(buffer);
    }
}

/// A part of a span whose bytes are owned by places and written ranges. It is counted by itself, so that threads which
/// fill different parts do not count on the same line.
#[derive(Debug)]
struct Memory {
    span: Arc<Span>,
    /// Where in the span it begins.
    offset: usize,
}

/// Bytes that are the holder's alone to write.
#[derive(Debug)]
pub(crate) struct Place {
    memory: Arc<Memory>,
    range: Range<usize>,
}

impl Place {
    /// Wraps a whole buffer, which returns to `home` in the end, in places of equal length.
    pub(super) fn whole(buffer: Box<[u8]>, home: Arc<Free>, each: usize) -> Vec<Self> {
        let length = buffer.len();
        // A box is never null.
        let start = NonNull::from(Box::leak(buffer)).cast();
        let span = Arc::new(Span { start, length, home });
        let place = |offset: usize| {
            let range = 0..each.min(length - offset);
            Self { memory: Arc::new(Memory { span: Arc::clone(&span), offset }), range }
        };
        (0..length).step_by(each.max(1)).map(place).collect()
    }

    /// Returns the place in the memory.
    pub(super) fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.range.len()
    }

    /// Gives up what comes after the first `length` bytes, and returns it.
    pub(super) fn split_off(&mut self, length: usize) -> Self {
        let at = self.range.start + length.min(self.range.len());
        let rest = Self { memory: Arc::clone(&self.memory), range: at..self.range.end };
        self.range.end = at;
        rest
    }

    /// Gives up the first `length` bytes, and returns them.
    pub(super) fn split_to(&mut self, length: usize) -> Self {
        let rest = self.split_off(length);
        std::mem::replace(self, rest)
    }

    /// Takes in `next`, if it begins where this ends; else `next` comes back.
    pub(super) fn join(&mut self, next: Self) -> Result<(), Self> {
        if self.range.end != next.range.start || !Arc::ptr_eq(&self.memory, &next.memory) {
            return Err(next);
        }
        self.range.end = next.range.end;
        Ok(())
    }

    /// Returns the bytes as they are now.
    pub(super) fn bytes(&self) -> &[u8] {
        let Memory { span, offset } = &*self.memory;
        // SAFETY: The range lies within the allocation, as places begin as disjoint parts of it, only shrink, and join
        // only with those that follow.
        let start = unsafe { span.start.add(offset + self.range.start) };
        // SAFETY: As above for the length; nobody else has a byte of this place, and nobody writes it while it is
        // borrowed. The bytes were initialized in the box.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), self.range.len()) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let Memory { span, offset } = &*self.memory;
        // SAFETY: The range lies within the allocation, as places begin as disjoint parts of it, only shrink, and join
        // only with those that follow.
        let start = unsafe { span.start.add(offset + self.range.start) };
        // SAFETY: As above for the length; no other place and no written range has a byte of this one, so that the
        // reference is exclusive for as long as this is borrowed. The bytes were initialized in the box.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), self.range.len()) }
    }

    /// Writes `bytes` from position `at` on, as far as there is room.
    pub(crate) fn write(&mut self, at: usize, bytes: &[u8]) {
        let Some(to) = self.bytes_mut().get_mut(at..) else { return };
        let length = to.len().min(bytes.len());
        let (to, _) = to.split_at_mut(length);
        let (bytes, _) = bytes.split_at(length);
        if length >= STREAMED_BYTES { stream(to, bytes) } else { to.copy_from_slice(bytes) }
    }

    /// Writes zeros from position `at` on.
    pub(crate) fn clear(&mut self, at: usize) {
        if let Some(rest) = self.bytes_mut().get_mut(at..) {
            rest.fill(0);
        }
    }

    /// Gives up the right to write.
    pub(super) fn into_written(self) -> Written {
        Written { memory: self.memory, range: self.range }
    }
}

/// Copies past the caches, where the processor can do that.
#[cfg(target_arch = "x86_64")]
fn stream(to: &mut [u8], from: &[u8]) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};

    // Streaming stores need aligned places; both slices have one length.
    let head = to.as_ptr().align_offset(64).min(to.len());
    let (to_head, to) = to.split_at_mut(head);
    let (from_head, from) = from.split_at(head);
    to_head.copy_from_slice(from_head);
    let (to_lines, to_tail) = to.as_chunks_mut::<64>();
    let (from_lines, from_tail) = from.as_chunks::<64>();
    for (to, from) in to_lines.iter_mut().zip(from_lines) {
        for (to, from) in to.as_chunks_mut::<16>().0.iter_mut().zip(from.as_chunks::<16>().0) {
            let (to, from): (*mut __m128i, *const __m128i) = (to.as_mut_ptr().cast(), from.as_ptr().cast());
            // SAFETY: `from` is 16 bytes; loading needs no alignment.
            let value = unsafe { _mm_loadu_si128(from) };
            // SAFETY: `to` is 16 bytes, exclusive and aligned to as many: lines begin at multiples of 64. Every x86-64
            // processor has SSE2.
            unsafe { _mm_stream_si128(to, value) };
        }
    }
    // Streaming stores are not ordered by what publishes the bytes later, so they are ordered here.
    // SAFETY: Every x86-64 processor has it.
    unsafe { _mm_sfence() };
    to_tail.copy_from_slice(from_tail);
}

#[cfg(not(target_arch = "x86_64"))]
fn stream(to: &mut [u8], from: &[u8]) {
    to.copy_from_slice(from);
}

/// Bytes that nobody writes any more.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    memory: Arc<Memory>,
    range: Range<usize>,
}

impl Written {
    pub(super) fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// Takes in `next`, if it begins where this ends. Returns whether it did.
    pub(super) fn join(&mut self, next: &Self) -> bool {
        let is_next = self.range.end == next.range.start && Arc::ptr_eq(&self.memory, &next.memory);
        if is_next {
            self.range.end = next.range.end;
        }
        is_next
    }

    /// Returns a range of the memory, if all of it is here.
    pub(super) fn slice(&self, range: Range<usize>) -> Option<Self> {
        let is_within = self.range.start <= range.start && range.start <= range.end && range.end <= self.range.end;
        is_within.then(|| Self { memory: Arc::clone(&self.memory), range })
    }

    /// Returns the same as a shared handle, which keeps the memory alive.
    pub(super) fn bytes(&self, range: Range<usize>) -> Option<Bytes> {
        self.slice(range).map(Bytes::from_owner)
    }
}

impl AsRef<[u8]> for Written {
    fn as_ref(&self) -> &[u8] {
        let Memory { span, offset } = &*self.memory;
        // SAFETY: The range lies within the allocation, as that of the place did which it was.
        let start = unsafe { span.start.add(offset + self.range.start) };
        // SAFETY: As above for the length; what is written is in no place, so nobody writes it while the memory lives.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), self.range.len()) }
    }
}

/// Written ranges that follow each other in one span, as one.
#[derive(Debug)]
struct Stretch {
    span: Arc<Span>,
    range: Range<usize>,
}

impl AsRef<[u8]> for Stretch {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: The range lies within the allocation, as those of the written ranges did which it was made of.
        let start = unsafe { self.span.start.add(self.range.start) };
        // SAFETY: As above for the length; all of it is written, so nobody writes it while the span lives.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), self.range.len()) }
    }
}

/// Returns the contents of these ranges as one, if all are there and follow each other in memory. The returned value
/// keeps the memory alive.
pub(super) fn stretch(ranges: impl IntoIterator<Item = Option<Written>>) -> Option<Bytes> {
    let mut all: Option<Stretch> = None;
    for written in ranges {
        let Written { memory, range } = written?;
        let range = memory.offset + range.start..memory.offset + range.end;
        match &mut all {
            None => all = Some(Stretch { span: Arc::clone(&memory.span), range }),
            Some(all) if Arc::ptr_eq(&all.span, &memory.span) && all.range.end == range.start => {
                all.range.end = range.end;
            }
            Some(_) => return None,
        }
    }
    all.map(Bytes::from_owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(length: usize) -> (Place, Arc<Free>) {
        let free = Arc::new(Free::new(length, 1));
        let mut places = Place::whole(vec![0; length].into_boxed_slice(), Arc::clone(&free), length);
        (places.remove(0), free)
    }

    #[test]
    fn ranges_that_follow_each_other_over_places_are_read_as_one() {
        let free = Arc::new(Free::new(250, 1));
        let places = Place::whole(vec![0; 250].into_boxed_slice(), Arc::clone(&free), 100);
        let lengths: Vec<usize> = places.iter().map(Place::len).collect();
        assert_eq!(lengths, [100, 100, 50]);
        let written: Vec<Written> = places
            .into_iter()
            .zip(1..)
            .map(|(mut place, byte)| {
                place.write(0, &vec![byte; place.len()]);
                place.into_written()
            })
            .collect();
        let parts = [written[0].slice(98..100), written[1].slice(0..100), written[2].slice(0..1)];
        let all = stretch(parts.clone()).unwrap();
        assert_eq!(all[..3], [1, 1, 2]);
        assert_eq!((all.len(), all[101], all[102]), (103, 2, 3));
        let [first, middle, last] = parts;
        assert_eq!(stretch([first.clone(), last]), None);
        assert_eq!(stretch([first.clone(), Some(place(100).0.into_written())]), None);
        assert_eq!(stretch([first.clone(), None]), None);
        assert_eq!(stretch([]), None);
        drop((written, first, middle));
        assert_eq!(free.count(), 0);
        drop(all);
        assert_eq!(free.count(), 1);
    }

    #[test]
    fn places_are_filled_by_threads_and_read_as_one() {
        let (mut rest, free) = place(1 << 20);
        let mut places = Vec::new();
        for length in [1, 63, 64, 65, 16 << 10, 100_003, 300_000] {
            places.push(rest.split_to(length));
        }
        let end = rest.range().start;
        let source: Vec<u8> = (0..end).map(|at| u8::try_from(at % 253).unwrap()).collect();
        std::thread::scope(|scope| {
            for place in &mut places {
                let source = &source;
                scope.spawn(move || {
                    let range = place.range();
                    place.write(0, &source[range]);
                });
            }
        });
        let mut places = places.into_iter().map(Place::into_written);
        let mut all = places.next().unwrap();
        assert!(places.all(|place| all.join(&place)));
        assert_eq!(all.bytes(0..end).unwrap(), source);
        assert_eq!(all.bytes(5..1000).unwrap(), source[5..1000]);
        assert!(all.bytes(0..end + 1).is_none());
        drop((all, places, rest));
        assert_eq!(free.count(), 1);
    }

    #[test]
    fn memory_goes_back_once_its_last_reader_is_done() {
        let (place, free) = place(100);
        let read = place.into_written().bytes(10..20).unwrap();
        assert_eq!(free.count(), 0);
        drop(read);
        assert_eq!(free.count(), 1);
    }

    #[test]
    fn places_that_follow_each_other_become_one_again() {
        let (mut first, _free) = place(100);
        let mut last = first.split_off(60);
        let middle = first.split_off(30);
        last.write(0, &[7; 40]);
        let last = first.join(last).unwrap_err();
        first.join(middle).unwrap();
        let (other, _other_free) = place(100);
        let other = first.join(other).unwrap_err();
        first.join(last).unwrap();
        assert_eq!((first.range(), other.range()), (0..100, 0..100));
        assert_eq!(first.bytes()[60..], [7; 40]);
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        let (mut rest, _free) = place(40_000);
        let mut first = rest.split_to(20_000);
        first.write(10, &vec![7; 30_000]);
        first.write(20_001, &[8; 10]);
        first.clear(19_990);
        let (first, rest) = (first.into_written(), rest.into_written());
        assert!(first.as_ref()[10..19_990].iter().all(|byte| *byte == 7));
        assert_eq!(first.as_ref()[19_990..], [0; 10]);
        assert!(rest.as_ref().iter().all(|byte| *byte == 0));
        assert!(!rest.clone().join(&first));
    }
}
