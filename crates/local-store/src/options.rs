//! The settings of a store: where it keeps blobs, and its sizes.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// The settings of a [`LocalStore`](crate::LocalStore).
///
/// Nothing is checked here. [`Sizes::derive`](crate::Sizes::derive) does that, and prints what follows from it;
/// opening a store begins with the same.
///
/// # Examples
///
/// ```
/// use blobaccess::StorageType;
/// use blobaccess_local_store::{Options, Sizes};
///
/// let sizes = Sizes::derive(&Options::in_memory(1 << 30), StorageType::Cas)?;
/// assert!(sizes.max_blob_size_bytes() >= 27 << 20);
/// println!("{sizes}");
/// # Ok::<(), blobaccess::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct Options {
    pub(crate) medium: Medium,
    pub(crate) capacity_bytes: u64,
    pub(crate) old_blocks: u32,
    pub(crate) current_blocks: u32,
    pub(crate) new_blocks: u32,
    pub(crate) spare_blocks: u32,
    pub(crate) entries: Option<u64>,
    pub(crate) persistence: Option<SyncPolicy>,
    pub(crate) copied_percent: u32,
    pub(crate) refresh: Refresh,
    pub(crate) lanes: Option<u32>,
    pub(crate) in_flight_bytes: u64,
    pub(crate) staged_bytes: u64,
    pub(crate) account_names: u32,
    pub(crate) write_concurrency: Option<u32>,
    pub(crate) verification: Option<Duration>,
    pub(crate) has_mapped_reads: bool,
    pub(crate) is_hierarchical: bool,
    pub(crate) discarding: bool,
    pub(crate) has_sparse_files: bool,
    /// Where logs lie apart from blocks, and how much of it they may take.
    pub(crate) logs: Option<(Place, u64)>,
    /// Where the state lies apart from blocks.
    pub(crate) state: Option<Place>,
}

/// Where something lies that does not lie with the blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Path(PathBuf),
    /// On a device that is handed over when the store is opened.
    Device,
}

/// Where blobs are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Medium {
    Memory,
    /// A file, or a block device.
    File(PathBuf),
    /// A device that is handed over when the store is opened.
    Device,
}

/// When what was put is made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncPolicy {
    /// Before a put returns. Puts that come together share one sync.
    OnPut,
    /// At least this much later, by [`LocalStore::run`](crate::LocalStore::run), if anything has changed: the least time
    /// between two syncs of that kind, of which there are none while the store is idle, and never two at once.
    /// Recycling a block syncs besides.
    Interval(Duration),
    /// When the store is closed, or [`LocalStore::sync`](crate::LocalStore::sync) is called.
    OnClose,
}

/// When what is in use is copied to a new block, so that it outlives the one that it lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refresh {
    /// When its block is recycled.
    AtRecycling,
    /// Soon after it was read or found in an old block, in the background.
    OnTouch,
}

/// Returns the default number of current blocks: with the 8 old, 1 new and 3 spare ones, the number that leaves a block
/// 1 GiB, at least 24 and at most 152. `docs/decisions/0012-how-many-blocks.md` says why.
fn default_current_blocks(capacity_bytes: u64) -> u32 {
    let others = 12;
    u32::try_from((capacity_bytes >> 30).saturating_sub(others).clamp(24, 152)).unwrap_or(152)
}

impl Options {
    fn new(medium: Medium, capacity_bytes: u64) -> Self {
        Self {
            medium,
            capacity_bytes,
            old_blocks: 8,
            current_blocks: default_current_blocks(capacity_bytes),
            new_blocks: 1,
            spare_blocks: 3,
            entries: None,
            persistence: None,
            copied_percent: 50,
            refresh: Refresh::AtRecycling,
            lanes: None,
            in_flight_bytes: 64 << 20,
            staged_bytes: 64 << 20,
            account_names: 256,
            write_concurrency: None,
            verification: None,
            has_mapped_reads: false,
            is_hierarchical: false,
            discarding: false,
            has_sparse_files: false,
            logs: None,
            state: None,
        }
    }

