//! The identity of a store, by which it refuses the state of another one.

use blobaccess::{Error, Result, StorageType};

/// The values that stay the same as long as a store continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) storage_type: StorageType,
    pub(crate) store_id: [u8; 16],
    pub(crate) secret: [u8; 32],
    pub(crate) data_bytes: u64,
    pub(crate) blocks: u32,
    pub(crate) log_sectors: u32,
    pub(crate) touch_sectors: u32,
    pub(crate) chunk_bytes: u32,
    /// That there may be.
    pub(crate) account_names: u32,
    /// Whether instance names are hierarchical.
    pub(crate) is_hierarchical: bool,
    pub(crate) has_own_logs: bool,
    pub(crate) has_own_state: bool,
}

impl Identity {
    /// Returns the seeds of the map, which nobody else can guess.
    pub(crate) fn map_seeds(&self) -> [u64; 2] {
        let derived = blake3::derive_key("blobaccess-local-store: the buckets of the map", &self.secret);
        let [first, second, ..] = crate::key::words(&derived);
        [first, second]
    }

    /// Returns an error that says how this store differs from one that the options describe; ids and secrets may differ.
    pub(crate) fn check(&self, options: &Self) -> Result<()> {
        if self.storage_type != options.storage_type {
            return Err(Error::failed_precondition(format!(
                "the device holds a store of {}, while one of {} is to be opened",
                self.storage_type.name(),
                options.storage_type.name()
            )));
        }
        if self.is_hierarchical != options.is_hierarchical {
            let (there, here) = if self.is_hierarchical { ("", "not ") } else { ("not ", "") };
            return Err(Error::failed_precondition(format!(
                "instance names are {there}hierarchical in the store that the device holds, and {here}by the options: \
                 open it with the options that it was made with, or discard it"
            )));
        }
        let pairs = [
            ("blocks", u64::from(self.blocks), u64::from(options.blocks)),
            ("data bytes a block", self.data_bytes, options.data_bytes),
            ("log sectors a block", u64::from(self.log_sectors), u64::from(options.log_sectors)),
            ("touch sectors a block", u64::from(self.touch_sectors), u64::from(options.touch_sectors)),
            ("bytes a chunk", u64::from(self.chunk_bytes), u64::from(options.chunk_bytes)),
            ("devices for logs alone", u64::from(self.has_own_logs), u64::from(options.has_own_logs)),
            ("devices for the state alone", u64::from(self.has_own_state), u64::from(options.has_own_state)),
            ("accounts at most", u64::from(self.account_names), u64::from(options.account_names)),
        ];
        match pairs.into_iter().find(|(_, there, here)| there != here) {
            Some((what, there, here)) => Err(Error::failed_precondition(format!(
                "the device holds a store with {there} {what}, while the options make it {here}: open it with the \
                 options that it was made with, or discard it"
            ))),
            None => Ok(()),
        }
    }
}
