//! Hands out blocks, sequences and entries: everything that happens in one order.
//!
//! All of it is under one lock, that of the space. The space is handed the blocks in memory and no device, so its
//! methods do no I/O.

mod allocation;
mod block_use;
mod lanes;
mod recycling;
mod reservation;
mod share;
mod superblocks;

use std::collections::VecDeque;
use std::sync::Arc;

use blobaccess::Clock;

use self::block_use::BlockUse;
use self::lanes::Lanes;
use self::share::Share;
use super::ages::Ages;
use super::blocks::Blocks;
use super::publications::Publications;
use crate::account_names::AccountNames;
use crate::account_totals::{Account, Accounts};
use crate::block::{Block, Growth, Rotation};
use crate::key_location_map::{MapWriter, Record};
use crate::location::Location;
use crate::machine::casts;
use crate::machine::concurrency::locks::{Mutex, enter};
use crate::persistence::{NamedAccount, Quarantined};
use crate::sizes::Sizes;
use crate::snapshot::BlockGroup;

pub(super) use self::reservation::Reservation;
pub(super) use self::share::{Purpose, Requester};

/// Everything that happens in one order: which blocks and ranges are handed out, and which records are published.
#[derive(Debug)]
pub(crate) struct Space {
    /// The right to change the map.
    pub(super) map: MapWriter,
    /// The totals of each account.
    pub(super) accounts: Accounts,
    neighbours: Neighbours,
    sizes: Sizes,
    rotation: Rotation,
    /// The present use of each block.
    uses: Vec<BlockUse>,
    free: VecDeque<u16>,
    /// A block that uploads have begun, and that becomes new once one of them is published.
    ahead: Option<u16>,
    /// The bytes that failed uploads have cost, less what the others have earned.
    spoiled: u64,
    lanes: Lanes,
    next_record: u64,
    next_generation: u32,
    quarantined: Vec<Quarantined>,
    /// Blocks that are to be recycled before their turn.
    retiring: Vec<u16>,
    /// The bytes that copies may take.
    share: Share,
    /// Whether a superblock would say anything new.
    has_changed: bool,
    /// News that those who run in the background are not told yet.
    news: News,
    /// The number of records published so far.
    publications: u64,
}

/// The parts that a space notifies.
#[derive(Debug)]
pub(super) struct Neighbours {
    pub(super) blocks: Arc<Blocks>,
    pub(super) ages: Arc<Ages>,
    pub(super) publications: Arc<Publications>,
    pub(super) account_names: Arc<Mutex<AccountNames>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) is_persistent: bool,
}

/// News for those who run in the background.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// The first change since the last superblock was described.
    pub(super) is_changed: bool,
    /// A block was begun, or is to be recycled before its turn.
    pub(super) needs_upkeep: bool,
}

/// The fields of a record that do not depend on where it lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordFields {
    pub(super) key_words: [u64; 4],
    pub(super) function: u8,
    pub(super) size_bytes: u64,
    pub(super) is_part: bool,
    pub(super) has_tail: bool,
    /// The number of the account that the object is on; 0 if it is on none.
    pub(super) account_name: u16,
}

/// A block, as a snapshot shows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockSurvey {
    pub(super) group: BlockGroup,
    pub(super) used_bytes: u64,
    pub(super) log_entries: u32,
    /// Seconds since 1970.
    pub(super) begun_at: u64,
}

fn growth(sizes: &Sizes) -> Growth {
    Growth { current: casts::index(sizes.current_blocks), new: casts::index(sizes.new_blocks) }
}

impl Space {
    /// Makes the space of an empty store.
    pub(super) fn new(map: MapWriter, sizes: Sizes, neighbours: Neighbours) -> Self {
        Self {
            map,
            accounts: Accounts::new([]),
            neighbours,
            rotation: Rotation::new(growth(&sizes)),
            uses: vec![BlockUse::default(); casts::index(sizes.blocks)],
            free: (0..sizes.blocks).filter_map(|block| u16::try_from(block).ok()).collect(),
            ahead: None,
            spoiled: 0,
            lanes: Lanes::new(sizes.lanes),
            next_record: 1,
            next_generation: 1,
            quarantined: Vec::new(),
            retiring: Vec::new(),
            share: Share::new(sizes.copied_percent, sizes.saved_copy_bytes(), sizes.copied_bytes_per_block()),
            sizes,
            has_changed: false,
            news: News::default(),
            publications: 0,
        }
    }

    fn use_of(&self, block: u16) -> Option<&BlockUse> {
        self.uses.get(usize::from(block))
    }

    fn use_mut(&mut self, block: u16) -> Option<&mut BlockUse> {
        self.uses.get_mut(usize::from(block))
    }

