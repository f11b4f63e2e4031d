//! Hands out space in blocks, sequences and entries: everything that happens in one order.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use super::flush::Write;
use super::lane::Lane;
use super::share::Share;
use super::{Engine, enter};
use crate::accounts::Accounts;
use crate::block::{Block, Choice, Claim, Growth, Pending, Rotation};
use crate::key_location_map::{MapWriter, Record};
use crate::location::Location;
use crate::persistence::superblock::MAX_QUARANTINED;
use crate::persistence::{ENTRIES_PER_SECTOR, Quarantined, entry};
use crate::sizes::SECTOR_BYTES;
use crate::snapshot::BlockGroup;
use crate::width;

/// Log that is written ahead of a sync once there is so much of it, in bytes.
const LOG_AHEAD_BYTES: usize = 256 << 10;

/// What is handed out, and in which order.
#[derive(Debug)]
pub(crate) struct Space {
    pub(super) map: MapWriter,
    pub(super) rotation: Rotation,
    /// By block.
    pub(super) uses: Vec<Use>,
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
pub(super) struct Use {
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
    /// Whether anything was written to it since the last sync.
    pub(super) is_dirty: bool,
    /// Whether it is to be recycled before its turn.
    pub(super) is_retiring: bool,
}

/// A range of a block that is the caller's to write.
///
/// It ends in one of two ways: it is published, or [abandoned](Engine::abandon).
#[derive(Debug)]
pub(super) struct Reservation {
    pub(super) block: u16,
    pub(super) generation: u32,
    pub(super) offset: u64,
    /// With padding.
    pub(super) length: u64,
    kind: Sectors,
}

/// Whose the sectors of a reservation are.
#[derive(Debug)]
enum Sectors {
    /// Those of a lane, and so of others as well.
    Shared {
        /// `None` once it is given back.
        claim: Option<Claim>,
        round: u64,
    },
    /// Its own. Room for its entry is kept, as it may take long.
    Own { _pending: Option<Pending> },
}

impl Reservation {
    pub(super) fn shared(block: u16, generation: u32, offset: u64, length: u64, claim: Claim, round: u64) -> Self {
        let kind = Sectors::Shared { claim: Some(claim), round };
        Self { block, generation, offset, length, kind }
    }

    fn own(block: u16, generation: u32, offset: u64, length: u64, pending: Option<Pending>) -> Self {
        Self { block, generation, offset, length, kind: Sectors::Own { _pending: pending } }
    }
}

/// Who asks for space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// A put; it leaves the last free block to copies, also once they have begun it.
    Put,
    /// A copy of what was touched.
    Copy,
}

