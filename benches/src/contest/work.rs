//! The work of a contest: the calls of each store, and their order.

use std::fmt::{self, Display, Formatter};

use blobaccess::{Digest, DigestFunction};
use bytes::Bytes;

use crate::contest::measurement::{Done, Measurement, measure};
use crate::contest::objects::Objects;
use crate::contest::peer::Peer;
use crate::popularity::Zipf;
use crate::process::{resident_bytes, written_bytes};
use crate::real::real;
use crate::size_distribution::SizeDistribution;
use blobaccess_testkit::Numbers;

/// The numbers and sizes of objects.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// The number of objects of 128 bytes.
    pub small: usize,
    /// The number of objects of mixed sizes.
    pub mixed: usize,
    /// The maximum size of an object of mixed sizes, in bytes.
    pub cap_bytes: u64,
}

impl Scale {
    /// The scale of `cargo bench -- --test`: 1,000 objects, and 1 MiB.
    pub const TEST: Self = Self { small: 1000, mixed: 60, cap_bytes: 100_000 };

    /// Returns the scale with this number of objects of 128 bytes, and 12,000 of mixed sizes.
    #[must_use]
    pub const fn full(small: usize) -> Self {
        Self { small, mixed: 12_000, cap_bytes: 64 << 20 }
    }

    /// Divides the numbers of objects by `divided_by`.
    #[must_use]
    pub const fn divided_by(self, divided_by: usize) -> Self {
        Self { small: self.small / divided_by, mixed: self.mixed / divided_by, ..self }
    }

    /// Returns the distribution of the mixed sizes.
    #[must_use]
    pub fn mixed_sizes(&self, seed: u64) -> Vec<u64> {
        SizeDistribution::BUILD_CACHE.with_cap_bytes(self.cap_bytes).sizes(seed, self.mixed)
    }
}

impl Display for Scale {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let sizes = SizeDistribution::BUILD_CACHE.with_cap_bytes(self.cap_bytes);
        let bytes: u64 = self.mixed_sizes(1).iter().sum();
        let (small, mixed) = (self.small, self.mixed);
        write!(f, "{small} objects of 128 B; {mixed} of mixed sizes, {bytes} B in all: {sizes}; seeds 1 to 9")
    }
}

/// A kind of work, and its number of threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Puts of 128 bytes.
    SmallPuts,
    /// Finds in batches of 10,000, half of them absent.
    SmallFinds(usize),
    /// Gets of 128 bytes, in random order.
    SmallGets(usize),
    /// Puts of mixed sizes into an empty store.
    MixedPuts,
    /// Gets of mixed sizes that read a byte of each page.
    MixedGets(usize),
    /// A mixture: of ten calls, six gets by Zipf's law, three finds of 100 digests, and one put.
    Mixture(usize),
    /// Puts of mixed sizes into a store that is full, or that has had as many puts as fill the others.
    SteadyPuts(usize),
    /// Puts of mixed sizes by a client that is not trusted, so that contents are verified.
    VerifiedPuts(DigestFunction),
    /// Puts of mixed sizes, including the sync.
    SyncedPuts(usize),
    /// Gets of 4 KiB from the page cache.
    PageGets,
}

impl Work {
    /// Returns whether the disk limits the work, rather than the processor.
    pub(super) fn waits_for_the_disk(self) -> bool {
        matches!(self, Self::SyncedPuts(_))
    }
}

impl Display for Work {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::SmallPuts => write!(f, "put 128 B, 1 task"),
            Self::SmallFinds(tasks) => write!(f, "find missing, batches of 10,000, half there, tasks: {tasks}"),
            Self::SmallGets(tasks) => write!(f, "get 128 B, tasks: {tasks}"),
            Self::MixedPuts => write!(f, "put mixed sizes, first use of memory, 1 task"),
            Self::MixedGets(tasks) => write!(f, "get mixed sizes, tasks: {tasks}"),
            Self::Mixture(tasks) => write!(f, "6 gets, 3 finds of 100, 1 put, mixed sizes, tasks: {tasks}"),
            Self::SteadyPuts(tasks) => write!(f, "put mixed sizes, steady, tasks: {tasks}"),
            Self::VerifiedPuts(function) => write!(f, "put mixed sizes, verified by {}, 1 task", function.name()),
            Self::SyncedPuts(tasks) => write!(f, "put mixed sizes until synced, tasks: {tasks}"),
            Self::PageGets => write!(f, "get 4 KiB, page cache warm, 1 task"),
        }
    }
}

