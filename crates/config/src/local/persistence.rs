//! The state that a local store keeps across restarts.

use std::path::PathBuf;
use std::time::Duration;

use super::block_device::used_path;
use crate::section::Section;
use crate::used_path::UsedPath;

/// The directory of the state of a local store that is kept, and how often it is written.
#[derive(Clone, Debug)]
pub(super) struct Persistence {
    pub(super) directory: PathBuf,
    /// The least time between two syncs.
    pub(super) interval: Duration,
    /// The file of the state.
    pub(super) state: UsedPath,
}

impl Persistence {
    /// Reads a `Persistent`. Returns `None` if a fault was noted.
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let interval = read_interval(section);
        let directory = PathBuf::from(section.required_text("state_directory_path")?);
        if !directory.is_dir() {
            let message = "is no directory that exists: create it first, writable for this program";
            section.fault_at("state_directory_path", message);
            return None;
        }
        let state = used_path(section, "state_directory_path", directory.join("state"));
        Some(Self { directory, interval: interval?, state })
    }
}

/// Reads the interval. One that is negative is none, as in Buildbarn.
fn read_interval(section: &Section<'_>) -> Option<Duration> {
    let Some((seconds, nanos)) = section.seconds_and_nanos("minimum_epoch_interval") else {
        section.fault_at("minimum_epoch_interval", "is required");
        return None;
    };
    let (Ok(seconds), Ok(nanos)) = (u64::try_from(seconds), u32::try_from(nanos)) else {
        section.notice_at("minimum_epoch_interval", "counts as 0s: changes are written without a pause");
        return Some(Duration::ZERO);
    };
    Some(Duration::new(seconds, nanos.min(999_999_999)))
}
