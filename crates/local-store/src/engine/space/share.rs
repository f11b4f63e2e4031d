//! Limits copies to a share of all writes, kept for promised objects first.

use std::collections::HashMap;

/// The reason for a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Purpose {
    /// A caller was told that the object is stored, or is being told. Its record has this sequence.
    Promised { sequence: u64 },
    /// The block is given up before its turn, so that no object in it may have stayed as long as was promised.
    Retired,
    /// A caller used the object.
    Used,
    /// A caller used the object or was told that it is stored, while its block is old. Savings are not for such a copy:
    /// if the object is promised, it is copied later anyway.
    Refreshed,
}

/// The kind of write that asks for space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Requester {
    /// A put; it leaves the last free block to copies, also once they have begun it.
    Put,
    /// A put whose contents are yet to come, so that they may be wrong, or never come.
    Upload,
    /// A copy of a touched object, whose block is about to go.
    Copy,
    /// A copy of a touched object, whose block stays for now. It leaves the last free block to copies that must be
    /// made.
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

/// The bytes that may be copied.
///
/// Puts earn them: of all that is written, copies take at most the chosen share, even when recycling lags behind.
#[derive(Debug)]
pub(super) struct Share {
    percent: u64,
    /// The bytes that copies may take and that are not set aside.
    free: u64,
    /// The bytes that copies took beyond that.
    debt: u64,
    /// The maximum that is saved up, in bytes.
    max_saved: u64,
    /// The share of one block.
    per_block: u64,
    /// The bytes that are set aside, by the sequence of a record: several parts may lie at one offset.
    promised: HashMap<u64, u64>,
}

impl Share {
    /// Grants copies `percent` of all that is written, up to 80. Up to `max_saved` bytes are saved up, `per_block` of
    /// them for objects that were merely used.
    pub(super) fn new(percent: u32, max_saved: u64, per_block: u64) -> Self {
        Self {
            percent: u64::from(percent.min(80)),
            free: max_saved,
            debt: 0,
            max_saved,
            per_block,
            promised: HashMap::new(),
        }
    }

    /// Notes that `counted` bytes are put. Returns the bytes that copies may take for that.
    pub(super) fn earn(&mut self, counted: u64) -> u64 {
        let earned = counted.saturating_mul(self.percent) / (100 - self.percent);
        let repaid = earned.min(self.debt);
        self.debt -= repaid;
        let free = self.free;
        self.free = free.saturating_add(earned - repaid).min(self.max_saved);
        repaid + (self.free - free)
    }

    /// Notes that `bytes` of the share are gone: a copy left them unused in a block, or the put that earned them was given
    /// up.
    pub(super) fn waste(&mut self, bytes: u64) {
        let owed = bytes.saturating_sub(self.free);
        self.free = self.free.saturating_sub(bytes);
        self.debt = self.debt.saturating_add(owed);
    }

    /// Sets aside the cost of the object whose record has this sequence, if that much is left. Returns whether it was.
    pub(super) fn set_aside(&mut self, sequence: u64, cost: u64) -> bool {
        if self.free < cost {
            return false;
        }
        self.free -= cost;
        self.promised.insert(sequence, cost);
        true
    }

    /// Gives back the bytes that were set aside and not drawn.
    pub(super) fn settle(&mut self) {
        let left: u64 = self.promised.drain().map(|(_, cost)| cost).sum();
        self.free = self.free.saturating_add(left).min(self.max_saved);
    }

    /// Takes the cost of a copy for `purpose`. Returns whether that much was left.
    pub(super) fn draw(&mut self, purpose: Purpose, cost: u64) -> bool {
        let kept = match purpose {
            Purpose::Promised { sequence } if self.promised.remove(&sequence).is_some() => return true,
            Purpose::Promised { .. } => 0,
            Purpose::Retired => return true,
            // Savings are for future promises, but for the share of one block.
            Purpose::Used | Purpose::Refreshed => self.max_saved.saturating_sub(self.per_block),
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
            while share.draw(Purpose::Promised { sequence: 0 }, 97) {
                copied += 97;
            }
        }
        let written = put + copied;
        assert!(copied <= written / 4 + 1000);
        assert!(copied > written / 5);
    }

    #[test]
    fn what_is_set_aside_is_for_nobody_else() {
        let promised = |sequence| Purpose::Promised { sequence };
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
        assert!(share.draw(Purpose::Promised { sequence: 0 }, 50));
    }

    #[test]
    fn what_a_copy_leaves_unused_is_paid_later() {
        let promised = Purpose::Promised { sequence: 0 };
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
        assert!(!share.draw(Purpose::Promised { sequence: 0 }, 101));
        let mut none = Share::new(0, 0, 0);
        none.earn(1 << 40);
        assert!(!none.draw(Purpose::Used, 1));
    }
}