/// Something that was counted rather than timed.
pub const BYTES_PER_ENTRY: &str = "memory besides contents, bytes per entry of 128 B";
/// A second quantity that is counted rather than timed.
pub const WRITTEN_PER_STORED: &str = "bytes written per byte stored, mixed sizes";

/// The room that a store must have.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// The maximum number of objects.
    pub objects: usize,
    /// The total size of their contents, in bytes.
    pub bytes: u64,
}

/// A receiver of results, which gets each as it comes.
pub trait Results {
    /// Receives a measurement.
    fn measured(&mut self, work: Work, measurement: &Measurement);
    /// Receives a count.
    fn counted(&mut self, what: &str, value: f64);
}

fn put(store: &dyn Peer, (digest, contents): &(Digest, Bytes)) -> Done {
    store.put(digest, contents);
    Done { units: 1, bytes: digest.size_bytes() }
}

fn get(store: &dyn Peer, digest: &Digest) -> Done {
    let mut bytes = 0;
    let is_there = store.get(digest, &mut |contents| {
        bytes = u64::try_from(contents.len()).unwrap_or_default();
        std::hint::black_box(contents.iter().step_by(4096).fold(0_u8, |sum, byte| sum ^ byte));
    });
    // A miss is no work done.
    Done { units: usize::from(is_there), bytes }
}

/// Runs all work for stores in memory on the stores that `open` opens empty.
pub fn contest_in_memory(scale: Scale, open: &dyn Fn(Room) -> Box<dyn Peer>, results: &mut dyn Results) {
    small(scale.small, open, results);
    let rounds: Vec<Objects> = (1..=5).map(|seed| Objects::unverified(seed, &scale.mixed_sizes(seed))).collect();
    let [first, second, third, fourth, fifth] = rounds.as_slice() else { return };
    // Two passes a round: the later puts find the store full.
    let store = open(Room { objects: scale.mixed * 5, bytes: first.bytes() * 2 });
    let store = store.as_ref();
    let puts = |work, tasks, objects: &Objects, results: &mut dyn Results| {
        results.measured(work, &measure(tasks, objects.items(), |item| put(store, item), || {}));
    };
    puts(Work::MixedPuts, 1, first, results);
    mixed_gets(store, first, results);
    mixtures(store, first, second, results);
    puts(Work::SteadyPuts(1), 1, third, results);
    puts(Work::SteadyPuts(1), 1, fourth, results);
    puts(Work::SteadyPuts(2), 2, fifth, results);
}

/// Runs the puts of clients that are not trusted on a store that verifies.
pub fn contest_of_verifiers(scale: Scale, open: &dyn Fn(Room) -> Box<dyn Peer>, results: &mut dyn Results) {
    for function in [DigestFunction::Sha256, DigestFunction::Blake3] {
        let rounds: Vec<Objects> =
            (1..=3).map(|seed| Objects::verified(seed, &scale.mixed_sizes(seed), function)).collect();
        let bytes = rounds.first().map_or(0, Objects::bytes) * 2;
        let store = open(Room { objects: scale.mixed * 3, bytes });
        for objects in &rounds {
            let measured = measure(1, objects.items(), |item| put(store.as_ref(), item), || {});
            results.measured(Work::VerifiedPuts(function), &measured);
        }
    }
}

