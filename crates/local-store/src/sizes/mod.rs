//! The numbers that follow from the options: checked, and printed for operators.

mod promise;
mod refusals;

use std::fmt::{self, Display, Formatter};

use blobaccess::{Error, Result, StorageType};

pub(crate) use self::refusals::check_allocation;
use self::refusals::{check_memory, check_options};
use crate::device::SECTOR_BYTES;
use crate::key_location_map::{BYTES_PER_BUCKET, buckets_for};
use crate::location::{MAX_BLOCK_BYTES, MAX_BLOCKS};
use crate::machine::casts;
use crate::machine::threads::groups;
use crate::object::{checksums, provenance};
use crate::options::{Medium, Options, SyncPolicy};
use crate::persistence;
use crate::persistence::label::LABELS_BYTES;
use crate::persistence::superblock;

/// The largest chunk, in bytes: what is written to a device at once. Larger ones gain nothing (4.5 GB/s at 1 MiB).
const MAX_CHUNK_BYTES: u64 = 1 << 20;

/// The largest piece of memory that readers keep by what they hold, in bytes. Objects that lie in one are read without a
/// copy: with 1 MiB, three fifths of all bytes of mixed sizes are copied, with 256 MiB one in fifty, and none where a
/// block is no larger. A copy of a large object costs twice, as it goes to memory that is fresh.
const MAX_SPAN_BYTES: u64 = 256 << 20;

/// Readers may keep one in so many bytes of the capacity besides.
const LENT_SHARE: u64 = 16;

/// The memory that a chunk of a store in memory takes for each group of threads that read it, in bytes.
const HANDLE_BYTES: u64 = 128;

/// How many chunks a block has at least.
const MIN_CHUNKS: u64 = 16;

/// How many chunks a block has for each lane but the first.
const LANE_CHUNKS: u64 = 32;

/// Log sectors of a block for the syncs that come while it is written, which leave a part of a sector unused.
const SPARE_LOG_SECTORS: u64 = 16;

/// Slots that a store has at least, unless told.
const MIN_ENTRIES: u64 = 16_384;

/// The sizes that follow from [`Options`]. Its `Display` prints them, one line each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about where things lie and when")]
pub struct Sizes {
    pub(crate) capacity_bytes: u64,
    pub(crate) blocks: u32,
    pub(crate) old_blocks: u32,
    pub(crate) current_blocks: u32,
    pub(crate) new_blocks: u32,
    pub(crate) data_bytes: u64,
    pub(crate) chunk_bytes: u64,
    pub(crate) slots: u64,
    pub(crate) log_sectors: u32,
    pub(crate) touch_sectors: u32,
    pub(crate) superblock_bytes: u64,
    /// The usable bytes of the device of the logs, if the logs have one.
    pub(crate) logs_bytes: u64,
    pub(crate) has_own_logs: bool,
    pub(crate) has_own_state: bool,
    pub(crate) account_names: u32,
    /// Whether instance names are hierarchical.
    pub(crate) is_hierarchical: bool,
    pub(crate) has_trailers: bool,
    max_tail_bytes: u64,
    usual_tail_bytes: u64,
    pub(crate) copied_percent: u32,
    pub(crate) lanes: u32,
    is_synced_on_put: bool,
    memory_bytes: u64,
}

impl Sizes {
    /// Derives the sizes of a store of this kind.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, naming the option, if the store cannot work: blocks of no size, a store of messages with
    /// several new blocks, persistence in memory, more memory than the control group of this process permits.
    pub fn derive(options: &Options, storage_type: StorageType) -> Result<Self> {
        Self::derive_as_made(options, storage_type, options.persistence)
    }

