//! Options of which no store can be made.

use std::path::Path;

use blobaccess::{Error, Result, StorageType};

use crate::key_location_map::MAX_ACCOUNT_NUMBER;
use crate::options::{Medium, Options};
use crate::sizes::Sizes;

/// Refuses what does not go together or is out of range.
pub(super) fn check_options(options: &Options, storage_type: StorageType) -> Result<()> {
    let refuse = |message: String| Err(Error::invalid_argument(message));
    if options.current_blocks < 1 || options.new_blocks < 1 {
        return refuse("at least one current and one new block are needed".to_owned());
    }
    if storage_type.is_mutable() && options.new_blocks != 1 {
        let new = options.new_blocks;
        return refuse(format!(
            "there are {new} new blocks, while a store of {} must have exactly one, as objects cannot be updated \
             reliably otherwise",
            storage_type.name()
        ));
    }
    if options.is_hierarchical && storage_type != StorageType::Cas {
        return refuse(format!(
            "instance names are hierarchical, which only a store of {} may have: around one of {}, put the layer \
             HierarchicalInstanceNames",
            StorageType::Cas.name(),
            storage_type.name()
        ));
    }
    if options.spare_blocks < 2 {
        return refuse(format!("there are {} spare blocks, while at least 2 are needed", options.spare_blocks));
    }
    if options.copied_percent > 80 {
        return refuse(format!("{} percent are copied, while at most 80 are permitted", options.copied_percent));
    }
    if options.write_concurrency == Some(0) {
        return refuse("no thread may write to a device at once, while at least 1 is needed".to_owned());
    }
    if options.in_flight_bytes < 64 << 10 {
        return refuse(format!("{} bytes may be in flight, while 65536 are needed", options.in_flight_bytes));
    }
    let most = u32::from(MAX_ACCOUNT_NUMBER);
    if options.account_names < 2 || options.account_names > most {
        let account_names = options.account_names;
        return refuse(format!("there may be {account_names} accounts, while 2 to {most} are permitted"));
    }
    if options.persistence.is_some() && options.medium == Medium::Memory {
        return refuse("a store in memory cannot be persistent".to_owned());
    }
    if options.has_mapped_reads && options.medium == Medium::Memory {
        return refuse(
            "a store in memory has nothing that could be mapped, as the option `mapped_reads` asks for".to_owned(),
        );
    }
    Ok(())
}

/// Refuses sizes whose memory this process cannot get. An allocation that fails later would end the process.
///
/// # Errors
///
/// `ResourceExhausted`, naming the option.
pub(crate) fn check_allocation(sizes: &Sizes) -> Result<()> {
    let needed = sizes.opening_bytes();
    let tried = usize::try_from(needed)
        .map_err(drop)
        .and_then(|needed| Vec::<u8>::new().try_reserve_exact(needed).map_err(drop));
    tried.map_err(|()| {
        Error::resource_exhausted(format!(
            "a map of {} slots and what belongs to it take {needed} bytes of memory, which this process cannot get: see \
             `Options::with_entries`",
            sizes.slots
        ))
    })
}

/// Refuses what the control group of this process does not permit, where that can be told.
pub(super) fn check_memory(needed: u64) -> Result<()> {
    match memory_limit(Path::new("/")) {
        Some(limit) if needed > limit => Err(Error::invalid_argument(format!(
            "the store needs {needed} bytes of memory, while this process may have {limit}"
        ))),
        Some(_) | None => Ok(()),
    }
}

/// Returns the most memory that the control groups of this process permit, in bytes: of versions 1 and 2, from its own
/// group up to the root.
fn memory_limit(root: &Path) -> Option<u64> {
    let groups = std::fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let of_group = |line: &str| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let (mount, file) = if controllers.is_empty() {
            ("sys/fs/cgroup", "memory.max")
        } else if controllers.split(',').any(|each| each == "memory") {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
        } else {
            return None;
        };
        // A group may not be mounted where it is shown: then its parents are.
        let groups = Path::new(path.trim_start_matches('/')).ancestors();
        let limits = groups.filter_map(|group| std::fs::read_to_string(root.join(mount).join(group).join(file)).ok());
        limits.filter_map(|limit| limit.trim().parse().ok()).min()
    };
    groups.lines().chain(["0::/"]).filter_map(of_group).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_that_of_the_own_group_or_of_one_above_it() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        assert_eq!(memory_limit(root.path()), None);
        write("proc/self/cgroup", "0::/system.slice/store.service\n");
        write("sys/fs/cgroup/system.slice/store.service/memory.max", "max\n");
        assert_eq!(memory_limit(root.path()), None);
        write("sys/fs/cgroup/system.slice/memory.max", "4000\n");
        assert_eq!(memory_limit(root.path()), Some(4000));
        write("sys/fs/cgroup/system.slice/store.service/memory.max", "3000\n");
        assert_eq!(memory_limit(root.path()), Some(3000));
        write("proc/self/cgroup", "5:cpu,memory:/docker/1\n3:freezer:/\n");
        write("sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "2000\n");
        assert_eq!(memory_limit(root.path()), Some(2000));
    }
}
