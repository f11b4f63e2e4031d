//! The contracts that every blobaccess store is held to, and fakes to test with.
#![doc = ""]
mod clock;
pub mod contracts;
pub mod fakes;
mod fixture;
mod layered;
mod promises;
mod run;
mod samples;
mod subject;
mod suite;
mod volatile;

#[doc(hidden)]
pub use blobaccess;

pub use self::clock::ManualClock;
pub use self::fixture::Fixture;
pub use self::layered::{Beneath, Layered, Stores};
pub use self::promises::Promises;
pub use self::run::{hold, run};
pub use self::suite::{CONTRACTS, Violation, violations_of_contents, violations_of_messages};
pub use self::volatile::Volatile;