    /// Makes the options of a store in `capacity_bytes` of memory.
    #[must_use]
    pub fn in_memory(capacity_bytes: u64) -> Self {
        Self::new(Medium::Memory, capacity_bytes)
    }

    /// Makes the options of a store in `capacity_bytes` of the file or block device at `path`.
    ///
    /// **It starts empty each time it is opened**, unless [`persistent`](Self::persistent) says when to sync.
    ///
    /// A file is created if it is not there. It is allocated in full when the store is opened, so that a full disk
    /// shows there and nowhere else.
    #[must_use]
    pub fn in_file(path: impl AsRef<Path>, capacity_bytes: u64) -> Self {
        Self::new(Medium::File(path.as_ref().to_owned()), capacity_bytes)
    }

    /// Makes the options of a store on a device that is handed over at
    /// [`LocalStore::open_on`](crate::LocalStore::open_on).
    #[must_use]
    pub fn on_device(capacity_bytes: u64) -> Self {
        Self::new(Medium::Device, capacity_bytes)
    }

    /// Sets the number of old, current and new blocks.
    ///
    /// Blobs go into the new blocks. A block that is full becomes current, later old, and is recycled when there are
    /// more old ones than this. Together they say how finely the store forgets: the more blocks, the less goes at once,
    /// and the smaller is the largest blob, which must fit into one.
    ///
    /// * **Too few**: each recycling gives up a large share of the store; the age of what is evicted varies much, and
    ///   spare blocks take much of it. It misses 1 to 5 percent more often than a store that forgets what was used least
    ///   lately, and with 150 blocks and more as often as that.
    /// * **Too many**: blobs larger than a block are refused; if a block is not much larger than the largest blobs, space
    ///   at block ends is wasted.
    /// * **Range**: 0 or more old, 1 or more current and new; up to 65,535 in all. **Default**: 8 old, 1 new, and 24 to
    ///   152 current, as many as leave a block 1 GiB.
    /// * More than one new block spreads blobs of one time over several blocks: less goes at once when one is recycled.
    ///   Stores of messages must have exactly one, so that a newer value is never recycled before an older one.
    #[must_use]
    pub fn with_blocks(mut self, old: u32, current: u32, new: u32) -> Self {
        (self.old_blocks, self.current_blocks, self.new_blocks) = (old, current, new);
        self
    }

    /// Sets the number of blocks that are kept free, so that puts need not wait while one is recycled.
    ///
    /// * **Too few**: puts wait while a block is recycled, which [`Snapshot::waits_for_space`](crate::Snapshot) counts.
    /// * **Too many**: space that holds nothing.
    /// * **Range**: 2 or more, as copying what was touched needs one for itself. **Default**: 3.
    #[must_use]
    pub fn with_spare_blocks(mut self, spare: u32) -> Self {
        self.spare_blocks = spare;
        self
    }

    /// Sets the least number of slots of the map: an upper bound of the number of objects that the store can hold.
    ///
    /// * **Too few**: blobs are given up although there is space. [`Snapshot::dropped_records`](crate::Snapshot) counts
    ///   them; the load, `records / slots`, stands beside it. Up to 0.9, none is; from 0.95 on, each put drops one.
    /// * **Too many**: 68 bytes of memory each.
    /// * **Default**: one for 16 KiB of capacity, for messages one for 512 bytes; at least 16,384.
    /// * **Formula**: capacity / average blob size / 0.75.
    #[must_use]
    pub fn with_entries(mut self, entries: u64) -> Self {
        self.entries = Some(entries);
        self
    }

