//! The contracts of a store, one function each.
//!
//! Each takes a fixture whose state is fresh. It panics if the store breaks the contract, and returns the errors of
//! calls that must not fail.
#![expect(clippy::missing_panics_doc, reason = "to panic is how a contract reports that it is broken")]
#![expect(clippy::missing_errors_doc, reason = "a contract returns whatever it did not expect")]

pub mod composites;
pub mod contents;
pub mod damage;
pub mod describing;
pub mod finding;
pub mod inventories;
pub mod keeping;
pub mod messages;
pub mod outages;
pub mod reading;
pub mod replicating;
pub mod restart;
pub mod slow_peers;
pub mod uploads;
pub mod writing;
