//! Random operations on one thread, against a plain map and a model of which block holds what.
//!
//! What must be there is there and reads back, what must be gone is gone; outcomes are exact; groups and free blocks are
//! those of the model; of every recycled block, what was not touched goes, what was found late stays or is counted to
//! the byte, what was merely read comes after that; copies take what puts earned, no more, and nothing that was promised
//! goes while there is enough of that; and the counters add up.
//!
//! `BLOBACCESS_RANDOMISED_SECONDS` sets how long this goes on (30), `BLOBACCESS_MODEL_SEED` repeats a run.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a step that fails is a failed test; seeds are printed"
)]

mod support;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use blobaccess::{
    Ac, Blob, BlobAccess, Cas, Clock, Context, Digest, DigestFunction, DigestSet, Error, InstanceName, Kind,
    PutOutcome, Result, Slice, Sliced, Slicer, SystemClock,
};
use blobaccess_local_store::{BlockGroup, Environment, LocalStore, MemoryDevice, Options, SyncPolicy};
use bytes::Bytes;
use futures::executor::block_on;

use support::{Numbers, seed};

/// One shape of a store.
#[derive(Clone, Copy, Debug)]
struct Shape {
    old: usize,
    current: usize,
    spare: usize,
    copied_percent: u32,
    capacity_bytes: u64,
    is_persistent: bool,
}

impl Shape {
    fn options(self) -> Options {
        let count = |number: usize| u32::try_from(number).unwrap();
        let options = if self.is_persistent {
            Options::on_device(self.capacity_bytes).persistent(SyncPolicy::OnClose)
        } else {
            Options::in_memory(self.capacity_bytes)
        };
        options
            .with_blocks(count(self.old), count(self.current), 1)
            .with_spare_blocks(count(self.spare))
            .with_copied_percent(self.copied_percent)
            .with_entries(4_000)
    }

    /// What is found in one of so many blocks before the newest stays without a copy.
    fn safe(self) -> u64 {
        bytes_of(self.old + self.current - self.promised_blocks() - 1)
    }

    fn promised_blocks(self) -> usize {
        let kept = self.old + self.current;
        (kept - kept / 4).min(kept - 1)
    }

    fn blocks(self) -> usize {
        self.old + self.current + 1 + self.spare
    }
}

/// What the model knows of a blob.
#[derive(Clone, Debug)]
struct Entry {
    contents: Bytes,
    /// The use of a block that it lies in.
    generation: u64,
    is_found: bool,
    is_read: bool,
    /// What had been put when it was promised last.
    promised_at: Option<u64>,
    /// What it is a part of.
    parent: Option<Digest>,
}

/// What adds up to the counters of a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    evicted: u64,
    evicted_bytes: u64,
    copied: u64,
    copied_bytes: u64,
    breached_bytes: u64,
    recycled_blocks: u64,
}

struct Model<K: Kind> {
    shape: Shape,
    store: LocalStore<K>,
    device: Option<Arc<MemoryDevice>>,
    numbers: Numbers,
    entries: BTreeMap<Digest, Entry>,
    /// What was there once, and is gone.
    gone: Vec<Digest>,
    /// Oldest first.
    blocks: VecDeque<u64>,
    used: BTreeMap<u64, u64>,
    next_generation: u64,
    put_bytes: u64,
    counts: Counts,
    /// What copies may take, at least and at most.
    share: (i128, i128),
    /// What of a share may be saved up, and what of that is for what was promised only.
    most: i128,
    kept: i128,
    recycled: u64,
    copies: u64,
}

fn bytes_of(length: usize) -> u64 {
    u64::try_from(length).unwrap()
}

fn open<K: Kind>(shape: Shape, device: Option<&Arc<MemoryDevice>>) -> LocalStore<K> {
    let opened = match device {
        None => block_on(LocalStore::open(shape.options())),
        Some(device) => {
            block_on(LocalStore::open_on(shape.options(), Arc::<MemoryDevice>::clone(device), Environment::default()))
        }
    };
    opened.unwrap()
}

impl<K: Kind> Model<K> {
    fn new(shape: Shape, seed: u64) -> Self {
        let device = shape.is_persistent.then(|| Arc::new(MemoryDevice::new(shape.capacity_bytes)));
        let store = open(shape, device.as_ref());
        let of_block = store.sizes().data_bytes() / bytes_of(shape.blocks()) / 100 * u64::from(shape.copied_percent);
        let most = of_block * bytes_of((shape.promised_blocks() / 2).clamp(1, 4));
        Self {
            shape,
            store,
            device,
            numbers: Numbers::new(seed),
            entries: BTreeMap::new(),
            gone: Vec::new(),
            blocks: VecDeque::new(),
            used: BTreeMap::new(),
            next_generation: 1,
            put_bytes: 0,
            counts: Counts::default(),
            share: (most.into(), most.into()),
            most: most.into(),
            kept: (most - of_block).into(),
            recycled: 0,
            copies: 0,
        }
    }

