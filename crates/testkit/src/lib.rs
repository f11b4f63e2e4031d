//! The contracts that every blobaccess store must pass, and fakes to test with.
//!
//! A store is a [`BlobAccess`](blobaccess::BlobAccess). Its contract is a program: [`contracts`], each a function whose
//! name is a sentence. They apply to any backend and any decorator, in this project or in yours. Add the suite with
//! `cargo add --dev blobaccess-testkit`, and write this into `tests/conformance.rs`:
//!
//! ```
//! use blobaccess::{Cas, MemoryStore};
//! use blobaccess_testkit::{Layered, Promises, Volatile, conformance};
//!
//! conformance! {
//!     // A backend, and its promises.
//!     memory => Volatile::new(|| MemoryStore::<Cas>::new(1 << 20)).promising(Promises::for_memory_store(1 << 20)),
//!     // A decorator, over stores in memory that outlive it and can break down. Put yours in place of `Box::new`.
//!     decorated => Layered::<Cas, _>::new(|stores| Box::new(stores.store("inner"))),
//! }
//! # fn main() { let _ = (memory(), decorated()); }
//! ```
//!
//! Then `cargo test --test conformance` runs one test for each contract and each line.
//!
//! # The suite
//!
//! * **No contract can be left out.** [`Promises`] lists the ways in which stores may differ. A contract whose promise
//!   is not made is not skipped: it checks what follows. A store without a size limit must accept a large blob, and
//!   one that is not durable must be empty when it is opened again.
//! * **It is tested itself.** For each of the [`CONTRACTS`] there is a store that breaks it and is caught
//!   (`tests/teeth.rs` of this crate).
//! * **It can be repeated.** Blobs are drawn from a seed that is printed, and that `BLOBACCESS_TESTKIT_SEED` sets.
//! * **It ends.** A contract that hangs is reported as broken after ten minutes.
//! * **It says what failed.** The message of a failed contract names the call, its digests and the error.
//!
//! Replicators have a suite of their own: [`replicator_conformance!`].
//!
//! It needs no runtime of yours: each contract gets its own, with several threads.
//!
//! # Fakes
//!
//! The suite does not know what a decorator adds. The [`fakes`] are for tests of that:
//!
//! ```
//! use std::sync::Arc;
//!
//! use blobaccess::decorators::EmptyBlobInjecting;
//! use blobaccess::{BlobAccess, Cas, Context, MemoryStore};
//! use blobaccess_testkit::{digest_of, fakes::CountingStore};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() {
//!     let inner = Arc::new(CountingStore::new(MemoryStore::<Cas>::new(1 << 20)));
//!     let store = EmptyBlobInjecting::new(Arc::clone(&inner));
//!     assert!(store.get(&Context::background(), &digest_of("")).await.is_ok());
//!     assert_eq!(inner.counts().gets, 0);
//! }
//! ```
//!
//! | to test | use |
//! |---|---|
//! | which calls reach the inner store, with which digests and context | [`CountingStore`](fakes::CountingStore) |
//! | given answers of the inner store | [`ScriptedStore`](fakes::ScriptedStore) |
//! | concurrent calls | [`PausedStore`](fakes::PausedStore) |
//! | an outage that begins and ends | [`InterruptibleStore`](fakes::InterruptibleStore) |
//! | failures at random | [`UnreliableStore`](fakes::UnreliableStore) |
//! | an inner store that always fails | [`UnreachableStore`](fakes::UnreachableStore) |
//! | slow, failing and unread sources of blobs | [`slow_stream`](fakes::slow_stream) and its neighbours |
//! | parts of composites | [`LeadingBytes`](fakes::LeadingBytes) |
//! | what an observer is notified of | [`RecordingObserver`](fakes::RecordingObserver) |
//! | time | [`ManualClock`] |
//! | random inputs that can be repeated | [`Numbers`] of a [`seed`] |
//! | allocations | [`allocations`] |

pub mod allocations;
mod clock;
pub mod contracts;
mod erased;
pub mod fakes;
mod fixture;
pub mod foreign_answers;
mod layered;
mod listing;
mod numbers;
mod promises;
mod replicator_fixture;
mod run;
mod samples;
#[cfg(shuttle)]
mod schedules;
mod subject;
mod suite;
mod volatile;

#[doc(hidden)]
pub use blobaccess;

pub use self::clock::ManualClock;
pub use self::fixture::{Damage, Fixture};
pub use self::layered::{InnerStore, Layered, Stores};
pub use self::listing::list_all;
pub use self::numbers::{Numbers, seed, time_budget};
pub use self::promises::Promises;
pub use self::replicator_fixture::{AnyStore, Replicating, ReplicatorFixture};
pub use self::run::{check, run};
pub use self::samples::digest_of;
#[cfg(shuttle)]
pub use self::schedules::explore;
pub use self::suite::{
    CONTRACTS, REPLICATOR_CONTRACTS, Violation, violations_of_contents, violations_of_messages,
    violations_of_replicator,
};
pub use self::volatile::Volatile;

/// `docs/writing-a-backend.md`, so that its code is tested.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/writing-a-backend.md")]
struct WritingABackend;