    /// Keeps what a sync has covered for the next time that the store is opened, and syncs as `policy` says. Unset, a
    /// store starts empty each time.
    ///
    /// No file is needed after an end but what a sync has written. So these puts are there after reopening:
    ///
    /// | policy | after `sync` or `close` | after a drop, an exit, a kill or a power cut |
    /// |---|---|---|
    /// | not persistent | none | none |
    /// | [`OnPut`](SyncPolicy::OnPut) | all | all that were answered |
    /// | [`Interval`](SyncPolicy::Interval), `run` polled | all | all but those of the last interval |
    /// | [`Interval`](SyncPolicy::Interval), `run` never polled | all | none but those that the recycling of a block synced |
    /// | [`OnClose`](SyncPolicy::OnClose) | all | none but those that the recycling of a block synced |
    ///
    /// A store goes on under another policy than it was made for, with the logs that it has. Made for another than
    /// [`OnPut`](SyncPolicy::OnPut), they are shorter than that wants: with lone small puts, blocks are left earlier.
    ///
    /// Dropping a store is not closing it. Use [`sync`](crate::LocalStore::sync) where the store is shared, as
    /// [`close`](crate::LocalStore::close) takes it by value. Two warnings are logged by `tracing`: when a persistent store
    /// is dropped with changes that no sync has covered, and at the first put that begins an interval, or 30 s, after another
    /// while nobody polls [`run`](crate::LocalStore::run).
    #[must_use]
    pub fn persistent(mut self, policy: SyncPolicy) -> Self {
        self.persistence = Some(policy);
        self
    }

    /// Sets the largest share of all writes that may be copies of touched blobs, in percent.
    ///
    /// What is not used up is saved for later, up to the share of four blocks. What was merely read goes before what
    /// somebody was told is there.
    ///
    /// * **Too little**: blobs go that somebody was told are there; [`Snapshot::breached_bytes`](crate::Snapshot)
    ///   counts them.
    /// * **Too much**: a store full of what is in use copies much for each byte it takes in.
    /// * **Range**: 0 to 80. **Default**: 50.
    #[must_use]
    pub fn with_copied_percent(mut self, percent: u32) -> Self {
        self.copied_percent = percent;
        self
    }

    /// Sets when blobs in use are copied to a new block. `docs/decisions/0012-how-many-blocks.md` compares the two.
    ///
    /// * [`Refresh::AtRecycling`]: what was read or found since it was stored is copied when its block goes. It is copied as
    ///   late as can be, and once in a rotation at most. All copying comes at once, when a block is needed.
    /// * [`Refresh::OnTouch`]: what is read or found in an *old* block is queued, once, and copied soon after by
    ///   [`run`](crate::LocalStore::run), else by whoever recycles next; never by who reads. Reads in other blocks count for
    ///   nothing. Copies are spread over time. But a copy takes space in two blocks until the old one goes: 1 to 30 percent
    ///   more misses. It takes some old blocks, as with 0 there is none to be touched in.
    /// * **What goes wrong**: readers find more than copying keeps up with. Then the queue of 8,192 is full, or the
    ///   [share](Self::with_copied_percent) is used up. [`Snapshot::unrefreshed`](crate::Snapshot::unrefreshed) counts these,
    ///   [`Snapshot::queued_refreshes`](crate::Snapshot::queued_refreshes) is the length of the queue. Nobody's call fails for it: what
    ///   was found is copied when its block is recycled, as long as that is promised, and what was read perhaps.
    /// * **Default**: [`Refresh::AtRecycling`].
    #[must_use]
    pub fn with_refresh(mut self, refresh: Refresh) -> Self {
        self.refresh = refresh;
        self
    }

    /// Sets the number of chunks into which small blobs are put concurrently: each thread keeps to one of them.
    ///
    /// * **Too few**: threads write into the same lines of memory, and wait for each other.
    /// * **Too many**: each but the first costs up to a chunk of every block, and as much of what is promised.
    /// * **Range**: 1 to the number of chunks of a block. **Default**: as many as there are processors, but for one only in
    ///   32 chunks.
    #[must_use]
    pub fn with_lanes(mut self, lanes: u32) -> Self {
        self.lanes = Some(lanes);
        self
    }

    /// Sets the memory that puts may take at once for blobs that have not arrived in full, in bytes. Further puts wait,
    /// up to their deadline.
    ///
    /// **Range**: 64 KiB or more. **Default**: 64 MiB.
    #[must_use]
    pub fn with_in_flight_bytes(mut self, bytes: u64) -> Self {
        self.in_flight_bytes = bytes;
        self
    }