    fn newest(&self) -> u64 {
        self.blocks.back().copied().unwrap_or_default()
    }

    fn find(&mut self, digest: &Digest) {
        let (newest, safe, now) = (self.newest(), self.shape.safe(), self.put_bytes);
        let entry = self.entries.get_mut(digest).unwrap();
        entry.promised_at = Some(now);
        if entry.generation + safe < newest {
            entry.is_found = true;
        } else if entry.generation < newest {
            entry.is_read = true;
        }
    }

    fn read(&mut self, digest: &Digest) {
        let newest = self.newest();
        let entry = self.entries.get_mut(digest).unwrap();
        entry.is_read |= entry.generation < newest;
    }

    fn contents(&mut self) -> Bytes {
        let block = usize::try_from(self.store.sizes().max_blob_size_bytes()).unwrap();
        let size = match self.numbers.below(40) {
            0 => block / 2,
            1 => 0,
            2..=8 => self.numbers.below(block / 8),
            _ => self.numbers.below(1_500),
        };
        Bytes::from(self.numbers.bytes(size))
    }

    fn known(&mut self) -> Option<Digest> {
        let position = self.numbers.below(self.entries.len());
        self.entries.keys().nth(position).cloned()
    }

    fn count_put(&mut self, size: usize) {
        self.put_bytes += self.store.sizes().counted_bytes(bytes_of(size));
    }

