//! Reservations, syncs and releases in every order, one step at a time.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use blobaccess::{Digest, DigestFunction, InstanceName, NoObserver, PutOutcome, StorageType, SystemClock};
use bytes::Bytes;

use super::put::{Contents, Published, Replaces};
use super::recycle::Forgotten;
use super::space::{Requester, Reservation};
use super::{Engine, LargeWriter, Mode, Presence, Put, Read, Surroundings};
use crate::device::SECTOR_BYTES;
use crate::key_location_map::Record;
use crate::machine::casts;
use crate::object::checksums::Sums;
use crate::options::{Options, SyncPolicy};
use crate::persistence::Layout;
use crate::{Device, MemoryDevice};

/// A device that knows in which sectors it was written since that was last asked.
#[derive(Debug)]
struct Watched {
    inner: MemoryDevice,
    written: Mutex<BTreeSet<u64>>,
    /// The sectors that it was told to begin writing back.
    begun: Mutex<BTreeSet<u64>>,
}

fn sectors(offset: u64, length: u64) -> std::ops::Range<u64> {
    offset / SECTOR_BYTES..(offset + length).div_ceil(SECTOR_BYTES)
}

impl Watched {
    fn take_written(&self) -> BTreeSet<u64> {
        std::mem::take(&mut self.written.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Device for Watched {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let sectors = sectors(offset, casts::on_device(bytes.len()));
        self.written.lock().unwrap_or_else(PoisonError::into_inner).extend(sectors);
        self.inner.write_at(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }

    fn begin_write_back(&self, offset: u64, length: u64) {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).extend(sectors(offset, length));
    }
}

const CAPACITY: u64 = 16 << 20;

fn watched() -> Arc<Watched> {
    Arc::new(Watched { inner: MemoryDevice::new(CAPACITY), written: Mutex::default(), begun: Mutex::default() })
}

fn options(lanes: u32) -> Options {
    Options::on_device(CAPACITY).with_blocks(1, 3, 1).with_spare_blocks(2).with_entries(3_000).with_lanes(lanes)
}

fn open(device: &Arc<Watched>, lanes: u32) -> Arc<Engine> {
    open_with(device, &options(lanes).persistent(SyncPolicy::OnClose))
}

fn open_with(device: &Arc<Watched>, options: &Options) -> Arc<Engine> {
    let surroundings = Surroundings {
        observer: Arc::new(NoObserver),
        clock: Arc::new(SystemClock),
        policy: options.persistence,
        staged_bytes: options.staged_bytes,
    };
    let device: Arc<dyn Device> = Arc::<Watched>::clone(device);
    Engine::open(options, StorageType::Cas, Some(device.into()), surroundings).unwrap()
}

fn blob(number: u64, size: usize) -> (Digest, Contents, Bytes) {
    let mut bytes = number.to_le_bytes().repeat(size / 8 + 1);
    bytes.truncate(size.max(8));
    let bytes = Bytes::from(bytes);
    let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, &bytes);
    let owner =
        super::Owner { function: crate::key::function(&digest), account_name: 0, new_account: None, tail: Vec::new() };
    (digest, Contents { bytes: bytes.clone(), owner }, bytes)
}

/// A put that has reserved and written, and is to be published.
struct Open {
    digest: Digest,
    contents: Contents,
    reservation: Reservation,
    sums: Option<Sums>,
}

fn begin(engine: &Engine, number: u64, size: usize) -> Option<Open> {
    let (digest, contents, _) = blob(number, size);
    let length = engine.length(casts::on_device(contents.bytes.len()), &contents.owner);
    let mut reservation = engine.space().reserve(length, Requester::Put)?;
    let sums = engine.fill(&mut reservation, &contents.bytes);
    Some(Open { digest, contents, reservation, sums })
}

/// Returns the record of what is published now, if it still may be.
fn publish(engine: &Engine, open: Open) -> Option<Record> {
    let Open { digest, contents, mut reservation, sums } = open;
    let size = casts::on_device(contents.bytes.len());
    let key = engine.keys.key(&digest);
    match engine.publish(&key, &mut reservation, size, &contents.owner, sums.as_ref(), Replaces::Nothing) {
        Published::Done(_) => engine.peek(&key),
        Published::Exists(_) | Published::Changed | Published::Refused | Published::Void => {
            engine.abandon(reservation);
            None
        }
    }
}

fn read(engine: &Engine, digest: &Digest) -> Option<Bytes> {
    let record = engine.peek(&engine.keys.key(digest))?;
    match engine.read(&record, 0..record.location.size_bytes, Mode::Waiting).unwrap() {
        Read::Bytes(bytes) => Some(bytes),
        Read::Gone | Read::NotAtOnce => panic!("{record:?} is gone"),
    }
}

#[test]
fn the_disk_begins_with_what_a_sync_is_going_to_need() {
    for is_persistent in [true, false] {
        let device = watched();
        let options = if is_persistent { options(1).persistent(SyncPolicy::OnClose) } else { options(1) };
        let engine = open_with(&device, &options);
        device.take_written();
        for number in 0..30 {
            let (digest, contents, _) = blob(number, 100_000);
            engine.put_contents(&engine.keys.key(&digest), &contents, None).unwrap();
        }
        engine.flush().unwrap();
        let begun = std::mem::take(&mut *device.begun.lock().unwrap());
        assert_eq!(begun.len() > 300, is_persistent);
        assert!(begun.is_subset(&device.take_written()));
    }
}

#[test]
fn a_sync_waits_for_no_put_and_takes_the_sectors_of_small_ones() {
    let device = watched();
    let engine = open(&device, 1);
    let early = begin(&engine, 1, 700).unwrap();
    let (digest, contents, bytes) = blob(2, 900);
    let put = engine.put_contents(&engine.keys.key(&digest), &contents, None).unwrap();
    assert!(matches!(put, Put::Done { outcome: PutOutcome::Created { .. }, .. }));
    engine.sync().unwrap();
    let early_digest = early.digest.clone();
    assert!(publish(&engine, early).is_none());
    assert_eq!(engine.find(&engine.keys.key(&early_digest)), Presence::Absent);
    let late = begin(&engine, 3, 700).unwrap();
    let late_digest = late.digest.clone();
    assert!(publish(&engine, late).is_some());
    engine.sync().unwrap();
    drop(engine);
    let engine = open(&device, 1);
    assert_eq!(read(&engine, &digest).unwrap(), bytes);
    assert_eq!(read(&engine, &late_digest).unwrap(), blob(3, 700).2);
    assert!(read(&engine, &early_digest).is_none());
}

#[test]
fn what_is_large_is_published_after_syncs_that_came_while_it_was_written() {
    let device = watched();
    let engine = open(&device, 1);
    let (digest, contents, bytes) = blob(7, 300_000);
    let mut writer = engine.begin_large(300_000, &contents.owner).unwrap().unwrap();
    for piece in bytes.chunks(70_001) {
        writer.write(piece).unwrap();
        engine.sync().unwrap();
    }
    let put = writer.finish(&engine.keys.key(&digest), None).unwrap();
    assert!(matches!(put, Put::Done { outcome: PutOutcome::Created { .. }, .. }));
    engine.sync().unwrap();
    drop(engine);
    assert_eq!(read(&open(&device, 1), &digest).unwrap(), bytes);
}

#[test]
fn a_thread_that_takes_turns_lets_those_in_that_wait() {
    let engine = open(&watched(), 1);
    for _ in 0..100 {
        let was_in = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let space = engine.space.enter();
            scope.spawn(|| {
                let _space = engine.space.enter();
                was_in.store(true, Ordering::SeqCst);
            });
            engine.space.wait_until_somebody_waits();
            drop(space);
            drop(engine.space.take_turn());
            assert!(was_in.load(Ordering::SeqCst));
        });
    }
}