impl Space {
    pub(super) fn new(map: MapWriter, growth: Growth, share: Share, blocks: u32, lanes: u32) -> Self {
        Self {
            map,
            rotation: Rotation::new(growth),
            uses: vec![Use::default(); width::index(blocks)],
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

    pub(super) fn use_of(&self, block: u16) -> Option<&Use> {
        self.uses.get(usize::from(block))
    }

    pub(super) fn use_mut(&mut self, block: u16) -> Option<&mut Use> {
        self.uses.get_mut(usize::from(block))
    }

    /// Draws the sequence of a new record.
    pub(super) fn draw_sequence(&mut self) -> u64 {
        let sequence = self.next_record;
        self.next_record += 1;
        sequence
    }

    /// A record with this sequence, whose entry is the next one of its block.
    pub(super) fn draft(&self, block: u16, offset: u64, named: Named, sequence: u64) -> Record {
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
            namespace: named.namespace,
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
    /// Whether the log of a block takes one more entry now.
    pub(super) fn has_log_space(&self, space: &Space, block: u16, most: Option<u64>) -> bool {
        let Some(most) = most else { return true };
        let pending = self.block(block).map_or(0, Block::pending);
        let takes = |usage: &Use| {
            !usage.is_retiring
                && (!u64::from(usage.entries).is_multiple_of(ENTRIES_PER_SECTOR)
                    || has_log_sector(usage, pending, most))
        };
        space.use_of(block).is_some_and(takes)
    }

    /// Reserves space for an object that takes `length` bytes; `None` if a block must be recycled first.
    pub(super) fn reserve(&self, space: &mut Space, length: u64, whom: For) -> Option<Reservation> {
        if length > self.sizes.small_bytes() {
            return self.reserve_own(space, length, whom);
        }
        let may_reserve = Self::may_reserve(space, whom);
        let reservation = if may_reserve { self.reserve_in_lane(space, length, whom)? } else { return None };
        self.earn(space, length, whom);
        Some(reservation)
    }

    /// The same in sectors of its own, whatever its size.
    pub(super) fn reserve_own(&self, space: &mut Space, length: u64, whom: For) -> Option<Reservation> {
        if !Self::may_reserve(space, whom) {
            return None;
        }
        let padded = length.next_multiple_of(SECTOR_BYTES);
        let block = self.choose(space, padded, whom)?;
        let pending = if self.is_persistent() { self.block(block).map(Block::keep_log_space) } else { None };
        let usage = space.use_mut(block)?;
        let (generation, offset) = (usage.generation, usage.cursor);
        usage.cursor += padded;
        usage.is_dirty = true;
        self.earn(space, length, whom);
        Some(Reservation::own(block, generation, offset, padded, pending))
    }

    fn may_reserve(space: &Space, whom: For) -> bool {
        // Once copies have begun the block that is left to them, it is theirs, until another one is free.
        whom == For::Copy || !space.free.is_empty()
    }

    fn earn(&self, space: &mut Space, length: u64, whom: For) {
        if whom == For::Put {
            space.share.earn(self.sizes.counted_stored(length));
        }
    }

    /// Whether a reservation can still be published: its block takes objects, and no sync has ended its sectors.
    pub(super) fn is_good(&self, space: &Space, reservation: &Reservation) -> bool {
        let Reservation { block, generation, .. } = *reservation;
        let is_in_time = match reservation.kind {
            Sectors::Shared { round, .. } => {
                (round == space.round || !self.is_persistent())
                    && self.has_log_space(space, block, self.sizes.entries_per_block())
            }
            Sectors::Own { .. } => true,
        };
        // Once what was touched is being copied, nothing is added to a block.
        is_in_time && self.block(block).is_some_and(|of| of.is(generation) && !of.is_copying())
    }

    /// Writes into a reservation, under no lock but for a moment.
    pub(super) fn write(&self, reservation: &mut Reservation, at: u64, bytes: &[u8]) {
        let Reservation { block, generation, offset, .. } = *reservation;
        match &mut reservation.kind {
            Sectors::Shared { claim: Some(claim), .. } => claim.write(at, bytes),
            Sectors::Shared { claim: None, .. } => {}
            Sectors::Own { .. } => {
                if let Some(of) = self.block(block) {
                    let queue = |chunk| self.queue_chunk(block, generation, chunk);
                    of.write(&self.pool, generation, offset + at, bytes, queue);
                }
            }
        }
    }

    /// Ends writing into a reservation, of which the first `at` bytes are written, right before it is published.
    pub(super) fn pad_rest(&self, reservation: &mut Reservation, at: u64) {
        let Reservation { block, generation, offset, length, .. } = *reservation;
        match &mut reservation.kind {
            Sectors::Shared { claim, .. } => {
                if let (Some(claim), Some(of)) = (claim.take(), self.block(block)) {
                    of.commit(generation, claim, true, |chunk| self.queue_chunk(block, generation, chunk));
                }
            }
            Sectors::Own { .. } => self.pad(block, generation, offset + at..offset + length),
        }
    }

    /// Gives up a reservation of which the first `at` bytes are written. It becomes padding; its sectors come back if
    /// nothing was written and nothing follows.
    pub(super) fn abandon(&self, mut reservation: Reservation, at: u64) {
        let Reservation { block, generation, offset, length, .. } = reservation;
        match &mut reservation.kind {
            Sectors::Shared { claim, .. } => {
                if let (Some(claim), Some(of)) = (claim.take(), self.block(block)) {
                    // Not dirty: a superblock may vouch for the sector by now, so it is not written any more.
                    of.commit(generation, claim, false, |chunk| self.queue_chunk(block, generation, chunk));
                }
            }
            Sectors::Own { .. } => {
                if at == 0 {
                    let mut space = self.space();
                    if let Some(usage) = space.use_mut(block)
                        && usage.generation == generation
                        && usage.cursor == offset + length
                    {
                        usage.cursor = offset;
                        return;
                    }
                }
                self.pad(block, generation, offset + at..offset + length);
            }
        }
    }

    pub(super) fn pad(&self, block: u16, generation: u32, range: std::ops::Range<u64>) {
        if let Some(of) = self.block(block) {
            of.pad(&self.pool, generation, range, |chunk| self.queue_chunk(block, generation, chunk));
        }
    }

    /// A new block with so much space. Blocks that are no longer new are closed.
    pub(super) fn choose(&self, space: &mut Space, length: u64, whom: For) -> Option<u16> {
        let most = self.sizes.entries_per_block();
        let data_bytes = self.sizes.data_bytes;
        let kept = match whom {
            For::Put => 1,
            For::Copy => 0,
        };
        let before: Vec<u16> = space.rotation.new_blocks().collect();
        let mut begun = Vec::new();
        let Space { rotation, uses, free, .. } = space;
        let has_space = |block: u16| {
            // A block that has just been taken is not begun yet, and empty.
            uses.get(usize::from(block)).is_some_and(|usage| {
                usage.generation == 0
                    || (data_bytes.saturating_sub(usage.cursor) >= length
                        && most.is_none_or(|most| {
                            has_log_sector(usage, self.block(block).map_or(0, Block::pending), most)
                        }))
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
                if whom == For::Copy && length > data_bytes / 16 {
                    let left = space.use_of(block).map_or(0, |usage| data_bytes.saturating_sub(usage.cursor));
                    space.share.waste(left);
                }
                self.leave_new(space, block);
            }
        }
        match choice {
            Choice::Block(block) => Some(block),
            Choice::NeedsBlock => None,
        }
    }

    fn begin_use(&self, space: &mut Space, block: u16) {
        let generation = space.next_generation;
        space.next_generation += 1;
        space.has_changed = true;
        let now = self.surroundings.clock.now().duration_since(std::time::UNIX_EPOCH);
        let begun_at = now.map_or(0, |since| since.as_secs());
        if let Some(usage) = space.use_mut(block) {
            *usage = Use { generation, seed: super::open::random(), begun_at, ..Use::default() };
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

    /// Appends the entry of a record to the log of its block.
    pub(super) fn append(&self, space: &mut Space, record: &Record) {
        space.publications += 1;
        // Before the record can be found: who finds it then knows which sync covers it.
        self.publications.store(space.publications, Ordering::Release);
        space.has_changed = true;
        let block = record.location.block;
        let Some(usage) = space.use_mut(block) else { return };
        usage.is_dirty = true;
        if !self.is_persistent() {
            return;
        }
        entry::write(&mut usage.pending_log, record, usage.seed);
        usage.entries += 1;
        if usage.pending_log.len() >= LOG_AHEAD_BYTES {
            self.take_log(block, usage, false);
        }
    }

    /// Queues the log of a block, as far as it consists of whole sectors, or all of it, padded.
    pub(super) fn take_log(&self, block: u16, usage: &mut Use, all: bool) {
        let sector = width::in_memory(SECTOR_BYTES);
        if all {
            entry::pad(&mut usage.pending_log);
            let per_sector = u32::try_from(ENTRIES_PER_SECTOR).unwrap_or(u32::MAX);
            usage.entries = usage.entries.next_multiple_of(per_sector);
        }
        let whole = usage.pending_log.len() / sector * sector;
        if whole == 0 {
            return;
        }
        let rest = usage.pending_log.split_off(whole);
        let bytes = std::mem::replace(&mut usage.pending_log, rest);
        let first = usage.log_sectors;
        usage.log_sectors += width::narrow(whole / sector);
        if let Some(disk) = &self.disk {
            let offset = disk.layout.log(block) + u64::from(first) * SECTOR_BYTES;
            self.queue(Write::Log { block, generation: usage.generation, offset, bytes });
        }
    }

    pub(super) fn queue_chunk(&self, block: u16, generation: u32, chunk: usize) {
        self.queue(Write::Chunk { block, generation, chunk });
    }

    pub(super) fn queue(&self, write: Write) {
        if self.disk.is_some() {
            enter(&self.queue).push_back(write);
        }
    }
}

/// Whether a log of `most` entries takes one more in a sector of its own, when `pending` others have room kept for
/// theirs: every entry that is to come may find itself in a sector of its own.
fn has_log_sector(usage: &Use, pending: u32, most: u64) -> bool {
    let sectors = u64::from(usage.entries).div_ceil(ENTRIES_PER_SECTOR) + u64::from(pending);
    !usage.is_retiring && sectors * ENTRIES_PER_SECTOR < most
}

/// What a record is going to be named by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named {
    pub(super) key_words: [u64; 4],
    pub(super) function: u8,
    pub(super) size_bytes: u64,
    pub(super) is_part: bool,
    pub(super) has_tail: bool,
    /// The number of the namespace on whose account it is; 0 if it is on nobody's.
    pub(super) namespace: u16,
}
