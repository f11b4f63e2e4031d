//! What the machine can do, so that what a store does can be stated in proportion to it.

mod appending;
mod disk;
mod hashing;
mod lines;

pub use self::appending::Arena;
pub use self::disk::ScratchFile;
pub use self::hashing::hash_all;
pub use self::lines::Lines;
