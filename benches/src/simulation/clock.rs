//! A cache that evicts the oldest object that was not used since.

use std::collections::VecDeque;

use super::{PerObject, Policy};

/// CLOCK, or second chance: a used object at the end goes back to the beginning.
#[derive(Debug)]
pub struct Clock {
    capacity_bytes: u64,
    used_bytes: u64,
    queue: VecDeque<(u32, u64)>,
    states: PerObject<State>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Absent,
    Unused,
    Used,
}

impl Clock {
    /// Makes an empty cache of this size.
    #[must_use]
    pub fn new(capacity_bytes: u64) -> Self {
        Self { capacity_bytes, used_bytes: 0, queue: VecDeque::new(), states: PerObject::default() }
    }
}

impl Policy for Clock {
    fn access(&mut self, object: u32, size_bytes: u64) -> bool {
        let state = self.states.at(object);
        if *state != State::Absent {
            *state = State::Used;
            return true;
        }
        *state = State::Unused;
        self.queue.push_back((object, size_bytes));
        self.used_bytes += size_bytes;
        while self.used_bytes > self.capacity_bytes
            && let Some((object, size_bytes)) = self.queue.pop_front()
        {
            let state = self.states.at(object);
            if *state == State::Used {
                *state = State::Unused;
                self.queue.push_back((object, size_bytes));
            } else {
                *state = State::Absent;
                self.used_bytes -= size_bytes;
            }
        }
        false
    }
}
