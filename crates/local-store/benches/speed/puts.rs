//! Puts beside what the same machine can do in the same run: each line ends with that ratio.

#![expect(clippy::indexing_slicing, reason = "a benchmark that fails has no result")]

use std::hint::black_box;
use std::time::Duration;

use blobaccess::{Blob, BlobAccess, Cas, Clock, Context, Digest, DigestFunction, InstanceName, SystemClock};
use blobaccess_local_store::{LocalStore, Options, SyncPolicy};
use bytes::Bytes;

use super::{Numbers, digest, elapsed, sizes, timed};

/// The best of these counts: others share the machine.
const ROUNDS: usize = 5;

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "for print")]
fn speed(bytes: u64, took: Duration) -> f64 {
    bytes as f64 / took.as_nanos().max(1) as f64
}

fn line(what: &str, ours: f64, limit: f64) {
    println!("{what:62} {ours:7.2} GB/s of {limit:6.2}: {:5.2}", ours / limit);
}

/// What is put in one round.
struct Work {
    blobs: Vec<(Digest, Bytes)>,
    bytes: u64,
}

impl Work {
    /// Of mixed sizes, from one source that stays in the caches as far as it can.
    fn mixed(source: &Bytes, count: usize, seed: u64) -> Self {
        let mut numbers = Numbers(seed);
        let sizes = sizes(count);
        let bytes = sizes.iter().sum();
        let blob = |size: &u64| (digest(&mut numbers, *size), source.slice(..usize::try_from(*size).unwrap()));
        Self { blobs: sizes.iter().map(blob).collect(), bytes }
    }

    /// The same with digests that are theirs.
    fn named(count: usize, function: DigestFunction, seed: u64) -> Self {
        let mut numbers = Numbers(seed);
        let mut bytes = 0;
        let blobs = sizes(count).into_iter().map(|size| {
            let mut contents = vec![7; usize::try_from(size).unwrap()];
            for (byte, random) in contents.iter_mut().zip(numbers.next().to_le_bytes()) {
                *byte = random;
            }
            bytes += size;
            (Digest::of(InstanceName::empty(), function, &contents), Bytes::from(contents))
        });
        let blobs = blobs.collect();
        Self { blobs, bytes }
    }

    fn put(&self, store: &LocalStore<Cas>) {
        for (digest, contents) in &self.blobs {
            store.put_blocking(digest, contents.clone()).unwrap();
        }
    }
}

fn open(options: Options) -> LocalStore<Cas> {
    futures::executor::block_on(LocalStore::open(options)).unwrap()
}

fn best(rounds: usize, mut work: impl FnMut(u64) -> Duration) -> Duration {
    (0..).take(rounds).map(&mut work).min().unwrap()
}

/// Copies past the caches into memory that was touched before, and as it is otherwise done.
fn appends(source: &Bytes, count: usize, capacity: usize) -> (f64, f64) {
    let mut arena = vec![1_u8; capacity];
    let sizes: Vec<usize> = sizes(count).into_iter().map(|size| usize::try_from(size).unwrap()).collect();
    let bytes = u64::try_from(sizes.iter().sum::<usize>()).unwrap();
    let mut append = |copy: fn(&mut [u8], &[u8])| {
        let took = best(ROUNDS, |_| {
            timed(|| {
                let mut at = 0;
                for size in &sizes {
                    let size = *size;
                    if capacity - at < size {
                        at = 0;
                    }
                    copy(&mut arena[at..at + size], &source[..size]);
                    at += size.next_multiple_of(64);
                }
            })
        });
        speed(bytes, took)
    };
    (append(streamed), append(<[u8]>::copy_from_slice))
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "the limit is what the processor can do")]
fn streamed(to: &mut [u8], from: &[u8]) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};
    let (to_lines, to_tail) = to.as_chunks_mut::<64>();
    let (from_lines, from_tail) = from.as_chunks::<64>();
    assert!(to_lines.as_ptr().addr().is_multiple_of(16));
    for (to, from) in to_lines.iter_mut().zip(from_lines) {
        for (to, from) in to.as_chunks_mut::<16>().0.iter_mut().zip(from.as_chunks::<16>().0) {
            let (to, from): (*mut __m128i, *const __m128i) = (to.as_mut_ptr().cast(), from.as_ptr().cast());
            // SAFETY: It is 16 bytes.
            let value = unsafe { _mm_loadu_si128(from) };
            // SAFETY: It is 16 bytes, aligned to as many.
            unsafe { _mm_stream_si128(to, value) };
        }
    }
    // SAFETY: Every x86-64 processor has it.
    unsafe { _mm_sfence() };
    to_tail.copy_from_slice(from_tail);
}

#[cfg(not(target_arch = "x86_64"))]
fn streamed(to: &mut [u8], from: &[u8]) {
    to.copy_from_slice(from);
}