    /// Derives the sizes of a store whose logs were made for another sync policy.
    pub(crate) fn derive_as_made(
        options: &Options,
        storage_type: StorageType,
        made_for: Option<SyncPolicy>,
    ) -> Result<Self> {
        check_options(options, storage_type)?;
        let wanted = u64::from(options.old_blocks)
            + u64::from(options.current_blocks)
            + u64::from(options.new_blocks)
            + u64::from(options.spare_blocks);
        let blocks = u32::try_from(wanted).ok().filter(|blocks| *blocks <= MAX_BLOCKS);
        let blocks = blocks.ok_or_else(|| {
            Error::invalid_argument(format!("there are {wanted} blocks, while at most {MAX_BLOCKS} are permitted"))
        })?;
        let capacity = options.capacity_bytes;
        let each = match (storage_type.is_mutable(), options.is_hierarchical) {
            (true, _) => 512,
            (false, false) => 16 << 10,
            (false, true) => 8 << 10,
        };
        let slots = options.entries.unwrap_or_else(|| match &options.logs {
            Some((_, bytes)) => slots_of_logs(*bytes, blocks),
            None => (capacity / each).max(MIN_ENTRIES),
        });
        let has_own_logs = options.persistence.is_some() && options.logs.is_some();
        let has_own_state = options.persistence.is_some() && options.state.is_some();
        let buckets = buckets_for(slots);
        let slots = u64::from(buckets) * 15;
        let on_device = options.medium != Medium::Memory;
        let superblock_bytes = if on_device { superblock::size_bytes(blocks, options.account_names) } else { 0 };
        let head = if has_own_state { LABELS_BYTES } else { 2 * superblock_bytes };
        let block_bytes = capacity.saturating_sub(head) / u64::from(blocks);
        let (log_sectors, touch_sectors) = match made_for {
            None => (0, 0),
            Some(policy) => log_sectors(policy, slots, blocks, block_bytes),
        };
        let logs = SECTOR_BYTES * (u64::from(log_sectors) + u64::from(touch_sectors));
        if has_own_logs {
            let needed = LABELS_BYTES + logs * u64::from(blocks);
            let there = options.logs.as_ref().map_or(0, |(_, bytes)| *bytes);
            if there < needed {
                return Err(Error::invalid_argument(format!(
                    "the device of the logs has {there} bytes, while the logs of {blocks} blocks for {slots} slots \
                     need {needed} bytes"
                )));
            }
        }
        let data = block_bytes.saturating_sub(if has_own_logs { 0 } else { logs });
        let chunk_bytes = (data / MIN_CHUNKS / SECTOR_BYTES * SECTOR_BYTES).min(MAX_CHUNK_BYTES);
        if chunk_bytes == 0 {
            let least = (MIN_CHUNKS * SECTOR_BYTES + (block_bytes - data)) * u64::from(blocks) + head;
            return Err(Error::invalid_argument(format!(
                "a capacity of {capacity} bytes is too small for {blocks} blocks: {least} bytes are needed"
            )));
        }
        let data_bytes = data / chunk_bytes * chunk_bytes;
        if data_bytes > MAX_BLOCK_BYTES {
            return Err(Error::invalid_argument(format!(
                "a block has {data_bytes} bytes, while at most {MAX_BLOCK_BYTES} are permitted: use more blocks"
            )));
        }
        let map_bytes = u64::from(buckets) * BYTES_PER_BUCKET;
        let touch_bytes = u64::from(touch_sectors) * SECTOR_BYTES * u64::from(blocks);
        let contents = if on_device {
            options.staged_bytes
        } else {
            let handles = data_bytes / chunk_bytes * casts::on_device(groups()) * HANDLE_BYTES;
            (data_bytes + data_bytes / LENT_SHARE).saturating_add(handles).saturating_mul(u64::from(blocks))
        };
        let memory_bytes =
            [map_bytes, touch_bytes, contents, options.in_flight_bytes].into_iter().fold(0, u64::saturating_add);
        check_memory(memory_bytes)?;
        let chunks = data_bytes / chunk_bytes;
        if let Some(lanes) = options.lanes.filter(|lanes| u64::from(*lanes) > chunks) {
            return Err(Error::invalid_argument(format!(
                "there are {lanes} lanes, while a block has {chunks} chunks, of which each lane takes one"
            )));
        }
        Ok(Self {
            capacity_bytes: capacity,
            blocks,
            old_blocks: options.old_blocks,
            current_blocks: options.current_blocks,
            new_blocks: options.new_blocks,
            data_bytes,
            chunk_bytes,
            slots,
            log_sectors,
            touch_sectors,
            superblock_bytes,
            logs_bytes: options.logs.as_ref().map_or(0, |(_, bytes)| *bytes),
            has_own_logs,
            has_own_state,
            account_names: options.account_names,
            is_hierarchical: options.is_hierarchical,
            has_trailers: on_device,
            max_tail_bytes: provenance::max_bytes(storage_type),
            usual_tail_bytes: provenance::usual_bytes(storage_type),
            copied_percent: options.copied_percent,
            lanes: lanes(options, data_bytes / chunk_bytes),
            is_synced_on_put: options.persistence == Some(SyncPolicy::OnPut),
            memory_bytes,
        })
    }

