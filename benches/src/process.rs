//! The resources that this process has used so far: processor time, memory, and bytes written.

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

/// Returns a monotonic time, for measuring durations.
#[must_use]
pub fn monotonic_time() -> Duration {
    read(ClockId::Monotonic)
}

/// Returns the processor time of all threads of this process.
#[must_use]
pub fn processor_time() -> Duration {
    read(ClockId::ProcessCPUTime)
}

/// Returns the processor time of this thread.
#[must_use]
pub fn thread_time() -> Duration {
    read(ClockId::ThreadCPUTime)
}

/// Returns how many processes wanted a processor over the last minute; 0 if the system does not say.
#[must_use]
pub fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or_default()
}

/// Makes a directory on a disk, which is removed when the value is dropped. It is in `BLOBACCESS_BENCH_DIRECTORY`, or
/// in `/var/tmp`, because `/tmp` is often no disk.
///
/// # Panics
///
/// If the directory cannot be created.
#[must_use]
#[expect(clippy::expect_used, reason = "a benchmark that fails has no result")]
pub fn temporary_directory() -> TempDir {
    let parent =
        std::env::var_os("BLOBACCESS_BENCH_DIRECTORY").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    TempDir::with_prefix_in("blobaccess-bench-", parent).expect("a directory can be created")
}

/// Returns the memory of this process in bytes; 0 if the system does not say.
#[must_use]
pub fn resident_bytes() -> u64 {
    field("/proc/self/status", "VmRSS:") * 1024
}

/// Returns how many bytes this process has written to a disk, including those that are still in the page cache; 0 if
/// the system does not say.
#[must_use]
pub fn written_bytes() -> u64 {
    field("/proc/self/io", "write_bytes:")
}

fn field(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