    fn put(&mut self) {
        let contents = self.contents();
        let again = self.numbers.below(8) == 0;
        let known = self.known().filter(|_| again);
        let digest = if K::STORAGE_TYPE.is_mutable() {
            Digest::of(InstanceName::empty(), DigestFunction::Sha256, &self.numbers.below(900).to_le_bytes())
        } else {
            known.clone().unwrap_or_else(|| Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents))
        };
        let digest = known.unwrap_or(digest);
        let contents =
            if again && let Some(entry) = self.entries.get(&digest) { entry.contents.clone() } else { contents };
        self.count_put(contents.len());
        let stored_bytes = bytes_of(contents.len());
        let expected = match self.entries.get(&digest) {
            None => PutOutcome::Created { stored_bytes },
            Some(entry) if entry.contents == contents => PutOutcome::AlreadyExists { stored_bytes },
            Some(entry) => PutOutcome::Replaced { stored_bytes, old_bytes: bytes_of(entry.contents.len()) },
        };
        let outcome = if self.numbers.below(2) == 0 {
            self.store.put_blocking(&digest, contents.clone()).unwrap()
        } else {
            block_on(self.store.put(&Context::background(), &digest, Blob::from_bytes(contents.clone()))).unwrap()
        };
        assert_eq!(outcome, expected);
        if matches!(outcome, PutOutcome::AlreadyExists { .. }) {
            self.find(&digest);
            return;
        }
        self.earn(contents.len(), true);
        // It is noted where it is as soon as it is known which blocks there are.
        let promised_at = Some(self.put_bytes);
        let entry = Entry { contents, generation: 0, is_found: false, is_read: false, promised_at, parent: None };
        self.entries.insert(digest.clone(), entry);
        self.settle(Some(&digest));
    }

    /// Puts earn what copies may take. What a message has behind it is not known here to the byte.
    fn earn(&mut self, size: usize, is_certain: bool) {
        let counted = i128::from(self.store.sizes().counted_bytes(bytes_of(size)));
        let unknown = if K::STORAGE_TYPE.is_mutable() { 512 } else { 0 };
        let percent = i128::from(self.shape.copied_percent);
        let earned = |counted: i128| counted.max(0) * percent / (100 - percent);
        let (low, high) = self.share;
        let low = if is_certain { low + earned(counted - unknown) } else { low };
        self.share = (low.min(self.most), (high + earned(counted + unknown)).min(self.most));
    }

    /// An upload that breaks off.
    fn abort(&mut self) {
        let contents = self.contents();
        let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents);
        if self.entries.contains_key(&digest) || contents.is_empty() {
            return;
        }
        self.count_put(contents.len());
        self.earn(contents.len(), false);
        let half = contents.slice(..contents.len() / 2);
        let pieces = [Ok(half), Err(Error::unavailable("the client went away"))];
        let blob = Blob::from_verified_stream(&digest, futures::stream::iter(pieces));
        block_on(self.store.put(&Context::background(), &digest, blob)).unwrap_err();
        assert!(!self.store.is_stored(&digest));
    }

    fn find_missing(&mut self) {
        let mut asked = Vec::new();
        for _ in 0..self.numbers.below(12) {
            asked.extend(self.known());
            let position = self.numbers.below(self.gone.len());
            asked.extend(self.gone.get(position).cloned());
        }
        let asked: DigestSet = asked.into_iter().collect();
        let missing = block_on(self.store.find_missing(&Context::background(), &asked)).unwrap();
        for digest in &asked {
            assert_eq!(missing.contains(digest), !self.entries.contains_key(digest), "{digest}");
            if !missing.contains(digest) {
                self.find(digest);
            }
        }
    }

    fn get(&mut self) {
        if let Some(digest) = self.known() {
            let read = self.store.get_blocking(&digest).unwrap();
            assert_eq!(read.as_ref(), Some(&self.entries[&digest].contents));
            self.read(&digest);
        }
        let position = self.numbers.below(self.gone.len());
        if let Some(digest) = self.gone.get(position).filter(|digest| !self.entries.contains_key(digest)) {
            assert_eq!(self.store.get_blocking(digest).unwrap(), None);
        }
    }

    /// Compares blocks with the model, recycles what is too much, and notes what became of it.
    fn settle(&mut self, put: Option<&Digest>) {
        self.store.recycle_blocking().unwrap();
        let snapshot = self.store.snapshot();
        let recycled = usize::try_from(snapshot.recycled_blocks - self.counts.recycled_blocks).unwrap();
        let begun = snapshot.blocks.len() + recycled - self.blocks.len();
        let first_for_copies = self.newest();
        for _ in 0..begun {
            self.blocks.push_back(self.next_generation);
            self.next_generation += 1;
        }
        let gone: Vec<u64> = self.blocks.drain(..recycled).collect();
        if let Some(digest) = put {
            let generation = self.blocks[self.store.block_of(digest).unwrap()];
            assert!(generation >= first_for_copies);
            self.entries.get_mut(digest).unwrap().generation = generation;
        }
        for generation in &gone {
            self.leave(*generation, first_for_copies);
        }
        self.counts.recycled_blocks += bytes_of(recycled);
        self.recycled += bytes_of(recycled);
        self.check();
    }

    /// What became of what lay in a block that was recycled.
    fn leave(&mut self, left: u64, first_for_copies: u64) {
        let within = self.entries.iter().filter(|(_, entry)| entry.generation == left);
        let within: Vec<(Digest, Entry)> = within.map(|(digest, entry)| (digest.clone(), entry.clone())).collect();
        let flags = |digest: &Digest| {
            let of_it = within.iter().filter(|(other, entry)| other == digest || entry.parent.as_ref() == Some(digest));
            of_it.fold((false, false), |(found, read), (_, entry)| (found | entry.is_found, read | entry.is_read))
        };
        let (mut largest_read_kept, mut smallest_found_gone) = (0, u64::MAX);
        let counted = |size: u64| i128::from(self.store.sizes().counted_bytes(size)) + 512;
        let found = within.iter().filter(|(digest, _)| flags(digest).0);
        let needed: i128 = found.map(|(_, entry)| counted(bytes_of(entry.contents.len()))).sum();
        let is_enough = needed <= self.share.0;
        let (low, high) = self.share;
        let (mut taken_at_most, mut taken, mut taken_by_read) = (0, 0, 0);
        for (digest, entry) in &within {
            let parent = entry.parent.as_ref().filter(|parent| within.iter().any(|(other, _)| other == *parent));
            let size = bytes_of(entry.contents.len());
            let Some(position) = self.store.block_of(digest) else {
                if let Some(parent) = parent {
                    assert!(!self.store.is_stored(parent), "the part {digest} went, and what it is a part of did not");
                }
                let is_promised =
                    entry.promised_at.is_some_and(|at| self.put_bytes - at <= self.store.sizes().promised_bytes());
                assert!(entry.is_found || !is_promised, "{digest} went early, unmarked");
                self.counts.evicted += 1;
                self.counts.evicted_bytes += size;
                assert!(!entry.is_found || !is_enough, "{digest} went, while {low} bytes were left for {needed}");
                if entry.is_found {
                    self.counts.breached_bytes += size;
                    smallest_found_gone = size.min(smallest_found_gone);
                }
                self.entries.remove(digest);
                self.gone.push(digest.clone());
                continue;
            };
            let generation = self.blocks[position];
            assert!(generation >= first_for_copies);
            let (is_found, is_read) = flags(digest);
            let went_along = parent.is_some_and(|parent| self.store.is_stored(parent));
            assert!(is_found || is_read || went_along, "{digest} stayed untouched");
            if went_along {
                let parent = parent.and_then(|parent| self.store.block_of(parent));
                assert_eq!(parent, Some(position), "the part {digest} lies elsewhere than what it is a part of");
            } else {
                self.counts.copied += 1;
                self.counts.copied_bytes += size;
                self.copies += 1;
                taken_at_most += counted(size);
                taken += i128::from(size);
                if !is_found && parent.is_none() {
                    taken_by_read += 1;
                    largest_read_kept = size.max(largest_read_kept);
                }
            }
            let now = self.entries.get_mut(digest).unwrap();
            (now.generation, now.is_found, now.is_read) = (generation, false, false);
            if !went_along {
                now.parent = None;
            }
        }
        self.share = (low - taken_at_most, high - taken);
        let is_kept = taken_by_read == 0 || self.share.1 >= self.kept;
        assert!(is_kept, "what was read took what is for what is promised: {high} less {taken}, of {}", self.kept);
        assert!(self.share.1 >= 0, "copies took {taken} of {high}");
        assert!(largest_read_kept <= smallest_found_gone, "what was read was copied, and what was promised was not");
    }

    fn check(&mut self) {
        let current = self.shape.current;
        let snapshot = self.store.snapshot();
        let blocks = snapshot.blocks.len();
        assert_eq!(snapshot.records, bytes_of(self.entries.len()));
        assert_eq!(snapshot.free_blocks, self.shape.blocks() - blocks);
        let new = blocks.min(1);
        let in_current = current.min(blocks - new);
        for (position, block) in snapshot.blocks.iter().enumerate() {
            let group = match blocks - position {
                1 => BlockGroup::New,
                from_end if from_end <= 1 + in_current => BlockGroup::Current,
                _ => BlockGroup::Old,
            };
            assert_eq!(block.group, group, "block {position} of {blocks}");
            let used = self.used.entry(self.blocks[position]).or_default();
            assert!(block.used_bytes >= *used);
            *used = block.used_bytes;
        }
        let counts = Counts {
            evicted: snapshot.evicted,
            evicted_bytes: snapshot.evicted_bytes,
            copied: snapshot.copied,
            copied_bytes: snapshot.copied_bytes,
            breached_bytes: snapshot.breached_bytes,
            recycled_blocks: snapshot.recycled_blocks,
        };
        assert_eq!(counts, self.counts);
        assert_eq!((snapshot.dropped_records, snapshot.corrupted), (0, 0));
    }

    /// Everything is where the model has it, and in blocks that have room for it.
    fn check_all(&mut self) {
        let mut held: BTreeMap<u64, u64> = BTreeMap::new();
        for (digest, entry) in &self.entries {
            let position = self.store.block_of(digest).unwrap();
            assert_eq!(self.blocks[position], entry.generation, "{digest} moved");
            if entry.parent.is_none() {
                *held.entry(entry.generation).or_default() += bytes_of(entry.contents.len());
            }
        }
        for (generation, held) in held {
            assert!(self.used[&generation] >= held);
        }
        let gone: Vec<Digest> = self.gone.iter().filter(|digest| !self.entries.contains_key(digest)).cloned().collect();
        assert!(gone.iter().all(|digest| !self.store.is_stored(digest)));
    }

    fn reopen(&mut self) {
        let Some(device) = self.device.take() else { return };
        let sizes = *self.store.sizes();
        // The store in hand must be closed before the next one is opened.
        let nothing = open(Shape { is_persistent: false, ..self.shape }, None);
        let store = std::mem::replace(&mut self.store, nothing);
        block_on(store.close()).unwrap();
        self.store = open(self.shape, Some(&device));
        self.device = Some(device);
        self.counts = Counts::default();
        self.share = (self.most, self.most);
        self.next_generation += 1 << 10;
        self.put_bytes += sizes.data_bytes() / bytes_of(self.shape.blocks()) / 16 + sizes.counted_bytes_of_sync();
        // Only promises are durable.
        for entry in self.entries.values_mut() {
            entry.is_read = false;
        }
        for (digest, entry) in &self.entries {
            assert_eq!(self.store.get_blocking(digest).unwrap().as_ref(), Some(&entry.contents));
        }
        let digests: Vec<Digest> = self.entries.keys().cloned().collect();
        for digest in digests {
            self.read(&digest);
        }
        self.check_all();
    }

    fn operate(&mut self) {
        match self.numbers.below(40) {
            0..=19 => self.put(),
            20 => self.abort(),
            21..=25 => self.find_missing(),
            26..=34 => self.get(),
            35 => {
                self.store.sync_blocking().unwrap();
                self.put_bytes += self.store.sizes().counted_bytes_of_sync();
            }
            36 if self.numbers.below(20) == 0 => self.reopen(),
            37 => self.check_all(),
            _ => {}
        }
        self.settle(None);
    }
}