#[test]
fn equal_puts_at_once_create_one() {
    let device = watched();
    let engine = open(&device, 2);
    let (first, second) = (begin(&engine, 1, 5_000).unwrap(), begin(&engine, 1, 5_000).unwrap());
    let digest = first.digest.clone();
    assert!(publish(&engine, second).is_some());
    assert!(publish(&engine, first).is_none());
    assert_eq!(read(&engine, &digest).unwrap(), blob(1, 5_000).2);
}

/// Begins, publishes and gives up puts in any order, with syncs in between.
fn nothing_vouched_for_is_written_again(seed: u64) {
    let mut state = seed;
    let mut below = move |end: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % end
    };
    let device = watched();
    let engine = open(&device, 2);
    let data = |record: &Record| {
        let begin = Layout::new(&engine.sizes).data(record.location.block) + record.location.offset;
        let end = begin + engine.sizes.stored_bytes(record.location.size_bytes);
        begin / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES)
    };
    let (mut open_puts, mut large, mut published, mut number) =
        (Vec::new(), Vec::<(LargeWriter, u64)>::new(), vec![], 0);
    let mut vouched = BTreeSet::new();
    let mut stored = Vec::new();
    for _ in 0..400 {
        match below(12) {
            0..=4 => {
                number += 1;
                let size = [60, 900, 3_000, 9_000, 40_000][usize::try_from(below(5)).unwrap()];
                open_puts.extend(begin(&engine, number, size));
            }
            5..=8 if !open_puts.is_empty() => {
                let open = open_puts.swap_remove(usize::try_from(below(casts::on_device(open_puts.len()))).unwrap());
                let (digest, bytes) = (open.digest.clone(), open.contents.bytes.clone());
                if let Some(record) = publish(&engine, open) {
                    published.extend(data(&record));
                    stored.push((digest, bytes));
                }
            }
            9 if !open_puts.is_empty() => {
                let open = open_puts.swap_remove(0);
                engine.abandon(open.reservation);
            }
            10 if large.len() < 3 => {
                number += 1;
                let owner = blob(number, 8).1.owner;
                large.extend(engine.begin_large(300_000, &owner).unwrap().map(|writer| (writer, number)));
            }
            10 => {
                let (mut writer, number) = large.swap_remove(0);
                let (digest, _, bytes) = blob(number, 300_000);
                writer.write(&bytes[..100_001]).unwrap();
                engine.flush().unwrap();
                if below(2) == 0 {
                    writer.write(&bytes[100_001..]).unwrap();
                    writer.finish(&engine.keys.key(&digest), None).unwrap();
                    published.extend(data(&engine.peek(&engine.keys.key(&digest)).unwrap()));
                    stored.push((digest, bytes));
                }
            }
            _ => {
                let before = published.len();
                engine.sync().unwrap();
                let written = device.take_written();
                assert!(written.is_disjoint(&vouched), "seed {seed}: a sector was written that is vouched for");
                vouched.extend(published.drain(..before));
            }
        }
        if engine.space().free_blocks() <= 2 {
            break;
        }
    }
    drop((open_puts, large));
    engine.close().unwrap();
    for (digest, bytes) in &stored {
        assert_eq!(read(&engine, digest).as_ref(), Some(bytes), "seed {seed}");
    }
    drop(engine);
    let engine = open(&device, 2);
    for (digest, bytes) in &stored {
        assert_eq!(read(&engine, digest).as_ref(), Some(bytes), "seed {seed}, reopened");
    }
}