    /// Sets the memory for blobs that are stored but not yet written to the device, in bytes. Puts wait when it is
    /// full. Blobs in flight may exceed it.
    ///
    /// **Default**: 64 MiB.
    #[must_use]
    pub fn with_staged_bytes(mut self, bytes: u64) -> Self {
        self.staged_bytes = bytes;
        self
    }

    /// Sets the number of threads that may write to each device at once; further ones wait. The devices are that of the
    /// blocks, and those of logs and state where they are apart.
    ///
    /// Blocks and logs are written behind the puts, by one thread at a time in any case, in pieces of up to 1 MiB; only
    /// the state is written beside it. So 1 is the only limit that shows, and it shows little.
    ///
    /// * **Too few**: with 1, a sync waits for the piece that is being written.
    /// * **Range**: 1 or more. **Default**: as many as come.
    #[must_use]
    pub fn with_write_concurrency(mut self, writes: u32) -> Self {
        self.write_concurrency = Some(writes);
        self
    }

    /// Sets the number of accounts that the store tells apart in its [evictions](blobaccess::Evictions), one of which
    /// is `__other__`.
    ///
    /// All objects of further accounts count as those of `__other__`, and so do those of an account for whose name
    /// there is no room: names and totals have 96 bytes each in the store's state, of which the totals take 34. A
    /// account is never forgotten, as its totals are those of the store's whole life.
    ///
    /// * **Too few**: what is given up of `__other__` belongs to nobody who could be told.
    /// * **Too many**: each sync writes so much more: 34 bytes and the name for each that is in use.
    /// * **Range**: 2 to 16,383. **Default**: 256. **Formula**: the accounts that there will ever be, and one.
    #[must_use]
    pub fn with_account_names(mut self, account_names: u32) -> Self {
        self.account_names = account_names;
        self
    }

    /// Keeps logs and touches of a persistent store in a file or on a block device of their own, of which they take up
    /// to `size_bytes`; and unless [`with_entries`](Self::with_entries) says how many slots the map has, makes them as
    /// many as there is room for the logs of. Of a store that is not persistent, it decides the slots and nothing else.
    ///
    /// A file is created if it is not there, and allocated in full. Unset, logs lie beside the data of their block.
    ///
    /// * **Too small**: opening is refused, with the size that is needed.
    /// * **Too large**: space that holds nothing; if it decides the slots, 68 bytes of memory for about each 110 bytes.
    /// * **Formula**: 8,192 and 4,096 for each sector of a log or of touches, which [`Sizes`](crate::Sizes) print; some
    ///   110 bytes a slot, and 70 KiB a block.
    #[must_use]
    pub fn with_logs_in(mut self, path: impl AsRef<Path>, size_bytes: u64) -> Self {
        self.logs = Some((Place::Path(path.as_ref().to_owned()), size_bytes));
        self
    }

    /// Keeps logs as [`with_logs_in`](Self::with_logs_in) does, on a device that is handed over when the store is
    /// opened ([`Devices::with_logs`](crate::Devices::with_logs)).
    #[must_use]
    pub fn with_logs_on_device(mut self, size_bytes: u64) -> Self {
        self.logs = Some((Place::Device, size_bytes));
        self
    }

    /// Keeps the state of a persistent store, which says what of its blocks is in use, in the file `state` of this
    /// directory, which must be there. Unset, it lies at the head of the blocks. Of a store that is not persistent, it
    /// decides nothing.
    ///
    /// The file takes 160 bytes, 48 for each block, 24,576, and 96 for each account, rounded up to sectors, twice.
    /// State and blocks (and logs, if they are apart) belong together: they are refused if the one is older than the
    /// other.
    #[must_use]
    pub fn with_state_directory(mut self, directory: impl AsRef<Path>) -> Self {
        self.state = Some(Place::Path(directory.as_ref().join("state")));
        self
    }

    /// Keeps the state as [`with_state_directory`](Self::with_state_directory) does, on a device that is handed over
    /// when the store is opened ([`Devices::with_state`](crate::Devices::with_state)).
    #[must_use]
    pub fn with_state_on_device(mut self) -> Self {
        self.state = Some(Place::Device);
        self
    }

