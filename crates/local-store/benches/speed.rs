//! How fast the store's own calls are, on one core and on two; `docs/performance.md` says over what.
//!
//! `cargo bench -p blobaccess-local-store`. In test mode (`-- --test`) everything shrinks to 1,000 entries.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark that fails has no result; results are printed"
)]

#[path = "speed/puts.rs"]
mod puts;
#[path = "speed/reads.rs"]
mod reads;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::{Blob, BlobAccess, Cas, Clock, Context, Digest, DigestFunction, InstanceName, SystemClock};
use blobaccess_local_store::{LocalStore, Options, SyncPolicy};
use bytes::Bytes;

/// A task is done so often, and the best time counts: others share the machine.
const ROUNDS: usize = 5;

struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

fn digest(numbers: &mut Numbers, size: u64) -> Digest {
    let mut hash = [0; 32];
    for word in hash.as_chunks_mut::<8>().0 {
        *word = numbers.next().to_le_bytes();
    }
    Digest::from_hash(InstanceName::empty(), DigestFunction::Sha256, &hash, size).unwrap()
}

fn best(mut work: impl FnMut()) -> Duration {
    best_of(|| timed(&mut work))
}

/// Of what measures itself.
fn best_of(mut measure: impl FnMut() -> Duration) -> Duration {
    (0..ROUNDS).map(|_| measure()).min().unwrap()
}

/// Processor time of this thread: others share the machine.
fn timed(work: impl FnOnce()) -> Duration {
    let processor = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
    };
    let begun = processor();
    work();
    processor().saturating_sub(begun)
}

/// Time by the clock: of what several threads do, or the disk.
fn elapsed(work: impl FnOnce()) -> Duration {
    let begun = SystemClock.monotonic();
    work();
    SystemClock.monotonic() - begun
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "for print")]
fn report(what: &str, count: u64, took: Duration) {
    let each = took.as_nanos() as f64 / count as f64;
    println!("{what:58} {each:9.1} ns   {:8.2} M/s", 1000.0 / each);
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "for print")]
fn report_bytes(what: &str, bytes: u64, took: Duration) {
    println!("{what:58} {:9.2} GB/s", bytes as f64 / took.as_nanos() as f64);
}

/// Log-normal sizes: median 4 KiB, mean 60 KiB, at most 16 MiB here.
fn sizes(count: usize) -> Vec<u64> {
    let mut numbers = Numbers(7);
    #[expect(
        clippy::as_conversions,
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a distribution"
    )]
    let mut draw = || {
        // The sum of twelve uniform numbers is close to a normal one.
        let normal: f64 = (0..12).map(|_| (numbers.next() >> 11) as f64 / (1_u64 << 53) as f64).sum::<f64>() - 6.0;
        ((4096.0_f64.ln() + 2.327 * normal).exp() as u64).clamp(1, 16 << 20)
    };
    (0..count).map(|_| draw()).collect()
}