/// Cuts composites into parts of equal length.
#[derive(Debug)]
struct Cutter;

const PART: usize = 500;

fn parts(whole: &[u8]) -> Vec<Slice> {
    let parts = (0..).zip(whole.chunks_exact(PART)).map(|(number, part)| Slice {
        digest: Digest::of(InstanceName::empty(), DigestFunction::Sha256, part),
        offset: number * bytes_of(PART),
        size_bytes: bytes_of(PART),
    });
    parts.collect()
}

#[async_trait]
impl Slicer for Cutter {
    async fn slice(&self, parent: Blob, child: &Digest) -> Result<Sliced> {
        let whole = parent.into_bytes(1 << 30).await?;
        let slices = parts(&whole);
        let slice = slices.iter().find(|slice| slice.digest == *child).unwrap();
        let from = usize::try_from(slice.offset).unwrap();
        Ok(Sliced::new(Blob::from_bytes(whole.slice(from..from + PART))).with_slices(slices))
    }
}

impl Model<Cas> {
    fn get_from_composite(&mut self) {
        let Some(digest) = self.known() else { return };
        let entry = self.entries[&digest].clone();
        let parts = parts(&entry.contents);
        if entry.parent.is_some() || parts.is_empty() || parts.len() > 40 {
            return;
        }
        let child = parts[self.numbers.below(parts.len())].digest.clone();
        let ctx = Context::background();
        let read = block_on(self.store.get_from_composite(&ctx, &digest, &child, Arc::new(Cutter))).unwrap();
        let read = block_on(read.into_bytes(1 << 20)).unwrap();
        assert_eq!(Digest::of(InstanceName::empty(), DigestFunction::Sha256, &read), child);
        self.read(&digest);
        if self.entries.contains_key(&child) {
            self.read(&child);
            return;
        }
        for (number, part) in parts.into_iter().enumerate() {
            let part_of = Entry {
                contents: entry.contents.slice(number * PART..(number + 1) * PART),
                is_found: false,
                is_read: false,
                promised_at: None,
                parent: Some(digest.clone()),
                ..entry.clone()
            };
            self.entries.entry(part.digest).or_insert(part_of);
        }
        self.settle(None);
    }
}