    /// Notes that a superblock would say something new. Whoever syncs in the background is told at the first change.
    #[inline]
    fn note_change(&mut self) {
        if !self.has_changed {
            self.has_changed = true;
            self.news.is_changed = true;
        }
    }

    /// Takes what those who run in the background are not told yet.
    #[inline]
    pub(super) fn take_news(&mut self) -> News {
        std::mem::take(&mut self.news)
    }

    /// Returns the number of slots of the map that are taken.
    pub(crate) fn records(&self) -> u64 {
        self.map.records()
    }

    /// Returns the number of records published so far.
    pub(super) fn publications(&self) -> u64 {
        self.publications
    }

    /// Returns the number of blocks that are free.
    pub(super) fn free_blocks(&self) -> usize {
        let is_empty = |block| self.use_of(block).is_some_and(|usage| usage.cursor == 0);
        self.free.len() + usize::from(self.ahead.is_some_and(is_empty))
    }

    /// Returns the blocks in use, oldest first.
    pub(super) fn survey(&self) -> Vec<BlockSurvey> {
        let (old, current, _) = self.rotation.groups();
        let groups = (0..).map(|position| match position {
            position if position < old => BlockGroup::Old,
            position if position < old + current => BlockGroup::Current,
            _ => BlockGroup::New,
        });
        let blocks = self.rotation.blocks().zip(groups).filter_map(|(block, group)| {
            let usage = self.use_of(block)?;
            // The rest of a lane is not in use, nor is what puts gave back.
            let used_bytes = usage.cursor - self.lanes.unused_in(block) - usage.hole_bytes();
            Some(BlockSurvey { group, used_bytes, log_entries: usage.entries, begun_at: usage.begun_at })
        });
        blocks.collect()
    }

    /// Returns the position of a block among those in use, oldest first.
    pub(super) fn position(&self, block: u16) -> Option<usize> {
        self.rotation.blocks().position(|other| other == block)
    }

    /// Returns whether a block is new, so that objects are put into it.
    pub(super) fn is_new(&self, block: u16) -> bool {
        self.rotation.new_blocks().any(|new| new == block)
    }

    /// Returns whether parts of objects lie in a block.
    pub(super) fn has_parts(&self, block: u16) -> bool {
        self.use_of(block).is_some_and(|usage| usage.has_parts)
    }

    /// Returns the sequence that is drawn next.
    pub(super) fn next_sequence(&self) -> u64 {
        self.next_record
    }

    /// Draws the sequence of a new record.
    pub(super) fn draw_sequence(&mut self) -> u64 {
        let sequence = self.next_record;
        self.next_record += 1;
        sequence
    }

    /// Returns a record with this sequence, whose entry is the next one of its block.
    pub(super) fn draft(&self, block: u16, offset: u64, fields: RecordFields, sequence: u64) -> Record {
        let usage = self.use_of(block);
        Record {
            key_words: fields.key_words,
            location: Location {
                block,
                generation: usage.map_or(0, |usage| usage.generation),
                offset,
                size_bytes: fields.size_bytes,
            },
            function: fields.function,
            is_part: fields.is_part,
            has_tail: fields.has_tail,
            account_name: fields.account_name,
            sequence,
            entry: usage.map_or(0, |usage| usage.entries),
        }
    }

    /// Returns whether the log of a block takes one more entry now.
    pub(super) fn has_log_space(&self, block: u16) -> bool {
        let Some(max_entries) = self.sizes.entries_per_block() else { return true };
        let pending = self.neighbours.blocks.get(block).map_or(0, Block::pending);
        self.use_of(block).is_some_and(|usage| usage.takes_entry(pending, max_entries))
    }

    /// Appends the entry of a record to the log of its block.
    pub(super) fn append(&mut self, record: &Record) {
        self.publications += 1;
        self.neighbours.publications.note_published(self.publications);
        self.note_change();
        let block = record.location.block;
        let Some(usage) = self.uses.get_mut(usize::from(block)) else { return };
        usage.is_dirty = true;
        usage.has_parts |= record.is_part && !record.is_name();
        if !self.neighbours.is_persistent {
            return;
        }
        if let Some(log) = usage.append(record) {
            self.neighbours.blocks.queue_log(block, usage.generation, log.first_sector, log.bytes);
        }
    }

    /// Returns the totals of each account, with its name.
    pub(super) fn named_accounts(&self) -> Vec<NamedAccount> {
        let account_names = enter(&self.neighbours.account_names);
        let accounts = self.accounts.all().iter().copied().chain(std::iter::repeat(Account::default()));
        let named = account_names.names().iter().zip(accounts);
        named.map(|(name, account)| NamedAccount { name: Arc::clone(name), account }).collect()
    }
}
