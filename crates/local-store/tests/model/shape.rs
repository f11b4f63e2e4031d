//! The shape of a store: how many blocks of which group, how large, and whether it outlives its process.

use std::sync::Arc;

use blobaccess::Kind;
use blobaccess_local_store::{Environment, LocalStore, MemoryDevice, Options, SyncPolicy};
use blobaccess_testkit::Numbers;
use futures::executor::block_on;

use crate::bytes_of;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) old: usize,
    pub(crate) current: usize,
    pub(crate) spare: usize,
    pub(crate) copied_percent: u32,
    pub(crate) capacity_bytes: u64,
    pub(crate) is_persistent: bool,
}

impl Shape {
    pub(crate) fn drawn(numbers: &mut Numbers) -> Self {
        let capacity = 1 << (20 + numbers.below(2));
        Self {
            old: numbers.below(3),
            current: 2 + numbers.below(6),
            spare: 2 + numbers.below(2),
            copied_percent: [0, 20, 50, 80][numbers.below(4)],
            capacity_bytes: 3 * capacity,
            is_persistent: numbers.below(2) == 0,
        }
    }

    fn options(self) -> Options {
        let count = |number: usize| u32::try_from(number).unwrap();
        let options = if self.is_persistent {
            Options::on_device(self.capacity_bytes).persistent(SyncPolicy::OnClose)
        } else {
            Options::in_memory(self.capacity_bytes)
        };
        options
            .with_blocks(count(self.old), count(self.current), 1)
            .with_spare_blocks(count(self.spare))
            .with_copied_percent(self.copied_percent)
            .with_entries(4_000)
    }

    /// Returns the number of newest blocks in which a found blob stays without a copy.
    pub(crate) fn safe(self) -> u64 {
        bytes_of(self.old + self.current - self.promised_blocks() - 1)
    }

    pub(crate) fn promised_blocks(self) -> usize {
        let kept = self.old + self.current;
        (kept - kept / 4).min(kept - 1)
    }

    pub(crate) fn blocks(self) -> usize {
        self.old + self.current + 1 + self.spare
    }
}

pub(crate) fn open<K: Kind>(shape: Shape, device: Option<&Arc<MemoryDevice>>) -> LocalStore<K> {
    let opened = match device {
        None => block_on(LocalStore::open(shape.options())),
        Some(device) => {
            block_on(LocalStore::open_on(shape.options(), Arc::<MemoryDevice>::clone(device), Environment::default()))
        }
    };
    opened.unwrap()
}
