//! Four ratios that say who waits for whom in the local store, and what a sync costs: `cargo bench --bench
//! local_store_fairness`, then `--` and the name of a row. Only public calls are made, so that an earlier build can be
//! measured with the same file. Times are those of processors, but for the waits, which are by the clock.
//!
//! | row | ratio |
//! |---|---|
//! | `wakes` | the time of a put of 128 bytes while `run` is polled, to that without it |
//! | `listing` | the time of a listing of 10^6 entries, for comparison with an earlier build |
//! | `waits` | the 99th percentile of a put while another thread lists, to that without it |
//! | `syncs` | the time of a put and its sync in a store of 1 TiB, to that in one of 1 GiB, on a device that takes no time |

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark that fails has no result, and one that ends prints it"
)]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use blobaccess::{Cas, Context, Digest, DigestFunction, InstanceName, Inventory};
use blobaccess_local_store::{Device, Environment, LocalStore, Options, SyncPolicy};
use blobaccess_workbench::processor_time;
use bytes::Bytes;
use futures::executor::block_on;

/// Returns `full`, or a hundredth in a run that only shows that the rows work.
fn scaled(full: u64) -> u64 {
    if std::env::args().any(|argument| argument == "--test") { full / 100 } else { full }
}

/// Returns a digest that `number` determines, whose hash no contents have.
fn digest(number: u64, size: u64) -> Digest {
    let mut hash = [0; 32];
    for (position, word) in (0_u64..).zip(hash.chunks_mut(8)) {
        let mixed = (number * 4 + position + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        word.copy_from_slice(&(mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_le_bytes());
    }
    Digest::from_hash(InstanceName::empty(), DigestFunction::Sha256, &hash, size).unwrap()
}

fn put(store: &LocalStore<Cas>, number: u64, contents: &Bytes) {
    let size = u64::try_from(contents.len()).unwrap();
    store.put_blocking(&digest(number, size), contents.clone()).unwrap();
}

fn open(options: Options) -> Arc<LocalStore<Cas>> {
    Arc::new(block_on(LocalStore::open(options)).unwrap())
}

fn nanoseconds(time: Duration, calls: u64) -> f64 {
    time.as_secs_f64() * 1e9 / f64::from(u32::try_from(calls).unwrap())
}

/// Puts 10^6 objects of 128 bytes, and returns the time of each in nanoseconds.
fn puts(is_run: bool) -> f64 {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let store = open(Options::in_memory(1 << 30).with_entries(4 << 20));
    let running = Arc::clone(&store);
    let background = is_run.then(|| runtime.spawn(async move { running.run().await }));
    #[expect(clippy::disallowed_methods, reason = "it gives the runtime time to poll `run`, which tells nobody")]
    std::thread::sleep(Duration::from_millis(50));
    let contents = Bytes::from(vec![7; 128]);
    let count = scaled(1_000_000);
    let begin = processor_time();
    for number in 0..count {
        put(&store, number, &contents);
    }
    let time = nanoseconds(processor_time().saturating_sub(begin), count);
    if let Some(background) = background {
        background.abort();
    }
    time
}

fn wakes() {
    for round in 0..4 {
        let (without, with) = (puts(false), puts(true));
        if round > 0 {
            println!("wakes: put of 128 B {without:.0} ns, with run() {with:.0} ns: {:.2}", with / without);
        }
    }
}

fn list(store: &LocalStore<Cas>) -> u64 {
    let (mut listed, mut cursor) = (0, None);
    loop {
        let page = block_on(store.inventory(&Context::background(), cursor.as_ref())).unwrap();
        listed += u64::try_from(page.entries.len()).unwrap();
        cursor = page.next;
        if cursor.is_none() {
            return listed;
        }
    }
}

fn listed(count: u64) -> Arc<LocalStore<Cas>> {
    let store = open(Options::in_memory(2 << 30).with_entries(4 << 20));
    let contents = Bytes::from(vec![7; 128]);
    (0..count).for_each(|number| put(&store, number, &contents));
    store
}

fn listing() {
    let count = scaled(1_000_000);
    let store = listed(count);
    for _ in 0..3 {
        let begin = processor_time();
        assert_eq!(list(&store), count);
        println!("listing: {count} entries in {:.1} ms", processor_time().saturating_sub(begin).as_secs_f64() * 1e3);
    }
}

/// Puts an object each 200 µs, and returns the median and the 99th percentile of the time of a put, in microseconds.
fn put_times(store: &LocalStore<Cas>, first: u64) -> (f64, f64) {
    let contents = Bytes::from(vec![7; 128]);
    let mut times = Vec::new();
    for number in 0..scaled(10_000) {
        #[expect(clippy::disallowed_methods, reason = "it is what a benchmark measures by")]
        let begin = Instant::now();
        put(store, first + number, &contents);
        times.push(begin.elapsed());
        while begin.elapsed() < Duration::from_micros(200) {
            std::hint::spin_loop();
        }
    }
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default().as_secs_f64() * 1e6;
    (at(50), at(99))
}

fn waits() {
    let count = scaled(2_000_000);
    let store = listed(count);
    for round in 0..3 {
        let first = count + round * 20_000;
        let (quiet_median, quiet) = put_times(&store, first);
        let is_over = Arc::new(AtomicBool::new(false));
        let (other, end) = (Arc::clone(&store), Arc::clone(&is_over));
        let listing = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                list(&other);
            }
        });
        let (median, busy) = put_times(&store, first + 10_000);
        is_over.store(true, Ordering::Relaxed);
        listing.join().unwrap();
        println!(
            "waits: put p50 {quiet_median:.1} µs, p99 {quiet:.1} µs; while listing {median:.1} and {busy:.1} µs: {:.1}",
            busy / quiet
        );
    }
}

/// A device of any size that takes no time, and holds nothing.
#[derive(Debug)]
struct Nothing(u64);

impl Device for Nothing {
    fn size_bytes(&self) -> u64 {
        self.0
    }

    fn read_at(&self, _offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        buffer.fill(0);
        Ok(())
    }

    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the time of a put with its sync, in nanoseconds.
fn synced_puts(capacity: u64) -> f64 {
    let options = Options::on_device(capacity).persistent(SyncPolicy::OnPut).with_entries(capacity >> 14);
    let options = if capacity > 1 << 35 { options.with_entries(1 << 22) } else { options };
    let device: Arc<dyn Device> = Arc::new(Nothing(capacity));
    let store: LocalStore<Cas> = block_on(LocalStore::open_on(options, device, Environment::default())).unwrap();
    let contents = Bytes::from(vec![7; 128]);
    let count = scaled(20_000);
    let begin = processor_time();
    (0..count).for_each(|number| put(&store, number, &contents));
    nanoseconds(processor_time().saturating_sub(begin), count)
}

fn syncs() {
    for _ in 0..3 {
        let (small, large) = (synced_puts(1 << 30), synced_puts(1 << 40));
        println!("syncs: put and sync at 1 GiB {small:.0} ns, at 1 TiB {large:.0} ns: {:.2}", large / small);
    }
}

fn main() {
    let named = std::env::args().nth(1);
    let rows: [(&str, fn()); 4] = [("wakes", wakes), ("listing", listing), ("waits", waits), ("syncs", syncs)];
    for (name, row) in rows {
        if named.as_ref().is_none_or(|named| named == name || named.starts_with("--")) {
            row();
        }
    }
}
