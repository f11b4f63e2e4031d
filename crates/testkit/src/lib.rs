//! The contracts that every blobaccess store is held to, and fakes to test with.
//!
//! A store is a [`BlobAccess`](blobaccess::BlobAccess), and what that means is a program: [`contracts`], each of them a
//! function whose name is a sentence. They hold for any backend and any decorator, in this project or in yours. This is
//! all that it takes, in `tests/conformance.rs`:
//!
//! ```
//! use blobaccess::{Cas, MemoryStore};
//! use blobaccess_testkit::{Layered, Promises, Volatile, conformance};
//!
//! conformance! {
//!     // A backend, and what it promises.
//!     memory => Volatile::new(|| MemoryStore::<Cas>::new(1 << 20)).promising(Promises::of_memory(1 << 20)),
//!     // A decorator, over stores in memory that outlive it and can break down. In place of `Box::new`, yours.
//!     decorated => Layered::<Cas, _>::new(|beneath| Box::new(beneath.store("inner"))),
//! }
//! # fn main() { let _ = (memory(), decorated()); }
//! ```
//!
//! # What the suite promises
//!
//! * **Nothing can be left out.** In what stores may differ is in [`Promises`], and to promise less is no reason to
//!   skip: the contract then checks what follows from that. So a store without a size limit has to take a large blob,
//!   and one that is not durable has to be empty when it is opened again.
//! * **It has teeth.** For each of the [`CONTRACTS`] this crate has a store that breaks it and is caught
//!   (`tests/teeth.rs`).
//! * **It can be repeated.** Blobs are drawn from a seed that is printed, and that `BLOBACCESS_TESTKIT_SEED` sets.
//! * **It ends.** A contract that hangs is reported as broken after ten minutes.
//!
//! It needs no runtime of the caller's: each contract gets one of its own, with several threads.
//!
//! # What to test a layer with
//!
//! The suite does not know what a decorator adds. For that there are [`fakes`]: stores that answer as they were told,
//! count, wait, or are down; sources of blobs that are slow or fail; [`ManualClock`], so that no test has to wait;
//! [`Numbers`] that follow from a [`seed`]; and an allocator that [counts](allocations).

pub mod allocations;
mod clock;
pub mod contracts;
pub mod fakes;
mod fixture;
mod layered;
mod listing;
mod numbers;
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
pub use self::listing::listed;
pub use self::numbers::{Numbers, seed, time_budget};
pub use self::promises::Promises;
pub use self::run::{hold, run};
pub use self::samples::digest_of;
pub use self::suite::{CONTRACTS, Violation, violations_of_contents, violations_of_messages};
pub use self::volatile::Volatile;

/// `docs/writing-a-backend.md`, so that its code is tested.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/writing-a-backend.md")]
struct WritingABackend;