/// In memory, in the steady state: blocks have been recycled, so that chunks are used again.
fn in_memory(count: usize, capacity: u64) {
    let source = Bytes::from((0..16 << 20).map(|at: u32| at.to_le_bytes()[0]).collect::<Vec<u8>>());
    let (limit, plain) = appends(&source, count, usize::try_from(capacity / 4).unwrap());
    println!("append mixed sizes: streamed {limit:.2} GB/s, as usual {plain:.2} GB/s");
    let store = open(Options::in_memory(capacity).with_blocks(4, 16, 1));
    let first = Work::mixed(&source, count, 9);
    line("put, no hash, mixed sizes, in memory, first use", speed(first.bytes, timed(|| first.put(&store))), limit);
    for filling in 0.. {
        if store.snapshot().recycled_blocks > 2 * u64::try_from(store.snapshot().blocks.len()).unwrap() {
            break;
        }
        Work::mixed(&source, count, 100 + filling).put(&store);
    }
    let took = best(ROUNDS, |round| {
        let work = Work::mixed(&source, count, 1_000 + round);
        timed(|| work.put(&store))
    });
    line("put, no hash, mixed sizes, in memory, used again", speed(first.bytes, took), limit);
    let took = best(ROUNDS, |round| {
        let work = [Work::mixed(&source, count, 2_000 + round), Work::mixed(&source, count, 3_000 + round)];
        elapsed(|| {
            std::thread::scope(|scope| {
                scope.spawn(|| work[0].put(&store));
                work[1].put(&store);
            });
        })
    });
    line("the same by two threads, by the clock", speed(2 * first.bytes, took), limit);
    for function in [DigestFunction::Sha256, DigestFunction::Blake3] {
        let rounds: Vec<Work> = (0..3).map(|round| Work::named(count / 4, function, 5_000 + round)).collect();
        let hash = best(3, |round| {
            let work = &rounds[usize::try_from(round).unwrap()];
            timed(|| {
                for (digest, contents) in &work.blobs {
                    black_box(digest.verify(contents));
                }
            })
        });
        let ctx = Context::background();
        let took = best(3, |round| {
            let work = &rounds[usize::try_from(round).unwrap()];
            timed(|| {
                for (digest, contents) in &work.blobs {
                    let put = store.put(&ctx, digest, Blob::from_bytes(contents.clone()));
                    futures::executor::block_on(put).unwrap();
                }
            })
        });
        let bytes = rounds[0].bytes;
        line(&format!("put, {function:?}, mixed sizes, in memory, used again"), speed(bytes, took), speed(bytes, hash));
    }
}

/// 128 bytes each, by one thread and by two, into memory that was used before.
fn small(entries: u64) {
    let capacity = (entries * 300).max(64 << 20);
    let store = open(Options::in_memory(capacity).with_blocks(4, 16, 1).with_entries(entries * 3 / 2));
    let contents = Bytes::from(vec![1; 128]);
    let digests = |seed: u64, count: u64| -> Vec<Digest> {
        let mut numbers = Numbers(seed);
        (0..count).map(|_| digest(&mut numbers, 128)).collect()
    };
    let put = |digests: &[Digest]| {
        for digest in digests {
            store.put_blocking(digest, contents.clone()).unwrap();
        }
    };
    put(&digests(1, entries * 3));
    let took = best(ROUNDS, |round| {
        let digests = digests(10 + round, entries / 2);
        timed(|| put(&digests))
    });
    super::report(&format!("put 128 B, {entries} entries, used again"), entries / 2, took);
    let one = best(ROUNDS, |round| {
        let digests = digests(20 + round, entries / 2);
        elapsed(|| put(&digests))
    });
    let two = best(ROUNDS, |round| {
        let digests = [digests(40 + round, entries / 2), digests(60 + round, entries / 2)];
        elapsed(|| {
            std::thread::scope(|scope| {
                scope.spawn(|| put(&digests[0]));
                put(&digests[1]);
            });
        })
    });
    super::report("the same, by the clock", entries / 2, one);
    super::report("the same by two threads", entries, two);
}

