//! A store of fixed size in memory or on one disk, which cleans itself and whose sync is a promise.
//!
//! ```text
//!            find, get ──→ key-location map ──→ (block, generation, offset, size)
//!                             in memory, no lock                  │
//!                                                                 ▼
//!    ┌ old ─────────────┐┌ current ──────────────────────┐┌ new ┐  spare
//!    │▒▒▒▒│▒▒▒▒│▒▒▒▒│▒▒▒││████│████│████│████│████│████│██││██▏  │ │    │    │
//!    └────────────────┬─┘└───────────────────────────────┘└──▲──┘  └─▲──┴────┘
//!                     └── what was touched is copied ────────┘       │
//!                     └── the block, once nothing vouches for it ────┘
//! ```
//!
//! Blobs are written into new blocks, front to back. When these are full, the groups shift by a block, and the oldest
//! block is recycled: blobs that were read or reported as present are copied to a new block, the rest is forgotten.
//! There is nothing else to clean up.
//!
//! [`LocalStore`] is the store, [`Options`] configures it, and [`Sizes`] follows from the options. `docs/format.md` has
//! every byte that a persistent store writes, `docs/safety.md` every possible loss and its prevention.

#[cfg(not(unix))]
compile_error!("blobaccess-local-store needs a Unix system: it is tested on Linux, and compiles on macOS");

mod account_names;
mod account_totals;
mod block;
mod device;
mod engine;
mod environment;
mod instance_names;
mod key;
mod key_location_map;
mod location;
mod machine;
mod object;
mod options;
mod persistence;
mod sizes;
mod snapshot;
mod store;

pub use self::device::{Device, Devices, FileDevice, MemoryDevice};
pub use self::environment::Environment;
pub use self::options::{Options, Refresh, SyncPolicy};
pub use self::sizes::Sizes;
pub use self::snapshot::{BlockGroup, BlockSnapshot, Snapshot};
pub use self::store::LocalStore;