#[test]
fn no_write_touches_a_sector_that_a_superblock_vouches_for() {
    for seed in 0..40 {
        nothing_vouched_for_is_written_again(seed);
    }
}

#[test]
fn an_upload_whose_block_is_recycled_stores_nothing_and_disturbs_nobody() {
    let device = watched();
    let engine = open(&device, 1);
    let (digest, contents, bytes) = blob(7, 300_000);
    let mut writer = engine.begin_large(300_000, &contents.owner).unwrap().unwrap();
    let small = begin(&engine, 8, 700).unwrap();
    writer.write(&bytes[..150_000]).unwrap();
    let recycled = |engine: &Engine| engine.counters.recycled_blocks.load(Ordering::Relaxed);
    let mut number = 100;
    while recycled(&engine) < 3 {
        number += 1;
        let (digest, contents, _) = blob(number, 50_000);
        if engine.put_contents(&engine.keys.key(&digest), &contents, None).unwrap() == Put::NeedsSpace {
            engine.recycle().unwrap();
        }
    }
    writer.write(&bytes[150_000..]).unwrap();
    let error = writer.finish(&engine.keys.key(&digest), None).unwrap_err();
    assert_eq!(error.kind(), blobaccess::ErrorKind::Unavailable);
    assert!(publish(&engine, small).is_none());
    assert!(engine.peek(&engine.keys.key(&digest)).is_none());
    for number in number - 20..=number {
        let (digest, _, bytes) = blob(number, 50_000);
        if engine.peek(&engine.keys.key(&digest)).is_some() {
            assert_eq!(read(&engine, &digest).unwrap(), bytes);
        }
    }
}