    /// Returns the size of the largest blob that the store takes, in bytes: it must fit into a block.
    ///
    /// It follows from the capacity and the number of blocks. With the default number of blocks it is about a
    /// thirty-sixth of the capacity up to 36 GiB, and 1 GiB or more beyond: 17 MB of 600 MiB, 59 MB of 2 GiB, 296 MB of
    /// 10 GiB. A larger put is refused as `InvalidArgument`, with both numbers. Fewer blocks
    /// ([`Options::with_blocks`]) make it larger.
    #[must_use]
    pub fn max_blob_size_bytes(&self) -> u64 {
        let room = self.data_bytes.saturating_sub(self.max_tail_bytes);
        if self.has_trailers { checksums::max_contents(room) } else { room }
    }

    /// Returns the bytes that all blocks hold, without their logs.
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes * u64::from(self.blocks)
    }

    /// Returns the memory that the store needs, in bytes: map, contents if they are in memory, with what
    /// readers may keep besides, and blobs in flight.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Returns the memory that is taken when a store is opened, in bytes: map, touches and what is known of each chunk.
    pub(crate) fn opening_bytes(&self) -> u64 {
        /// The bytes that a chunk takes while it holds nothing, roughly.
        const CHUNK_STATE_BYTES: u64 = 128;

        let map = u64::from(buckets_for(self.slots)) * BYTES_PER_BUCKET;
        let touches = u64::from(self.touch_sectors) * SECTOR_BYTES * u64::from(self.blocks);
        map + touches + self.data_bytes() / self.chunk_bytes * CHUNK_STATE_BYTES
    }

    /// Returns the number of slots of the map: an upper bound of the number of objects that the store holds.
    #[must_use]
    pub fn slots(&self) -> u64 {
        self.slots
    }

    /// Returns the mean size of blobs, in bytes, below which the map is full before the space is. Then the map is what
    /// evicts ([`Snapshot::map_evicts`](crate::Snapshot::map_evicts)), so blobs stay for less than
    /// [`promised_bytes`](Self::promised_bytes): more entries ([`Options::with_entries`]) let them.
    #[must_use]
    pub fn least_mean_blob_bytes(&self) -> u64 {
        self.data_bytes() / self.slots.max(1)
    }

    /// Returns the bytes that the logs and touches of all blocks take, with the labels of a device of their own; 0 if
    /// there are no logs. It is what [`Options::with_logs_in`] must offer at least.
    #[must_use]
    pub fn logs_bytes(&self) -> u64 {
        match u64::from(self.log_sectors) + u64::from(self.touch_sectors) {
            0 => 0,
            sectors => LABELS_BYTES + sectors * SECTOR_BYTES * u64::from(self.blocks),
        }
    }

    /// Returns the number of entries that fit into the log of a block; `None` if there are no logs.
    #[must_use]
    pub fn entries_per_block(&self) -> Option<u64> {
        (self.log_sectors > 0).then(|| u64::from(self.log_sectors) * persistence::ENTRIES_PER_SECTOR)
    }

    /// Returns the largest size, with trailer, of objects that share chunks: a sixteenth of a chunk, so that less than
    /// that is left at chunk ends.
    pub(crate) fn small_bytes(&self) -> u64 {
        self.chunk_bytes / 16
    }

    /// Blocks that are old, current or new.
    pub(crate) fn live_blocks(&self) -> u32 {
        self.old_blocks + self.current_blocks + self.new_blocks
    }

    pub(crate) fn chunks_per_block(&self) -> usize {
        casts::in_memory(self.data_bytes / self.chunk_bytes)
    }

    /// Returns how many chunks of a store in memory lie in one allocation: all of a block, or equal parts of one.
    pub(crate) fn chunks_per_span(&self) -> usize {
        let chunks = self.chunks_per_block();
        let spans = self.data_bytes.div_ceil(MAX_SPAN_BYTES).max(1);
        chunks.div_ceil(casts::in_memory(spans))
    }

    /// Returns the memory that readers may keep of blocks that a store in memory has given up, before reads are copied.
    pub(crate) fn lent_bytes(&self) -> u64 {
        self.data_bytes() / LENT_SHARE
    }

    /// Returns the size of an object with its trailer.
    pub(crate) fn stored_bytes(&self, size_bytes: u64) -> u64 {
        if self.has_trailers { size_bytes + checksums::size_bytes(size_bytes) } else { size_bytes }
    }
}

