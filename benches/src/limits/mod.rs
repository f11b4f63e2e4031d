//! The limits of the machine, so that the speed of a store can be stated as a fraction of them.

mod appending;
mod disk;
mod hashing;
mod lines;

pub use self::appending::Arena;
pub use self::disk::ScratchFile;
pub use self::hashing::hash_all;
pub use self::lines::Lines;