/// Puts others until `block` is the oldest, and not written any more; recycles nothing.
fn let_go(engine: &Engine, block: u16) {
    let mut number = 1_000;
    while engine.space().is_new(block) {
        number += 1;
        let (digest, contents, _) = blob(number, 50_000);
        let put = engine.put_contents(&engine.keys.key(&digest), &contents, None).unwrap();
        assert!(matches!(put, Put::Done { .. }));
    }
    assert_eq!(engine.space().position(block), Some(0));
}

#[test]
fn nothing_is_published_into_a_block_whose_promises_were_looked_at() {
    let device = watched();
    let engine = open(&device, 1);
    let (digest, contents, bytes) = blob(7, 300_000);
    let mut large = engine.begin_large(300_000, &contents.owner).unwrap().unwrap();
    large.write(&bytes).unwrap();
    let late = begin(&engine, 8, 700).unwrap();
    let late_digest = late.digest.clone();
    let block = late.reservation.block();
    let parent = publish(&engine, begin(&engine, 9, 5_000).unwrap()).unwrap();
    assert_eq!(parent.location.block, block);
    let_go(&engine, block);
    // The oldest block is being recycled, and as much of that is done as comes before it is swept from the map.
    engine.copy_touched(block).unwrap();
    let error = large.finish(&engine.keys.key(&digest), None).unwrap_err();
    assert_eq!(error.kind(), blobaccess::ErrorKind::Unavailable);
    assert!(publish(&engine, late).is_none());
    let part = blob(9, 5_000).2.slice(8..16);
    let part_digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, &part);
    let slice = blobaccess::Slice { digest: part_digest.clone(), offset: 8, size_bytes: 8 };
    engine.remember_parts(&parent, &[slice]);
    for digest in [&digest, &late_digest, &part_digest] {
        assert!(engine.peek(&engine.keys.key(digest)).is_none());
    }
    // Whoever puts it anew finds another block.
    let (digest, contents, bytes) = blob(8, 700);
    let put = engine.put_contents(&engine.keys.key(&digest), &contents, None).unwrap();
    assert!(matches!(put, Put::Done { outcome: PutOutcome::Created { .. }, .. }));
    assert_ne!(engine.peek(&engine.keys.key(&digest)).unwrap().location.block, block);
    assert_eq!(read(&engine, &digest).unwrap(), bytes);
}

#[test]
fn no_put_and_no_refresh_goes_on_while_copies_have_the_last_free_block() {
    let device = watched();
    let engine = open(&device, 1);
    let put = |number: u64, size: usize| {
        let (digest, contents, _) = blob(number, size);
        engine.put_contents(&engine.keys.key(&digest), &contents, None).unwrap()
    };
    let mut number = 100;
    while put(number, 50_000) != Put::NeedsSpace {
        number += 1;
    }
    assert_eq!(engine.space().free_blocks(), 1);
    assert!(engine.needs_recycling());
    // A block is full but for less than this, so a copy begins the one that was left to copies.
    let (_, contents, _) = blob(1, 50_000);
    let length = engine.length(50_000, &contents.owner);
    let copy = engine.space().reserve(length, Requester::Copy).unwrap();
    assert!(engine.space().free_blocks() == 0);
    assert!(engine.space().is_new(copy.block()));
    // It has room, and it is theirs.
    for length in [8, 700, 50_000, 300_000] {
        for requester in [Requester::Put, Requester::Refresh] {
            assert!(engine.space().reserve(length, requester).is_none(), "{length} bytes for {requester:?}");
        }
    }
    assert_eq!(put(1, 700), Put::NeedsSpace);
    assert!(engine.begin_large(300_000, &contents.owner).unwrap().is_none());
    assert!(engine.space().reserve(700, Requester::Copy).is_some());
    engine.abandon(copy);
    engine.recycle().unwrap();
    assert!(matches!(put(1, 700), Put::Done { outcome: PutOutcome::Created { .. }, .. }));
}

