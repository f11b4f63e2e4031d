//! The state that survives a restart, and the order in which it is written.
//!
//! Data, entries and touches; a sync; the superblock that vouches for them; a sync. A block is reused only after two
//! superblocks without it. `docs/format.md` has every byte of it.

pub(crate) mod claim;
pub(crate) mod entry;
mod identity;
pub(crate) mod label;
pub(crate) mod layout;
pub(crate) mod superblock;
mod touches;

pub(crate) use self::entry::ENTRIES_PER_SECTOR;
pub(crate) use self::identity::Identity;
pub(crate) use self::layout::Layout;
pub(crate) use self::superblock::{LiveBlock, NamedAccount, Quarantined, Superblock};
pub(crate) use self::touches::{TOUCHES_PER_SECTOR, Touches};