/// Returns the number of lanes: by default the number of processors, but at most one in 32 chunks, because what lanes
/// do not use when a block is left is lost.
fn lanes(options: &Options, chunks: u64) -> u32 {
    let processors = || std::thread::available_parallelism().map_or(1, |count| casts::narrow(count.get()));
    let most = u32::try_from(chunks / LANE_CHUNKS).unwrap_or(u32::MAX).saturating_add(1);
    options.lanes.unwrap_or_else(|| processors().min(most)).max(1)
}

/// Returns the number of slots whose logs fit into `bytes`.
fn slots_of_logs(bytes: u64, blocks: u32) -> u64 {
    let blocks = u64::from(blocks);
    let sectors = bytes.saturating_sub(LABELS_BYTES) / SECTOR_BYTES / blocks;
    let touches = (sectors * persistence::ENTRIES_PER_SECTOR).div_ceil(persistence::TOUCHES_PER_SECTOR);
    let sectors = sectors.saturating_sub(touches + SPARE_LOG_SECTORS);
    // Buckets have 15 slots, and there are no fewer slots than were asked for.
    (sectors * persistence::ENTRIES_PER_SECTOR * blocks / 3 * 2 / 15).saturating_sub(blocks) * 15
}

/// Returns the number of sectors for the log of a block, and for its touches.
///
/// A block's fair share of all slots, and half of that again, as blobs are not spread evenly; and besides what syncs
/// leave unused: under `OnPut` each may take a sector, so an eighth of the block is set aside.
fn log_sectors(policy: SyncPolicy, slots: u64, blocks: u32, block_bytes: u64) -> (u32, u32) {
    let entries = slots.div_ceil(u64::from(blocks)) * 3 / 2;
    let sectors = entries.div_ceil(persistence::ENTRIES_PER_SECTOR);
    let sectors = SPARE_LOG_SECTORS
        + match policy {
            SyncPolicy::OnPut => sectors.max(block_bytes / 8 / SECTOR_BYTES),
            SyncPolicy::Interval(_) | SyncPolicy::OnClose => sectors,
        };
    let touches = (sectors * persistence::ENTRIES_PER_SECTOR).div_ceil(persistence::TOUCHES_PER_SECTOR);
    (u32::try_from(sectors).unwrap_or(u32::MAX), u32::try_from(touches).unwrap_or(u32::MAX))
}

