//! Hands out blocks, sequences and entries: everything that happens in one order.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use super::Engine;
use super::lane::Lane;
use super::share::{Requester, Share};
use crate::account_totals::Accounts;
use crate::block::{Block, Choice, Growth, Rotation};
use crate::key_location_map::{MapWriter, Record};
use crate::location::Location;
use crate::machine::casts;
use crate::persistence::superblock::MAX_QUARANTINED;
use crate::persistence::{ENTRIES_PER_SECTOR, Quarantined};
use crate::snapshot::BlockGroup;

/// What is handed out, and in which order.
#[derive(Debug)]
pub(crate) struct Space {
    pub(super) map: MapWriter,
    pub(super) rotation: Rotation,
    /// By block.
    pub(super) uses: Vec<BlockUse>,
    pub(super) free: VecDeque<u16>,
    pub(super) lanes: Vec<Option<Lane>>,
    /// Counts the times at which what is reserved and not published was given up, so that lanes begin fresh sectors.
    pub(super) round: u64,
    pub(super) next_record: u64,
    pub(super) next_generation: u32,
    pub(super) quarantined: Vec<Quarantined>,
    /// Blocks that are to be recycled before their turn.
    pub(super) retiring: Vec<u16>,
    /// What copies may take.
    pub(super) share: Share,
    pub(super) accounts: Accounts,
    /// Whether a superblock would say anything new.
    pub(super) has_changed: bool,
    /// Records published so far.
    pub(super) publications: u64,
}

/// The present use of a block, as its writer knows it.
#[derive(Clone, Debug, Default)]
pub(super) struct BlockUse {
    pub(super) generation: u32,
    pub(super) seed: u64,
    /// Where the next reservation begins.
    pub(super) cursor: u64,
    /// Entries written or pending, padding counted.
    pub(super) entries: u32,
    /// Log that is not written yet; whole sectors but for the last one.
    pub(super) pending_log: Vec<u8>,
    /// Log sectors that are written or queued.
    pub(super) log_sectors: u32,
    /// Seconds since 1970.
    pub(super) begun_at: u64,
    /// Whether parts of objects lie in it.
    pub(super) has_parts: bool,
    /// Whether anything was written to it since the last sync.
    pub(super) is_dirty: bool,
    /// Whether it is to be recycled before its turn.
    pub(super) is_retiring: bool,
}

impl BlockUse {
    /// Returns whether a log of `most` entries takes one more in a sector of its own, when `pending` others have room
    /// kept for theirs: every entry that is to come may find itself in a sector of its own.
    pub(super) fn has_log_sector(&self, pending: u32, most: u64) -> bool {
        let sectors = u64::from(self.entries).div_ceil(ENTRIES_PER_SECTOR) + u64::from(pending);
        !self.is_retiring && sectors * ENTRIES_PER_SECTOR < most
    }
}

impl Space {
    pub(super) fn new(map: MapWriter, growth: Growth, share: Share, blocks: u32, lanes: u32) -> Self {
        Self {
            map,
            rotation: Rotation::new(growth),
            uses: vec![BlockUse::default(); casts::index(blocks)],
            free: (0..blocks).filter_map(|block| u16::try_from(block).ok()).collect(),
            lanes: (0..lanes.max(1)).map(|_| None).collect(),
            round: 0,
            next_record: 1,
            next_generation: 1,
            quarantined: Vec::new(),
            retiring: Vec::new(),
            share,
            accounts: Accounts::new([]),
            has_changed: false,
            publications: 0,
        }
    }

    /// Slots of the map that are taken.
    pub(crate) fn records(&self) -> u64 {
        self.map.records()
    }

    /// Its blocks, oldest first, by group, bytes in use, entries and time of beginning.
    pub(crate) fn blocks(&self) -> Vec<(BlockGroup, u64, u32, u64)> {
        let (old, current, _) = self.rotation.groups();
        let groups = (0..).map(|position| match position {
            position if position < old => BlockGroup::Old,
            position if position < old + current => BlockGroup::Current,
            _ => BlockGroup::New,
        });
        let blocks = self.rotation.blocks().zip(groups).filter_map(|(block, group)| {
            let usage = self.use_of(block)?;
            // What a lane has not used yet is not in use.
            let lanes = self.lanes.iter().flatten().filter(|lane| lane.block == block);
            let unused: u64 = lanes.map(Lane::unused).sum();
            Some((group, usage.cursor - unused, usage.entries, usage.begun_at))
        });
        blocks.collect()
    }

    pub(super) fn use_of(&self, block: u16) -> Option<&BlockUse> {
        self.uses.get(usize::from(block))
    }

    pub(super) fn use_mut(&mut self, block: u16) -> Option<&mut BlockUse> {
        self.uses.get_mut(usize::from(block))
    }

    /// Draws the sequence of a new record.
    pub(super) fn draw_sequence(&mut self) -> u64 {
        let sequence = self.next_record;
        self.next_record += 1;
        sequence
    }

