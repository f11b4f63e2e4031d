//! How a store is opened: on one device or several, and when it syncs and copies.

use std::sync::Arc;

use blobaccess::{Kind, Result};
use blobaccess_local_store::{Devices, Environment, LocalStore, Options, Refresh, SyncPolicy};
use futures::executor::block_on;

use crate::recorder::{Part, Recorder};

/// A device that has everything.
pub(crate) const CAPACITY: u64 = 3 << 19;
/// The device of the blocks, where logs and state are apart.
const BLOCKS: u64 = 3 << 18;
const LOGS: u64 = 1 << 20;
const STATE: u64 = 1 << 16;

/// How a store is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) policy: SyncPolicy,
    /// When it copies what is in use.
    pub(crate) refresh: Refresh,
    /// Whether logs and state have devices of their own.
    pub(crate) is_apart: bool,
}

impl Setup {
    fn options(self) -> Options {
        let options = Options::on_device(if self.is_apart { BLOCKS } else { CAPACITY });
        let options = if self.is_apart { options.with_logs_on_device(LOGS).with_state_on_device() } else { options };
        // As many of both kinds in all, so that there is something to be touched in an old block.
        let (old, current) = if self.refresh == Refresh::OnTouch { (2, 3) } else { (1, 4) };
        let options = options.with_blocks(old, current, 1).with_spare_blocks(2).with_entries(900).with_account_names(8);
        options.with_refresh(self.refresh).persistent(self.policy)
    }

    pub(crate) fn size_bytes(self) -> u64 {
        if self.is_apart { BLOCKS + LOGS + STATE } else { CAPACITY }
    }

    /// Returns the offset of the state.
    pub(crate) fn state(self) -> usize {
        usize::try_from(if self.is_apart { BLOCKS + LOGS } else { 0 }).unwrap()
    }

    pub(crate) fn open<K: Kind>(self, device: &Arc<Recorder>) -> Result<LocalStore<K>> {
        let devices = if self.is_apart {
            let part = |begin: u64, size: u64| Part::new(device, &(begin..begin + size));
            let state = part(BLOCKS + LOGS, STATE);
            Devices::new(part(0, BLOCKS)).with_logs(part(BLOCKS, LOGS)).with_state(state)
        } else {
            Devices::new(Arc::<Recorder>::clone(device))
        };
        block_on(LocalStore::open_on(self.options(), devices, Environment::default()))
    }

    /// Opens an image of which a sector cannot be read.
    pub(crate) fn open_with_bad_sector<K: Kind>(self, image: Vec<u8>, sector: u64) -> Result<LocalStore<K>> {
        self.open(&Arc::new(Recorder::with_bad_range(image, sector * 4096..(sector + 1) * 4096)))
    }

    pub(crate) fn open_image<K: Kind>(self, image: Vec<u8>) -> Result<LocalStore<K>> {
        self.open(&Arc::new(Recorder::from_image(image)))
    }
}
