//! Two hundred clients, of which half are slow, stalled or lying, over stores in files, in memory and before a bucket that fails
//! and goes away: the others go on, memory stays within its bounds, and nothing that was acknowledged is lost.
//!
//! It takes some 45 seconds, or `BLOBACCESS_SOAK_SECONDS`. `cargo test --test soak -- --ignored --nocapture` shows how it goes.
//! It takes real time, as it asks how long clients wait; it cannot be repeated exactly, but for what clients and faults draw
//! from the seed.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a failed expectation is a failed test"
)]

mod bad_clients;
mod good_clients;
mod servers;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use blobaccess::{Clock, SystemClock};
use blobaccess_testkit::{Numbers, seed};

use bad_clients::{BAD_KINDS, run_bad};
use good_clients::{Done, run_good};
use servers::Servers;

/// The number of clients of each sort.
const CLIENTS: usize = 100;

/// The time that calls may take on a busy machine, whoever else is there. Waiting for a bad client takes 10 seconds and more.
const FLOOR: Duration = Duration::from_secs(5);

/// The ratio up to which calls may take longer among bad clients.
const MAX_RATIO: u32 = 3;

/// A time that is said to everybody.
#[derive(Clone, Debug)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    fn new() -> Self {
        Self(Arc::new(AtomicBool::new(false)))
    }

    fn say(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(crate) fn is_said(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

pub(crate) async fn pause(duration: Duration) {
    SystemClock.sleep_until(SystemClock.monotonic() + duration).await;
}

/// Returns the output of `work`, or nothing if it takes longer than `duration`.
pub(crate) async fn within<T>(duration: Duration, work: impl Future<Output = T>) -> Option<T> {
    let clock: &dyn Clock = &SystemClock;
    clock.timeout(Some(clock.monotonic() + duration), work).await.ok()
}

fn seconds() -> u64 {
    std::env::var("BLOBACCESS_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(45).max(8)
}

/// Returns the memory of this process that is no file's, in bytes, where the kernel tells it.
fn memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib << 10)
}

/// Lets good clients run until `end`, and looks after the servers meanwhile. Returns what they have done, and the peak of the
/// memory beside what is stored, in bytes.
async fn run(servers: &Arc<Servers>, seed: u64, end: Instant, phase: &str) -> (Done, u64) {
    let stop = Stop::new();
    let mut numbers = Numbers::new(seed);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (server, address) = servers.of_client(number);
            tokio::spawn(run_good(address, server, numbers.draw(), stop.clone()))
        })
        .collect();
    let (mut said, mut peak) = (SystemClock.monotonic(), 0);
    while SystemClock.monotonic() < end {
        pause(Duration::from_millis(100)).await;
        servers.check_bounds();
        peak = peak.max(memory_bytes().unwrap_or(0).saturating_sub(servers.stored_bytes()));
        if SystemClock.monotonic() - said > Duration::from_secs(5) {
            said = SystemClock.monotonic();
            println!("{phase}: {}; {} MiB beside blobs", servers.describe(), peak >> 20);
        }
    }
    stop.say();
    let mut done = Done::default();
    for client in clients {
        done.add(client.await.expect("a good client goes on"));
    }
    println!("{phase}: {}", done.describe());
    (done, peak)
}

/// Takes the bucket away twice: for the fourth eighth of the time, and for the sixth.
async fn take_away(servers: Arc<Servers>, at: impl Fn(u32) -> Instant) {
    for (from, to) in [(at(3), at(4)), (at(5), at(6))] {
        SystemClock.sleep_until(from).await;
        servers.set_bucket_away(true);
        SystemClock.sleep_until(to).await;
        servers.set_bucket_away(false);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it takes most of a minute"]
async fn bad_clients_and_outages_harm_no_good_client() {
    let (seed, seconds) = (seed("BLOBACCESS_SOAK_SEED"), seconds());
    println!("{seconds} s, {CLIENTS} good clients, {CLIENTS} bad ones");
    let servers = Arc::new(Servers::start(seed).await);
    let begun = SystemClock.monotonic();
    let at = move |eighths: u32| begun + Duration::from_secs(seconds) * eighths / 8;

    let (mut quiet, quiet_peak) = run(&servers, seed, at(2), "in peace").await;

    servers.fail_some_requests(true);
    let counts: Vec<_> = BAD_KINDS.iter().map(|_| Arc::new(AtomicUsize::new(0))).collect();
    let bad: Vec<_> = (0..CLIENTS)
        .map(|number| {
            // Each server has clients of each sort.
            let sort = number / 3 % BAD_KINDS.len();
            let (_, address) = servers.of_client(number);
            tokio::spawn(run_bad(address, BAD_KINDS[sort], Arc::clone(&counts[sort])))
        })
        .collect();
    let outages = tokio::spawn(take_away(Arc::clone(&servers), at));
    let (mut noisy, noisy_peak) = run(&servers, seed.wrapping_add(1), at(8), "among bad clients").await;
    outages.await.expect("the bucket goes away and comes back");
    for client in bad {
        client.abort();
        assert!(client.await.is_err_and(|error| error.is_cancelled()), "a bad client has ended");
    }
    servers.fail_some_requests(false);
    for (sort, count) in BAD_KINDS.iter().zip(&counts) {
        let count = count.load(Ordering::Relaxed);
        println!("{sort:?}: {count} times");
        assert!(count > 0);
    }
    servers.check_released().await;

    let (in_peace, among_bad) = (quiet.percentile(99), noisy.percentile(99));
    println!("99 % of the calls took up to {in_peace:?} in peace, {among_bad:?} among bad clients");
    assert!(among_bad <= (in_peace * MAX_RATIO).max(FLOOR), "good clients wait for bad ones");
    for done in [&quiet, &noisy] {
        assert!(done.calls() >= 2 * CLIENTS, "hardly anything was done");
        assert!(done.failures.len() * 100 <= done.calls(), "good clients fail");
    }
    println!(
        "peak of memory beside blobs: {} MiB in peace, {} MiB among bad clients",
        quiet_peak >> 20,
        noisy_peak >> 20
    );
    assert!(noisy_peak.saturating_sub(quiet_peak) <= servers::MAX_GROWTH_BYTES, "memory grows with bad clients");
    quiet.add(noisy);
    servers.check_acknowledged(&quiet.acknowledged).await;
    servers.check_bucket(&quiet.acknowledged).await;
}