impl Display for Sizes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "capacity: {} bytes", self.capacity_bytes)?;
        writeln!(f, "blocks: {} of {} bytes, in chunks of {}", self.blocks, self.data_bytes, self.chunk_bytes)?;
        writeln!(f, "largest blob: {} bytes", self.max_blob_size_bytes())?;
        let least = self.least_mean_blob_bytes();
        writeln!(
            f,
            "slots of the map: {}, which evicts if blobs are smaller than {least} bytes on average",
            self.slots
        )?;
        let apart = if self.has_own_logs { ", on a device of their own" } else { "" };
        if let Some(entries) = self.entries_per_block() {
            writeln!(
                f,
                "log of a block: {entries} entries in {} sectors, touches in {}{apart}",
                self.log_sectors, self.touch_sectors
            )?;
        }
        writeln!(f, "memory: {} bytes", self.memory_bytes)?;
        write!(f, "kept for another: {} bytes", self.promised_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn refused(options: &Options, storage_type: StorageType) -> String {
        Sizes::derive(options, storage_type).unwrap_err().to_string()
    }

    #[test]
    fn what_is_derived_fits_the_capacity() {
        for capacity in [8 << 20, 100 << 20, 64 << 30] {
            for policy in [SyncPolicy::OnPut, SyncPolicy::Interval(Duration::from_secs(1)), SyncPolicy::OnClose] {
                let options = Options::in_file("/x", capacity).persistent(policy).with_entries(1000);
                let sizes = Sizes::derive(&options, StorageType::Cas).unwrap();
                let block =
                    sizes.data_bytes + SECTOR_BYTES * (u64::from(sizes.log_sectors) + u64::from(sizes.touch_sectors));
                let used = 2 * sizes.superblock_bytes + block * u64::from(sizes.blocks);
                assert!(used <= capacity);
                assert!(used >= capacity / 16 * 13, "{used} of {capacity}");
                assert_eq!(sizes.data_bytes % sizes.chunk_bytes, 0);
                assert!(sizes.stored_bytes(sizes.max_blob_size_bytes()) <= sizes.data_bytes);
                assert!(sizes.promised_bytes() <= capacity / 2);
            }
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_what_is_wrong() {
        let options = Options::in_memory(1 << 30);
        let several = options.clone().with_blocks(8, 24, 3);
        assert!(Sizes::derive(&several, StorageType::Cas).is_ok());
        let hierarchical = options.clone().with_hierarchical_instance_names();
        for kind in [StorageType::Ac, StorageType::Icas, StorageType::Iscc, StorageType::Fsac] {
            assert!(refused(&several, kind).contains("3 new blocks"));
            assert!(refused(&hierarchical, kind).contains("around one of"));
            assert!(Sizes::derive(&options, kind).is_ok());
        }
        assert!(refused(&options.clone().with_blocks(1, 0, 1), StorageType::Cas).contains("current"));
        assert!(refused(&options.clone().with_spare_blocks(1), StorageType::Cas).contains("1 spare blocks"));
        assert!(refused(&options.clone().with_write_concurrency(0), StorageType::Cas).contains("at least 1"));
        assert!(refused(&options.clone().with_lanes(u32::MAX), StorageType::Cas).contains("4294967295 lanes"));
        assert!(refused(&options.clone().with_copied_percent(81), StorageType::Cas).contains("81 percent"));
        assert!(refused(&options.clone().persistent(SyncPolicy::OnPut), StorageType::Cas).contains("in memory"));
        assert!(refused(&options.with_blocks(60_000, 10_000, 1), StorageType::Cas).contains("70004 blocks"));
        assert!(refused(&Options::in_memory(1 << 20), StorageType::Cas).contains("too small for 36 blocks"));
    }

    #[test]
    fn memory_that_cannot_be_had_is_refused_and_ends_nothing() {
        let options = Options::in_file("/x", 1 << 30).with_entries(u64::MAX).with_in_flight_bytes(u64::MAX);
        // The control group of this process may permit less, and say so.
        if let Ok(sizes) = Sizes::derive(&options.with_staged_bytes(u64::MAX), StorageType::Cas) {
            let refusal = check_allocation(&sizes).unwrap_err().to_string();
            assert!(refusal.contains("with_entries"), "{refusal}");
        }
    }

    #[test]
    fn a_device_for_logs_decides_the_slots_and_must_be_large_enough() {
        let options = Options::in_file("/x", 1 << 30).persistent(SyncPolicy::OnClose);
        for bytes in [4 << 20, 100 << 20] {
            let apart = options.clone().with_logs_in("/y", bytes);
            let sizes = Sizes::derive(&apart, StorageType::Cas).unwrap();
            let logs = u64::from(sizes.log_sectors + sizes.touch_sectors) * SECTOR_BYTES * u64::from(sizes.blocks);
            assert!(logs + LABELS_BYTES <= bytes && logs > bytes / 10 * 6, "{logs} of {bytes}");
        }
        let small = refused(&options.with_entries(1 << 20).with_logs_in("/y", 100 << 20), StorageType::Cas);
        assert!(small.contains("104857600 bytes, while"), "{small}");
        let needed: u64 = small.split("need ").nth(1).unwrap().trim_end_matches(" bytes").parse().unwrap();
        let options = Options::in_file("/x", 1 << 30).persistent(SyncPolicy::OnClose).with_entries(1 << 20);
        assert!(Sizes::derive(&options.clone().with_logs_in("/y", needed), StorageType::Cas).is_ok());
        assert!(Sizes::derive(&options.with_logs_in("/y", needed - 1), StorageType::Cas).is_err());
    }

    #[test]
    fn sizes_print_one_a_line() {
        let options = Options::in_file("/x", 1 << 30).persistent(SyncPolicy::OnClose);
        let sizes = Sizes::derive(&options, StorageType::Cas).unwrap();
        assert_eq!(sizes.to_string().lines().count(), 7);
    }
}
