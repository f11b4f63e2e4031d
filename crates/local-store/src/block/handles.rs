//! Full chunks as readers get them: a handle for each of several groups of threads.
//!
//! Every handle has a lock and a reference count of its own, on lines of its own, so that readers on different cores
//! share nothing that they write to.

use std::ops::Range;
use std::sync::PoisonError;

use bytes::Bytes;

use crate::machine::concurrency::Mutex;
use crate::machine::threads::group_of_thread;

/// A chunk's contents, in the use of its block that is named beside.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Handle(Mutex<Option<(u32, Bytes)>>);

/// The handles of all chunks of a block.
#[derive(Debug)]
pub(super) struct Handles {
    /// A power of two, or 0.
    groups: usize,
    /// The handles; those of a chunk lie together.
    all: Box<[Handle]>,
}

impl Handles {
    /// Makes the handles of a block; none if there are no `groups`, where chunks give up their memory soon.
    pub(super) fn new(chunks: usize, groups: usize) -> Self {
        Self { groups, all: (0..chunks * groups).map(|_| Handle::default()).collect() }
    }

    #[inline]
    fn own(&self, chunk: usize) -> Option<&Handle> {
        self.all.get(chunk * self.groups + (group_of_thread() & self.groups.wrapping_sub(1)))
    }

    /// Returns a range of a chunk, if it has a handle for this thread in this use of the block.
    #[inline]
    pub(super) fn read(&self, generation: u32, chunk: usize, range: &Range<usize>) -> Option<Bytes> {
        // A handle is changed by assignments alone: nothing panics midway.
        let held = self.own(chunk)?.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, bytes) = held.as_ref().filter(|(of, _)| *of == generation)?;
        (range.end <= bytes.len()).then(|| bytes.slice(range.clone()))
    }

    /// Makes a handle for this thread. The lock of the chunk must be held, so that none is made once it is cleared.
    pub(super) fn offer(&self, generation: u32, chunk: usize, contents: &Bytes) {
        if let Some(own) = self.own(chunk).filter(|_| self.groups > 0) {
            // An owner, so that it has a reference count of its own.
            let handle = (generation, Bytes::from_owner(contents.clone()));
            *own.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle);
        }
    }

    /// Makes no more use of the contents of a chunk. The lock of the chunk must be held.
    pub(super) fn clear(&self, chunk: usize) {
        let from = chunk * self.groups;
        for handle in self.all.get(from..from + self.groups).unwrap_or_default() {
            *handle.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}
