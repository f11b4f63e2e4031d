//! The machine itself as a contestant: each kind of work without a store.

use std::hint::black_box;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use blobaccess::DigestFunction;
use bytes::Bytes;

use crate::contest::measurement::{Done, Measurement, measure};
use crate::contest::objects::Objects;
use crate::contest::work::{Results, Scale, Work};
use crate::limits::{Arena, Lines, ScratchFile, hash_all};
use blobaccess_testkit::Numbers;

/// The machine without a store.
#[derive(Clone, Copy, Debug)]
pub struct Machine;

/// The way in which bytes are appended to memory.
#[derive(Clone, Copy, Debug)]
pub enum Appending {
    /// With the copy of the standard library.
    Copying,
    /// With store instructions that bypass the caches, for long contents.
    PastCaches,
}

impl Machine {
    /// Appends as much as stores in memory put, to memory that was touched before.
    pub fn append(scale: Scale, how: Appending, results: &mut dyn Results) {
        let append = match how {
            Appending::Copying => Arena::append,
            Appending::PastCaches => Arena::append_past_caches,
        };
        let objects = Objects::unverified(1, &scale.mixed_sizes(1));
        let bytes = usize::try_from(objects.bytes()).unwrap_or_default() + (64 << 20);
        for tasks in [1, 1, 2] {
            // One for each task: each holds up to one at a time.
            let arenas: Vec<Mutex<Arena>> = (0..tasks).map(|_| Mutex::new(Arena::new(bytes))).collect();
            let call = |(_, contents): &(_, Bytes)| {
                // Bytes that a panic leaves behind are not read.
                let free = arenas.iter().find_map(|arena| arena.try_lock().ok());
                let first = || arenas.first().map(|arena| arena.lock().unwrap_or_else(PoisonError::into_inner));
                if let Some(mut arena) = free.or_else(first) {
                    append(&mut arena, contents);
                }
                Done { units: 1, bytes: u64::try_from(contents.len()).unwrap_or_default() }
            };
            results.measured(Work::SteadyPuts(tasks), &measure(tasks, objects.items(), call, || {}));
        }
    }

    /// Reads prefetched lines at random places: one for each digest of the finds, among as many as there are objects.
    pub fn walk(scale: Scale, results: &mut dyn Results) {
        let lines = Lines::new(scale.small);
        let places = lines.places(1, scale.small * 2);
        let batches: Vec<&[usize]> = places.chunks(10_000).collect();
        for tasks in [1, 1, 2] {
            let call = |places: &&[usize]| {
                black_box(lines.walk(places));
                Done { units: places.len(), bytes: 0 }
            };
            results.measured(Work::SmallFinds(tasks), &measure(tasks, &batches, call, || {}));
        }
    }

    /// Hashes the contents of the puts that stores verify.
    pub fn hash(scale: Scale, results: &mut dyn Results) {
        let objects = Objects::unverified(1, &scale.mixed_sizes(1));
        for function in [DigestFunction::Sha256, DigestFunction::Blake3] {
            let call = |(_, contents): &(_, Bytes)| {
                black_box(hash_all(function, contents));
                Done { units: 1, bytes: u64::try_from(contents.len()).unwrap_or_default() }
            };
            for _ in 0..3 {
                results.measured(Work::VerifiedPuts(function), &measure(1, objects.items(), call, || {}));
            }
        }
    }

    /// Overwrites a file in pieces of 1 MiB, syncs it once, and reads pages of it from the page cache.
    ///
    /// # Panics
    ///
    /// If the disk is full or fails.
    #[expect(clippy::expect_used, reason = "a benchmark that fails has no result")]
    pub fn disk(scale: Scale, directory: &Path, results: &mut dyn Results) {
        let bytes: u64 = scale.mixed_sizes(1).iter().sum();
        let mut file = ScratchFile::create(&directory.join("scratch"), bytes * 2).expect("a file can be written");
        let units = u64::try_from(scale.mixed).unwrap_or_default();
        for _ in 0..2 {
            let file = Mutex::new(&mut file);
            let write = |(): &()| {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.write_and_sync(bytes).expect("a file can be written");
                Done { units: 1, bytes }
            };
            let measured = measure(1, &[()], write, || {});
            // One call does the work of as many calls as there are objects.
            results.measured(Work::SyncedPuts(1), &Measurement { units, ..measured });
        }
        let seeds: Vec<u64> = (0..20_000).collect();
        let read = |seed: &u64| {
            let mut page = [0; 4096];
            file.read_page(&mut Numbers::new(*seed), &mut page).expect("a file can be read");
            black_box(page);
            Done { units: 1, bytes: 4096 }
        };
        for _ in 0..2 {
            results.measured(Work::PageGets, &measure(1, &seeds, read, || {}));
        }
    }
}
