//! Which blocks are old, current and new, and which of the new ones is written next.
//!
//! As in Buildbarn's local store (`old_current_new_location_blob_map.go`), with three differences: weights count
//! chunks rather than blobs, blocks that are too many are recycled by somebody else, and an empty store begins with as
//! many new blocks as it keeps.

use std::collections::VecDeque;

use super::growth::Growth;

/// Which blocks are old, current and new.
#[derive(Debug)]
pub(crate) struct Rotation {
    /// Oldest first.
    blocks: VecDeque<u16>,
    old: usize,
    current: usize,
    new: usize,
    growth: Growth,
    /// Which of the new blocks is written, and how often still; `None` right after a rotation.
    cursor: Option<usize>,
    attempts: u32,
}

/// The result of choosing a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Write into this one.
    Block(u16),
    /// Another block is needed, and there is none.
    NeedsBlock,
}

impl Rotation {
    pub(crate) fn new(growth: Growth) -> Self {
        Self { blocks: VecDeque::new(), old: 0, current: 0, new: 0, growth, cursor: None, attempts: 0 }
    }

    /// Restores the groups: `blocks` oldest first, with the given numbers of old and current ones.
    pub(crate) fn restore(growth: Growth, blocks: VecDeque<u16>, old: usize, current: usize) -> Self {
        let new = blocks.len().saturating_sub(old + current);
        Self { blocks, old, current, new, growth, cursor: None, attempts: 0 }
    }

    /// Returns all blocks, oldest first.
    pub(crate) fn blocks(&self) -> impl DoubleEndedIterator<Item = u16> + ExactSizeIterator {
        self.blocks.iter().copied()
    }

    /// Returns the numbers of old, current and new blocks.
    pub(crate) fn groups(&self) -> (usize, usize, usize) {
        (self.old, self.current, self.new)
    }

    pub(crate) fn new_blocks(&self) -> impl Iterator<Item = u16> {
        self.blocks.iter().copied().skip(self.old + self.current)
    }

    /// Chooses a new block that has space. `free` hands out blocks that are free.
    pub(crate) fn choose(
        &mut self,
        mut has_space: impl FnMut(u16) -> bool,
        mut free: impl FnMut() -> Option<u16>,
    ) -> Choice {
        while self.growth.grows_new(self.new) {
            let Some(block) = free() else { return Choice::NeedsBlock };
            self.blocks.push_back(block);
            self.new += 1;
        }
        while !self.blocks.get(self.old + self.current).is_some_and(|first| has_space(*first)) {
            if self.new > self.growth.new {
                self.new -= 1;
                self.current += 1;
            } else {
                let Some(block) = free() else { return Choice::NeedsBlock };
                self.push(block);
            }
            self.cursor = None;
            self.attempts = 0;
        }
        loop {
            if let Some(cursor) = self.cursor
                && self.attempts > 0
                && let Some(block) = self.blocks.get(self.old + self.current + cursor)
                && has_space(*block)
            {
                self.attempts -= 1;
                return Choice::Block(*block);
            }
            self.advance();
        }
    }

    /// Adds a block as the newest one, for which the first of the new ones becomes current unless there are too few.
    pub(crate) fn add(&mut self, block: u16) {
        if self.growth.grows_new(self.new) {
            self.blocks.push_back(block);
            self.new += 1;
        } else {
            self.push(block);
        }
        self.cursor = None;
        self.attempts = 0;
    }

    fn push(&mut self, block: u16) {
        self.blocks.push_back(block);
        if self.growth.grows_current(self.current) {
            self.current += 1;
        } else {
            self.old += 1;
        }
    }

    fn advance(&mut self) {
        let cursor = self.cursor.map_or(0, |cursor| (cursor + 1) % self.new);
        let in_the_end = self.growth.new;
        // The first blocks get most: they are the next to become current, and should be full by then.
        let weight = if cursor + in_the_end >= self.new { self.new - cursor - 1 } else { in_the_end };
        self.attempts = u32::try_from(weight).ok().and_then(|weight| 1_u32.checked_shl(weight)).unwrap_or(1 << 31);
        self.cursor = Some(cursor);
    }

