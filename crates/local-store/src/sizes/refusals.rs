//! Options of which no store can be made.

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
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit: Option<u64> = limit.and_then(|limit| limit.trim().parse().ok());
    match limit {
        Some(limit) if needed > limit => Err(Error::invalid_argument(format!(
            "the store needs {needed} bytes of memory, while this process may have {limit}"
        ))),
        Some(_) | None => Ok(()),
    }
}