fn finds(entries: u64) {
    let options = Options::in_memory((entries * 200).max(64 << 20)).with_entries(entries * 4 / 3);
    let store = futures::executor::block_on(LocalStore::<Cas>::open(options)).unwrap();
    let mut numbers = Numbers(1);
    let stored: Vec<Digest> = (0..entries).map(|_| digest(&mut numbers, 128)).collect();
    let contents = Bytes::from(vec![1; 128]);
    let took = timed(|| {
        for digest in &stored {
            store.put_blocking(digest, contents.clone()).unwrap();
        }
    });
    report(&format!("put 128 B, {entries} entries"), entries, took);
    let mut asked: Vec<Digest> = stored.clone();
    asked.extend((0..entries).map(|_| digest(&mut numbers, 128)));
    for position in (1..asked.len()).rev() {
        asked.swap(position, usize::try_from(numbers.next()).unwrap() % (position + 1));
    }
    let mut missing = 0_u64;
    // A batch has just been read from a request when it is looked up, so it lies in the caches.
    let mut find = |asked: &[Digest]| -> Duration {
        let batches = asked.chunks(10_000).map(|batch| {
            let batch = batch.to_vec();
            timed(|| store.find_missing_blocking(&batch, |_| missing += 1).unwrap())
        });
        batches.sum()
    };
    let count = u64::try_from(asked.len()).unwrap();
    report(&format!("find missing, half present, first touch, {entries} entries"), count, find(&asked));
    let limit = prefetched_walk(entries);
    report(&format!("limit: random lines, prefetched, {entries} entries"), 1, limit);
    let took = best_of(|| find(&asked));
    report(&format!("find missing, half present, {entries} entries"), count, took);
    ratio("of the prefetch limit", limit, took / u32::try_from(count).unwrap());
    let absent: Vec<Digest> = (0..entries).map(|_| digest(&mut numbers, 128)).collect();
    report(&format!("find missing, all absent, {entries} entries"), entries, best_of(|| find(&absent)));
    let mut present = stored.clone();
    for position in (1..present.len()).rev() {
        present.swap(position, usize::try_from(numbers.next()).unwrap() % (position + 1));
    }
    report(&format!("find missing, all present, {entries} entries"), entries, best_of(|| find(&present)));
    assert!(missing > 0);
    let mut order = stored;
    for position in (1..order.len()).rev() {
        order.swap(position, usize::try_from(numbers.next()).unwrap() % (position + 1));
    }
    let get = |order: &[Digest]| {
        for digest in order {
            black_box(store.get_blocking(digest).unwrap().unwrap().first());
        }
    };
    report(&format!("get 128 B, {entries} entries"), entries, best(|| get(&order)));
    let took = elapsed(|| {
        std::thread::scope(|scope| {
            let (first, second) = order.split_at(order.len() / 2);
            scope.spawn(|| get(first));
            get(second);
        });
    });
    report(&format!("get 128 B, {entries} entries, two threads"), entries, took);
}

/// A line of memory.
#[repr(align(64))]
#[derive(Clone)]
struct Line([u64; 8]);

/// What the machine can do at best: random lines of a table as large as a map of so many entries, each asked for 48
/// lines ahead. Time for one line.
#[expect(unsafe_code, reason = "asks for huge pages, and for lines ahead, as the map does")]
fn prefetched_walk(entries: u64) -> Duration {
    let count = usize::try_from(entries * 4 / 3).unwrap();
    let mut table: Vec<Line> = Vec::with_capacity(count);
    let begin = table.as_mut_ptr().addr().next_multiple_of(2 << 20);
    let length = (table.as_mut_ptr().addr() + count * size_of::<Line>()).saturating_sub(begin);
    let begin = table.as_mut_ptr().with_addr(begin).cast();
    // SAFETY: the range is that of the vector, which nobody else knows; the advice changes no contents.
    let _: Result<(), rustix::io::Errno> =
        unsafe { rustix::mm::madvise(begin, length, rustix::mm::Advice::LinuxHugepage) };
    table.resize(count, Line([1; 8]));
    let mut numbers = Numbers(5);
    let order: Vec<usize> = (0..(1 << 20)).map(|_| usize::try_from(numbers.next()).unwrap() % count).collect();
    let mut sum = 0;
    let walk = || {
        for (at, now) in order.iter().enumerate() {
            if let Some(ahead) = order.get(at + 48).and_then(|ahead| table.get(*ahead)) {
                prefetch(ahead);
            }
            sum += table.get(*now).map_or(0, |line| line.0[0]);
        }
    };
    let took = best(walk);
    black_box(sum);
    took / (1 << 20)
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "there is no safe way to ask for a line without waiting for it")]
fn prefetch(line: &Line) {
    use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
    // SAFETY: a prefetch reads nothing that the program could see, and does not fault.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(line).cast()) };
}

