//! Buffers that are read into, used again and again: fresh ones are to be cleared, and their pages to be touched, first.

use std::sync::{Arc, PoisonError};

use crate::machine::concurrency::locks::{Mutex, MutexGuard};
use crate::machine::threads::group_of_thread;

/// The least buffer, in bytes: 4 KiB of contents and a trailer.
const LEAST_BYTES: usize = 4096 + 64;

/// Buffers have this size, or 2, 4, ... 64 times this size: that of a piece and its trailer.
const CLASSES: usize = 7;

/// Bytes of one class that a shelf keeps.
const KEPT_BYTES: usize = 512 << 10;

/// More shelves than this are not worth their memory: 3.5 MiB each.
const MOST_SHELVES: usize = 8;

/// Buffers of one class that are not in use.
type Class = Mutex<Vec<Box<[u8]>>>;

/// The buffer that one of several groups of threads reads into.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shelf([Class; CLASSES]);

/// Buffers that are read into.
#[derive(Debug)]
pub(crate) struct ReadBuffers(Box<[Arc<Shelf>]>);

/// A buffer that is back on its shelf once nobody reads it any more.
#[derive(Debug)]
pub(crate) struct ReadBuffer {
    memory: Box<[u8]>,
    /// The range in use.
    length: usize,
    /// `None` of one that is too large to be kept.
    home: Option<(Arc<Shelf>, usize)>,
}

impl ReadBuffers {
    pub(crate) fn new(groups: usize) -> Self {
        Self((0..groups.clamp(1, MOST_SHELVES)).map(|_| Arc::default()).collect())
    }

    /// Returns a buffer of this length. It holds whatever was read into it before.
    pub(crate) fn take(&self, length: usize) -> ReadBuffer {
        let class = (0..CLASSES).find(|class| length <= LEAST_BYTES << class);
        let home = self.0.get(group_of_thread() % self.0.len());
        let (Some(class), Some(home)) = (class, home) else {
            return ReadBuffer { memory: vec![0; length].into_boxed_slice(), length, home: None };
        };
        let kept = home.class(class).and_then(|class| lock(class).pop());
        let memory = kept.unwrap_or_else(|| vec![0; LEAST_BYTES << class].into_boxed_slice());
        ReadBuffer { memory, length, home: Some((Arc::clone(home), class)) }
    }
}

impl Shelf {
    fn class(&self, class: usize) -> Option<&Class> {
        self.0.get(class)
    }
}

fn lock(class: &Class) -> MutexGuard<'_, Vec<Box<[u8]>>> {
    // Nothing panics while it is held.
    class.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ReadBuffer {
    pub(crate) fn as_mut(&mut self) -> &mut [u8] {
        self.memory.get_mut(..self.length).unwrap_or_default()
    }
}

impl AsRef<[u8]> for ReadBuffer {
    fn as_ref(&self) -> &[u8] {
        self.memory.get(..self.length).unwrap_or_default()
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        let Some((home, class)) = self.home.take() else { return };
        let Some(class) = home.class(class) else { return };
        let memory = std::mem::take(&mut self.memory);
        let mut kept = lock(class);
        if (kept.len() + 1) * memory.len() <= KEPT_BYTES {
            kept.push(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_buffer_is_used_again_once_nobody_reads_it() {
        let buffers = ReadBuffers::new(1);
        let mut buffer = buffers.take(4096);
        buffer.as_mut().fill(7);
        let at = buffer.as_ref().as_ptr();
        let bytes = Bytes::from_owner(buffer);
        let part = bytes.slice(1..3);
        drop(bytes);
        assert_ne!(buffers.take(4096).as_ref().as_ptr(), at);
        assert_eq!(&part[..], [7, 7]);
        drop(part);
        let again: Vec<ReadBuffer> = (0..2).map(|_| buffers.take(100)).collect();
        assert!(again.iter().any(|buffer| buffer.as_ref().as_ptr() == at));
        assert!(again.iter().all(|buffer| buffer.as_ref().len() == 100));
    }

    #[test]
    fn buffers_of_all_lengths_are_as_long_as_asked_for_and_few_are_kept() {
        let buffers = ReadBuffers::new(3);
        for length in [0, 1, 4096, 4160, 4161, 262_152, 1 << 20] {
            let taken: Vec<ReadBuffer> = (0..200).map(|_| buffers.take(length)).collect();
            assert!(taken.iter().all(|buffer| buffer.as_ref().len() == length));
        }
        for shelf in &buffers.0 {
            for class in &shelf.0 {
                assert!(lock(class).iter().map(|buffer| buffer.len()).sum::<usize>() <= KEPT_BYTES);
            }
        }
    }
}