#[test]
fn who_finds_what_no_copy_has_space_for_waits_until_its_block_is_recycled() {
    let device = watched();
    let engine = open(&device, 1);
    let (digest, contents, _) = blob(1, 50_000);
    let key = engine.keys.key(&digest);
    let record = publish(&engine, begin(&engine, 1, 50_000).unwrap()).unwrap();
    let mut number = 100;
    while begin(&engine, number, 50_000).is_some_and(|open| publish(&engine, open).is_some()) {
        number += 1;
    }
    engine.copy_touched(record.location.block).unwrap();
    assert_eq!(engine.find(&key), Presence::Leaving);
    // Others were copied into all that was left.
    let length = engine.length(8, &contents.owner);
    while engine.space().reserve(length, Requester::Copy).is_some() {}
    assert_eq!(engine.rescue(&key).unwrap(), Presence::Absent);
    assert_eq!(engine.counters.breached_bytes.load(Ordering::Relaxed), 50_000);
    assert!(publish(&engine, begin(&engine, 1, 50_000).unwrap()).is_some());
}

#[test]
fn a_name_follows_contents_that_are_put_again_while_their_block_goes() {
    let device = watched();
    let engine = open(&device, 1);
    let (digest, contents, _) = blob(1, 700);
    let record = publish(&engine, begin(&engine, 1, 700).unwrap()).unwrap();
    let block = record.location.block;
    let key = engine.keys.key(&digest);
    let names = [[1, 2, 3, 4], [5, 6, 7, 8]].map(|mask| crate::instance_names::key_of_name(&key, &mask));
    engine.share(&key, &names[0]).unwrap().unwrap();
    let_go(&engine, block);
    engine.copy_touched(block).unwrap();
    // It was neither found nor read. From here on nobody copies it, so nobody is told that it is there.
    engine.forget(block, Forgotten::Contents);
    assert_eq!(engine.find(&key), Presence::Absent);
    let put = engine.put_contents(&key, &contents, Some(&names[1])).unwrap();
    assert!(matches!(put, Put::Done { outcome: PutOutcome::Created { stored_bytes: 700 }, .. }));
    let keys = [((record.location.offset, 700, record.function), key)].into();
    engine.move_names(block, &keys).unwrap();
    let look = engine.names_seen.look();
    engine.forget(block, Forgotten::All);
    assert!(!look.is_outdated());
    let location = engine.peek(&key).unwrap().location;
    assert!(location.block != block && names.iter().all(|name| engine.peek(name).unwrap().location == location));
}

#[test]
fn no_name_is_noted_in_a_block_whose_names_are_being_moved() {
    let device = watched();
    let engine = open(&device, 1);
    let record = publish(&engine, begin(&engine, 1, 700).unwrap()).unwrap();
    let key = engine.keys.key(&blob(1, 700).0);
    let name = crate::instance_names::key_of_name(&key, &[1, 2, 3, 4]);
    let other = crate::instance_names::key_of_name(&key, &[5, 6, 7, 8]);
    let shared = engine.share(&key, &name).unwrap().unwrap();
    assert!(matches!(shared, Put::Done { outcome: PutOutcome::Created { stored_bytes: 0 }, .. }));
    let_go(&engine, record.location.block);
    engine.copy_touched(record.location.block).unwrap();
    // It was neither found nor read, so it lies there still.
    assert_eq!(engine.share(&key, &other).unwrap(), Some(Put::Leaving));
    assert!(engine.peek(&other).is_none());
}