/// Runs all work for stores on a disk on the stores that `open` opens empty.
pub fn contest_on_disk(scale: Scale, open: &dyn Fn(Room) -> Box<dyn Peer>, results: &mut dyn Results) {
    small(scale.small, open, results);
    let rounds: Vec<Objects> = (1..=3).map(|seed| Objects::unverified(seed, &scale.mixed_sizes(seed))).collect();
    let [first, second, third] = rounds.as_slice() else { return };
    let pages = scale.small.min(20_000);
    let bytes = first.bytes() * 3 + u64::try_from(pages * 4096).unwrap_or_default();
    let store = open(Room { objects: scale.mixed * 3 + pages, bytes });
    let store = store.as_ref();
    for (tasks, objects) in [(1, first), (1, second), (2, third)] {
        let before = written_bytes();
        let measured = measure(tasks, objects.items(), |item| put(store, item), || store.sync());
        results.measured(Work::SyncedPuts(tasks), &measured);
        results.counted(WRITTEN_PER_STORED, real(written_bytes() - before) / real(objects.bytes()));
    }
    mixed_gets(store, third, results);
    let objects = Objects::unverified(9, &vec![4096; pages]);
    for item in objects.items() {
        put(store, item);
    }
    store.sync();
    for seed in 1..=2 {
        let digests = objects.shuffled_digests(seed);
        results.measured(Work::PageGets, &measure(1, &digests, |digest| get(store, digest), || {}));
    }
}

fn small(count: usize, open: &dyn Fn(Room) -> Box<dyn Peer>, results: &mut dyn Results) {
    let objects = Objects::unverified(1, &vec![128; count]);
    let absent = Objects::unverified(2, &vec![128; count]);
    let mut asked = [objects.shuffled_digests(1), absent.shuffled_digests(2)].concat();
    Numbers::new(3).shuffle(&mut asked);
    let before = resident_bytes();
    let store = open(Room { objects: count, bytes: objects.bytes() });
    let store = store.as_ref();
    let puts = measure(1, objects.items(), |item| put(store, item), || {});
    results.measured(Work::SmallPuts, &puts);
    let grown = real(resident_bytes().saturating_sub(before)) - real(objects.bytes());
    results.counted(BYTES_PER_ENTRY, grown / real(puts.units.max(1)));
    let batches: Vec<&[Digest]> = asked.chunks(10_000).collect();
    for tasks in [1, 1, 2] {
        let find = |batch: &&[Digest]| {
            std::hint::black_box(store.find_missing(batch));
            Done { units: batch.len(), bytes: 0 }
        };
        results.measured(Work::SmallFinds(tasks), &measure(tasks, &batches, find, || {}));
    }
    let wanted = objects.shuffled_digests(4);
    for tasks in [1, 1, 2, 8] {
        results.measured(Work::SmallGets(tasks), &measure(tasks, &wanted, |digest| get(store, digest), || {}));
    }
}

fn mixed_gets(store: &dyn Peer, objects: &Objects, results: &mut dyn Results) {
    let wanted = objects.shuffled_digests(5);
    // One pass takes about 10 ms, which is too little to measure once.
    for tasks in [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 8, 8, 8, 8] {
        results.measured(Work::MixedGets(tasks), &measure(tasks, &wanted, |digest| get(store, digest), || {}));
    }
}

/// A call of a mixture.
enum Call<'a> {
    Get(&'a Digest),
    Find(&'a [Digest]),
    Put(&'a (Digest, Bytes)),
}

fn mixtures(store: &dyn Peer, there: &Objects, new: &Objects, results: &mut dyn Results) {
    let zipf = Zipf::new(there.items().len(), 0.9);
    let shuffled = there.shuffled_digests(6);
    let mut numbers = Numbers::new(7);
    let mut new = new.items().iter();
    let each = new.len() / 4;
    for tasks in [1, 2, 8] {
        let mut calls = Vec::new();
        for item in new.by_ref().take(each) {
            calls.push(Call::Put(item));
            for _ in 0..6 {
                calls.extend(shuffled.get(zipf.draw(&mut numbers)).map(Call::Get));
            }
            for _ in 0..3 {
                let at = numbers.below(shuffled.len().saturating_sub(100).max(1));
                calls.extend(shuffled.get(at..shuffled.len().min(at + 100)).map(Call::Find));
            }
        }
        numbers.shuffle(&mut calls);
        let call = |call: &Call<'_>| match call {
            Call::Get(digest) => get(store, digest),
            Call::Find(digests) => {
                std::hint::black_box(store.find_missing(digests));
                Done { units: 1, bytes: 0 }
            }
            Call::Put(item) => put(store, item),
        };
        results.measured(Work::Mixture(tasks), &measure(tasks, &calls, call, || {}));
    }
}