/// Into a file, until synced, beside bare writes of a chunk each into the same file.
fn durable(count: usize, capacity: u64) {
    let directory = tempfile::tempdir_in(std::env::var("BLOBACCESS_BENCH_DIRECTORY").unwrap_or("/var/tmp".to_owned()));
    let directory = directory.unwrap();
    let path = directory.path().join("blocks");
    let source = Bytes::from((0..16 << 20).map(|at: u32| at.to_le_bytes()[0]).collect::<Vec<u8>>());
    let options = || Options::in_file(&path, capacity).with_blocks(4, 16, 1).with_entries(200_000);
    let store = open(options().persistent(SyncPolicy::OnClose));
    let bytes = Work::mixed(&source, count, 1).bytes;
    // So that all of the file has been written once.
    for filling in 0..=capacity.div_ceil(bytes) {
        Work::mixed(&source, count, 100 + filling).put(&store);
    }
    store.sync_blocking().unwrap();
    let (mut ours, mut bare, mut written) = (Duration::MAX, Duration::MAX, 0);
    for round in 0..4 {
        let work = Work::mixed(&source, count, 1_000 + round);
        let before = written_bytes();
        ours = ours.min(elapsed(|| {
            work.put(&store);
            store.sync_blocking().unwrap();
        }));
        written = written_bytes() - before;
        bare = bare.min(bare_writes(&directory.path().join("bare"), bytes, round == 0));
    }
    line("put, no hash, mixed sizes, in a file, until synced", speed(bytes, ours), speed(bytes, bare));
    println!("{:62} {:7.3}", "bytes written for each byte stored", speed(written, Duration::from_nanos(bytes)));
    for dirty in [0_u64, 4 << 10, 1 << 20, 16 << 20, 64 << 20] {
        let mut numbers = Numbers(dirty + 77);
        let took = best(3, |_| {
            let mut left = dirty;
            while left > 0 {
                let size = left.min(60 << 10);
                let contents = source.slice(..usize::try_from(size).unwrap());
                store.put_blocking(&digest(&mut numbers, size), contents).unwrap();
                left -= size;
            }
            elapsed(|| store.sync_blocking().unwrap())
        });
        println!("sync, {:6} KiB put since the last one {:47.3} ms", dirty >> 10, took.as_secs_f64() * 1000.0);
    }
}

/// Bytes that this process has caused to be written to disks.
fn written_bytes() -> u64 {
    let counts = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = counts.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|count| count.parse().ok()).unwrap_or_default()
}

fn bare_writes(path: &std::path::Path, bytes: u64, is_first: bool) -> Duration {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().create(true).truncate(false).write(true).open(path).unwrap();
    let chunk = vec![5; 1 << 20];
    let write = || {
        for at in 0..bytes >> 20 {
            file.write_all_at(&chunk, at << 20).unwrap();
        }
        file.sync_data().unwrap();
    };
    if is_first {
        write();
    }
    elapsed(write)
}

/// Gets of what is there, while another thread puts so much that blocks are recycled.
fn latency(entries: u64) {
    let store = open(Options::in_memory(256 << 20).with_blocks(4, 16, 1).with_entries(entries * 4));
    let contents = Bytes::from(vec![1; 4096]);
    let mut numbers = Numbers(5);
    let kept: Vec<Digest> = (0..entries).map(|_| digest(&mut numbers, 4096)).collect();
    for digest in &kept {
        store.put_blocking(digest, contents.clone()).unwrap();
    }
    let measure = || {
        let clock = SystemClock;
        let mut took: Vec<Duration> = Vec::with_capacity(kept.len() * 20);
        for _ in 0..20 {
            store.find_missing_blocking(&kept, |_| ()).unwrap();
            for digest in &kept {
                let begun = clock.monotonic();
                black_box(store.get_blocking(digest).unwrap());
                took.push(clock.monotonic() - begun);
            }
        }
        took.sort_unstable();
        [took.len() / 2, took.len() * 99 / 100, took.len() * 999 / 1000].map(|at| took[at])
    };
    let quiet = measure();
    let before = store.snapshot().recycled_blocks;
    let done = std::sync::atomic::AtomicBool::new(false);
    let busy = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut numbers = Numbers(6);
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                store.put_blocking(&digest(&mut numbers, 4096), contents.clone()).unwrap();
            }
        });
        let busy = measure();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        busy
    });
    println!("get 4 KiB, p50, p99, p99.9: quiet {quiet:?}");
    println!("while {} blocks were recycled: {busy:?}", store.snapshot().recycled_blocks - before);
}

/// A store that is opened after a crash, with so many entries.
fn recovery(entries: u64) {
    let directory = tempfile::tempdir_in(std::env::var("BLOBACCESS_BENCH_DIRECTORY").unwrap_or("/var/tmp".to_owned()));
    let directory = directory.unwrap();
    let path = directory.path().join("blocks");
    let capacity = (entries * 400).max(64 << 20);
    let options = || {
        let options = Options::in_file(&path, capacity).with_blocks(4, 16, 1).with_entries(entries * 4 / 3);
        options.persistent(SyncPolicy::OnClose)
    };
    let store = open(options());
    let contents = Bytes::from(vec![1; 16]);
    let mut numbers = Numbers(5);
    for _ in 0..entries {
        store.put_blocking(&digest(&mut numbers, 16), contents.clone()).unwrap();
    }
    store.sync_blocking().unwrap();
    let records = store.snapshot().records;
    drop(store);
    let mut store = None;
    let took = timed(|| store = Some(open(options())));
    println!("open after a crash, {records} entries {:47.2} s of the processor", took.as_secs_f64());
    assert_eq!(store.map(|store| store.snapshot().records), Some(records));
}

pub(super) fn all(is_test: bool) {
    let (count, capacity) = if is_test { (100, 1 << 28) } else { (12_000, 2 << 30) };
    in_memory(count, capacity);
    small(if is_test { 1_000 } else { 1_000_000 });
    durable(if is_test { 20 } else { count }, capacity);
    latency(if is_test { 100 } else { 20_000 });
    recovery(if is_test { 1_000 } else { 10_000_000 });
}