#[cfg(not(target_arch = "x86_64"))]
fn prefetch(_line: &Line) {}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "for print")]
fn ratio(what: &str, limit: Duration, ours: Duration) {
    println!("{:58} {:9.2}", format!("    {what}"), limit.as_nanos() as f64 / ours.as_nanos() as f64);
}

fn puts(options: Options, what: &str, count: usize, verify: bool) {
    let store = Arc::new(futures::executor::block_on(LocalStore::<Cas>::open(options)).unwrap());
    let sizes = sizes(count);
    let total: u64 = sizes.iter().sum();
    let source: Vec<u8> = (0..sizes.iter().max().unwrap() + 8).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let source = Bytes::from(source);
    let mut numbers = Numbers(9);
    let blobs: Vec<(Digest, Bytes)> = (0_usize..)
        .zip(&sizes)
        .map(|(number, size)| {
            if verify {
                let contents = source.slice(number % 8..number % 8 + usize::try_from(*size).unwrap());
                let mut own = contents.to_vec();
                for (byte, random) in own.iter_mut().zip(numbers.next().to_le_bytes()) {
                    *byte = random;
                }
                (Digest::of(InstanceName::empty(), DigestFunction::Sha256, &own), Bytes::from(own))
            } else {
                (digest(&mut numbers, *size), source.slice(..usize::try_from(*size).unwrap()))
            }
        })
        .collect();
    let ctx = Context::background();
    let work = || {
        for (digest, contents) in &blobs {
            if verify {
                let put = store.put(&ctx, digest, Blob::from_bytes(contents.clone()));
                futures::executor::block_on(put).unwrap();
            } else {
                store.put_blocking(digest, contents.clone()).unwrap();
            }
        }
        store.sync_blocking().unwrap();
    };
    let took = if what.contains("file") { elapsed(work) } else { timed(work) };
    report_bytes(&format!("put mixed sizes, {what}"), total, took);
    let all = || {
        for (digest, contents) in &blobs {
            if let Some(read) = store.get_blocking(digest).unwrap() {
                assert_eq!(read.len(), contents.len());
            }
        }
    };
    report(&format!("get mixed sizes, {what}"), u64::try_from(blobs.len()).unwrap(), best(all));
}

fn main() {
    let is_test = std::env::args().any(|argument| argument == "--test");
    // One part alone: `-- puts`, `-- reads`, or `-- finds 1000000`.
    if std::env::args().any(|argument| argument == "reads") {
        return reads::all(is_test);
    }
    let mut arguments = std::env::args().skip_while(|argument| argument != "puts" && argument != "finds");
    if let Some(part) = arguments.next() {
        return match arguments.next().and_then(|entries| entries.parse().ok()) {
            Some(entries) if part == "finds" => finds(entries),
            _ => puts::all(is_test),
        };
    }
    let entries: &[u64] = if is_test { &[1_000] } else { &[10_000, 1_000_000, 10_000_000] };
    for entries in entries {
        finds(*entries);
    }
    reads::all(is_test);
    if is_test {
        puts::all(true);
    }
    let (count, capacity) = if is_test { (100, 1 << 30) } else { (12_000, 2 << 30) };
    let memory = || Options::in_memory(capacity).with_blocks(4, 16, 1);
    puts(memory(), "in memory", count, false);
    puts(memory(), "in memory, SHA-256", count, true);
    let directory = tempfile::tempdir_in(std::env::var("BLOBACCESS_BENCH_DIRECTORY").unwrap_or("/var/tmp".to_owned()));
    let path = directory.as_ref().unwrap().path().join("blocks");
    let file = || Options::in_file(&path, capacity).with_blocks(4, 16, 1).persistent(SyncPolicy::OnClose);
    puts(file(), "in a file, synced (first use)", count, false);
    puts(file().discarding(true).with_entries(100_000), "in a file, synced", count, false);
}