    /// A record with this sequence, whose entry is the next one of its block.
    pub(super) fn draft(&self, block: u16, offset: u64, named: RecordFields, sequence: u64) -> Record {
        let usage = self.use_of(block);
        Record {
            key_words: named.key_words,
            location: Location {
                block,
                generation: usage.map_or(0, |usage| usage.generation),
                offset,
                size_bytes: named.size_bytes,
            },
            function: named.function,
            is_part: named.is_part,
            has_tail: named.has_tail,
            account_name: named.account_name,
            sequence,
            entry: usage.map_or(0, |usage| usage.entries),
        }
    }

    /// Notes that a record proved wrong. Returns whether there was room for it in the list.
    pub(super) fn quarantine(&mut self, record: Quarantined) -> bool {
        let has_room = self.quarantined.len() < MAX_QUARANTINED;
        if has_room {
            self.quarantined.push(record);
            self.has_changed = true;
        }
        has_room
    }

    /// Has a block recycled before its turn. Nothing more is put into it.
    pub(super) fn retire(&mut self, block: u16) {
        if let Some(usage) = self.use_mut(block)
            && !usage.is_retiring
        {
            usage.is_retiring = true;
            self.retiring.push(block);
        }
    }
}

impl Engine {
    /// A new block with so much space. Blocks that are no longer new are closed.
    pub(super) fn choose(&self, space: &mut Space, length: u64, requester: Requester) -> Option<u16> {
        let most = self.sizes.entries_per_block();
        let data_bytes = self.sizes.data_bytes;
        let kept = match requester {
            Requester::Put | Requester::Refresh => 1,
            Requester::Copy => 0,
        };
        let before: Vec<u16> = space.rotation.new_blocks().collect();
        let mut begun = Vec::new();
        let Space { rotation, uses, free, .. } = space;
        let has_space = |block: u16| {
            // A block that has just been taken is not begun yet, and empty.
            uses.get(usize::from(block)).is_some_and(|usage| {
                usage.generation == 0
                    || (data_bytes.saturating_sub(usage.cursor) >= length
                        && most
                            .is_none_or(|most| usage.has_log_sector(self.block(block).map_or(0, Block::pending), most)))
            })
        };
        // A large object goes to any new block that has room, rather than making the first one give up its rest.
        let first = rotation.new_blocks().next();
        let other = first.filter(|first| !has_space(*first)).and_then(|_| {
            let mut new = rotation.new_blocks();
            new.find(|block| has_space(*block))
        });
        let choice = match other.filter(|_| length > 2 * self.sizes.small_bytes()) {
            Some(block) => Choice::Block(block),
            None => rotation.choose(has_space, || {
                if free.len() <= kept {
                    return None;
                }
                let block = free.pop_front()?;
                begun.push(block);
                Some(block)
            }),
        };
        for block in begun {
            self.begin_use(space, block);
        }
        for block in before {
            if !space.rotation.new_blocks().any(|new| new == block) {
                if requester != Requester::Put && length > data_bytes / 16 {
                    let left = space.use_of(block).map_or(0, |usage| data_bytes.saturating_sub(usage.cursor));
                    space.share.waste(left);
                }
                self.leave_new(space, block);
            }
        }
        self.note_old(space);
        match choice {
            Choice::Block(block) => Some(block),
            Choice::NeedsBlock => None,
        }
    }

    /// Notes which blocks are old.
    pub(super) fn note_old(&self, space: &Space) {
        let (old, ..) = space.rotation.groups();
        let youngest = old.checked_sub(1).and_then(|position| space.rotation.blocks().nth(position));
        let generation = youngest.and_then(|block| space.use_of(block)).map_or(0, |usage| usage.generation);
        self.old_generation.store(generation, Ordering::Relaxed);
    }

    fn begin_use(&self, space: &mut Space, block: u16) {
        let generation = space.next_generation;
        space.next_generation += 1;
        space.has_changed = true;
        let now = self.surroundings.clock.now().duration_since(std::time::UNIX_EPOCH);
        let begun_at = now.map_or(0, |since| since.as_secs());
        if let Some(usage) = space.use_mut(block) {
            *usage = BlockUse { generation, seed: crate::machine::random::number(), begun_at, ..BlockUse::default() };
        }
        if let Some(of) = self.block(block) {
            of.begin(generation);
        }
        self.newest_generation.store(generation, Ordering::Relaxed);
    }

    /// Nothing more is going to be reserved in this block: its last chunk is closed.
    fn leave_new(&self, space: &mut Space, block: u16) {
        self.close_lanes_in(space, block);
        let chunk = self.sizes.chunk_bytes;
        if let Some(usage) = space.use_mut(block) {
            let (begin, generation) = (usage.cursor, usage.generation);
            usage.cursor = begin.next_multiple_of(chunk);
            let end = usage.cursor;
            self.pad(block, generation, begin..end);
        }
    }
}

/// What a record is going to be named by.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordFields {
    pub(super) key_words: [u64; 4],
    pub(super) function: u8,
    pub(super) size_bytes: u64,
    pub(super) is_part: bool,
    pub(super) has_tail: bool,
    /// The number of the account on whose account it is; 0 if it is on nobody's.
    pub(super) account_name: u16,
}
