//! How much may be copied: a share of what is put, kept for what was promised first.

use std::collections::HashMap;

/// What something is copied for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Purpose {
    /// Somebody was told that it is there, or is being told. In the block that is being recycled, it lies at `offset`.
    Promised { offset: u64 },
    /// Its block is given up before its turn, so that nothing in it may have stayed as long as was promised.
    Retired,
    /// Somebody used it.
    Used,
    /// Somebody used it or was told that it is there, while its block is old. What is saved up is not for that: should it
    /// be promised, it is copied later all the same.
    Refreshed,
}

/// The kind of write that asks for space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Requester {
    /// A put; it leaves the last free block to copies, also once they have begun it.
    Put,
    /// A copy of what was touched, whose block is about to go.
    Copy,
    /// A copy of what was touched, whose block stays for now; it leaves the last free block to those that must be made.
    Refresh,
}

impl From<Purpose> for Requester {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Promised { .. } | Purpose::Retired | Purpose::Used => Self::Copy,
            Purpose::Refreshed => Self::Refresh,
        }
    }
}

/// What may be copied, in counted bytes.
///
/// Puts earn it: of all that is written, copies take at most the share that was chosen, however recycling lags behind.
#[derive(Debug)]
pub(super) struct Share {
    percent: u64,
    /// What copies may take that nothing is set aside for.
    free: u64,
    /// What copies took beyond that.
    debt: u64,
    /// The most that is saved up.
    most: u64,
    /// The share of one block.
    per_block: u64,
    /// What is set aside, by offset in the block that is being recycled.
    promised: HashMap<u64, u64>,
}

impl Share {
    /// Of all that is written, `percent` are for copies, up to 80; up to `most` bytes are saved up, `per_block`
    /// of them for what was merely used.
    pub(super) fn new(percent: u32, most: u64, per_block: u64) -> Self {
        Self { percent: u64::from(percent.min(80)), free: most, debt: 0, most, per_block, promised: HashMap::new() }
    }

    /// Notes that so much is put.
    pub(super) fn earn(&mut self, counted: u64) {
        let earned = counted.saturating_mul(self.percent) / (100 - self.percent);
        let repaid = earned.min(self.debt);
        self.debt -= repaid;
        self.free = self.free.saturating_add(earned - repaid).min(self.most);
    }

    /// Notes that a copy left so much of a block unused, as it did not fit.
    pub(super) fn waste(&mut self, bytes: u64) {
        let owed = bytes.saturating_sub(self.free);
        self.free = self.free.saturating_sub(bytes);
        self.debt = self.debt.saturating_add(owed);
    }

    /// Sets aside what an object at `offset` of the block that is being recycled costs, if there is so much left.
    /// Returns whether there was.
    pub(super) fn set_aside(&mut self, offset: u64, cost: u64) -> bool {
        if self.free < cost {
            return false;
        }
        self.free -= cost;
        self.promised.insert(offset, cost);
        true
    }

    /// Gives back what was set aside and not drawn.
    pub(super) fn settle(&mut self) {
        let left: u64 = self.promised.drain().map(|(_, cost)| cost).sum();
        self.free = self.free.saturating_add(left).min(self.most);
    }

    /// Takes what a copy costs that is for `purpose`. Returns whether there was so much for it.
    pub(super) fn draw(&mut self, purpose: Purpose, cost: u64) -> bool {
        let kept = match purpose {
            Purpose::Promised { offset } if self.promised.remove(&offset).is_some() => return true,
            Purpose::Promised { .. } => 0,
            Purpose::Retired => return true,
            // What is saved up is for what is going to be promised, but for the share of one block.
            Purpose::Used | Purpose::Refreshed => self.most.saturating_sub(self.per_block),
        };
        match self.free.checked_sub(cost) {
            Some(left) if left >= kept => {
                self.free = left;
                true
            }
            Some(_) | None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_take_their_share_of_what_is_written_and_no_more() {
        let mut share = Share::new(25, 1000, 500);
        let (mut put, mut copied) = (0, 0);
        for round in 0..10_000_u64 {
            let size = 1 + round * 7919 % 300;
            put += size;
            share.earn(size);
            while share.draw(Purpose::Promised { offset: 0 }, 97) {
                copied += 97;
            }
        }
        let written = put + copied;
        assert!(copied <= written / 4 + 1000);
        assert!(copied > written / 5);
    }

    #[test]
    fn what_is_set_aside_is_for_nobody_else() {
        let promised = |offset| Purpose::Promised { offset };
        let mut share = Share::new(50, 100, 50);
        assert!(share.set_aside(7, 80));
        assert!(!share.set_aside(8, 30));
        assert!(!share.draw(promised(8), 30));
        assert!(share.draw(promised(9), 20));
        assert!(share.draw(promised(7), 80));
        assert!(!share.draw(promised(7), 80));
        share.earn(80);
        assert!(share.set_aside(7, 80));
        share.settle();
        assert!(share.draw(promised(9), 80));
    }

    #[test]
    fn what_was_used_leaves_what_was_saved_up_to_what_was_promised() {
        let mut share = Share::new(50, 100, 50);
        assert!(!share.draw(Purpose::Used, 51));
        assert!(share.draw(Purpose::Used, 50));
        assert!(!share.draw(Purpose::Used, 1));
        assert!(!share.draw(Purpose::Refreshed, 1));
        assert!(share.draw(Purpose::Promised { offset: 0 }, 50));
    }

    #[test]
    fn what_a_copy_leaves_unused_is_paid_later() {
        let promised = Purpose::Promised { offset: 0 };
        let mut share = Share::new(50, 100, 50);
        share.waste(130);
        share.earn(30);
        assert!(!share.draw(promised, 1));
        share.earn(1);
        assert!(share.draw(promised, 1));
    }

    #[test]
    fn nothing_is_saved_up_beyond_the_most() {
        let mut share = Share::new(80, 100, 50);
        share.earn(u64::MAX);
        assert!(!share.draw(Purpose::Promised { offset: 0 }, 101));
        let mut none = Share::new(0, 0, 0);
        none.earn(1 << 40);
        assert!(!none.draw(Purpose::Used, 1));
    }
}