    /// Sets how long a piece of a blob (of up to 256 KiB) that was read from the device and verified is not verified
    /// again. Blobs in memory are never verified again.
    ///
    /// * **Too short, or unset**: each read hashes what it reads, and of a range, the piece that it lies in is read
    ///   whole. Of 4 KiB and less, hashing takes no longer (0.15 µs) than to find out that it is not needed.
    /// * **Too long**: what rots on the disk after it was verified is served until it is verified again.
    /// * **Range**: any. **Default**: unset, each read verifies.
    /// * **Memory**: up to 65,536 pieces are remembered, in 4 MiB; when there are more, some are verified again.
    #[must_use]
    pub fn with_remembered_verification(mut self, duration: Duration) -> Self {
        self.verification = Some(duration);
        self
    }

    /// Reads the blocks through a mapping of their file or block device, where a call may wait for a disk anyway; the
    /// rest, such as what the trait answers at once, is read by system calls as ever.
    ///
    /// Each read is a copy, as without it, since blocks are used again: whoever was handed the mapping itself could come
    /// to see the bytes of another object. It is never written through.
    ///
    /// * **What it buys**: a read of 4 KiB that the page cache has takes a fifth less time, as there is no system call; the
    ///   calls that return contents at once, or lend them, gain by it. The first read of a page after the store was
    ///   opened takes longer.
    /// * **What it costs**: a disk that fails to read raises SIGBUS, which ends the process, where it is an error else;
    ///   so does a file that somebody else makes shorter. What the page cache does not have makes the calling thread wait page by page,
    ///   as far as the system does not read ahead. It takes as many addresses as the store has bytes.
    /// * **Range**: stores in files and on block devices, or on devices that have [one of
    ///   these](crate::Device::mappable); else opening is refused. **Default**: off.
    #[must_use]
    pub fn with_mapped_reads(mut self, mapped: bool) -> Self {
        self.has_mapped_reads = mapped;
        self
    }

    /// Makes instance names count: a name sees what was put under it, and under the names that it begins with. `a/b`
    /// sees what was put under `a/b`, `a` and the empty name.
    ///
    /// Contents are kept once. A name that puts what is stored already, and that it does not see, uploads all of it;
    /// only when that has proved right it sees them, and the put is `Created` with no byte stored. So nobody can find
    /// out by asking what others have stored.
    ///
    /// * **Cost**: a record of the map and an entry of the log for each name of each object; a look-up for each
    ///   component of a name, of what is stored. Parts of composite objects are not remembered.
    /// * **Range**: stores of contents only; names of up to 64 components. **Default**: names do not count.
    /// * The default of [`with_entries`](Self::with_entries) is twice as large.
    #[must_use]
    pub fn with_hierarchical_instance_names(mut self) -> Self {
        self.is_hierarchical = true;
        self
    }

    /// Gives files their size without allocating them, so that they take space on the disk only as they are written.
    ///
    /// * **What it buys**: opening takes no space, and may promise more than the disk has.
    /// * **What goes wrong**: a full disk shows in the midst of work and not when the store is opened. A store whose file
    ///   cannot grow takes nothing more until it is opened anew; reading goes on.
    /// * **Range**: stores in files; block devices and memory are not concerned. **Default**: files are allocated in full.
    #[must_use]
    pub fn with_sparse_files(mut self) -> Self {
        self.has_sparse_files = true;
        self
    }

    /// Throws away what the file or device holds, if it cannot be gone on with: another store's state, one of other
    /// sizes, a damaged one, or what is no store at all. Without it, a store is made only on a device that one like it was
    /// made on before, or whose first and last MiB are zeros, whether the store is persistent or not.
    #[must_use]
    pub fn discarding(mut self, discarding: bool) -> Self {
        self.discarding = discarding;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_store_has_more_blocks_than_a_small_one() {
        let blocks = |gibibytes: u64| Options::in_memory(gibibytes << 30).current_blocks;
        assert_eq!([0, 1, 36, 37, 100, 164, 1 << 20].map(blocks), [24, 24, 24, 25, 88, 152, 152]);
    }
}
