//! What this process has used so far: processor time, memory, and what it wrote.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tempfile::TempDir;

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// A time that never goes back, to measure durations by.
#[must_use]
pub fn monotonic_time() -> Duration {
    read(ClockId::Monotonic)
}

/// Processor time of all threads of this process.
#[must_use]
pub fn processor_time() -> Duration {
    read(ClockId::ProcessCPUTime)
}

/// Processor time of this thread.
#[must_use]
pub fn thread_time() -> Duration {
    read(ClockId::ThreadCPUTime)
}

/// How many processes wanted a processor over the last minute; 0 where the system does not say.
#[must_use]
pub fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or_default()
}

/// A new directory on a disk, which is removed with the value: in `BLOBACCESS_BENCH_DIRECTORY`, or in `/var/tmp`, as
/// `/tmp` is often no disk.
///
/// # Panics
///
/// If it cannot be created.
#[must_use]
#[expect(clippy::expect_used, reason = "a benchmark that fails has no result")]
pub fn temporary_directory() -> TempDir {
    let parent =
        std::env::var_os("BLOBACCESS_BENCH_DIRECTORY").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    TempDir::with_prefix_in("blobaccess-bench-", parent).expect("a directory can be created")
}

/// Bytes of memory that this process has; 0 where the system does not say.
#[must_use]
pub fn resident_bytes() -> u64 {
    field("/proc/self/status", "VmRSS:") * 1024
}

/// Bytes that this process had written to a disk, or will have once the page cache is written back; 0 where the system
/// does not say.
#[must_use]
pub fn written_bytes() -> u64 {
    field("/proc/self/io", "write_bytes:")
}

fn field(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
