//! A cache that evicts objects that were used once early (Yang et al., SOSP 2023).

use std::collections::VecDeque;

use super::{PerObject, Policy};

/// S3-FIFO: a small queue for new objects, a main one for those that were used there or came back, and a ghost queue of
/// the names that left the small one.
#[derive(Debug)]
pub struct S3Fifo {
    capacity_bytes: u64,
    small: Queue,
    main: Queue,
    ghosts: VecDeque<(u32, u64)>,
    insertions: u64,
    objects: PerObject<State>,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<(u32, u64)>,
    bytes: u64,
}

impl Queue {
    fn push(&mut self, object: u32, size_bytes: u64) {
        self.items.push_back((object, size_bytes));
        self.bytes += size_bytes;
    }

    fn pop(&mut self) -> Option<(u32, u64)> {
        let (object, size_bytes) = self.items.pop_front()?;
        self.bytes -= size_bytes;
        Some((object, size_bytes))
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    is_there: bool,
    /// The number of uses, up to 3.
    uses: u8,
    /// The insertion into the ghost queue that names this object; 0 for none.
    ghost: u64,
}

impl S3Fifo {
    /// Makes an empty cache of this size, with a tenth of it for new objects, as in the paper.
    #[must_use]
    pub fn new(capacity_bytes: u64) -> Self {
        Self {
            capacity_bytes,
            small: Queue::default(),
            main: Queue::default(),
            ghosts: VecDeque::new(),
            insertions: 0,
            objects: PerObject::default(),
        }
    }

    fn evict(&mut self) {
        if self.small.bytes > self.capacity_bytes / 10 || self.main.items.is_empty() {
            self.evict_small();
        } else {
            self.evict_main();
        }
    }

    fn evict_small(&mut self) {
        let Some((object, size_bytes)) = self.small.pop() else { return };
        let state = self.objects.at(object);
        if state.uses > 1 {
            state.uses = 0;
            self.main.push(object, size_bytes);
            return;
        }
        self.insertions += 1;
        *state = State { is_there: false, uses: 0, ghost: self.insertions };
        self.ghosts.push_back((object, self.insertions));
        while self.ghosts.len() > self.main.items.len().max(1)
            && let Some((object, number)) = self.ghosts.pop_front()
        {
            let state = self.objects.at(object);
            if state.ghost == number {
                state.ghost = 0;
            }
        }
    }

    fn evict_main(&mut self) {
        while let Some((object, size_bytes)) = self.main.pop() {
            let state = self.objects.at(object);
            if state.uses == 0 {
                state.is_there = false;
                return;
            }
            state.uses -= 1;
            self.main.push(object, size_bytes);
        }
    }
}

impl Policy for S3Fifo {
    fn access(&mut self, object: u32, size_bytes: u64) -> bool {
        let state = self.objects.at(object);
        if state.is_there {
            state.uses = (state.uses + 1).min(3);
            return true;
        }
        let was_ghost = state.ghost != 0;
        *state = State { is_there: true, uses: 0, ghost: 0 };
        if was_ghost {
            self.main.push(object, size_bytes);
        } else {
            self.small.push(object, size_bytes);
        }
        while self.small.bytes + self.main.bytes > self.capacity_bytes {
            self.evict();
        }
        false
    }
}