fn shape(numbers: &mut Numbers) -> Shape {
    let capacity = 1 << (20 + numbers.below(2));
    Shape {
        old: numbers.below(3),
        current: 2 + numbers.below(6),
        spare: 2 + numbers.below(2),
        copied_percent: [0, 20, 50, 80][numbers.below(4)],
        capacity_bytes: 3 * capacity,
        is_persistent: numbers.below(2) == 0,
    }
}

fn try_models<K: Kind>(mut also: impl FnMut(&mut Model<K>)) {
    let seconds = std::env::var("BLOBACCESS_RANDOMISED_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let budget = Duration::from_secs(seconds.unwrap_or(30)) / 2;
    let first = seed("BLOBACCESS_MODEL_SEED");
    let begun = SystemClock.monotonic();
    let (mut models, mut operations, mut recycled, mut copies) = (0, 0, 0, 0);
    while models == 0 || SystemClock.monotonic() - begun < budget {
        let seed = first.wrapping_add(models);
        let shape = shape(&mut Numbers::new(!seed));
        println!("BLOBACCESS_MODEL_SEED={seed}: {shape:?}");
        let mut model = Model::<K>::new(shape, seed);
        for _ in 0..3_000 {
            model.operate();
            also(&mut model);
        }
        model.check_all();
        models += 1;
        operations += 3_000;
        recycled += model.recycled;
        copies += model.copies;
    }
    println!("{operations} operations on {models} stores, {recycled} blocks recycled, {copies} copies");
}

#[test]
fn contents_are_where_the_model_has_them() {
    try_models::<Cas>(|model| {
        if model.numbers.below(12) == 0 {
            model.get_from_composite();
        }
    });
}

#[test]
fn messages_are_where_the_model_has_them() {
    try_models::<Ac>(|_| {});
}