    /// Returns the oldest block.
    pub(crate) fn oldest(&self) -> Option<u16> {
        self.blocks.front().copied()
    }

    /// Gives up a block.
    pub(crate) fn remove(&mut self, block: u16) {
        let Some(position) = self.blocks.iter().position(|other| *other == block) else { return };
        self.blocks.remove(position);
        if position < self.old {
            self.old -= 1;
        } else if position < self.old + self.current {
            self.current -= 1;
        } else {
            self.new = self.new.saturating_sub(1);
            self.cursor = None;
            self.attempts = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free() -> impl FnMut() -> Option<u16> {
        let mut next = 0;
        move || {
            next += 1;
            Some(next - 1)
        }
    }

    #[test]
    fn blobs_are_spread_as_in_the_original() {
        let growth = Growth { current: 4, new: 4 };
        let mut rotation = Rotation::restore(growth, (0..10).collect(), 2, 0);
        for _ in 0..3 {
            let mut counts = [0; 10];
            for _ in 0..79 {
                let Choice::Block(block) = rotation.choose(|_| true, || None) else { panic!() };
                counts[usize::from(block)] += 1;
            }
            assert_eq!(counts, [0, 0, 16, 16, 16, 16, 8, 4, 2, 1]);
        }
    }

    #[test]
    fn groups_grow_one_block_at_a_time() {
        let mut rotation = Rotation::new(Growth { current: 4, new: 2 });
        let mut free = free();
        rotation.choose(|_| true, &mut free);
        assert_eq!(rotation.groups(), (0, 0, 2));
        for full in 0..4 {
            assert!(matches!(rotation.choose(|block| block > full, &mut free), Choice::Block(_)));
        }
        assert_eq!(rotation.groups(), (0, 4, 2));
        for full in 4..7 {
            rotation.choose(|block| block > full, &mut free);
        }
        assert_eq!(rotation.groups(), (3, 4, 2));
        rotation.remove(0);
        assert_eq!(rotation.groups(), (2, 4, 2));
    }

    #[test]
    fn a_store_that_lost_a_block_of_any_group_goes_on() {
        for lost in 0..5 {
            let mut rotation = Rotation::restore(Growth { current: 2, new: 1 }, (0..5).collect(), 2, 2);
            rotation.remove(lost);
            rotation.remove(lost);
            let (old, current, new) = rotation.groups();
            assert_eq!(old + current + new, 4);
            let mut next = 5..;
            let Choice::Block(block) = rotation.choose(|block| block > 4, || next.next()) else { panic!() };
            assert!(block > 4 && rotation.new_blocks().any(|new| new == block));
            let (old, current, new) = rotation.groups();
            assert_eq!(old + current + new, rotation.blocks().len());
            assert_eq!(new, 1);
        }
    }

    #[test]
    fn a_mutable_store_has_one_new_block() {
        let mut rotation = Rotation::new(Growth { current: 2, new: 1 });
        let mut free = free();
        let mut groups = Vec::new();
        for full in 0..5 {
            rotation.choose(|block| block >= full, &mut free);
            groups.push(rotation.groups());
        }
        assert_eq!(groups, [(0, 0, 1), (0, 1, 1), (0, 2, 1), (1, 2, 1), (2, 2, 1)]);
    }

    #[test]
    fn without_a_free_block_nothing_changes() {
        let mut rotation = Rotation::new(Growth { current: 2, new: 1 });
        assert_eq!(rotation.choose(|_| true, || None), Choice::NeedsBlock);
        assert_eq!(rotation.choose(|_| true, || Some(7)), Choice::Block(7));
        assert_eq!(rotation.choose(|_| false, || None), Choice::NeedsBlock);
        assert_eq!(rotation.groups(), (0, 0, 1));
        assert_eq!(rotation.choose(|_| true, || None), Choice::Block(7));
    }
}
